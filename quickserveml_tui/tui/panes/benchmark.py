"""Pane 3: a benchmark while it runs, its result, and what was measured before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.units import significant
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.base import WorkPane
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.empty import EmptyState
from quickserveml_tui.tui.widgets.hero import Hero
from quickserveml_tui.tui.widgets.histogram import HistogramView
from quickserveml_tui.tui.widgets.ink import crop_row, row_width, say, two_edges
from quickserveml_tui.tui.widgets.traces import StripChart, TraceChart

if TYPE_CHECKING:
    from quickserveml_tui.core.benchmarks import BenchmarkFrame, BenchmarkRun, BenchmarkSpec
    from quickserveml_tui.tui.live import LiveRun

BROAD = 66
"""Columns from which the strips stand beside the percentiles."""
ROOMY = 92
"""Columns from which the percentiles have room for their intervals beside a wide hero."""
SIDE_BY_SIDE = 96
"""Columns from which the histogram stands beside the trace."""
STRIPS = (("throughput", "/s"), ("CPU", "%"), ("memory", "MB"))


class Strips(Vertical):
    """Throughput, CPU and memory over the time of the run."""

    def compose(self) -> ComposeResult:
        """One thin strip each."""
        for label, unit in STRIPS:
            yield StripChart(label, unit, significant)


class Charts(Horizontal, can_focus=True):
    """Trace and histogram; takes the focus for the pane."""


class Numbers(VerticalScroll, can_focus=True):
    """The result as a table that scrolls."""


class BenchmarkPane(WorkPane):
    """Live charts, then the result."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "t",
            "toggle_table",
            "table",
            "benchmark.toggle_table",
            "Show the same numbers as a table, with the saved runs",
        ),
        bind(
            "v",
            "toggle_histogram",
            "histogram",
            "benchmark.toggle_histogram",
            "Change between the latency trace and its histogram",
        ),
    ]

    def __init__(self) -> None:
        super().__init__(key="3", title="Benchmark", id="benchmark")
        self.spec: BenchmarkSpec
        self.live_run: LiveRun | None = None
        self.run: BenchmarkRun | None = None
        self.history: tuple[BenchmarkRun, ...] = ()
        self.ref = ""
        self.set_reactive(BenchmarkPane.count_text, "no runs")
        self.traced = ""
        """Id of the run whose trace is still there."""
        self.wants_histogram = False
        self.wants_table = False

    def compose_body(self) -> ComposeResult:
        """What would be here."""
        yield EmptyState(
            "Live latency, throughput, CPU and memory", [("b", "runs one, once a model is picked")], id="bench-empty"
        )

    def compose_rest(self) -> ComposeResult:
        """Subject, headline, charts, strips, trust; or the table."""
        yield Sheet(id="bench-subject")
        with Horizontal(id="bench-headline"):
            yield Hero(id="bench-hero")
            yield Sheet(id="bench-percentiles")
            yield Strips(id="strips-beside")
        with Charts(id="bench-charts"):
            yield TraceChart(id="bench-trace")
            yield HistogramView(id="bench-histogram")
        yield Strips(id="strips-below")
        with Numbers(id="bench-table"):
            yield Sheet(id="bench-numbers")
        yield Sheet(id="bench-foot")

    def on_furnished(self) -> None:
        """Nothing is measured yet."""
        self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        """What stands beside what depends on the room."""
        size = event.size
        self.update_classes({"-broad": size.width >= BROAD, "-roomy": size.width >= ROOMY, "-low": size.height < 20})
        self._arrange()

    # ---- what is shown

    @property
    def _titled(self) -> bool:
        """Whether the title row says which version it is about, because there is no room for a row of its own."""
        return self.has_class("-low") and not self.screen.has_class("-narrow")

    @property
    def state(self) -> str:
        """`live`, `result` or `empty`."""
        return "live" if self.live_run is not None else "result" if self.run is not None else "empty"

    def _arrange(self) -> None:
        if not self.furnished:
            return
        state = self.state
        had_focus = self.focus_inside
        table = self.wants_table and state == "result"
        charts = state != "empty" and not table
        has_trace = state == "live" or (self.run is not None and self.run.id == self.traced)
        both = has_trace and state == "result" and self.size.width >= SIDE_BY_SIDE
        histogram = state == "result" and (both or not has_trace or self.wants_histogram)
        broad = self.has_class("-broad")
        self.subject = self.ref if self._titled and state != "empty" else ""
        for selector, shown in (
            ("#bench-empty", state == "empty"), ("#bench-headline", charts),
            ("#bench-subject", state != "empty" and not self._titled),
            ("#bench-charts", charts), ("#bench-trace", has_trace and (both or not histogram)),
            ("#bench-histogram", histogram), ("#strips-beside", charts and broad and has_trace),
            ("#strips-below", charts and not broad and has_trace), ("#bench-foot", state != "empty"),
            ("#bench-table", table),
        ):  # fmt: skip
            self.query_one(selector).display = shown
        if had_focus and not self.focus_inside:
            self.focus_body()

    def focus_body(self) -> None:
        """Move the focus to what is shown."""
        if self.state == "empty":
            self.screen.set_focus(self.query_one("#bench-empty"))
        elif self.wants_table and self.state == "result":
            self.screen.set_focus(self.query_one("#bench-table"))
        else:
            self.screen.set_focus(self.query_one("#bench-charts"))

    def show_selection(self, ref: str, history: Sequence[BenchmarkRun], hint: str = "") -> None:
        """Show the newest run of a version, unless something runs; `hint` says why none can be made."""
        self.history = tuple(history)
        if self.live_run is not None or (self.run is not None and self.run.ref == ref and self._is_newest(ref)):
            self._fill_table()
            return
        self.ref = ref
        newest = next((run for run in history if run.ref == ref and not run.summary.cancelled), None)
        newest = newest or next((run for run in history if run.ref == ref), None)
        if newest is not None:
            self.show_result(newest)
            return
        self.run = None
        self.count_text = "no runs"
        empty = self.query_one("#bench-empty", EmptyState)
        if hint:
            empty.show(hint)
        elif ref:
            empty.show(
                f"No run of {ref} yet",
                [("b", f"runs one for {self.spec.duration_s:g} s"), ("B", "changes the settings")],
            )
        else:
            empty.show("Live latency, throughput, CPU and memory", [("b", "runs one, once a model is picked")])
        self._arrange()

    def _is_newest(self, ref: str) -> bool:
        newest = next((run for run in self.history if run.ref == ref), None)
        return newest is None or (self.run is not None and newest.created_at <= self.run.created_at)

    def begin(self, ref: str, spec: BenchmarkSpec) -> None:
        """A benchmark starts."""
        from quickserveml_tui.tui.live import LiveRun

        self.ref, self.spec, self.run = ref, spec, None
        self.live_run = LiveRun()
        self.wants_table = self.wants_histogram = False
        total = spec.warmup_s + spec.duration_s
        for chart in (self.query_one(TraceChart), *self.query(StripChart)):
            chart.paint_hz = 2.0
        self.query_one(TraceChart).begin(total_s=total)
        for strip in self.query(StripChart):
            strip.begin(total_s=total)
        self.live = True
        self._arrange()
        self._show_live()

    def add_frames(self, frames: Sequence[BenchmarkFrame]) -> None:
        """Show what was measured since."""
        if self.live_run is None:
            return
        readings = self.live_run.extend(frames)
        trace = self.query_one(TraceChart)
        for frame in frames:
            trace.update_frame(frame)
        for strips in self.query(Strips):
            throughput, cpu, memory = strips.query(StripChart)
            for reading in readings:
                for strip, value in (
                    (throughput, reading.throughput_per_s), (cpu, reading.cpu_percent), (memory, reading.memory_mb),
                ):  # fmt: skip
                    if value is not None:
                        strip.add(reading.time_s, value)
        self._show_live()

    def _show_live(self) -> None:
        from quickserveml_tui.core.benchmarks import Phase
        from quickserveml_tui.tui.sheets.runs import latency_unit, live_percentiles

        live = self.live_run
        if live is None:
            return
        total = self.spec.duration_s
        words = {
            Phase.LOADING: "loading" if live.begun else "starting", Phase.WARMUP: "warm-up",
        }.get(live.phase, f"{min(live.measured_s, total):.0f} of {total:g} s")  # fmt: skip
        self.count_text = words
        p50 = live.percentile_ms(0.5)
        unit = latency_unit(p50)
        self.query_one(Hero).show(unit.text(p50), unit.name, "p50")
        self.query_one("#bench-percentiles", Sheet).show(lambda width, _: live_percentiles(live, width))
        self._show_subject(self.ref, self.spec)
        self.query_one("#bench-foot", Sheet).show(lambda width, _: self._live_foot(width))

    def _live_foot(self, width: int) -> list[Row]:
        live = self.live_run
        left: list[Span] = []
        if live is not None:
            if live.n:
                left = [say(f"{live.n:,}"), Span(" runs", Role.MUTED)]
                if live.warmup:
                    left += [Span("   warm-up ", Role.MUTED), say(f"{live.warmup:,}")]
            else:
                left = [Span("nothing here counts until the warm-up is over", Role.MUTED)]
        right = [Span("x", Role.STRONG, bold=True), Span(" cancel", Role.MUTED)]
        return self._foot([two_edges(left, right, width)], self.spec.command(self.ref), width)

    def _foot(self, rows: list[Row], command: str, width: int) -> list[Row]:
        """Trust marks and the command: in one row where both fit."""
        if len(rows) == 1 and self.has_class("-low") and row_width(rows[0]) == width:
            return rows
        if len(command) > width:
            command = command.replace("quickserveml ", "qsml ", 1)
        return [*rows, crop_row((say(command, Role.MUTED),), width, middle=True)]

    def _show_subject(self, ref: str, spec: BenchmarkSpec) -> None:
        from quickserveml_tui.tui.sheets.runs import spec_words

        self.query_one("#bench-subject", Sheet).show(
            lambda width, _: [two_edges([say(ref, Role.BODY)], [say(spec_words(spec), Role.MUTED)], width)]
        )

    def finish(self, run: BenchmarkRun | None) -> None:
        """The benchmark ended; `run` is its result, also a partial one."""
        self.query_one(TraceChart).finish()
        for strip in self.query(StripChart):
            strip.finish()
        self.live_run, self.live = None, False
        if run is None:
            self.run = None
            self.count_text = "no runs"
            self._arrange()
            return
        self.traced = run.id
        self.show_result(run)

    def show_result(self, run: BenchmarkRun) -> None:
        """Show a finished run."""
        from quickserveml_tui.tui.sheets.runs import latency_unit, plot_data, summary_percentiles, trust_row

        self.run, self.ref = run, run.ref
        summary = run.summary
        self.count_text = "partial result" if summary.cancelled else f"result of {run.created_at[11:16]}"
        unit = latency_unit(summary.latency_ms.p50)
        self.query_one(Hero).show(unit.text(summary.latency_ms.p50), unit.name, "p50")
        self.query_one("#bench-percentiles", Sheet).show(lambda width, _: summary_percentiles(summary, width))
        self._show_subject(run.ref, run.spec)
        command = run.command or run.spec.command(run.ref)
        self.query_one("#bench-foot", Sheet).show(
            lambda width, glyphs: self._foot([trust_row(summary, glyphs, width)], command, width)
        )
        for strips in self.query(Strips):
            throughput, cpu, memory = strips.query(StripChart)
            throughput.settle(summary.throughput_per_s)
            cpu.settle(summary.cpu_percent)
            memory.settle(summary.peak_rss_mb)
        marks = {"p50": summary.latency_ms.p50, "p95": summary.latency_ms.p95, "p99": summary.latency_ms.p99}
        self.query_one(HistogramView).show(plot_data(summary.histogram), marks=marks)
        self._fill_table()
        self._arrange()

    def _fill_table(self) -> None:
        from quickserveml_tui.tui.sheets.runs import result_rows

        run, history = self.run, self.history
        if run is not None:
            self.query_one("#bench-numbers", Sheet).show(lambda width, glyphs: result_rows(run, history, width, glyphs))

    @property
    def command(self) -> str:
        """The command that reproduces what is shown."""
        if self.run is not None:
            return self.run.command or self.run.spec.command(self.run.ref)
        return self.spec.command(self.ref) if self.ref else ""

    def as_table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """The figures of the result that is shown, with their units."""
        from quickserveml_tui.tui.sheets.runs import FIGURE_TITLES, figure_rows

        return FIGURE_TITLES, figure_rows(self.run.summary) if self.run is not None else []

    # ---- keys

    def reason_against(self, action: str) -> str:
        """Why an action does nothing now."""
        if action in ("toggle_table", "toggle_histogram") and self.state != "result":
            return "There is no result yet." if self.state == "empty" else "The result comes when the run has ended."
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's own
        """Greyed, never hidden."""
        return None if self.reason_against(action) else True

    def action_toggle_table(self) -> None:
        """Numbers as a table, or charts."""
        self.wants_table = not self.wants_table
        self._arrange()
        self.focus_body()

    def action_toggle_histogram(self) -> None:
        """Histogram or trace."""
        self.wants_histogram = not self.wants_histogram
        self.wants_table = False
        self._arrange()
        self.focus_body()
