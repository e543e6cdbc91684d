"""Building blocks of sheets."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.models import TrialOutcome, TrialReport, VersionRecord, VersionState
from quickserveml_tui.core.text import cell_width, safe_text, truncate_middle
from quickserveml_tui.tui.glyphs import Glyphs
from quickserveml_tui.tui.widgets.ink import say, two_edges

BLANK: Row = ()
STATE_ROLES = {
    VersionState.DRAFT: Role.MUTED,
    VersionState.VALIDATED: Role.OK,
    VersionState.DEPRECATED: Role.MUTED,
    VersionState.ARCHIVED: Role.MUTED,
}
ALIAS_ROLES = {"prod": Role.OK, "staging": Role.INFO}


def heading(text: str, width: int, right: Sequence[Span] = ()) -> Row:
    """A group's heading: bold name left, a muted remark right."""
    return two_edges([say(text, Role.STRONG, bold=True)], right, width)


def pair(label: str, value: str, width: int, unit: str = "", role: Role = Role.BODY) -> Row:
    """A muted label at the left edge, its value at the right one."""
    right = [say(value, role)] + ([say(f" {unit}", Role.MUTED)] if unit else [])
    return two_edges([say(label, Role.MUTED)], right, width)


def labelled(label: str, value: str, width: int, indent: int = 14, role: Role = Role.BODY) -> list[Row]:
    """A muted label and a value that may take several rows beside it."""
    room = max(width - indent, 8)
    lines = textwrap.wrap(safe_text(value), room) or ["–"]
    name = truncate_middle(safe_text(label), indent - 2)
    rows: list[Row] = []
    for index, line in enumerate(lines):
        lead = name + " " * (indent - cell_width(name)) if index == 0 else " " * indent
        rows.append((say(lead, Role.MUTED) if index == 0 else Span(lead), say(line, role)))
    return rows


def paragraph(text: str, width: int, role: Role = Role.MUTED) -> list[Row]:
    """Running text, wrapped."""
    return [(say(line, role),) for line in textwrap.wrap(safe_text(text), max(width, 8))]


def bar(share: float, width: int, glyphs: Glyphs, role: Role = Role.ALT) -> Row:
    """A thin bar in steps of half a cell; a share above zero always shows."""
    steps = round(min(max(share, 0.0), 1.0) * width * 2)
    if share > 0:
        steps = max(steps, 1)
    full, half = divmod(steps, 2)
    text = glyphs.bar * full + (glyphs.half if half else "")
    return (Span(text, role), Span(" " * (width - len(text))))


def bars(
    items: Iterable[tuple[str, float, str, str]], width: int, glyphs: Glyphs, *, current: str = "", highest: float = 0.0
) -> list[Row]:
    """Rows of label, bar, figure and unit: `items` holds (label, value, figure, unit); `current` is drawn in accent."""
    rows = list(items)
    highest = highest or max((value for _, value, _, _ in rows), default=0.0) or 1.0
    label_width = min(max((cell_width(label) for label, _, _, _ in rows), default=0), max(width // 3, 6))
    figure_width = max((len(figure) for _, _, figure, _ in rows), default=0)
    unit_width = max((len(unit) for _, _, _, unit in rows), default=0)
    room = max(width - label_width - figure_width - unit_width - (5 if unit_width else 4), 4)
    drawn: list[Row] = []
    for label, value, figure, unit in rows:
        here = bool(current) and label == current
        name = truncate_middle(safe_text(label), label_width)
        drawn.append(
            (
                say(name + " " * (label_width - cell_width(name) + 2), Role.STRONG if here else Role.BODY, bold=here),
                *bar(value / highest, room, glyphs, Role.ACCENT if here else Role.ALT),
                say("  " + figure.rjust(figure_width), Role.STRONG if here else Role.BODY, bold=here),
                say(f" {unit.ljust(unit_width)}" if unit_width else "", Role.MUTED),
            )
        )
    return drawn


def state_spans(version: VersionRecord, glyphs: Glyphs) -> list[Span]:
    """What a version is, as glyph and word: `✓ validated`, `✓ ready  draft`, `✕ cannot run`, `‖ quarantined`."""
    sign, word, role = trial_sign(version.trial, glyphs)
    if not version.runnable:
        return [Span(f"{sign} {word}", role)]
    if version.state is VersionState.VALIDATED:
        return [Span(f"{glyphs.ok} validated", Role.OK)]
    return [Span(f"{sign} {word}", role), Span(f"  {version.state.value}", STATE_ROLES[version.state])]


def trial_sign(trial: TrialReport, glyphs: Glyphs) -> tuple[str, str, Role]:
    """Glyph, word and role of a trial: `✓ ready`, `✕ cannot run`, `‖ quarantined`."""
    if trial.outcome is TrialOutcome.READY:
        return glyphs.ok, "ready", Role.OK
    return (glyphs.held, "quarantined", Role.ERROR) if trial.quarantined else (glyphs.error, "cannot run", Role.ERROR)
