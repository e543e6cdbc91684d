"""Counters of a served model: plain integers that one thread adds to and a scrape reads."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left

DURATION_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
_BOUNDS_NS = tuple(round(bound * 1e9) for bound in DURATION_BUCKETS_S)


class Histogram:
    """Counts by bucket, the last one open, with sum and count."""

    __slots__ = ("_bounds", "buckets", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self._bounds = bounds
        self.buckets = array("Q", bytes(8 * (len(bounds) + 1)))
        self.total = 0
        """Sum of all values, in their own unit (nanoseconds for durations)."""

    def add(self, value: int, times: int = 1) -> None:
        """Count one value, or the same one several times."""
        self.buckets[bisect_left(self._bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.buckets)

    def cumulative(self) -> tuple[int, ...]:
        """Values at or below each bound, then all values."""
        counts, running = [], 0
        for count in tuple(self.buckets):
            running += count
            counts.append(running)
        return tuple(counts)


class ModelStats:
    """What happened to the requests of one version of a model since it was loaded. Durations are nanoseconds."""

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        """Answers by HTTP status."""
        self.request = Histogram(_BOUNDS_NS)
        """From the whole request read to the answer written."""
        self.queue = Histogram(_BOUNDS_NS)
        self.compute = Histogram(_BOUNDS_NS)
        """Of the run that a request was part of."""
        self.batch = Histogram(BATCH_BUCKETS)
        """Requests in each run."""
        self.failed_ns = 0
        self.items = 0
        """Inferences: the rows of all requests that succeeded."""
        self.pending = 0
        """Requests that wait or run."""
        self.last_inference_ms = 0
        """Unix time."""

    def answered(self, code: int, elapsed_ns: int) -> None:
        """Count an answer."""
        self.codes[code] = self.codes.get(code, 0) + 1
        if code == 200:
            self.request.add(elapsed_ns)
        else:
            self.failed_ns += elapsed_ns

    def ran(self, requests: int, rows: int, compute_ns: int) -> None:
        """Count one run of the model."""
        self.batch.add(requests)
        self.items += rows
        self.last_inference_ms = int(time.time() * 1000)
        self.compute.add(compute_ns, requests)

    @property
    def succeeded(self) -> int:
        """Requests answered with 200."""
        return self.codes.get(200, 0)

    @property
    def failed(self) -> int:
        """Requests answered with an error."""
        return sum(count for code, count in tuple(self.codes.items()) if code != 200)
