"""The hero: one figure per screen, three rows high."""

from __future__ import annotations

from collections.abc import Sequence

from quickserveml_tui.charts.cells import Row
from quickserveml_tui.charts.hero import hero
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked


class Hero(Inked):
    """A figure with its unit and label; one bold row where there is no room for three."""

    DEFAULT_CSS = "Hero { height: 3; width: auto; }"

    def __init__(self, value: str = "–", unit: str = "", label: str = "", *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._shown = (safe_text(value), safe_text(unit), safe_text(label))

    def show(self, value: str, unit: str = "", label: str = "") -> None:
        """Show another figure."""
        shown = (safe_text(value), safe_text(unit), safe_text(label))
        if shown != self._shown:
            self._shown = shown
            self.refresh(layout=True)

    def natural_width(self) -> int:
        """Cells of the widest row."""
        from quickserveml_tui.tui.widgets.ink import row_width

        drawing = hero(*self._shown, charset=glyphs_of(self).charset)
        return max(row_width(row) for row in drawing.rows)

    def get_content_width(self, container: object, viewport: object) -> int:  # noqa: ARG002 - Textual's own
        """Cells of the widest row."""
        return self.natural_width()

    def rows(self, width: int) -> Sequence[Row]:
        """The figure; on the last of three rows where it takes one only."""
        drawing = hero(*self._shown, charset=glyphs_of(self).charset, max_width=width)
        room = self.content_size.height
        if room < 3 and drawing.height == 3:
            drawing = hero(*self._shown, max_width=1)
        return ((),) * max(min(room, 3) - drawing.height, 0) + drawing.rows
