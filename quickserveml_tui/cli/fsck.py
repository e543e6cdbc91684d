"""`fsck`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.errors import ExitCode
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import format_bytes, format_duration

if TYPE_CHECKING:
    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.care import CheckFinding, CheckReport

_GLYPHS = {"info": ("·", "muted"), "warning": ("!", "warn"), "error": ("✕", "error")}
_MOST_LINES = 200


def fsck(
    *,
    full: Annotated[
        bool, Option("--full", help="Read every byte of every file, not only look for it.", show_default=False)
    ] = False,
    repair: Annotated[bool, Option("--repair", help="Mend what can be mended.", show_default=False)] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check the stores of the home, and mend them.

    The quick check finds missing and cut files; --full also finds changed ones. Exit code 1 says that something is
    wrong and was not repaired.
    """
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    output = invocation.note(home=home, as_json=as_json).output
    narrator = Narrator(quiet=as_json)
    with invocation.workbench() as workbench:
        try:
            report = run_cancellable(
                lambda cancel: workbench.maintenance.check(
                    full=full, repair=repair, on_progress=narrator.on_progress, cancel=cancel
                )
            )
        finally:
            narrator.close()
    if output.as_json:
        output.document(check_document(report))
    else:
        print_check(output, report)
    if not report.clean:
        raise Exit(int(ExitCode.GATE_FAILED))


def check_document(report: CheckReport) -> dict[str, object]:
    """The document of a check."""
    from quickserveml_tui.cli.documents import plain

    document: dict[str, object] = plain(report)
    return document | {"clean": report.clean}


def print_check(output: Output, report: CheckReport) -> None:
    """Print findings, then what was looked at."""
    for finding in report.findings[:_MOST_LINES]:
        _print_finding(output, finding)
    if len(report.findings) > _MOST_LINES:
        output.line(output.style(f"… and {len(report.findings) - _MOST_LINES:,} more; --json lists all.", "muted"))
    if report.findings:
        output.line()
    read = f", {format_bytes(report.bytes_read)} read" if report.full else ""
    output.line(
        f"{plural(report.models, 'model')}, {plural(report.versions, 'version')}, {plural(report.blobs, 'file')}, "
        f"{plural(report.rows, 'row')} checked in {format_duration(report.elapsed_s)}{read}."
    )
    if report.content_digest:
        output.line(output.style(f"content {report.content_digest}", "muted"))
    if report.clean:
        output.line(f"{output.style('✓', 'ok')} The stores are in order.")
    else:
        wrong = sum(item.severity.value == "error" and not item.repaired for item in report.findings)
        output.line(f"{output.style('✕', 'error')} {plural(wrong, 'fault')} left.")


def _print_finding(output: Output, finding: CheckFinding) -> None:
    glyph, role = ("✓", "ok") if finding.repaired else _GLYPHS[finding.severity.value]
    said = f"{finding.store}: {safe_text(finding.message, 400)}"
    output.line(f"{output.style(glyph, role)} {said}{' Repaired.' if finding.repaired else ''}")
    if finding.hint and not finding.repaired:
        output.line(f"  {output.style(safe_text(finding.hint, 300), 'muted')}")
