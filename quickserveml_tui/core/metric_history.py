"""Figures of served versions over time: what happened in a minute, ten minutes or an hour."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from quickserveml_tui.core.monitoring import Distribution, ModelSnapshot
from quickserveml_tui.core.sums import COUNTED, summed, summed_counts

STEPS_S = (60, 600, 3600)
"""Lengths of roll-ups, finest first."""
KEEP_S = (86_400, 7 * 86_400, 400 * 86_400)
"""How long roll-ups of each length are kept; then they become ones of the next length, or go."""
BOUNDS_S = tuple(round(1e-4 * 10 ** (index / 8), 9) for index in range(49))
"""Upper bounds of the latency buckets of a roll-up: eight a decade from 0.1 ms to 100 s."""
_SUMMED = (*COUNTED, "latency_s", "queue_s", "queued", "compute_s", "computed")


@dataclass(frozen=True, slots=True)
class RollUp:
    """What happened to one version between `at` and `at + step_s`."""

    model: str
    """Id of the model in the catalog; the served name where it is not registered."""
    version: str
    at: int
    """Unix time, a multiple of `step_s`."""
    step_s: int
    codes: dict[str, int] = field(default_factory=dict)
    """Answers by HTTP status."""
    latency: dict[str, int] = field(default_factory=dict)
    """Requests that succeeded by the index of their bucket in `BOUNDS_S`; one more index is the open bucket."""
    latency_s: float = 0.0
    """Sum over the requests that succeeded."""
    queue_s: float = 0.0
    queued: int = 0
    """Requests whose wait is in `queue_s`."""
    compute_s: float = 0.0
    computed: int = 0
    """Requests whose run is in `compute_s`."""
    inferences: int = 0
    executions: int = 0
    pending: int = 0
    """Most requests that waited or ran when it was looked at."""
    rejected: int = 0
    cache_hits: int = 0
    cache_misses: int = 0

    @property
    def requests(self) -> int:
        """All answers."""
        return sum(self.codes.values())

    @property
    def errors(self) -> int:
        """Answers other than 2xx."""
        return sum(count for code, count in self.codes.items() if not code.startswith("2"))

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells it from all others."""
        return self.model, self.version, self.step_s, self.at

    def percentile(self, share: float) -> float | None:
        """Latency in seconds that this share (0 to 1) of the requests stayed below; None without requests."""
        counts = [self.latency.get(str(index), 0) for index in range(len(BOUNDS_S) + 1)]
        return quantile(BOUNDS_S, counts, share)


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The value below which `share` (0 to 1) of the values of a histogram lie, interpolated inside its bucket."""
    total = sum(counts)
    if not total:
        return None
    wanted, seen = share * total, 0
    for index, count in enumerate(counts):
        if count and seen + count >= wanted:
            low = bounds[index - 1] if index else 0.0
            high = bounds[index] if index < len(bounds) else low
            return low + (high - low) * max(wanted - seen, 0.0) / count
        seen += count
    return bounds[-1]


def between(
    before: ModelSnapshot | None, after: ModelSnapshot, model: str, at: int, step_s: int = STEPS_S[0]
) -> RollUp | None:
    """What happened from `before` (None: nothing yet) to `after`; None when nothing did.

    Counters that fell, as after a restart of the whole server, count from zero.
    """
    old = before or ModelSnapshot(after.name, after.version)
    if sum(after.codes.values()) < sum(old.codes.values()):
        old = ModelSnapshot(after.name, after.version)
    codes = {code: count - old.codes.get(code, 0) for code, count in after.codes.items()}
    codes = {code: count for code, count in codes.items() if count > 0}
    latency, latency_s = _grown(old.latency, after.latency)
    queue, queue_s = _grown(old.queue, after.queue)
    compute, compute_s = _grown(old.compute, after.compute)
    found = RollUp(
        model=model,
        version=after.version,
        at=at - at % step_s,
        step_s=step_s,
        codes=codes,
        latency=_rebinned(after.latency.bounds, latency),
        latency_s=latency_s,
        queue_s=queue_s,
        queued=sum(queue),
        compute_s=compute_s,
        computed=sum(compute),
        inferences=max(after.inferences - old.inferences, 0),
        executions=max(after.executions - old.executions, 0),
        pending=after.pending,
        rejected=max(after.rejected - old.rejected, 0),
        cache_hits=max(after.cache_hits - old.cache_hits, 0),
        cache_misses=max(after.cache_misses - old.cache_misses, 0),
    )
    return found if codes or found.pending or found.rejected else None


def _grown(before: Distribution, after: Distribution) -> tuple[tuple[int, ...], float]:
    """New values by bucket, and their sum."""
    if before.bounds != after.bounds or len(before.counts) != len(after.counts):
        return after.counts, after.total
    counts = tuple(max(new - old, 0) for old, new in zip(before.counts, after.counts, strict=True))
    return counts, max(after.total - before.total, 0.0)


def _rebinned(bounds: Sequence[float], counts: Sequence[int]) -> dict[str, int]:
    """Counts by index of `BOUNDS_S`; a bucket goes where the middle of it lies."""
    found: dict[str, int] = {}
    for index, count in enumerate(counts):
        if not count or not bounds:
            continue
        high = bounds[index] if index < len(bounds) else bounds[-1] * 1.01
        low = bounds[index - 1] if index else high / 2
        place = str(bisect_left(BOUNDS_S, math.sqrt(low * high) if low > 0 else high))
        found[place] = found.get(place, 0) + count
    return found


def joined(first: RollUp, second: RollUp) -> RollUp:
    """Both together, under the key of the first."""
    return replace(
        first,
        codes=summed_counts(first.codes, second.codes),
        latency=summed_counts(first.latency, second.latency),
        pending=max(first.pending, second.pending),
        **summed(first, second, _SUMMED),
    )


def coarsened(rollups: Iterable[RollUp], step_s: int) -> tuple[RollUp, ...]:
    """Roll-ups of `step_s` seconds by model, version and time; longer ones stay as long as they are."""
    found: dict[tuple[str, str, int, int], RollUp] = {}
    for item in rollups:
        step = max(step_s, item.step_s)
        moved = replace(item, step_s=step, at=item.at - item.at % step)
        there = found.get(moved.key)
        found[moved.key] = moved if there is None else joined(there, moved)
    return tuple(found[key] for key in sorted(found, key=lambda key: (key[3], key[0], key[1], key[2])))
