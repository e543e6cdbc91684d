"""A widget that lays facts out anew for each width."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quickserveml_tui.charts.cells import Row
from quickserveml_tui.tui.glyphs import Glyphs, glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked, crop_row

Layout = Callable[[int, Glyphs], Sequence[Row]]


def _nothing(_width: int, _glyphs: Glyphs) -> Sequence[Row]:
    return ()


class Sheet(Inked):
    """Rows made by a function of the width; made once for each width and content."""

    DEFAULT_CSS = "Sheet { height: auto; }"

    def __init__(self, layout: Layout = _nothing, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's own parameter
        super().__init__(id=id, classes=classes)
        self._make = layout
        self._made: tuple[int, Sequence[Row]] = (-1, ())

    def show(self, layout: Layout) -> None:
        """Show other facts."""
        before = len(self._made[1])
        width = self._made[0]
        self._make, self._made = layout, (-1, ())
        changed = width < 0 or len(self._rows_at(width)) != before
        self.refresh(layout=changed)

    def _rows_at(self, width: int) -> Sequence[Row]:
        if self._made[0] != width:
            self._made = (width, tuple(crop_row(row, width) for row in self._make(width, glyphs_of(self))))
        return self._made[1]

    def natural_height(self, width: int) -> int:
        """As many rows as the facts take."""
        return len(self._rows_at(width)) if width > 0 else 0

    def rows(self, width: int) -> Sequence[Row]:
        """The facts at this width."""
        return self._rows_at(width)
