"""What two snapshots of a server say together: rates, percentiles and heat of the time between them.

Counters only grow, except where a server or a model starts anew: then what the later snapshot counts is all that is
known of the interval, and nothing is ever negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise

from quickserveml_tui.core.monitoring import (
    Distribution,
    ModelRates,
    ModelSnapshot,
    ServerRates,
    ServerSnapshot,
    WorkerSnapshot,
)

_NOTHING = Distribution()


def difference(before: Distribution, after: Distribution) -> Distribution:
    """What was counted between two states of a histogram.

    The later one as it is where the earlier cannot have led to it: other buckets, or a count that fell.
    """
    if not before.counts:
        return after
    if before.bounds != after.bounds or len(before.counts) != len(after.counts):
        return after
    counts = tuple(new - old for old, new in zip(before.counts, after.counts, strict=True))
    if min(counts, default=0) < 0:
        return after
    return Distribution(after.bounds, counts, max(after.total - before.total, 0.0))


def quantile(distribution: Distribution, q: float) -> float | None:
    """The value that a share `q` (0 to 1) of all values lies at or below, in the unit of the bounds.

    Values are taken to be spread evenly in their bucket, the first of which begins at 0. Answers the lower bound of the
    open bucket for values in it; None without values or bounds. Raises `ValueError` for `q` out of range.
    """
    if not 0 <= q <= 1:
        raise ValueError("A quantile lies between 0 and 1.")
    count = distribution.count
    if not count or not distribution.bounds:
        return None
    rank = q * count
    passed = 0
    lower = min(0.0, distribution.bounds[0])
    for upper, held in zip(distribution.bounds, distribution.counts, strict=False):
        if held and passed + held >= rank:
            return lower + (upper - lower) * max(rank - passed, 0.0) / held
        passed += held
        lower = upper
    return lower


def mean(distribution: Distribution) -> float | None:
    """Mean of all values; None without any."""
    count = distribution.count
    return distribution.total / count if count else None


def merge(distributions: Iterable[Distribution]) -> Distribution:
    """One histogram of all values, exact: it has the bounds that all of those with values share."""
    known = [item for item in distributions if item.counts]
    held = [item for item in known if item.count] or known
    if not held:
        return _NOTHING
    shared = set(held[0].bounds).intersection(*(item.bounds for item in held[1:]))
    bounds = tuple(bound for bound in held[0].bounds if bound in shared)
    below = [0] * len(bounds)
    for item in held:
        running = dict(zip(item.bounds, accumulate(item.counts), strict=False))
        below = [sum_below + running[bound] for sum_below, bound in zip(below, bounds, strict=True)]
    edges = [0, *below, sum(item.count for item in held)]
    counts = tuple(high - low for low, high in pairwise(edges))
    return Distribution(bounds, counts, sum(item.total for item in held))


def rates(before: ServerSnapshot, after: ServerSnapshot) -> ServerRates:
    """What happened between two snapshots of one server, `before` the earlier one.

    Models are those of the later one. Without time between the two every rate is 0, as is that of a version which came
    between them.
    """
    interval_s = _interval(before, after)
    if _is_restarted(before, after):
        parts = [_Part(None, model) for model in after.models]
    else:
        known = {(item.name, item.version): item for item in before.models}
        # One that was not there before may have been loaded again, with all that it counted in its life.
        parts = [_Part(known.get((model.name, model.version), model), model) for model in after.models]
    return ServerRates(
        at=after.taken_at,
        interval_s=interval_s,
        total=_total(parts, interval_s, "READY" if after.ready else "UNAVAILABLE"),
        models=tuple(part.rates(interval_s) for part in parts),
        cpu_cores=_cpu_cores(before.workers, after.workers, interval_s),
        rss_bytes=sum(worker.rss_bytes for worker in after.workers),
        connections=sum(worker.connections for worker in after.workers),
        restarts=sum(worker.restarts for worker in after.workers),
    )


def _interval(before: ServerSnapshot, after: ServerSnapshot) -> float:
    """Seconds between two snapshots; by the uptime where the wall clock was set back meanwhile."""
    interval_s = after.taken_at - before.taken_at
    if interval_s > 0:
        return interval_s
    return max(after.uptime_s - before.uptime_s, 0.0)


def _is_restarted(before: ServerSnapshot, after: ServerSnapshot) -> bool:
    return 0 < after.uptime_s < before.uptime_s


def _per_second(count: float, interval_s: float) -> float:
    return count / interval_s if interval_s > 0 else 0.0


def _grown(before: int, after: int) -> int:
    return after - before if after >= before else after


def _codes(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    if any(after.get(code, 0) < count for code, count in before.items()):
        return dict(after)
    return {code: count - before.get(code, 0) for code, count in after.items()}


class _Part:
    """One version in the interval."""

    def __init__(self, before: ModelSnapshot | None, after: ModelSnapshot) -> None:
        earlier = before or ModelSnapshot(after.name, after.version)
        codes = _codes(earlier.codes, after.codes)
        self.model = after
        self.requests = sum(codes.values())
        self.errors = sum(count for code, count in codes.items() if code[:1] in ("4", "5"))
        self.inferences = _grown(earlier.inferences, after.inferences)
        self.latency = difference(earlier.latency, after.latency)
        self.queue = difference(earlier.queue, after.queue)
        self.compute = difference(earlier.compute, after.compute)
        self.batch = difference(earlier.batch, after.batch)

    def rates(self, interval_s: float) -> ModelRates:
        return _model_rates([self], self.model, interval_s)


def _total(parts: list[_Part], interval_s: float, state: str) -> ModelRates:
    pending = sum(part.model.pending for part in parts)
    return _model_rates(parts, ModelSnapshot("", "", state, pending=pending), interval_s)


def _model_rates(parts: list[_Part], named: ModelSnapshot, interval_s: float) -> ModelRates:
    latency = merge(part.latency for part in parts)
    return ModelRates(
        name=named.name,
        version=named.version,
        state=named.state,
        requests_per_s=_per_second(sum(part.requests for part in parts), interval_s),
        inferences_per_s=_per_second(sum(part.inferences for part in parts), interval_s),
        errors_per_s=_per_second(sum(part.errors for part in parts), interval_s),
        p50_ms=_ms(quantile(latency, 0.5)),
        p95_ms=_ms(quantile(latency, 0.95)),
        p99_ms=_ms(quantile(latency, 0.99)),
        mean_ms=_ms(mean(latency)),
        queue_ms=_ms(mean(merge(part.queue for part in parts))),
        compute_ms=_ms(mean(merge(part.compute for part in parts))),
        batch=mean(merge(part.batch for part in parts)),
        pending=named.pending,
        heat=latency.counts,
        bounds=latency.bounds,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _cpu_cores(
    before: tuple[WorkerSnapshot, ...], after: tuple[WorkerSnapshot, ...], interval_s: float
) -> float | None:
    """Cores that the workers used; a worker that began anew counts with what it took since."""
    if not after:
        return None
    known = {(worker.index, worker.pid): worker.cpu_s for worker in before}
    used = 0.0
    for worker in after:
        earlier = known.get((worker.index, worker.pid), 0.0)
        used += worker.cpu_s - earlier if worker.cpu_s >= earlier else worker.cpu_s
    return _per_second(used, interval_s)
