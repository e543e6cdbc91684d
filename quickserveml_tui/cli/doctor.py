"""`doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer import Exit

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.errors import ExitCode
from quickserveml_tui.core.text import plural, safe_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.cli.checkup_stores import Finding
    from quickserveml_tui.cli.output import Output

_GLYPHS = {"ok": "✓", "warn": "!", "error": "✕"}


def doctor(home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Check machine, stores, runtime and terminal.

    Every finding is ok, a warning or an error with what to do; with an error the exit code is 1.
    """
    from quickserveml_tui.cli.checkup import examine

    output = invocation.note(home=home, as_json=as_json).output
    findings = examine(invocation)
    has_error = any(finding.status == "error" for finding in findings)
    if output.as_json:
        import msgspec

        from quickserveml_tui._version import __version__

        output.document({"version": __version__, "ok": not has_error, "findings": msgspec.to_builtins(findings)})
    else:
        _print_findings(output, findings)
    if has_error:
        raise Exit(int(ExitCode.GATE_FAILED))


def _print_findings(output: Output, findings: Sequence[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    area = ""
    for finding in findings:
        if finding.area != area:
            if area:
                output.line()
            area = finding.area
            output.line(output.style(area, "bold"))
        glyph = output.style(_GLYPHS[finding.status], finding.status)
        output.line(f"{glyph} {output.style(finding.name.ljust(width), 'muted')}  {safe_text(finding.message)}")
        if finding.hint:
            output.line(f"  {' ' * width}  {output.style(safe_text(finding.hint), 'muted')}")
    errors = sum(finding.status == "error" for finding in findings)
    warnings = sum(finding.status == "warn" for finding in findings)
    output.line()
    output.line(f"{plural(errors, 'error')}, {plural(warnings, 'warning')}.")
