"""Panes of the monitor that draw: traffic, latency, load."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.monitoring import MonitorSource
from quickserveml_tui.core.units import bytes_parts, significant
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.monitor.charts import Gauge, GaugeList, HeatChart, Series, WindowChart, readout
from quickserveml_tui.tui.monitor.history import Point
from quickserveml_tui.tui.monitor.view import View
from quickserveml_tui.tui.panes.base import WorkPane
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.hero import Hero
from quickserveml_tui.tui.widgets.ink import crop_row, say, two_edges
from quickserveml_tui.tui.widgets.pane import join_spans
from quickserveml_tui.tui.widgets.traces import LiveChart

ALL = "all models"


def _rate(value: float) -> str:
    return significant(value) if value else "0"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _cpu(point: Point) -> float | None:
    """Per cent of one core, as `top` and the command say it: a busy tiny model takes a small part of a core."""
    return None if point.rates.cpu_cores is None else 100 * point.rates.cpu_cores


def _memory(point: Point) -> float | None:
    return point.rates.rss_bytes / 1e6 or None


GAUGES = (
    Gauge("batch", "req", lambda point: point.rates.total.batch, of=lambda rates: rates.batch),
    Gauge("queue", "ms", lambda point: point.rates.total.queue_ms, of=lambda rates: rates.queue_ms),
    Gauge("run", "ms", lambda point: point.rates.total.compute_ms, of=lambda rates: rates.compute_ms),
    Gauge("pending", "", lambda point: point.rates.total.pending, _count, of=lambda rates: rates.pending),
    Gauge("connections", "", lambda point: point.rates.connections or None, _count, leads=True),
    Gauge("CPU", "%", _cpu, _rate),
    Gauge("memory", "MB", _memory, _count),
    Gauge("machine", "%", lambda point: point.cpu_percent, _count, lambda _view: 100.0, leads=True),
    Gauge("GPU", "%", lambda point: point.gpu_percent, _count, lambda _view: 100.0),
)


class ChartBody(Vertical, can_focus=True):
    """Takes the focus for a pane of charts."""


class ViewPane(WorkPane):
    """A pane over the shared view."""

    def __init__(self, view: View, *, key: str, title: str, id: str) -> None:  # noqa: A002 - Textual's own
        super().__init__(key=key, title=title, id=id)
        self.view = view

    def show_view(self) -> None:
        """The view has changed: paint what it says."""
        for chart in self.query(LiveChart):
            chart.changed()

    def focus_body(self) -> None:
        """Move the focus to the charts."""
        self.screen.set_focus(self.query_one(ChartBody))


class TrafficPane(ViewPane):
    """Requests per second: how many, how many failed, and over time."""

    def __init__(self, view: View) -> None:
        super().__init__(view, key="1", title="Traffic", id="traffic")

    def compose_body(self) -> ComposeResult:
        """Hero, triples, chart."""
        with ChartBody(id="traffic-body"):
            with Horizontal(id="traffic-head"):
                yield Hero(id="traffic-hero")
                yield Sheet(id="traffic-facts")
            yield WindowChart(
                self.view,
                [Series(lambda rates: rates.requests_per_s),
                 Series(lambda rates: rates.errors_per_s or None, Role.ERROR)],
                "/s",
                id="traffic-chart",
            )  # fmt: skip

    def on_resize(self, event: events.Resize) -> None:
        """The hero is three rows high where there is room."""
        self.set_class(event.size.height < 13, "-low")

    def show_view(self) -> None:
        """Newest figures and the chart."""
        super().show_view()
        rates = self.view.newest
        self.subject = "@".join(self.view.model) if self.view.model else ""
        self.count_text = self.view.window_words
        self.refresh_title()
        self.query_one(Hero).show(_rate(rates.requests_per_s) if rates else "–", "requests/s")
        self.query_one("#traffic-facts", Sheet).show(lambda width, _: self._facts(width))

    def right_spans(self) -> list[Span]:
        """That the server does not answer stands where `live` would."""
        spans = super().right_spans()
        return (
            join_spans([[Span(f"{glyphs_of(self).error} no answer", Role.ERROR)], spans], 3)
            if self.view.gone
            else spans
        )

    def _facts(self, width: int) -> list[Row]:
        rates = self.view.newest
        if rates is None:
            return []
        share = 100 * rates.errors_per_s / rates.requests_per_s if rates.requests_per_s else 0.0
        bad = Role.ERROR if rates.errors_per_s else Role.STRONG
        rows = [("errors", _rate(rates.errors_per_s), "/s", bad), ("failing", f"{share:.1f}", "% ", bad),
                ("rows", _rate(rates.inferences_per_s), "/s", Role.STRONG)]  # fmt: skip
        return [
            two_edges([Span(label, Role.MUTED)], [say(figure, role, bold=True), Span(f" {unit}", Role.MUTED)], width)
            for label, figure, unit, role in rows
        ]


class LatencyPane(ViewPane):
    """Latency as heat over time, or as percentiles."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("left,h", "screen.move_cursor(-1)", "cursor", "monitor.cursor_left", "Move the cursor to what was before",
             display="hl"),
        bind("right,l", "screen.move_cursor(1)", "cursor", "monitor.cursor_right", "Move the cursor towards now",
             show=False),
        bind("v", "toggle_lines", "heat or lines", "monitor.toggle_percentiles",
             "Change between the heat map and the percentiles over time"),
    ]  # fmt: skip

    def __init__(self, view: View) -> None:
        super().__init__(view, key="2", title="Latency", id="latency")

    def compose_body(self) -> ComposeResult:
        """Heat or lines, and what the cursor is on."""
        with ChartBody(id="latency-body"):
            yield HeatChart(self.view, id="latency-heat")
            yield WindowChart(
                self.view,
                [
                    Series(lambda rates: rates.p99_ms, Role.FAINT, "p99", most=True),
                    Series(lambda rates: rates.p95_ms, Role.ALT, "p95", most=True),
                    Series(lambda rates: rates.p50_ms, Role.ACCENT, "p50", most=True),
                ],
                "ms",
                from_zero=False,
                id="latency-lines",
            )
            yield Sheet(id="latency-readout")

    def on_mount(self) -> None:
        """Heat comes first."""
        self.query_one("#latency-lines").display = False

    def on_resize(self, event: events.Resize) -> None:
        """The read-out needs a row."""
        self.set_class(event.size.height < 9, "-low")

    @property
    def columns(self) -> int:
        """Cells of the plot that is shown."""
        lines = self.query_one("#latency-lines", WindowChart)
        return lines.columns if lines.display else self.query_one(HeatChart).columns

    def right_spans(self) -> list[Span]:
        """The percentiles of the newest interval."""
        rates = self.view.newest
        if rates is None:
            return []
        groups = [
            [Span(f"{name} ", Role.MUTED), say(significant(value), Role.STRONG, bold=True), Span(" ms", Role.MUTED)]
            for name, value in (("p50", rates.p50_ms), ("p95", rates.p95_ms), ("p99", rates.p99_ms))
        ]
        return join_spans(groups, 3)

    def show_view(self) -> None:
        """Percentiles in the title, the chart, the read-out."""
        super().show_view()
        self.refresh_title()
        self.query_one("#latency-readout", Sheet).show(lambda width, _: [self._readout(width)])

    def _readout(self, width: int) -> Row:
        if self.view.source is MonitorSource.TRITON or self.view.source is MonitorSource.PROTOCOL:
            rates = self.view.newest
            if rates is not None and not rates.bounds:
                mean = significant(rates.mean_ms)
                words = f"mean {mean} ms; this server tells sums of times, not how they are spread"
                return crop_row((say(words, Role.MUTED),), width)
        return crop_row(readout(self.view, self.columns, width, narrow=self.screen.has_class("-narrow")), width)

    def action_toggle_lines(self) -> None:
        """Heat or percentiles."""
        lines, heat = self.query_one("#latency-lines"), self.query_one("#latency-heat")
        lines.display, heat.display = not lines.display, lines.display
        self.title = "Latency" if heat.display else "Percentiles"
        self.show_view()


class LoadPane(ViewPane):
    """Batches, queue and machine as thin strips on one time."""

    def __init__(self, view: View) -> None:
        super().__init__(view, key="4", title="Load", id="load")

    def compose_body(self) -> ComposeResult:
        """The strips."""
        with ChartBody(id="load-body"):
            yield GaugeList(self.view, GAUGES, id="load-gauges")

    def show_view(self) -> None:
        """Strips, and in the title cores and memory of the machine."""
        super().show_view()
        snapshot = self.view.snapshot
        words = []
        if snapshot is not None and snapshot.cores:
            words.append(f"{snapshot.cores} core{'s' if snapshot.cores != 1 else ''}")
        if snapshot is not None and snapshot.memory_total_bytes:
            words.append(" ".join(bytes_parts(snapshot.memory_total_bytes)))
        self.subject = "@".join(self.view.model) if self.view.model else ""
        self.count_text = "   ".join(words) or self.view.window_words
