"""Live charts: the latency trace and the strips below it, on one time axis."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from textual.timer import Timer

from quickserveml_tui.charts.cells import Role, Row, Span, pad_row
from quickserveml_tui.charts.strips import resample, strip
from quickserveml_tui.core.text import cell_width, safe_text
from quickserveml_tui.core.units import MISSING, significant
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked, crop_row

if TYPE_CHECKING:
    from quickserveml_tui.charts.series import LatencySeries
    from quickserveml_tui.core.benchmarks import BenchmarkFrame

MAX_POINTS = 4096
LABEL_WIDTH = 11
FIGURE_WIDTH = 6


class LiveChart(Inked):
    """Base of charts that are fed while something runs: many changes become one repaint.

    A repaint comes at most `paint_hz` times a second; between runs there is no timer.
    """

    paint_hz: float = 10.0
    """Most repaints a second; 2 while a measurement runs beside the interface."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's own
        super().__init__(id=id, classes=classes)
        self._painted_at = 0.0
        self._waiting: Timer | None = None

    def changed(self) -> None:
        """Repaint soon."""
        if self._waiting is not None or not self.is_mounted:
            return
        due = self._painted_at + 1.0 / self.paint_hz - time.monotonic()
        if due <= 0:
            self._paint()
        else:
            self._waiting = self.set_timer(due, self._paint)

    def flush(self) -> None:
        """Repaint now."""
        if self._waiting is not None:
            self._waiting.stop()
        self._paint()

    def _paint(self) -> None:
        self._waiting = None
        self._painted_at = time.monotonic()
        self.refresh()


class TraceChart(LiveChart):
    """Latency over time: the envelope of minimum and maximum, so that no spike is lost; warm-up apart."""

    DEFAULT_CSS = "TraceChart { height: 1fr; min-height: 5; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's own
        super().__init__(id=id, classes=classes)
        self._series: LatencySeries | None = None
        self._total_s: float | None = None
        self._running = False
        self._marks: dict[str, float] = {}
        self._drawn: tuple[object, tuple[Row, ...]] | None = None

    @property
    def series(self) -> LatencySeries:
        """What is drawn."""
        if self._series is None:
            # numpy comes with the first samples, not with the first frame of the interface.
            from quickserveml_tui.charts.series import LatencySeries

            self._series = LatencySeries()
        return self._series

    def begin(self, total_s: float | None = None) -> None:
        """A run starts.

        Args:
            total_s: Planned time, warm-up included: the width of the axis from the start, so that nothing moves.
                Without it the axis grows in steps.
        """
        self.clear()
        self._total_s = total_s
        self._running = True
        self.changed()

    def update_frame(self, frame: BenchmarkFrame) -> None:
        """Add what was measured since the frame before."""
        from quickserveml_tui.core.benchmarks import Phase

        series = self.series
        if frame.phase is Phase.WARMUP:
            series.warmup_until_s = max(series.warmup_until_s or 0.0, frame.elapsed_s)
        elif frame.phase is Phase.MEASURING and series.warmup_until_s and frame.starts_s and not self._measuring:
            series.warmup_until_s = min(series.warmup_until_s, *frame.starts_s) or None
        self._measuring = self._measuring or frame.phase is Phase.MEASURING
        series.extend(frame.starts_s, frame.latencies_ms)
        self.changed()

    _measuring = False

    def show_series(self, series: LatencySeries) -> None:
        """Draw a finished series."""
        self._series = series
        self.finish()

    def show_marks(self, marks: Mapping[str, float]) -> None:
        """Point at values from the right edge, by name (`p99`)."""
        if dict(marks) != self._marks:
            self._marks = dict(marks)
            self.changed()

    def finish(self) -> None:
        """The run is over: the axis ends at the last sample."""
        self._running = False
        self._total_s = None
        self.flush()

    def clear(self) -> None:
        """Forget all samples."""
        self._series = None
        self._measuring = False
        self._total_s = None
        self._running = False
        self._marks = {}
        self._drawn = None
        self.changed()

    def _window(self) -> tuple[float, float]:
        end = self.series.end_s
        if self._total_s is not None:
            return 0.0, max(self._total_s, end)
        if not self._running:
            return 0.0, max(end, 1e-6)
        span = 10.0
        while span < end:
            span *= 2
        return 0.0, span

    def rows(self, width: int) -> Sequence[Row]:
        """The chart; drawn again only when samples, size or signs have changed."""
        if self._series is None and not self._running:
            return ()
        from quickserveml_tui.charts.braille import trace_of

        height = self.content_size.height
        charset = glyphs_of(self).charset
        key = (self.series.generation, self._window(), width, height, charset, tuple(self._marks.items()))
        if self._drawn is None or self._drawn[0] != key:
            drawing = trace_of(self.series, width, height, window_s=self._window(), charset=charset, marks=self._marks)
            self._drawn = (key, drawing.rows)
        return self._drawn[1]

    def as_table(self, parts: int = 20) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Titles and rows with the same numbers: minimum and maximum per part of the time, and its phase."""
        titles = ("time s", "min ms", "max ms", "phase")
        if self._series is None or not self._series.count:
            return titles, []
        _, end = 0.0, max(self._series.end_s, 1e-9)
        columns = self._series.columns(parts, 0.0, end)
        warm = self._series.warmup_until_s or 0.0
        rows: list[tuple[str, ...]] = []
        for index, (low, high) in enumerate(zip(columns.low.tolist(), columns.high.tolist(), strict=True)):
            if not math.isnan(high):
                start = end * index / parts
                phase = "warm-up" if start + end / parts / 2 < warm else "measured"
                rows.append((f"{start:.2f}", significant(low), significant(high), phase))
        return titles, rows


class StripChart(LiveChart):
    """A label, its newest figure with unit, and how it went: one row, on the time axis of the trace."""

    DEFAULT_CSS = "StripChart { height: 1; }"

    def __init__(
        self,
        label: str,
        unit: str = "",
        format: Callable[[float], str] = significant,  # noqa: A002 - what it does to the figure
        *,
        id: str | None = None,  # noqa: A002 - Textual's own parameter
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.label = safe_text(label)
        self.unit = safe_text(unit)
        self._format = format
        self._times: list[float] = []
        self._values: list[float] = []
        self._settled: float | None = None
        self._total_s: float | None = None

    def begin(self, total_s: float | None = None) -> None:
        """A run starts that takes `total_s` seconds in all, if that is known."""
        self.clear()
        self._total_s = total_s

    def add(self, time_s: float, value: float) -> None:
        """Add a sample; older ones are thinned out when there are many."""
        self._times.append(time_s)
        self._values.append(value)
        if len(self._values) > MAX_POINTS:
            self._times = self._times[::2]
            self._values = [
                (first + second) / 2
                for first, second in zip(self._values[::2], [*self._values[1::2], self._values[-1]], strict=False)
            ]
        self.changed()

    def finish(self) -> None:
        """The run is over."""
        self._total_s = None
        self.flush()

    def settle(self, value: float | None) -> None:
        """Show the figure of the whole run instead of the newest sample."""
        self._settled = value
        self.flush()

    def clear(self) -> None:
        """Forget all samples."""
        self._times, self._values = [], []
        self._settled = None
        self._total_s = None
        self.changed()

    @property
    def newest(self) -> float | None:
        """The newest value."""
        return self._values[-1] if self._values else None

    def rows(self, width: int) -> Sequence[Row]:
        """One row: `throughput  44.8 /s  ⠤⠤⠤`."""
        value = self.newest if self._settled is None else self._settled
        figure = MISSING if value is None else self._format(value)
        unit_width = max(cell_width(self.unit), 2)
        head = (
            Span(self.label.ljust(LABEL_WIDTH), Role.MUTED),
            Span(figure.rjust(FIGURE_WIDTH), Role.STRONG, bold=True),
            Span(f" {self.unit.ljust(unit_width)}", Role.MUTED),
            Span("  "),
        )
        cells = width - LABEL_WIDTH - FIGURE_WIDTH - unit_width - 3
        if cells < 4:
            return (crop_row(head, width),)
        charset = glyphs_of(self).charset
        columns = cells * 2 if charset.value == "braille" else cells
        end = self._total_s or (self._times[-1] if self._times else 0.0)
        values = resample(self._times, self._values, columns, 0.0, end)
        return ((*head, *pad_row(strip(values, charset=charset), cells)),)
