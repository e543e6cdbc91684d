"""A row that stays as long as something is wrong with the home."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked, crop_row, row_width, say, two_edges

if TYPE_CHECKING:
    from quickserveml_tui.core.care import HomeHealth


class Banner(Inked):
    """What is wrong, the command that mends it, and the key that says more."""

    DEFAULT_CSS = "Banner { height: 1; background: $raised; padding: 0 2; }"

    def __init__(self, health: HomeHealth) -> None:
        super().__init__(id="banner")
        self.health = health

    def show(self, health: HomeHealth) -> None:
        """Show another state."""
        self.health = health
        self.refresh()

    def rows(self, width: int) -> Sequence[Row]:
        """One row; where it is narrow the command stands in the dialog only."""
        first = self.health.problems[0] if self.health.problems else None
        sentence = first.message if first else "Nothing can be written here."
        lead = "read-only  " if self.health.read_only else ""
        sign = Span(f"{glyphs_of(self).warn} ", Role.WARN)
        more = f" and {len(self.health.problems) - 1} more" if len(self.health.problems) > 1 else ""
        left = [sign, say(lead, Role.WARN, bold=True), say(sentence), say(more, Role.MUTED)]
        right = [say("H", Role.STRONG, bold=True), say(" says more", Role.MUTED)]
        command = [say(f"{first.command}   ", Role.STRONG)] if first and first.command else []
        if row_width(command) <= width // 3:
            right = [*command, *right]
        return (two_edges(crop_row(tuple(left), width - row_width(right) - 2), right, width),)

    async def on_click(self, event: events.Click) -> None:
        """A click says more."""
        event.stop()
        await self.run_action("screen.show_health")
