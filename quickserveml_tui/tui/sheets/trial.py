"""What a trial found, as words and glyph, and in full."""

from __future__ import annotations

import textwrap

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.compatibility import Compatibility
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.models import TrialOutcome, TrialReport
from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.core.units import MISSING, significant
from quickserveml_tui.tui.glyphs import Glyphs
from quickserveml_tui.tui.sheets.rows import BLANK, heading, labelled, paragraph, trial_sign
from quickserveml_tui.tui.times import local_clock
from quickserveml_tui.tui.widgets.ink import key_row, say

MAX_DETAIL = 100_000
MAX_LINES = 2_000


def trial_spans(trial: TrialReport, glyphs: Glyphs) -> list[Span]:
    """The sign of a trial as spans."""
    sign, word, role = trial_sign(trial, glyphs)
    return [Span(f"{sign} {word}", role)]


def reason_of(trial: TrialReport) -> str:
    """Why it cannot run, in one sentence; empty when it is ready."""
    if trial.outcome is TrialOutcome.READY:
        return ""
    return trial.reason or "Its trial failed without a word."


def reason_rows(trial: TrialReport, width: int, *, keys: tuple[tuple[str, str], ...] = ()) -> list[Row]:
    """The reason and the keys that go on from there; nothing for what is ready."""
    reason = reason_of(trial)
    if not reason:
        return []
    rows = paragraph(safe_text(reason, 600), width, Role.ERROR)
    if trial.quarantined:
        rows += paragraph("It broke the process that tried it, so nothing else opens it.", width, Role.BODY)
    return [*rows, key_row(keys)] if keys else rows


def format_rows(
    compatibility: Compatibility | None, width: int, glyphs: Glyphs, *, convertible: bool = False
) -> list[Row]:
    """Formats that the runtime does not take, each with what to do; nothing when it takes all."""
    if compatibility is None or compatibility.ok:
        return []
    rows: list[Row] = [BLANK, heading("Formats", width, [say(compatibility.limits.runtime, Role.MUTED)])]
    rows += [
        (
            Span(f"{glyphs.warn} ", Role.WARN), say(f"{item.what}  "), say(str(item.has), Role.STRONG, bold=True),
            say(f"  the runtime takes {item.takes}", Role.MUTED),
        )
        for item in compatibility.mismatches[:20]
    ]  # fmt: skip
    for remedy in dict.fromkeys(item.remedy for item in compatibility.mismatches if item.remedy):
        rows += paragraph(remedy, width, Role.BODY)
    return [*rows, key_row([("O", "convert into a new version")])] if convertible else rows


def raw_rows(text: str, width: int) -> list[Row]:
    """A long raw text, line by line and wrapped, without anything a terminal would obey."""
    rows: list[Row] = []
    for line in safe_lines(text, MAX_DETAIL).splitlines():
        parts = textwrap.wrap(line, max(width, 8), replace_whitespace=False, drop_whitespace=False) or [""]
        rows += [(say(part),) for part in parts]
        if len(rows) > MAX_LINES:
            return [*rows[:MAX_LINES], (say("and more", Role.MUTED),)]
    return rows


def trial_rows(trial: TrialReport, width: int, glyphs: Glyphs) -> list[Row]:
    """The verdict, its reason, where it comes from, and the runtime's own words."""
    sign, word, role = trial_sign(trial, glyphs)
    rows: list[Row] = [(Span(f"{sign} ", role), say(word, Role.STRONG, bold=True))]
    rows += [*reason_rows(trial, width), BLANK]
    facts = [
        ("code", trial.code), ("signal", trial.signal), ("runtime", trial.runtime or MISSING),
        ("tried", local_clock(trial.tried_at)),
        ("first load", f"{significant(trial.load_ms)} ms" if trial.load_ms is not None else ""),
        ("first run", f"{significant(trial.run_ms)} ms" if trial.run_ms is not None else ""),
    ]  # fmt: skip
    for label, value in facts:
        if value:
            rows += labelled(label, value, width)
    if trial.warning:
        rows += [BLANK, *paragraph(trial.warning, width, Role.WARN)]
    if trial.detail:
        rows += [BLANK, heading("In full", width), *raw_rows(trial.detail, width)]
    return rows


def trial_text(ref: str, trial: TrialReport) -> str:
    """The same as plain text, to be copied."""
    parts = [ref, trial.outcome.value, trial.reason, trial.code, trial.signal, trial.runtime, trial.tried_at]
    head = "\n".join(safe_text(part) for part in parts if part)
    return f"{head}\n\n{safe_lines(trial.detail, MAX_DETAIL)}" if trial.detail else head


def error_rows(error: QuickServeError, doing: str, width: int, glyphs: Glyphs) -> list[Row]:
    """What happened, why, what to do, and the raw text behind it."""
    rows: list[Row] = [
        (Span(f"{glyphs.error} " if index == 0 else "  ", Role.ERROR), *row)
        for index, row in enumerate(paragraph(error.message, width - 2, Role.ERROR))
    ]
    if error.hint:
        rows += paragraph(error.hint, width, Role.BODY)
    rows.append(BLANK)
    if doing:
        rows += labelled("while", doing[:1].lower() + doing[1:], width)
    rows += labelled("code", error.code, width)
    if signal := str(getattr(error, "signal", "")):
        rows += labelled("signal", signal, width)
    if error.detail:
        rows += [BLANK, heading("In full", width), *raw_rows(error.detail, width)]
    return rows


def error_text(error: QuickServeError, doing: str) -> str:
    """The same as plain text, to be copied."""
    parts = [doing, error.message, error.hint, error.code, str(getattr(error, "signal", ""))]
    head = "\n".join(safe_text(part) for part in parts if part)
    return f"{head}\n\n{safe_lines(error.detail, MAX_DETAIL)}" if error.detail else head
