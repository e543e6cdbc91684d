"""The panes as a row of tabs, where one fits on the screen at a time."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked, crop_row, row_width, say, two_edges

GROUP_GAP = "   "
NAMES = (("1", "Catalog"), ("2", "Inspector"), ("3", "Benchmark"), ("4", "Jobs"))


def fitting_groups(spans: Sequence[Span], room: int) -> Row:
    """The groups of spans, three blanks apart, that fit into `room` cells, the first ones first."""
    groups: list[list[Span]] = [[]]
    for span in spans:
        if span.text == GROUP_GAP:
            groups.append([])
        else:
            groups[-1].append(span)
    kept: list[Span] = []
    for group in groups:
        longer = [*kept, Span(GROUP_GAP), *group] if kept else group
        if row_width(longer) > room:
            break
        kept = longer
    return tuple(kept)


class PaneTabs(Inked):
    """`1 Catalog   2 Inspector   3 Benchmark   4 Jobs 3`, with what the current one is about at the right."""

    DEFAULT_CSS = "PaneTabs { height: 2; background: $ground; padding: 0; }"

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, names: Sequence[tuple[str, str]] = NAMES) -> None:
        super().__init__(id="pane-tabs")
        self.names = tuple(names)
        self.current = 1
        self.live = False
        self.jobs = 0
        self.right: tuple[Span, ...] = ()
        self._places: list[tuple[int, int, int]] = []

    def update_tabs(self, *, current: int, right: Sequence[Span], live: bool = False, jobs: int = 0) -> None:
        """Show another state; `right` is what the current pane's title would say at its right."""
        state = (current, live, jobs, tuple(right))
        if state != (self.current, self.live, self.jobs, self.right):
            self.current, self.live, self.jobs, self.right = state
            self.refresh()

    def rows(self, width: int) -> Sequence[Row]:
        """The names, and the rule below the current one."""
        glyphs = glyphs_of(self)
        left: list[Span] = [Span(" ")]
        rule: Row = ()
        self._places = []
        at = 1
        for index, (key, name) in enumerate(self.names, 1):
            part = self._tab(index, key, name)
            size = row_width(part)
            if index == self.current:
                rule = (Span(" " * at), Span(glyphs.tab_rule * size, Role.ACCENT))
            self._places.append((at, at + size, index))
            left += part
            at += size
        room = max(width - at - 3, 0)
        end = [*fitting_groups(self.right, room), Span("  ")] if self.right else []
        return (crop_row(two_edges(left, end, width), width), rule)

    def _tab(self, index: int, key: str, name: str) -> list[Span]:
        current = index == self.current
        part = [
            Span("  "),
            say(key, Role.ACCENT if current else Role.MUTED, bold=True),
            say(f" {name}", Role.STRONG if current else Role.MUTED, bold=current),
        ]
        if index == 3 and self.live and not current:
            part.append(Span(f" {glyphs_of(self).running}", Role.ACCENT))
        if index == 4 and self.jobs:
            part.append(say(f" {self.jobs}", Role.BODY))
        return [*part, Span("  ")]

    def on_click(self, event: events.Click) -> None:
        """Ask for the pane under the pointer."""
        for start, end, number in self._places:
            if start <= event.x < end:
                self.post_message(self.Chosen(number))
