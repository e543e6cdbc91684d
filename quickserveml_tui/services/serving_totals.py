"""What all workers of a server counted, put together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import psutil

from quickserveml_tui.core.monitoring import Distribution, ModelSnapshot, SlowRequest, WorkerSnapshot
from quickserveml_tui.core.sums import COUNTED, summed, summed_counts
from quickserveml_tui.services.serving_stats import Counters

MAX_SLOW = 32
_SUMMED = (*COUNTED, "pending", "compute_input_s", "compute_output_s")


@dataclass(frozen=True, slots=True)
class CountedVersion:
    """A served version and its row in the counters."""

    name: str
    version: str
    slot: int
    state: str = "READY"


def added(first: Distribution, second: Distribution) -> Distribution:
    """Both histograms together; of different bounds, the one that has more values."""
    if not first.counts or first.bounds != second.bounds:
        return second if second.count >= first.count else first
    counts = tuple(one + other for one, other in zip(first.counts, second.counts, strict=True))
    return Distribution(first.bounds, counts, first.total + second.total)


def together(first: ModelSnapshot, second: ModelSnapshot) -> ModelSnapshot:
    """One version in two workers."""
    return replace(
        first,
        codes=summed_counts(first.codes, second.codes),
        latency=added(first.latency, second.latency),
        queue=added(first.queue, second.queue),
        compute=added(first.compute, second.compute),
        batch=added(first.batch, second.batch),
        **summed(first, second, _SUMMED),
    )


def model_totals(versions: Iterable[CountedVersion], counters: Sequence[Counters]) -> tuple[ModelSnapshot, ...]:
    """Each version over all workers."""
    found = []
    for item in versions:
        total = ModelSnapshot(item.name, item.version, item.state)
        for worker in counters:
            total = together(total, worker.model(item.slot).snapshot(item.name, item.version, item.state))
        found.append(total)
    return tuple(found)


def crashes(version: CountedVersion, counters: Sequence[Counters]) -> int:
    """Workers that a version took down."""
    return sum(worker.model(version.slot).crashes for worker in counters)


def slowest(counters: Sequence[Counters], most: int = MAX_SLOW) -> tuple[SlowRequest, ...]:
    """The slowest requests of the last minutes, of all workers, the slowest first."""
    now = time.time()
    every = [request for worker in counters for request in worker.slow(now)]
    return tuple(sorted(every, key=lambda item: item.elapsed_s, reverse=True)[:most])


def worker_totals(counters: Sequence[Counters], known: Sequence[WorkerSnapshot]) -> tuple[WorkerSnapshot, ...]:
    """Each worker with what it counted, and what it takes of the machine now; `known` is what the supervisor knows."""
    by_index = {item.index: item for item in known}
    return tuple(_worker(index, item, by_index.get(index)) for index, item in enumerate(counters))


def _worker(index: int, counters: Counters, known: WorkerSnapshot | None) -> WorkerSnapshot:
    pid = counters.pid or (known.pid if known else 0)
    is_measured = known is not None and known.pid == pid and known.rss_bytes > 0
    cpu_s, rss_bytes = (known.cpu_s, known.rss_bytes) if known is not None and is_measured else usage(pid)
    return WorkerSnapshot(
        index=index,
        pid=pid,
        ready=counters.ready if counters.pid else (known.ready if known else False),
        restarts=known.restarts if known else 0,
        cpu_s=cpu_s,
        rss_bytes=rss_bytes,
        connections=counters.connections,
        requests=counters.requests,
    )


def usage(pid: int) -> tuple[float, int]:
    """CPU seconds and resident bytes of a process; 0 for one that is gone."""
    if pid <= 0:
        return 0.0, 0
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times, memory = process.cpu_times(), process.memory_info()
    except psutil.Error:
        return 0.0, 0
    return times.user + times.system, int(memory.rss)
