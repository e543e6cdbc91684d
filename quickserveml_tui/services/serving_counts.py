"""Counters of one version of a model, in 64-bit integers of shared memory."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from quickserveml_tui.core.monitoring import Distribution, ModelSnapshot

DURATION_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
_STEP = 1.1


def _nanoseconds(bounds: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(bound * 1e9) for bound in bounds)


def _fine_bounds() -> tuple[int, ...]:
    """From 10 µs to 60 s in steps of at most a tenth; every coarse bound is one of them, so coarse counts are exact."""
    anchors = _nanoseconds((0.00001, *DURATION_BUCKETS_S, 60.0))
    bounds = [anchors[0]]
    for low, high in pairwise(anchors):
        steps = 1
        while (high / low) ** (1 / steps) > _STEP:
            steps += 1
        bounds += [round(low * (high / low) ** (step / steps)) for step in range(1, steps)] + [high]
    return tuple(bounds)


_COARSE_NS = _nanoseconds(DURATION_BUCKETS_S)
_FINE_NS = _fine_bounds()
LATENCY_BOUNDS_S = tuple(bound / 1e9 for bound in _FINE_NS)
"""Upper bounds of the fine latency buckets, seconds."""

_CODES = (
    *(200, 400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 415, 422, 429, 431, 499),
    *(500, 501, 502, 503, 504, 505, 507),
)
"""Answers that are counted one by one; others count as the first of their hundred."""

_FAILED_NS, _ROWS, _PENDING, _LAST_MS, _REJECTED, _HITS, _MISSES, _RUNNING, _LOADING, _CRASHES = range(10)
_CODES_AT = 16
_LATENCY_AT = _CODES_AT + len(_CODES)
_LATENCY_TOTAL = _LATENCY_AT + len(_FINE_NS) + 1
_QUEUE_AT = _LATENCY_TOTAL + 1
_QUEUE_TOTAL = _QUEUE_AT + len(_COARSE_NS) + 1
_COMPUTE_AT = _QUEUE_TOTAL + 1
_COMPUTE_TOTAL = _COMPUTE_AT + len(_COARSE_NS) + 1
_BATCH_AT = _COMPUTE_TOTAL + 1
_BATCH_TOTAL = _BATCH_AT + len(BATCH_BUCKETS) + 1
_SHARED_INPUT_NS = _BATCH_TOTAL + 1
_SHARED_OUTPUT_NS = _SHARED_INPUT_NS + 1
_EXACT_SIZES = 64
_SIZES = (*range(1, _EXACT_SIZES + 1), *(2**power for power in range(7, 21)))
"""Rows of a run that are counted apart: each number up to 64, then all up to the next power of two."""
_SIZES_AT = _SHARED_OUTPUT_NS + 1
_SIZE_ITEMS = 4
_SIZES_END = _SIZES_AT + _SIZE_ITEMS * len(_SIZES)
MODEL_ITEMS = 1024
"""Integers of one model: two pages."""
assert MODEL_ITEMS >= _SIZES_END
_OK_AT = _CODES_AT + _CODES.index(200)
_CODE_AT = {code: _CODES_AT + index for index, code in enumerate(_CODES)}


class Histogram:
    """Counts by bucket, the last one open, with their sum; `shown` are the buckets that `cumulative` ends at."""

    __slots__ = ("_bounds", "_items", "_shown", "_start", "_total")

    def __init__(self, items: memoryview, start: int, bounds: tuple[int, ...], shown: tuple[int, ...] = ()) -> None:
        self._items = items
        self._start = start
        self._bounds = bounds
        self._total = start + len(bounds) + 1
        self._shown = shown or tuple(range(len(bounds)))

    def add(self, value: int, times: int = 1) -> None:
        """Count one value, or the same one several times."""
        self._items[self._start + bisect_left(self._bounds, value)] += times
        self._items[self._total] += value * times

    @property
    def buckets(self) -> tuple[int, ...]:
        """Values in each bucket, the last one open."""
        return tuple(self._items[self._start : self._total])

    @property
    def total(self) -> int:
        """Sum of all values, in their own unit (nanoseconds for durations)."""
        return self._items[self._total]

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._items[self._start : self._total])

    def cumulative(self) -> tuple[int, ...]:
        """Values at or below each shown bound, then all values."""
        running, counts = 0, []
        for count in self._items[self._start : self._total]:
            running += count
            counts.append(running)
        return (*(counts[index] for index in self._shown), running)

    def distribution(self, unit: float = 1e-9) -> Distribution:
        """All buckets, with bounds and sum in seconds, or in another `unit`."""
        bounds = tuple(bound * unit for bound in self._bounds)
        return Distribution(bounds, self.buckets, self.total * unit)


class SizeCount(NamedTuple):
    """Runs of one size. Durations are nanoseconds, summed over the runs."""

    rows: int
    """Their rows; above 64 the power of two that they do not exceed."""
    runs: int
    input_ns: int
    """Putting the requests of shared runs together."""
    compute_ns: int
    output_ns: int
    """Taking the outputs apart and writing the answers."""


def _size_at(rows: int) -> int:
    """Place of the counts of runs with so many rows."""
    if rows <= _EXACT_SIZES:
        return _SIZES_AT + _SIZE_ITEMS * (rows - 1 if rows > 1 else 0)
    place = _EXACT_SIZES + (rows - 1).bit_length() - 7
    return _SIZES_AT + _SIZE_ITEMS * min(place, len(_SIZES) - 1)


_SHOWN = tuple(_FINE_NS.index(bound) for bound in _COARSE_NS)


class ModelStats:
    """What happened to the requests of one version of a model. Durations are nanoseconds.

    The memory is zeroed or holds what a process before counted; without any, it is this process' own.
    """

    __slots__ = ("_items", "batch", "compute", "latency", "queue", "request")

    def __init__(self, items: memoryview | None = None) -> None:
        self._items = items = items if items is not None else memoryview(bytearray(MODEL_ITEMS * 8)).cast("Q")
        self.latency = Histogram(items, _LATENCY_AT, _FINE_NS)
        """From the whole request read to the answer written, of requests that succeeded, in fine buckets."""
        self.request = Histogram(items, _LATENCY_AT, _FINE_NS, _SHOWN)
        """The same by `DURATION_BUCKETS_S`."""
        self.queue = Histogram(items, _QUEUE_AT, _COARSE_NS)
        self.compute = Histogram(items, _COMPUTE_AT, _COARSE_NS)
        """Of the run that a request was part of."""
        self.batch = Histogram(items, _BATCH_AT, BATCH_BUCKETS)
        """Requests in each run."""

    def release(self) -> None:
        """Let the memory go."""
        self._items.release()

    # ---- counting

    def answered(self, code: int, elapsed_ns: int) -> None:
        """Count an answer."""
        items = self._items
        if code == 200:
            items[_OK_AT] += 1
            items[_LATENCY_AT + bisect_left(_FINE_NS, elapsed_ns)] += 1
            items[_LATENCY_TOTAL] += elapsed_ns
        else:
            items[_CODE_AT.get(code) or _CODE_AT.get(code // 100 * 100, _CODE_AT[500])] += 1
            items[_FAILED_NS] += elapsed_ns

    def succeeded_at(self, arrivals: Sequence[int], now_ns: int) -> None:
        """Count answers with 200 that are given at one moment to requests which arrived at others."""
        items = self._items
        count = len(arrivals)
        items[_OK_AT] += count
        items[_LATENCY_TOTAL] += now_ns * count - sum(arrivals)
        for arrived in arrivals:
            items[_LATENCY_AT + bisect_left(_FINE_NS, now_ns - arrived)] += 1

    def waited_until(self, arrivals: Sequence[int], now_ns: int) -> None:
        """Count waits that end at one moment, of requests which arrived at others in ascending order."""
        items = self._items
        count = len(arrivals)
        items[_QUEUE_TOTAL] += now_ns * count - sum(arrivals)
        first = bisect_left(_COARSE_NS, now_ns - arrivals[0])
        if first == bisect_left(_COARSE_NS, now_ns - arrivals[-1]):
            items[_QUEUE_AT + first] += count
            return
        for arrived in arrivals:
            items[_QUEUE_AT + bisect_left(_COARSE_NS, now_ns - arrived)] += 1

    def ran(  # noqa: PLR0917 - counted for every run: names would cost
        self, requests: int, rows: int, compute_ns: int, input_ns: int = 0, output_ns: int = 0, size: int = 0
    ) -> None:
        """Count one run of the model: the rows that succeeded, and all of them (`size`) where it is not the same."""
        items = self._items
        place = _size_at(size or rows)
        items[place] += 1
        items[place + 1] += input_ns
        items[place + 2] += compute_ns
        items[place + 3] += output_ns
        if requests > 1:
            items[_SHARED_INPUT_NS] += input_ns * (requests - 1)
            items[_SHARED_OUTPUT_NS] += output_ns * (requests - 1)
        items[_BATCH_AT + bisect_left(BATCH_BUCKETS, requests)] += 1
        items[_BATCH_TOTAL] += requests
        items[_ROWS] += rows
        items[_LAST_MS] = time.time_ns() // 1_000_000
        items[_COMPUTE_AT + bisect_left(_COARSE_NS, compute_ns)] += requests
        items[_COMPUTE_TOTAL] += compute_ns * requests

    def begin_run(self) -> None:
        """A run begins."""
        self._items[_RUNNING] = time.monotonic_ns()

    def end_run(self) -> None:
        """The run has ended."""
        self._items[_RUNNING] = 0

    def begin_load(self) -> None:
        """The model is being loaded."""
        self._items[_LOADING] = time.monotonic_ns()

    def end_load(self) -> None:
        """It is loaded, or could not be."""
        self._items[_LOADING] = 0

    def reset_gauges(self) -> None:
        """Nothing waits or runs."""
        for place in (_PENDING, _RUNNING, _LOADING):
            if self._items[place]:  # a page that was never written to stays a hole in the file
                self._items[place] = 0

    def reject(self) -> None:
        """The queue did not take a request."""
        self._items[_REJECTED] += 1

    def cache_hit(self) -> None:
        """An answer came from the cache."""
        self._items[_HITS] += 1

    def cache_miss(self) -> None:
        """An answer was not in the cache."""
        self._items[_MISSES] += 1

    # ---- reading

    @property
    def codes(self) -> dict[int, int]:
        """Answers by HTTP status, those that there were."""
        counts = self._items[_CODES_AT:_LATENCY_AT].tolist()
        return {code: count for code, count in zip(_CODES, counts, strict=True) if count}

    @property
    def failed_ns(self) -> int:
        """Time of all requests that failed."""
        return self._items[_FAILED_NS]

    @property
    def items(self) -> int:
        """Inferences: the rows of all requests that succeeded."""
        return self._items[_ROWS]

    @property
    def sizes(self) -> tuple[SizeCount, ...]:
        """Runs by their number of rows, those sizes that there were."""
        counts = self._items[_SIZES_AT:_SIZES_END].tolist()
        return tuple(
            SizeCount(size, *counts[start : start + _SIZE_ITEMS])
            for size, start in zip(_SIZES, range(0, len(counts), _SIZE_ITEMS), strict=True)
            if counts[start]
        )

    @property
    def input_ns(self) -> int:
        """Time of putting shared runs together, summed over their requests."""
        return self._items[_SHARED_INPUT_NS] + sum(self._items[_SIZES_AT + 1 : _SIZES_END : _SIZE_ITEMS].tolist())

    @property
    def output_ns(self) -> int:
        """Time of taking outputs apart and writing answers, summed over the requests of each run."""
        return self._items[_SHARED_OUTPUT_NS] + sum(self._items[_SIZES_AT + 3 : _SIZES_END : _SIZE_ITEMS].tolist())

    @property
    def pending(self) -> int:
        """Requests that wait or run."""
        return self._items[_PENDING]

    @pending.setter
    def pending(self, value: int) -> None:
        self._items[_PENDING] = max(value, 0)

    @property
    def last_inference_ms(self) -> int:
        """Unix time."""
        return self._items[_LAST_MS]

    @property
    def rejected(self) -> int:
        """Requests that the queue did not take."""
        return self._items[_REJECTED]

    @property
    def cache_hits(self) -> int:
        """Answers that came from the cache."""
        return self._items[_HITS]

    @property
    def cache_misses(self) -> int:
        """Answers that were looked for in the cache and not found."""
        return self._items[_MISSES]

    @property
    def running_since(self) -> int:
        """When the run under way began, by the monotonic clock; 0 for none."""
        return self._items[_RUNNING]

    @property
    def loading_since(self) -> int:
        """When the loading under way began, by the monotonic clock; 0 for none."""
        return self._items[_LOADING]

    @property
    def crashes(self) -> int:
        """Times that this version took its worker down."""
        return self._items[_CRASHES]

    @crashes.setter
    def crashes(self, value: int) -> None:
        self._items[_CRASHES] = value

    @property
    def succeeded(self) -> int:
        """Requests answered with 200."""
        return self._items[_OK_AT]

    @property
    def failed(self) -> int:
        """Requests answered with an error."""
        return sum(self._items[_OK_AT + 1 : _LATENCY_AT])

    def snapshot(self, name: str, version: str, state: str = "READY") -> ModelSnapshot:
        """All of it, as it is told to others."""
        return ModelSnapshot(
            name=name,
            version=version,
            state=state,
            codes={str(code): count for code, count in self.codes.items()},
            latency=self.latency.distribution(),
            queue=self.queue.distribution(),
            compute=self.compute.distribution(),
            batch=self.batch.distribution(1),
            inferences=self.items,
            executions=self.batch.count,
            pending=self.pending,
            rejected=self.rejected,
            cache_hits=self.cache_hits,
            cache_misses=self.cache_misses,
            compute_input_s=self.input_ns / 1e9,
            compute_output_s=self.output_ns / 1e9,
        )
