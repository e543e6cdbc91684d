"""What a check of the home found."""

from __future__ import annotations

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.care import CheckFinding, CheckReport, Severity
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.tui.glyphs import Glyphs
from quickserveml_tui.tui.sheets.rows import BLANK, paragraph
from quickserveml_tui.tui.sheets.sheet import Layout
from quickserveml_tui.tui.widgets.ink import say

MAX_FINDINGS = 200


def log_rows(text: str) -> Layout:
    """The lines of a log, wrapped; a sentence where nothing was written."""
    lines = text.splitlines() or ["The log is empty."]
    return lambda width, _: [row for line in lines for row in (paragraph(line, width, Role.BODY) or [BLANK])]


def checked_words(report: CheckReport) -> str:
    """What was looked at."""
    parts = [
        plural(report.models, "model"), plural(report.versions, "version"), plural(report.blobs, "blob"),
        plural(report.rows, "row"),
    ]  # fmt: skip
    if report.bytes_read:
        parts.append(f"{format_bytes(report.bytes_read)} read")
    return ", ".join(parts)


def check_rows(report: CheckReport, width: int, glyphs: Glyphs) -> list[Row]:
    """The verdict, what was looked at, then each finding with its way out."""
    verdict = "All stores agree" if report.clean else "Something is wrong"
    role = Role.OK if report.clean else Role.ERROR
    sign = glyphs.ok if report.clean else glyphs.error
    rows: list[Row] = [(Span(f"{sign} ", role), say(verdict, Role.STRONG, bold=True))]
    rows += paragraph(checked_words(report), width)
    for finding in sorted(report.findings, key=_rank)[:MAX_FINDINGS]:
        rows += [BLANK, *_finding_rows(finding, width, glyphs)]
    if len(report.findings) > MAX_FINDINGS:
        rows += [BLANK, (say(f"and {plural(len(report.findings) - MAX_FINDINGS, 'further finding')}", Role.MUTED),)]
    return rows


def _rank(finding: CheckFinding) -> int:
    return [Severity.ERROR, Severity.WARNING, Severity.INFO].index(finding.severity)


def _finding_rows(finding: CheckFinding, width: int, glyphs: Glyphs) -> list[Row]:
    sign, role = {
        Severity.ERROR: (glyphs.error, Role.ERROR),
        Severity.WARNING: (glyphs.warn, Role.WARN),
    }.get(finding.severity, (glyphs.info, Role.INFO))
    done = ", mended" if finding.repaired else ""
    head: Row = (
        Span(f"{sign} ", role),
        say(finding.subject or finding.store),
        say(f"  {finding.code}{done}", Role.MUTED),
    )
    words = f"{finding.message} {finding.hint}".strip()
    return [head, *((Span("  "), *row) for row in paragraph(words, width - 2, Role.BODY))]


def check_text(report: CheckReport) -> str:
    """The same as plain text, to be copied."""
    lines = [checked_words(report), "clean" if report.clean else "not clean"]
    lines += [f"{item.severity.value}\t{item.code}\t{item.subject}\t{item.message}" for item in report.findings]
    return "\n".join(lines)
