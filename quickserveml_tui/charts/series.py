"""Samples over time in bounded memory, without losing an extreme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
CAPACITY = 1 << 15
MAX_VALUE = 1e15
"""What is beyond is a fault of a clock, and would leave no axis to draw on."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Extremes per dot column: `low` and `high` are NaN where a column has no sample (float64, shape `(columns,)`)."""

    low: Floats
    high: Floats

    @property
    def empty(self) -> bool:
        """Whether no column has a sample."""
        return bool(np.all(np.isnan(self.high)))


def decimate(times_s: Floats, low: Floats, high: Floats, columns: int, *, start_s: float, end_s: float) -> Columns:
    """Exact minimum and maximum per column of `start_s` to `end_s`; times need not be sorted.

    Samples outside, and those whose value is NaN or infinite, are left out.
    """
    span = end_s - start_s
    out_low, out_high = np.full(columns, np.nan), np.full(columns, np.nan)
    if columns <= 0 or span <= 0 or not len(times_s):
        return Columns(out_low, out_high)
    at = np.floor((times_s - start_s) / span * columns)
    at[(times_s == end_s)] = columns - 1
    keep = (at >= 0) & (at < columns) & np.isfinite(low) & np.isfinite(high)
    index = at[keep].astype(np.intp)
    np.fmin.at(out_low, index, low[keep])
    np.fmax.at(out_high, index, high[keep])
    return Columns(out_low, out_high)


class LatencySeries:
    """Latencies over time, fed frame by frame.

    Up to `capacity` samples are kept one by one; beyond that neighbours in time merge pairwise into their minimum and
    maximum, so memory stays bounded and no spike is ever lost. NaN, infinite and absurd samples are counted apart.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 2 or capacity % 2:
            raise ValueError("The capacity must be even and at least 2.")
        self._times = np.empty(capacity)
        self._low = np.empty(capacity)
        self._high = np.empty(capacity)
        self._used = 0
        self._stride = 1
        """Samples that one full slot stands for."""
        self._pending = 0
        """Samples in the last slot, which is still filling up."""
        self.count = 0
        """Samples fed, without those that are not finite."""
        self.not_finite = 0
        self.warmup_until_s: float | None = None
        """End of the warm-up on the time axis."""
        self.end_s = 0.0
        """Time of the newest sample."""
        self.generation = 0
        """Changes whenever the series does."""

    def __len__(self) -> int:
        """Slots in use."""
        return self._used

    def extend(self, times_s: Sequence[float] | Floats, latencies_ms: Sequence[float] | Floats) -> None:
        """Add samples in the order of their time. Raises `ValueError` when the lengths differ."""
        times = np.asarray(times_s, dtype=np.float64)
        values = np.asarray(latencies_ms, dtype=np.float64)
        if times.shape != values.shape or times.ndim != 1:
            raise ValueError("Times and latencies must be one-dimensional and of one length.")
        keep = np.isfinite(times) & (np.abs(values) <= MAX_VALUE)
        self.not_finite += int(len(times) - np.count_nonzero(keep))
        times, values = times[keep], values[keep]
        if not len(times):
            return
        self.count += len(times)
        self.end_s = max(self.end_s, float(times[-1]))
        self.generation += 1
        while len(times):
            taken = self._take(times, values)
            times, values = times[taken:], values[taken:]

    def _take(self, times: Floats, values: Floats) -> int:
        """Put as many samples as there is room for; returns how many."""
        if self._used == len(self._times) and self._pending in (0, self._stride):
            self._halve()
        if self._pending not in (0, self._stride):
            return self._fill_pending(values)
        room = (len(self._times) - self._used) * self._stride
        full = min(len(values), room) // self._stride * self._stride
        if full:
            slots = full // self._stride
            self._append(times[: full : self._stride], values[:full].reshape(slots, self._stride))
            return full
        # Fewer samples than one slot takes: the slot stays open for the next ones.
        self._append(times[:1], values.reshape(1, -1))
        self._pending = len(values)
        return len(values)

    def _append(self, times: Floats, groups: Floats) -> None:
        end = self._used + len(times)
        self._times[self._used : end] = times
        self._low[self._used : end] = groups.min(axis=1)
        self._high[self._used : end] = groups.max(axis=1)
        self._used = end
        self._pending = 0

    def _fill_pending(self, values: Floats) -> int:
        taken = min(self._stride - self._pending, len(values))
        last = self._used - 1
        self._low[last] = min(self._low[last], float(values[:taken].min()))
        self._high[last] = max(self._high[last], float(values[:taken].max()))
        self._pending = (self._pending + taken) % self._stride
        return taken

    def _halve(self) -> None:
        half = self._used // 2
        self._times[:half] = self._times[0 : self._used : 2]
        self._low[:half] = np.minimum(self._low[0 : self._used : 2], self._low[1 : self._used : 2])
        self._high[:half] = np.maximum(self._high[0 : self._used : 2], self._high[1 : self._used : 2])
        self._used = half
        self._stride *= 2

    def points(self) -> tuple[Floats, Floats, Floats]:
        """Times, minima and maxima of the slots: views, not to be changed (float64, shape `(len,)`)."""
        return self._times[: self._used], self._low[: self._used], self._high[: self._used]

    def columns(self, columns: int, start_s: float, end_s: float) -> Columns:
        """Extremes per dot column."""
        return decimate(*self.points(), columns, start_s=start_s, end_s=end_s)

    @classmethod
    def of(
        cls,
        times_s: Sequence[float] | Floats,
        latencies_ms: Sequence[float] | Floats,
        *,
        warmup_until_s: float | None = None,
    ) -> LatencySeries:
        """A series of given samples."""
        series = cls()
        series.extend(times_s, latencies_ms)
        series.warmup_until_s = warmup_until_s
        return series
