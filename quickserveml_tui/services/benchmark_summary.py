"""From raw samples and the machine's counters to a summary that can be trusted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from quickserveml_tui.core import statistics
from quickserveml_tui.core.benchmarks import (
    MAX_SAMPLES,
    BenchmarkFrame,
    BenchmarkSpec,
    BenchmarkSummary,
    Ending,
    Interval,
    LatencySummary,
    Phase,
)
from quickserveml_tui.core.dependence import first_autocorrelation
from quickserveml_tui.core.outliers import find_outliers
from quickserveml_tui.core.runners import FrameSink, RawBenchmark
from quickserveml_tui.core.statistics import HostNoise
from quickserveml_tui.core.steadiness import drift, steady_from
from quickserveml_tui.runtime.meter import HostCounters, read_host_counters

MIN_WATCHED_S = 0.5
"""The kernel counts CPU time in steps of 10 ms: over a shorter time it says nothing."""

MIN_CPU_S = 0.05
"""In a shorter run the loop's own start costs more CPU than the inferences."""


@dataclass(slots=True)
class _Reading:
    at_s: float
    cpu_s: float
    """CPU time of this process."""
    counters: HostCounters | None


def _read() -> _Reading:
    return _Reading(time.monotonic(), time.process_time(), read_host_counters())


class HostWatch:
    """Passes frames on, and reads the machine's counters when the measured phase begins and ends."""

    def __init__(self, on_frame: FrameSink | None, cores: int, threads: int) -> None:
        self._sink = on_frame
        self._cores = cores
        self._threads = threads
        self._first: _Reading | None = None
        self._last: _Reading | None = None

    def on_frame(self, frame: BenchmarkFrame) -> None:
        """Take a frame from the runner."""
        if frame.phase is Phase.MEASURING and self._first is None:
            self._first = _read()
        elif frame.phase is Phase.DONE and self._first is not None:
            self._last = _read()
        if self._sink is not None:
            self._sink(frame)

    def noise(self, raw: RawBenchmark, load_before: float | None) -> HostNoise:
        """What else the machine did while `raw` was measured."""
        elapsed_s = elapsed_of(raw)
        rate = None if raw.preemptions is None or elapsed_s < MIN_WATCHED_S else raw.preemptions / elapsed_s
        other = steal = None
        if self._first is not None and self._last is not None and elapsed_s > 0:
            wall_s = self._last.at_s - self._first.at_s
            before, after = self._first.counters, self._last.counters
            if before is not None and after is not None and wall_s >= MIN_WATCHED_S:
                own = (raw.cpu_s + raw.paused_s) / elapsed_s
                if raw.pinned_cpus:  # this process keeps off the measured cores, so what it does disturbs nothing
                    own += (self._last.cpu_s - self._first.cpu_s) / wall_s
                other = max((after.busy_s - before.busy_s) / wall_s - own, 0.0)
                steal = (after.steal_s - before.steal_s) / max(after.total_s - before.total_s, 1e-9)
        return HostNoise(self._cores, self._threads, load_before, other, steal, rate)


def elapsed_of(raw: RawBenchmark) -> float:
    """Seconds from the start of the first measured inference to the end of the last."""
    if len(raw.starts_s) == 0:
        return 0.0
    return float(raw.starts_s[-1] - raw.starts_s[0]) + float(raw.latencies_ms[-1]) / 1000


def summarise_run(raw: RawBenchmark, host: HostNoise, spec: BenchmarkSpec | None = None) -> BenchmarkSummary:
    """The summary of a run with at least one measured inference, made by `spec`.

    Throughput and CPU leave out the time that the harness took to send frames.
    """
    count = len(raw.latencies_ms)
    elapsed_s = elapsed_of(raw)
    active_s = max(elapsed_s - raw.paused_s, 1e-9)
    latency, intervals = statistics.summarise(raw.latencies_ms)
    noisy, reason = statistics.noise(raw.latencies_ms, host)
    moved, settled = drift(raw.latencies_ms), steady_from(raw.latencies_ms)
    return BenchmarkSummary(
        n=count,
        warmup=len(raw.warmup_latencies_ms),
        latency_ms=latency,
        intervals=intervals,
        throughput_per_s=count * raw.batch / active_s,
        elapsed_s=elapsed_s,
        peak_rss_bytes=raw.peak_rss_bytes,
        cpu_percent=100 * raw.cpu_s / active_s if active_s >= MIN_CPU_S else None,
        noisy=noisy,
        noise_reason=reason,
        steady=moved.steady,
        histogram=statistics.histogram(raw.latencies_ms),
        batch=raw.batch,
        cancelled=raw.cancelled,
        effective_n=statistics.effective_runs(raw.latencies_ms),
        autocorrelation=first_autocorrelation(raw.latencies_ms),
        steady_from_s=None if settled is None else float(raw.starts_s[settled] - raw.starts_s[0]),
        drift=moved.change,
        outliers=find_outliers(raw.latencies_ms, raw.starts_s, raw.stretches),
        ended_by=_ending(raw, spec),
        precision=None if spec is None or spec.precision is None else _reached(latency, intervals, spec.precision_of),
    )


def _ending(raw: RawBenchmark, spec: BenchmarkSpec | None) -> Ending:
    if raw.cancelled:
        return Ending.CANCELLED
    if raw.precise:
        return Ending.PRECISION
    limit = min(spec.max_runs or MAX_SAMPLES, MAX_SAMPLES) if spec is not None else MAX_SAMPLES
    return Ending.RUNS if len(raw.latencies_ms) >= limit else Ending.TIME


def _reached(latency: LatencySummary, intervals: Mapping[str, Interval | None], name: str) -> float | None:
    interval, value = intervals[name], float(getattr(latency, name))
    return None if interval is None or value <= 0 else (interval.high - interval.low) / 2 / value
