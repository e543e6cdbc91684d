"""Tabs inside a pane: names in a row, the active one bold with a rule under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual import events
from textual.message import Message
from textual.reactive import reactive

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.text import cell_width
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked, crop_row, say


class TabRow(Inked):
    """A row of tabs. It takes no focus: the pane binds the keys and calls `next_tab` and `previous_tab`."""

    DEFAULT_CSS = "TabRow { height: 2; }"

    active = reactive("")
    """Id of the active tab."""

    class Changed(Message):
        """Another tab is active."""

        def __init__(self, row: TabRow, tab: str) -> None:
            super().__init__()
            self.row = row
            self.tab = tab

        @property
        def control(self) -> TabRow:
            """The row, for `@on`."""
            return self.row

    def __init__(
        self,
        tabs: Sequence[tuple[str, str]],
        *,
        active: str = "",
        id: str | None = None,  # noqa: A002 - Textual's own parameter
    ) -> None:
        super().__init__(id=id)
        self.tabs = tuple(tabs)
        self._counts: dict[str, int] = {}
        self.set_reactive(TabRow.active, active or (self.tabs[0][0] if self.tabs else ""))
        self._places: list[tuple[int, int, str]] = []

    def watch_active(self, old: str, new: str) -> None:
        """Tell the pane."""
        if old != new:
            self.post_message(self.Changed(self, new))

    def set_counts(self, counts: dict[str, int]) -> None:
        """Show a count behind the names of some tabs."""
        self._counts = dict(counts)
        self.refresh()

    def next_tab(self) -> None:
        """Activate the tab at the right, after the last the first."""
        self._step(1)

    def previous_tab(self) -> None:
        """Activate the tab at the left, before the first the last."""
        self._step(-1)

    def _step(self, by: int) -> None:
        ids = [tab for tab, _ in self.tabs]
        if ids:
            self.active = ids[(ids.index(self.active) + by) % len(ids) if self.active in ids else 0]

    def rows(self, width: int) -> Sequence[Row]:
        """Names, and below the active one the rule."""
        glyphs = glyphs_of(self)
        natural = sum(cell_width(name) for _, name in self.tabs)
        gap = 3 if natural + 3 * (len(self.tabs) - 1) <= width else 2
        names: list[Span] = []
        self._places = []
        at = 0
        rule: Row = ()
        for index, (tab, name) in enumerate(self.tabs):
            if index:
                names.append(Span(" " * gap))
                at += gap
            active = tab == self.active
            count = f" {self._counts[tab]:,}" if tab in self._counts else ""
            plain = self.mono or glyphs.ascii_only
            names.append(replace(say(name, Role.STRONG if active else Role.MUTED, bold=active), under=active and plain))
            if count:
                names.append(Span(count, Role.BODY))
            size = cell_width(name) + len(count)
            if active and not plain:
                rule = (Span(" " * at), Span(glyphs.tab_rule * size, Role.ACCENT))
            self._places.append((at, at + size, tab))
            at += size
        return (crop_row(tuple(names), width), crop_row(rule, width))

    def on_click(self, event: events.Click) -> None:
        """Activate the tab under the pointer."""
        for start, end, tab in self._places:
            if start <= event.x < end:
                self.active = tab
