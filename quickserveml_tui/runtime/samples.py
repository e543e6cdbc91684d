"""Samples of a benchmark in memory that was touched before they are taken."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

CHUNK = 32_768
"""Samples a chunk: 512 kB for starts and ends, allocated between two samples in about 50 µs."""

FRAME_LIMIT = 2_000
FRAME_PEAKS = 200


class Samples:
    """Start and end of each inference in ns of `time.perf_counter_ns`."""

    def __init__(self) -> None:
        self._starts: list[array[int]] = []
        self._ends: list[array[int]] = []
        self.count = 0

    @property
    def size_bytes(self) -> int:
        """Memory that the samples take."""
        return len(self._starts) * CHUNK * 16

    def measure(self, call: Callable[[], object], wake_ns: int, limit: int) -> int:
        """Time `call` again and again until an inference ends at or after `wake_ns`, or `limit` samples were taken.

        Returns the clock at the end of the last one. Between the two clock readings lies nothing but the call.
        An inference that raises leaves no sample.
        """
        clock = time.perf_counter_ns
        now = clock()
        while self.count < limit:
            used = self.count % CHUNK
            if used == 0 and self.count == len(self._starts) * CHUNK:
                self._starts.append(array("q", bytes(8 * CHUNK)))
                self._ends.append(array("q", bytes(8 * CHUNK)))
            starts, ends = self._starts[-1], self._ends[-1]
            index = used
            try:
                for index in range(used, min(CHUNK, used + limit - self.count)):
                    begin = clock()
                    call()
                    now = clock()
                    starts[index] = begin
                    ends[index] = now
                    if now >= wake_ns:
                        self.count += index - used + 1
                        return now
            except BaseException:
                self.count += index - used
                raise
            self.count += index - used + 1
        return now

    def slice(self, begin: int = 0, end: int | None = None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Starts and ends of the samples from `begin` to `end` (all by default) as int64 arrays of ns, copied."""
        stop = self.count if end is None else end
        return _joined(self._starts, begin, stop), _joined(self._ends, begin, stop)


def _joined(chunks: list[array[int]], begin: int, end: int) -> np.ndarray[Any, Any]:
    parts = [
        np.frombuffer(chunks[number], dtype=np.int64)[
            max(begin - number * CHUNK, 0) : max(min(end - number * CHUNK, CHUNK), 0)
        ]
        for number in range(begin // CHUNK, -(-end // CHUNK))
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def thin(latencies: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Indexes, ascending, of at most 2,000 samples: the 200 largest and evenly spaced ones of the rest."""
    if latencies.size <= FRAME_LIMIT:
        return np.arange(latencies.size)
    peaks = np.argpartition(latencies, latencies.size - FRAME_PEAKS)[-FRAME_PEAKS:]
    rest = np.linspace(0, latencies.size - 1, FRAME_LIMIT - FRAME_PEAKS).astype(np.int64)
    return np.union1d(peaks, rest)
