"""The latency histogram, drawn by plotext in a thread so that the loop never waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual import work
from textual.message import Message
from textual.worker import get_current_worker

from quickserveml_tui.charts.cells import Drawing, Role, Row, Span
from quickserveml_tui.core.units import significant
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked

if TYPE_CHECKING:
    from quickserveml_tui.core.benchmarks import HistogramData


class HistogramView(Inked):
    """How often each latency came, with marks at percentiles."""

    DEFAULT_CSS = "HistogramView { height: 1fr; min-height: 5; }"

    class Drawn(Message):
        """A picture is ready."""

        def __init__(self, drawing: Drawing, key: object) -> None:
            super().__init__()
            self.drawing = drawing
            self.key = key

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's own
        super().__init__(id=id, classes=classes)
        self._data: HistogramData | None = None
        self._marks: dict[str, float] = {}
        self._drawing = Drawing()
        self._key: object = None

    def show(self, data: HistogramData | None, marks: Mapping[str, float] | None = None) -> None:
        """Draw other data; None shows nothing."""
        self._data = data
        self._marks = dict(marks or {})
        self._redraw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._redraw()

    def on_mount(self) -> None:
        """Draw what was given before."""
        self._redraw()

    def _redraw(self) -> None:
        if not self.is_mounted:
            return
        width, height = self.content_size
        if self._data is None or not self._data.counts or width < 10 or height < 3:
            self._key, self._drawing = None, Drawing()
            self.refresh()
            return
        key = (self._data, tuple(self._marks.items()), width, height, glyphs_of(self).charset)
        if key != self._key:
            self._key = key
            self._draw(self._data, dict(self._marks), width, height)

    @work(thread=True, exclusive=True, group="histogram")
    def _draw(self, data: HistogramData, marks: dict[str, float], width: int, height: int) -> None:
        from quickserveml_tui.charts.plot import histogram

        key = self._key
        drawing = histogram(data, width, height, marks=marks, charset=glyphs_of(self).charset)
        if not get_current_worker().is_cancelled:
            self.post_message(self.Drawn(drawing, key))

    def on_histogram_view_drawn(self, event: HistogramView.Drawn) -> None:
        """Show the picture, unless another one is wanted by now."""
        event.stop()
        if event.key == self._key:
            self._drawing = event.drawing
            self.refresh()

    def rows(self, width: int) -> Sequence[Row]:  # noqa: ARG002 - drawn for the width before
        """The picture, or nothing while there is none."""
        if self._data is None:
            return ((Span("No latencies yet.", Role.MUTED),),)
        return self._drawing.rows

    def as_table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Titles and rows with the same numbers."""
        titles = ("from ms", "to ms", "runs")
        if self._data is None:
            return titles, []
        edges = self._data.edges_ms
        return titles, [
            (significant(low), significant(high), f"{count:,}")
            for low, high, count in zip(edges, edges[1:], self._data.counts, strict=False)
        ]
