"""The benchmark's and the batch's sheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSpec, BenchmarkSummary, HistogramData, Interval
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.core.statistics import needed_runs, runs_for_interval
from quickserveml_tui.core.text import plural, safe_text, truncate_middle
from quickserveml_tui.core.units import MISSING, significant
from quickserveml_tui.tui.glyphs import Glyphs
from quickserveml_tui.tui.live import LiveRun
from quickserveml_tui.tui.sheets.rows import BLANK, bars, heading, labelled, pair
from quickserveml_tui.tui.widgets.ink import say, two_edges

SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


MICRO_BELOW_MS = 0.1
"""Medians below this are shown in microseconds: three digits of a millisecond say too little there."""


@dataclass(frozen=True, slots=True)
class LatencyUnit:
    """How latencies of one run are written, all in one unit."""

    name: str
    per_ms: float

    def text(self, value_ms: float | None) -> str:
        """Three significant digits."""
        return significant(None if value_ms is None else value_ms * self.per_ms)

    def spread(self, interval: Interval | None) -> str:
        """Both ends of an interval."""
        return f"{self.text(interval.low)}–{self.text(interval.high)}" if interval else ""


MILLI = LatencyUnit("ms", 1.0)
MICRO = LatencyUnit("µs", 1000.0)


def latency_unit(p50_ms: float | None) -> LatencyUnit:
    """The unit that suits a median."""
    return MICRO if p50_ms is not None and 0 < p50_ms < MICRO_BELOW_MS else MILLI


def plot_data(data: HistogramData) -> HistogramData:
    """A histogram whose last bin, which collects the tail, is drawn as wide as the one before it."""
    edges = data.edges_ms
    if len(edges) < 3 or edges[-1] - edges[-2] <= 3 * (edges[-2] - edges[-3]):
        return data
    return HistogramData((*edges[:-1], 2 * edges[-2] - edges[-3]), data.counts)


def spec_words(spec: BenchmarkSpec) -> str:
    """`1 client, 4 threads, batch 1`."""
    words = ["1 client", plural(spec.intra_op_threads, "thread"), f"batch {spec.feed.batch or 1}"]
    if spec.optimization != "all":
        words.append(f"{spec.optimization} optimisation")
    return ", ".join(words)


def _percentile(
    name: str, value: float | None, interval: Interval | None, needed: int, width: int, *, unit: LatencyUnit
) -> Row:
    label = say(f"{name:<4}", Role.MUTED)
    if value is None:
        return (label, say(f"{MISSING:>6}", Role.MUTED))
    if name in SHARES and interval is None:
        return (label, say(f"  needs {needed:,} runs", Role.MUTED))
    row: Row = (label, say(f"{unit.text(value):>6}", Role.STRONG, bold=True))
    spread = unit.spread(interval)
    if spread and width >= 12 + len(spread):
        row = (*row, say(f"  {spread}", Role.MUTED))
    return row


def live_percentiles(live: LiveRun, width: int) -> list[Row]:
    """p95, p99 and mean so far, each with its interval."""
    unit = latency_unit(live.percentile_ms(0.5))
    rows: list[Row] = []
    for name in ("p95", "p99"):
        value, interval = live.percentile_ms(SHARES[name]), live.interval_ms(SHARES[name])
        rows.append(_percentile(name, value, interval, needed_runs(100 * SHARES[name]), width, unit=unit))
    return [*rows, _percentile("mean", live.mean_ms, None, 0, width, unit=unit)]


def summary_percentiles(summary: BenchmarkSummary, width: int) -> list[Row]:
    """p95, p99 and mean of a result, each with its interval."""
    values = summary.latency_ms
    unit = latency_unit(values.p50)
    return [
        _percentile(
            name,
            getattr(values, name),
            summary.intervals.get(name),
            runs_for_interval(name, summary.n, summary.effective_n),
            width,
            unit=unit,
        )
        for name in ("p95", "p99", "mean")
    ]


def trust_spans(summary: BenchmarkSummary, glyphs: Glyphs) -> list[list[Span]]:
    """The marks that say whether a result can be trusted, most telling first."""
    marks: list[list[Span]] = []
    if summary.cancelled:
        marks.append([Span(f"{glyphs.warn} partial", Role.WARN)])
    if summary.steady_from_s:
        marks.append([Span(f"{glyphs.warn} steady since {significant(summary.steady_from_s)} s", Role.WARN)])
    elif summary.steady:
        marks.append([Span(f"{glyphs.ok} steady", Role.OK)])
    else:
        marks.append([Span(f"{glyphs.warn} not steady", Role.WARN)])
    marks.append([say(f"{summary.n:,}"), Span(f" {'run' if summary.n == 1 else 'runs'}", Role.MUTED)])
    if summary.noisy:
        marks.append([Span(f"{glyphs.warn} noisy host", Role.WARN)])
    else:
        marks.append([Span(f"{glyphs.ok} quiet host", Role.OK)])
    return marks


def trust_row(summary: BenchmarkSummary, glyphs: Glyphs, width: int) -> Row:
    """The trust marks in one row."""
    row: list[Span] = []
    for mark in trust_spans(summary, glyphs):
        gap = [Span("   ")] if row else []
        if sum(len(span.text) for span in (*row, *gap, *mark)) <= width:
            row += [*gap, *mark]
    return tuple(row)


def result_rows(run: BenchmarkRun, history: Sequence[BenchmarkRun], width: int, glyphs: Glyphs) -> list[Row]:
    """All numbers of a result as a table, and how its model's versions compare."""
    summary, values = run.summary, run.summary.latency_ms
    unit = latency_unit(values.p50)
    rows = [heading("Latency", width, [say(f"{unit.name}, 95 % interval", Role.MUTED)])]
    for name, value in (
        ("min", values.min), ("p50", values.p50), ("p90", values.p90), ("p95", values.p95), ("p99", values.p99),
        ("max", values.max), ("mean", values.mean), ("std dev", values.stddev),
    ):  # fmt: skip
        interval = summary.intervals.get(name)
        spread = unit.spread(interval)
        short = name in SHARES and interval is None
        needed = runs_for_interval(name, summary.n, summary.effective_n)
        figure = f"needs {needed:,} runs" if short else unit.text(value)
        right = [say(figure, Role.MUTED if short else Role.STRONG), say(f"{spread:>15}", Role.MUTED)]
        rows.append(two_edges([say(name, Role.MUTED)], right, width))
    memory = summary.peak_rss_mb
    rows += [BLANK, heading("Rate and resources", width)]
    rows.append(pair("throughput", significant(summary.throughput_per_s), width, "/s"))
    rows.append(pair("CPU", significant(summary.cpu_percent), width, "% "))
    rows.append(pair("peak memory", significant(memory), width, "MB"))
    rows.append(pair("measured", significant(summary.elapsed_s), width, "s "))
    rows.append(pair("warm-up", f"{summary.warmup:,}", width, "runs, left out"))
    rows += [BLANK, heading("Trust", width), *_trust_rows(summary, width, unit)]
    rows += [BLANK, *history_rows(run, history, width, glyphs)]
    return [*rows, BLANK, *_conditions(run, width)]


def _trust_rows(summary: BenchmarkSummary, width: int, unit: LatencyUnit) -> list[Row]:
    """Noise, steadiness, what the runs are worth, and outliers with their likeliest causes."""
    rows: list[Row] = []
    if summary.noise_reason:
        rows += labelled("noise", summary.noise_reason, width)
    since = summary.steady_from_s
    if since:
        rows.append(pair("steady since", significant(since), width, "s "))
    if summary.drift is not None:
        rows.append(pair("drift", f"{100 * summary.drift:+.1f}".replace("-", "−"), width, "% "))
    if summary.effective_n:
        rows.append(pair("independent runs", f"{summary.effective_n['p50']:,}", width, f"of {summary.n:,}"))
    if summary.precision is not None:
        rows.append(pair("precision reached", f"±{significant(100 * summary.precision)}", width, "% "))
    found = summary.outliers
    if found is not None:
        rows.append(pair("outliers", f"{found.count:,}", width, f"over {unit.text(found.bound_ms)} {unit.name}"))
        for cause, count in sorted(found.causes.items(), key=lambda item: -item[1]):
            rows.append(pair(f"  {cause}", f"{count:,}", width, ""))
    return rows


def _conditions(run: BenchmarkRun, width: int) -> list[Row]:
    print_of = run.fingerprint
    rows = [heading("Conditions", width)]
    cores = plural(print_of.cores, "core")
    for label, value in (
        ("at", run.created_at), ("CPU", f"{print_of.cpu}, {cores}"), ("runtime", print_of.runtime),
        ("provider", print_of.provider), ("system", print_of.os),
        ("pinned to", ", ".join(map(str, print_of.pinned_cpus))),
    ):  # fmt: skip
        if value:
            rows += labelled(label, value, width)
    return rows


FIGURE_TITLES = ("figure", "value", "unit", "low", "high")


def figure_rows(summary: BenchmarkSummary) -> list[tuple[str, ...]]:
    """All figures of a result as plain text, for copies: value, unit, 95 % interval."""
    rows: list[tuple[str, ...]] = []
    for name in ("min", "p50", "p90", "p95", "p99", "max", "mean", "stddev"):
        interval = summary.intervals.get(name)
        bounds = (f"{interval.low:.6g}", f"{interval.high:.6g}") if interval else ("", "")
        rows.append((name, f"{getattr(summary.latency_ms, name):.6g}", "ms", *bounds))
    rows.append(("throughput", f"{summary.throughput_per_s:.6g}", "/s", "", ""))
    return [*rows, ("runs", str(summary.n), "", "", "")]


def history_rows(run: BenchmarkRun | None, history: Sequence[BenchmarkRun], width: int, glyphs: Glyphs) -> list[Row]:
    """Saved runs, newest first, as bars of p50."""
    rows = [heading("Saved runs", width, [say("p50, newest first", Role.MUTED)])]
    shown = list(history[:12])
    highest = max((item.summary.latency_ms.p50 for item in shown), default=0.0)
    for item in shown:
        name = safe_text(item.ref.rpartition("@")[2] and "@" + item.ref.rpartition("@")[2])
        when = item.created_at[11:16]
        part = " partial" if item.summary.cancelled else ""
        label = f"{truncate_middle(name, 10)}  {when}{part}"
        value = item.summary.latency_ms.p50
        current = label if run is not None and item.id == run.id else ""
        unit = latency_unit(value)
        rows += bars([(f"{label:<20}", value, f"{unit.text(value):>6}", unit.name)], width, glyphs,
                     current=f"{current:<20}" if current else "", highest=highest)  # fmt: skip
    if not shown:
        rows.append((say("none yet", Role.MUTED),))
    return rows


def batch_rows(result: BatchResult, width: int, glyphs: Glyphs, *, whole: bool = True) -> list[Row]:
    """What a data set showed: accuracy, rate, rows set apart; `whole` adds confusion and failures."""
    rows: list[Row] = []
    if result.cancelled:
        rows.append((Span(f"{glyphs.warn} partial result", Role.WARN), say(f"  {result.ref}", Role.MUTED)))
    if result.accuracy is not None:
        right = [say(f"{result.correct:,} of {result.rows - result.failed:,} rows right", Role.MUTED)]
        figure = [say(f"{100 * result.accuracy:.1f}", Role.STRONG, bold=True), say(" % accuracy", Role.MUTED)]
        rows.append(two_edges(figure, right, width))
    rate = [say(significant(result.throughput_per_s), Role.STRONG), say(" rows/s", Role.MUTED)]
    apart = [say(f"{result.failed:,}", Role.WARN if result.failed else Role.BODY), say(" set apart", Role.MUTED)]
    rows.append(two_edges([say(f"{result.rows:,}", Role.STRONG), say(" rows  ", Role.MUTED), *rate], apart, width))
    if not whole:
        return rows
    if result.confusion and len(result.confusion) <= 12:
        rows += [BLANK, *_confusion(result, width, glyphs)]
    for failure in result.failures[:5]:
        rows += labelled(f"row {failure.row}", failure.reason, width)
    return rows


def _confusion(result: BatchResult, width: int, glyphs: Glyphs) -> list[Row]:
    """True class by row, predicted class by column; the diagonal is bold, mistakes are tinted."""
    label = max(max((len(name) for name in result.classes), default=1), 10)
    cell = max(max((len(f"{value}") for row in result.confusion for value in row), default=1) + 1, 4)
    if label + 2 + cell * len(result.confusion) > width:
        return []
    head = say(
        f"{'true class':<{label + 2}}" + "".join(f"{name[: cell - 1]:>{cell}}" for name in result.classes), Role.MUTED
    )
    rows: list[Row] = [(head, Span("  predicted", Role.MUTED))]
    for index, counts in enumerate(result.confusion):
        row = [say(f"{result.classes[index]:<{label}}  ", Role.MUTED)]
        for column, value in enumerate(counts):
            right = index == column
            role = Role.STRONG if right else Role.WARN if value else Role.FAINT
            row.append(say(f"{value if value or right else glyphs.info:>{cell}}", role, bold=right))
        rows.append(tuple(row))
    return rows
