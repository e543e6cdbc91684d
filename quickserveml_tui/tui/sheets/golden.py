"""Golden outputs and what a check of them found."""

from __future__ import annotations

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.golden import GoldenCheck, GoldenReport, ValueDifference
from quickserveml_tui.core.models import GoldenOutput
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import MISSING, plain_number, significant
from quickserveml_tui.tui.glyphs import Glyphs
from quickserveml_tui.tui.sheets.rows import BLANK, heading, labelled, paragraph
from quickserveml_tui.tui.times import local_clock
from quickserveml_tui.tui.widgets.ink import say, two_edges


def tolerance_words(golden: GoldenOutput) -> str:
    """`1e-4 rel, 1e-5 abs`."""
    return f"{_small(golden.rtol)} rel, {_small(golden.atol)} abs"


def _small(value: float) -> str:
    if value == 0 or value >= 0.01:
        return f"{value:g}"
    digits, _, power = f"{value:.2e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"


def check_sign(check: GoldenCheck | None, glyphs: Glyphs) -> tuple[str, str, Role]:
    """Glyph, word and role of a check; `–` where there was none."""
    if check is None:
        return glyphs.queued, "not checked", Role.MUTED
    if check.ok:
        return glyphs.ok, "same", Role.OK
    return glyphs.error, "differs" if check.code == "golden.differs" else "failed", Role.ERROR


def worst_of(check: GoldenCheck | None) -> ValueDifference | None:
    """The output that is farthest from what was expected: one that failed first, then by absolute difference."""
    differences = check.differences if check is not None else ()
    return max(differences, key=lambda one: (not one.ok, -1.0 if one.max_abs is None else one.max_abs), default=None)


def worst_words(check: GoldenCheck | None) -> str:
    """The largest absolute difference; `0` when all is equal, `–` where nothing was compared."""
    worst = worst_of(check)
    if worst is None or worst.max_abs is None:
        return MISSING
    return plain_number(worst.max_abs) if worst.max_abs == 0 else f"{worst.max_abs:.2g}"


def report_words(report: GoldenReport) -> str:
    """`found 3 golden outputs the same`, or how many differ and the first reason."""
    if not report.checks:
        return "found no golden outputs to check"
    count = plural(len(report.checks), "golden output")
    if report.ok:
        return f"found {count} the same"
    failed = report.failed
    first = failed[0]
    return f"{len(failed)} of {count} failed: {first.name}: {first.reason}"


def report_rows(report: GoldenReport, width: int, glyphs: Glyphs) -> list[Row]:
    """Every check with its outputs; failed ones first, in words."""
    good = report.ok
    sign, role = (glyphs.ok, Role.OK) if good else (glyphs.error, Role.ERROR)
    verdict = "All outputs are the same" if good else f"{len(report.failed)} of {len(report.checks)} failed"
    rows: list[Row] = [(Span(f"{sign} ", role), say(verdict, Role.STRONG, bold=True))]
    if report.runtime:
        rows += labelled("runtime", report.runtime, width)
    for check in sorted(report.checks, key=lambda one: one.ok):
        rows += [BLANK, *check_rows(check, width, glyphs)]
    return rows


def check_rows(check: GoldenCheck, width: int, glyphs: Glyphs) -> list[Row]:
    """One golden output: verdict, reason, then each of its outputs with its worst difference."""
    sign, word, role = check_sign(check, glyphs)
    took = f"{significant(check.run_ms)} ms" if check.run_ms is not None else ""
    rows: list[Row] = [heading(check.name, width, [Span(f"{sign} {word}", role), say(f"  {took}", Role.MUTED)])]
    if check.reason:
        rows += paragraph(check.reason, width, Role.ERROR)
    for one in check.differences[:200]:
        rows += difference_rows(one, width, glyphs)
    return rows


def difference_rows(one: ValueDifference, width: int, glyphs: Glyphs) -> list[Row]:
    """One output: `✓ scores   1.2e-07 abs  0.0003 rel   10 elements`."""
    sign, role = (glyphs.ok, Role.OK) if one.ok else (glyphs.error, Role.ERROR)
    parts = [
        f"{one.max_abs:.2g} abs" if one.max_abs is not None else "",
        f"{one.max_rel:.2g} rel" if one.max_rel is not None else "",
        plural(one.elements, "element") if one.ok else f"{one.differing:,} of {plural(one.elements, 'element')}",
    ]
    right = [say("  ".join(filter(None, parts)), Role.BODY if one.ok else Role.ERROR)]
    rows: list[Row] = [two_edges([Span(f"{sign} ", role), say(one.output)], right, width)]
    return rows if one.ok else rows + [(Span("  "), *row) for row in paragraph(one.reason, width - 2, Role.BODY)]


def golden_rows(golden: GoldenOutput, check: GoldenCheck | None, width: int, glyphs: Glyphs) -> list[Row]:
    """What is kept, and what the last check found."""
    rows = labelled("inputs", golden.source or MISSING, width)
    rows += labelled("tolerance", tolerance_words(golden), width)
    when = f"{local_clock(golden.created_at)} with {golden.runtime or 'an unknown runtime'}"
    rows += labelled("recorded", when, width)
    if golden.notes:
        rows += labelled("notes", golden.notes, width)
    return [*rows, BLANK, *check_rows(check, width, glyphs)] if check is not None else rows


def report_text(report: GoldenReport) -> str:
    """A report as tab-separated lines, to be copied."""
    lines = [f"{report.ref}\t{report.runtime}"]
    for check in report.checks:
        lines.append(f"{check.name}\t{'same' if check.ok else 'failed'}\t{check.reason}")
        lines += [f"\t{one.output}\t{one.max_abs}\t{one.max_rel}\t{one.reason}" for one in check.differences]
    return "\n".join(lines)
