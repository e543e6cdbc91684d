"""What a trial said, in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.core.units import significant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.models import TrialReport

_MAX_REMEDY = 400


def print_trial(output: Output, report: TrialReport) -> None:
    """Print a report: outcome, reason, code, times, and the runtime's own words."""
    output.pairs(
        [
            ("Trial", report.outcome.value),
            ("Reason", report.reason),
            ("Code", report.code),
            ("Signal", report.signal),
            ("Load", _ms(report.load_ms)),
            ("Run", _ms(report.run_ms)),
            ("Runtime", report.runtime),
            ("Tried", report.tried_at),
        ]
    )
    output.lines(detail_lines(report))


def remedy(report: TrialReport) -> str:
    """What to do about a trial that failed: the hint of its error, which stands before the runtime's own words."""
    line = report.detail.partition("\n")[0].strip()
    is_sentence = line.endswith((".", "?")) and not line.startswith("[") and len(line) <= _MAX_REMEDY
    return safe_text(line, _MAX_REMEDY) if is_sentence else ""


def detail_lines(report: TrialReport) -> Iterator[str]:
    """The runtime's own words and what to do, indented; nothing where nothing was said."""
    for line in safe_lines(report.detail).splitlines():
        yield f"  {line}"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{significant(value)} ms"
