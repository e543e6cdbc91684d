"""Charts of the monitor: lines and heat over a window that ends now, and thin strips on the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quickserveml_tui.charts.cells import Charset, Role, Row, Span, pad_row
from quickserveml_tui.charts.heatmap import heat_legend, heat_map
from quickserveml_tui.charts.lines import Line, ago_labels, dot_columns, line_chart, plot_width
from quickserveml_tui.charts.strips import strip
from quickserveml_tui.core.monitoring import ModelRates
from quickserveml_tui.core.units import MISSING, significant
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.monitor.history import Point
from quickserveml_tui.tui.monitor.view import View, clock_of
from quickserveml_tui.tui.widgets.ink import crop_row, row_width, say, two_edges
from quickserveml_tui.tui.widgets.pane import join_spans
from quickserveml_tui.tui.widgets.traces import LiveChart

LABELS = 6
"""Cells of the value labels."""


@dataclass(frozen=True, slots=True)
class Series:
    """A quantity of a model's rates, as a line."""

    pick: Callable[[ModelRates], float | None]
    role: Role = Role.ACCENT
    name: str = ""
    most: bool = False
    """Whether a column shows its largest value: no spike is lost."""


class WindowChart(LiveChart):
    """Lines of what the view is about."""

    DEFAULT_CSS = "WindowChart { height: 1fr; min-height: 4; }"

    def __init__(
        self,
        view: View,
        series: Sequence[Series],
        unit: str,
        *,
        from_zero: bool = True,
        id: str,  # noqa: A002 - Textual's own
    ) -> None:
        super().__init__(id=id)
        self.view, self.series, self.unit, self.from_zero = view, tuple(series), unit, from_zero

    @property
    def columns(self) -> int:
        """Cells of the plot."""
        return plot_width(self.content_size.width, LABELS, [Line((), name=one.name) for one in self.series])

    def rows(self, width: int) -> Sequence[Row]:
        """The chart."""
        view, charset = self.view, glyphs_of(self).charset
        charset = Charset.ASCII if charset is Charset.ASCII else Charset.BRAILLE
        columns = dot_columns(self.columns, charset)
        lines = [
            Line(view.history.columns(_of(view, one), view.window_s, columns, most=one.most), one.role, one.name)
            for one in self.series
        ]
        drawing = line_chart(
            lines, width, self.content_size.height, window_s=view.window_s, unit=self.unit, from_zero=self.from_zero,
            label_width=LABELS, cursor=view.column_of(self.columns), charset=charset,
        )  # fmt: skip
        return drawing.rows


def _of(view: View, one: Series) -> Callable[[Point], float | None]:
    def pick(point: Point) -> float | None:
        rates = point.of(view.model)
        return None if rates is None else one.pick(rates)

    return pick


class HeatChart(LiveChart):
    """Latency over time: buckets upwards, time to the right, requests in shades."""

    DEFAULT_CSS = "HeatChart { height: 1fr; min-height: 5; }"

    def __init__(self, view: View, *, id: str) -> None:  # noqa: A002 - Textual's own
        super().__init__(id=id)
        self.view = view

    @property
    def columns(self) -> int:
        """Cells of the plot."""
        return max(self.content_size.width - LABELS - 1, 0)

    def rows(self, width: int) -> Sequence[Row]:
        """Heat, times, and the legend where there is room for it."""
        view, height = self.view, self.content_size.height
        charset = Charset.ASCII if self.mono or glyphs_of(self).ascii_only else Charset.BRAILLE
        columns = max(width - LABELS - 1, 1)
        counts, bounds = view.history.heat(view.model, view.window_s, columns)
        legend_rows = 1 if height >= 8 else 0
        drawing, most = heat_map(
            counts, bounds, width, height - 1 - legend_rows, label_width=LABELS, cursor=view.column_of(columns),
            charset=charset,
        )  # fmt: skip
        lead = Span(" " * (LABELS + 1))
        rows = [*drawing.rows, (lead, *self._times(columns))]
        if not most and drawing.rows and view.newest is not None and view.newest.bounds:
            said = f"no request in the {view.window_words}"
            rows[len(drawing.rows) // 2] = (lead, Span(" " * ((columns - len(said)) // 2)), say(said, Role.MUTED))
        if legend_rows:
            rows.append((lead, *crop_row(heat_legend(most, charset=charset), columns)) if most else ())
        return rows

    def _times(self, columns: int) -> Row:
        """Labels of the axis; with a cursor, where it is and what o'clock."""
        at, point = self.view.column_of(columns), self.view.under_cursor(columns)
        if at is None:
            return ago_labels(self.view.window_s, columns)
        word = f"▲ {clock_of(point.at)}" if point is not None else "▲ nothing known"
        before = min(at, max(columns - len(word), 0))
        return (Span(" " * before), Span("▲", Role.ACCENT), say(word[1:], Role.BODY))


@dataclass(frozen=True, slots=True)
class Gauge:
    """A quantity of the server: its name, the newest figure, and how it went."""

    label: str
    unit: str
    pick: Callable[[Point], float | None]
    text: Callable[[float], str] = significant
    high: Callable[[View], float | None] = lambda _view: None
    """The value that fills the strip; the largest one in view by default."""
    of: Callable[[ModelRates], float | None] | None = None
    """The same of one version, where versions have it."""
    leads: bool = False
    """Whether a group of gauges begins with it: an empty row stands before it where there is room."""

    def picker(self, view: View) -> Callable[[Point], float | None]:
        """Where the figure comes from: the version that the charts are about, as far as it is known of versions."""
        pick, model = self.of, view.model
        if pick is None or model is None:
            return self.pick

        def take(point: Point) -> float | None:
            rates = point.of(model)
            return None if rates is None else pick(rates)

        return take


class GaugeList(LiveChart):
    """One row per quantity: `connections  212  ⠤⠤⠤`; what the server does not tell is said once, below."""

    DEFAULT_CSS = "GaugeList { height: 1fr; min-height: 3; }"

    def __init__(self, view: View, gauges: Sequence[Gauge], *, id: str) -> None:  # noqa: A002 - Textual's own
        super().__init__(id=id)
        self.view, self.gauges = view, tuple(gauges)

    def rows(self, width: int) -> Sequence[Row]:
        """The gauges that have something to say."""
        view, charset = self.view, glyphs_of(self).charset
        labels = max(len(gauge.label) for gauge in self.gauges)
        units = max(len(gauge.unit) for gauge in self.gauges)
        rows: list[Row] = []
        silent: list[str] = []
        airy = self.content_size.height >= len(self.gauges) + 1 + sum(gauge.leads for gauge in self.gauges)
        for gauge in self.gauges:
            point, pick = view.history.newest, gauge.picker(view)
            value = pick(point) if point is not None else None
            head = (
                Span(gauge.label.ljust(labels + 1), Role.MUTED),
                Span((MISSING if value is None else gauge.text(value)).rjust(6), Role.STRONG, bold=True),
                Span(f" {gauge.unit.ljust(units)}  ", Role.MUTED),
            )
            cells = width - row_width(head)
            columns = cells * 2 if charset is Charset.BRAILLE else cells
            values = view.history.columns(pick, view.window_s, max(columns, 1), most=True)
            if value is None and all(one is None for one in values):
                silent.append(gauge.label)
                continue
            if airy and gauge.leads and rows:
                rows.append(())
            if cells < 4:
                rows.append(crop_row(head, width))
                continue
            drawn = strip(values, low=0.0, high=gauge.high(view), charset=charset, role=Role.ALT)
            rows.append((*head, *pad_row(drawn, cells)))
        if silent and view.history.newest is not None and len(rows) < self.content_size.height:
            if airy:
                rows.append(())
            rows.append(crop_row((Span("not told: ", Role.MUTED), say(", ".join(silent), Role.MUTED)), width))
        return rows


def _percentiles(rates: ModelRates) -> list[Span]:
    parts: list[Span] = []
    for label, value in (("p50", rates.p50_ms), ("p95", rates.p95_ms), ("p99", rates.p99_ms)):
        parts += [Span(f"{label} ", Role.MUTED), say(significant(value), Role.STRONG, bold=True), Span("   ")]
    return [*parts, Span("ms", Role.MUTED)]


def readout(view: View, columns: int, width: int, *, narrow: bool = False) -> Row:
    """What the cursor is on, in one row; the keys that move it where there is none.

    With `narrow` the newest percentiles stand there too, because there is no title that says them.
    """
    point = view.under_cursor(columns)
    rates = point.of(view.model) if point is not None else None
    if view.ago_s is None:
        keys = [Span("h l", Role.STRONG, bold=True), Span(" move a cursor", Role.MUTED)]
        newest = view.newest if narrow else None
        return two_edges(_percentiles(newest) if newest is not None else [], keys, width)
    if point is None or rates is None:
        return two_edges([Span("cursor", Role.MUTED)], [Span("nothing is known of this moment", Role.MUTED)], width)
    groups = [
        [Span(f"{label} " if label else "", Role.MUTED), say(significant(value), Role.STRONG, bold=True),
         Span(f" {unit}", Role.MUTED)]
        for label, value, unit in (
            ("", rates.requests_per_s, "/s"), ("p50", rates.p50_ms, "ms"), ("p95", rates.p95_ms, "ms"),
            ("p99", rates.p99_ms, "ms"), ("errors", rates.errors_per_s, "/s"),
        )
    ]  # fmt: skip
    while len(groups) > 1 and row_width(join_spans(groups, 3)) > width:
        groups.pop(min(2, len(groups) - 1))  # p95 first: it lies between the two that say most
    right = join_spans(groups, 3)
    left = [Span("cursor ", Role.MUTED), say(clock_of(point.at))]
    while left and row_width(left) + 2 + row_width(right) > width:
        left.pop()  # the axis says when it was
    return two_edges(left, right, width)
