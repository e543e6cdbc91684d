"""A benchmark while it runs: percentiles of what was measured so far, in bounded memory."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from quickserveml_tui.core.benchmarks import BenchmarkFrame, Interval, Phase
from quickserveml_tui.core.statistics import needed_runs

BINS_PER_DECADE = 1_000
"""Bins 0.23 % wide: finer than the three digits that are shown. The saved result is computed from all samples."""
_LOWEST_MS = 1e-5
_BINS = 13 * BINS_PER_DECADE
Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Reading:
    """Rates over one frame, for the strips."""

    time_s: float
    throughput_per_s: float | None
    cpu_percent: float | None
    memory_mb: float | None


class LiveRun:
    """What the frames of one benchmark have said so far."""

    def __init__(self) -> None:
        self.phase = Phase.LOADING
        self.begun = False
        """Whether its process has said anything."""
        self.elapsed_s = 0.0
        self.warmup = 0
        self.n = 0
        self.measure_start_s: float | None = None
        self._counts = [0] * (_BINS + 1)
        self._counted = 0
        self._sum = 0.0
        self._cumulative: list[int] | None = None
        self._last = (0.0, 0, Phase.LOADING)

    def extend(self, frames: Iterable[BenchmarkFrame]) -> list[Reading]:
        """Take in frames, oldest first; returns one reading for each."""
        return [self._add(frame) for frame in frames]

    def _add(self, frame: BenchmarkFrame) -> Reading:
        self.begun = True
        self.phase, self.elapsed_s = frame.phase, max(self.elapsed_s, frame.elapsed_s)
        if frame.phase is Phase.WARMUP:
            self.warmup = frame.count
        elif frame.phase in (Phase.MEASURING, Phase.DONE):
            self._count(frame)
        return self._read(frame)

    def _count(self, frame: BenchmarkFrame) -> None:
        if frame.starts_s and self.measure_start_s is None:
            self.measure_start_s = frame.starts_s[0]
        self.n = max(self.n, frame.count)
        for value in frame.latencies_ms:
            if math.isfinite(value):
                self._counts[_bin(value)] += 1
                self._counted += 1
                self._sum += value
        self._cumulative = None

    def _read(self, frame: BenchmarkFrame) -> Reading:
        before_s, before_count, before_phase = self._last
        count = frame.count - (before_count if before_phase is frame.phase else 0)
        span = frame.elapsed_s - before_s
        running = frame.phase in (Phase.WARMUP, Phase.MEASURING) and span > 0 and count >= 0
        self._last = (frame.elapsed_s, frame.count, frame.phase)
        memory = None if frame.rss_bytes is None else frame.rss_bytes / 1e6
        return Reading(frame.elapsed_s, count * frame.batch / span if running else None, frame.cpu_percent, memory)

    @property
    def measured_s(self) -> float:
        """Seconds since measuring began."""
        return max(self.elapsed_s - self.measure_start_s, 0.0) if self.measure_start_s is not None else 0.0

    @property
    def mean_ms(self) -> float | None:
        """Mean latency so far."""
        return self._sum / self._counted if self._counted else None

    def percentile_ms(self, share: float) -> float | None:
        """Latency below which `share` of the samples so far lie; None without samples."""
        return self._at(max(math.ceil(share * self._counted), 1)) if self._counted else None

    def interval_ms(self, share: float) -> Interval | None:
        """95 % order-statistic interval of a percentile; None while there are too few samples."""
        n = self._counted
        if n == 0 or n < needed_runs(100 * share):
            return None
        # The normal approximation may reach past the largest sample where the exact bound is that sample.
        spread = Z95 * math.sqrt(n * share * (1 - share))
        low, high = math.floor(n * share - spread), math.ceil(n * share + spread) + 1
        return Interval(self._at(max(low, 1)), self._at(min(high, n)))

    def _at(self, rank: int) -> float:
        if self._cumulative is None:
            self._cumulative = list(accumulate(self._counts))
        return _bin_value(bisect_left(self._cumulative, rank))


def _bin(value_ms: float) -> int:
    if value_ms <= _LOWEST_MS:
        return 0
    return min(int(math.log10(value_ms / _LOWEST_MS) * BINS_PER_DECADE), _BINS)


def _bin_value(index: int) -> float:
    return float(_LOWEST_MS * 10 ** ((index + 0.5) / BINS_PER_DECADE))
