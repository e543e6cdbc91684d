"""Statistics of latency samples that can be trusted: percentiles with confidence, noise, histograms.

All functions are pure and take samples in ms in the order in which they were measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.benchmarks import HistogramData, Interval, LatencySummary
from quickserveml_tui.core.dependence import worth_of_mean, worth_of_percentile

if TYPE_CHECKING:
    import numpy as np

PERCENTILES: dict[str, float] = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0}
"""The percentiles that summaries report, by name."""

_TAIL = 0.025  # each side of a 95 % interval
_MAX_BINS = 40
_CLOCK_MS = 1e-5  # 10 ns: narrower bins would show the clock's steps, not the model


def _array(samples: Sequence[float] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    array = np.asarray(samples, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError("at least one sample is needed, in one dimension")
    return array


def percentile(samples: Sequence[float] | np.ndarray[Any, Any], percent: float) -> float:
    """The percentile, interpolated linearly between order statistics (Hyndman and Fan's type 7, numpy's default).

    Raises `ValueError` without samples or for a percent outside 0 to 100.
    """
    import numpy as np

    return float(np.percentile(_array(samples), percent))


def needed_runs(percent: float) -> int:
    """Fewest samples for a finite 95 % interval of a percentile: 36, 72, 368, 3,688 for p90, p95, p99, p99.9.

    Raises `ValueError` unless `percent` lies between 0 and 100, both excluded.
    """
    if not 0 < percent < 100:
        raise ValueError("percent must lie between 0 and 100")
    # Kept in decimal: 1 - 0.9 is not 0.1 in binary, and the bound is sharp.
    rarer = min(percent, 100 - percent) / 100
    return math.ceil(math.log(_TAIL) / math.log1p(-rarer))


def _binomial_bounds(n: int, share: float) -> tuple[int, int]:
    """Quantiles of Binomial(n, share): largest l with P(B <= l-1) <= 2.5 %, smallest u with P(B >= u) <= 2.5 %."""
    import numpy as np

    sigma = math.sqrt(n * share * (1 - share))
    mode = min(int((n + 1) * share), n)
    low = max(mode - int(10 * sigma) - 20, 0)
    high = min(mode + int(10 * sigma) + 20, n)
    k = np.arange(low, high, dtype=np.float64)
    steps = np.log((n - k) / (k + 1)) + math.log(share / (1 - share))
    logs = np.concatenate(([0.0], np.cumsum(steps)))
    at_mode = (
        math.lgamma(n + 1)
        - math.lgamma(mode + 1)
        - math.lgamma(n - mode + 1)
        + mode * math.log(share)
        + (n - mode) * math.log1p(-share)
    )
    mass = np.exp(logs - logs[mode - low] + at_mode)
    below = np.cumsum(mass)  # P(B <= low + index)
    above = np.cumsum(mass[::-1])[::-1]  # P(B >= low + index)
    lower = low + int(np.searchsorted(below, _TAIL, side="right"))
    upper = low + int(np.count_nonzero(above > _TAIL))
    return lower, upper


def percentile_interval(samples: Sequence[float] | np.ndarray[Any, Any], percent: float) -> Interval | None:
    """95 % interval of a percentile between two order statistics, by the binomial distribution of their ranks.

    Free of any assumption about the shape of the distribution; it does assume independent samples. None when there are
    fewer than `needed_runs(percent)` samples: no finite interval exists then.
    """
    import numpy as np

    array = _array(samples)
    return _interval_of_sorted(np.sort(array), percent, int(array.size))


def _interval_of_sorted(ordered: np.ndarray[Any, Any], percent: float, worth: int) -> Interval | None:
    """The interval that `worth` independent samples would have, at the same places of the distribution."""
    if worth < needed_runs(percent):
        return None
    lower, upper = _binomial_bounds(worth, percent / 100)
    if lower < 1 or upper > worth:
        return None
    if worth < ordered.size:
        scale = (ordered.size + 1) / (worth + 1)
        lower, upper = max(int(lower * scale), 1), min(math.ceil(upper * scale), int(ordered.size))
    return Interval(float(ordered[lower - 1]), float(ordered[upper - 1]))


def summarise(
    samples: Sequence[float] | np.ndarray[Any, Any], *, only: Sequence[str] | None = None
) -> tuple[LatencySummary, dict[str, Interval | None]]:
    """The summary of latencies, and the 95 % intervals `p50`, `p90`, `p95`, `p99`, `mean` (None where n is too small).

    The intervals of percentiles are as wide as those of the independent samples that these are worth; that of the mean
    is by a block bootstrap. `only` names the intervals that are wanted. Raises `ValueError` without samples.
    """
    import numpy as np

    from quickserveml_tui.core.bootstrap import mean_interval

    array = _array(samples)
    ordered = np.sort(array)
    p50, p90, p95, p99 = (float(value) for value in np.percentile(ordered, list(PERCENTILES.values())))
    summary = LatencySummary(
        min=float(ordered[0]),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        max=float(ordered[-1]),
        mean=float(array.mean()),
        stddev=float(array.std(ddof=1)) if array.size > 1 else 0.0,
    )
    wanted = (*PERCENTILES, "mean") if only is None else only
    intervals: dict[str, Interval | None] = {}
    for name in wanted:
        if name == "mean":
            intervals[name] = mean_interval(array)
        elif array.size < needed_runs(PERCENTILES[name]):
            intervals[name] = None
        else:
            worth = worth_of_percentile(array, getattr(summary, name))
            intervals[name] = _interval_of_sorted(ordered, PERCENTILES[name], worth)
    return summary, intervals


def effective_runs(samples: Sequence[float] | np.ndarray[Any, Any]) -> dict[str, int]:
    """How many independent samples these are worth for each interval of `summarise`, by its name.

    Raises `ValueError` without samples.
    """
    import numpy as np

    array = _array(samples)
    values = np.percentile(array, list(PERCENTILES.values()))
    worth = {name: worth_of_percentile(array, float(value)) for name, value in zip(PERCENTILES, values, strict=True)}
    return {**worth, "mean": worth_of_mean(array)}


def runs_for_interval(name: str, n: int, effective: Mapping[str, int]) -> int:
    """Runs like the `n` that were made which the interval of a percentile takes; 0 for a name that is no percentile.

    More than `needed_runs` where `effective` says that neighbours resemble each other.
    """
    if name not in PERCENTILES:
        return 0
    needed = needed_runs(PERCENTILES[name])
    return math.ceil(needed * n / max(effective.get(name, n), 1)) if n else needed


def histogram(samples: Sequence[float] | np.ndarray[Any, Any]) -> HistogramData:
    """Up to 40 bins that cover every sample; the last bin collects the tail.

    The tail begins between the 95th and the 99th percentile, five interquartile ranges above the median where that lies
    between them: one slow sample never squeezes all others into one bar. The bins below it are equally wide, or equally
    wide on a logarithmic scale where it begins at more than five times the minimum.
    """
    import numpy as np

    array = _array(samples)
    low, high = float(array.min()), float(array.max())
    body = _tail_start(array) if array.size >= 20 else high
    if high - low <= _CLOCK_MS:
        width = max(high - low, abs(low) * 1e-6, _CLOCK_MS)
        return HistogramData((low, low + width), (int(array.size),))
    bins = int(min(_MAX_BINS, max(5, 2 * math.sqrt(array.size)), max(1.0, (body - low) / _CLOCK_MS)))
    has_tail = high > body
    inner = max(bins - has_tail, 1)
    if body <= low:
        edges = np.array([low, low + _CLOCK_MS])
    elif low > 0 and body / low > 5:
        edges = np.geomspace(low, body, inner + 1)
    else:
        edges = np.linspace(low, body, inner + 1)
    edges[0] = low
    if has_tail:
        edges = np.append(edges, max(high, float(np.nextafter(edges[-1], np.inf))))
    else:
        edges[-1] = max(float(edges[-1]), high)
    counts, _ = np.histogram(array, bins=edges)
    return HistogramData(tuple(map(float, edges)), tuple(map(int, counts)))


def _tail_start(array: np.ndarray[Any, Any]) -> float:
    import numpy as np

    p25, p50, p75, p95, p99 = (float(value) for value in np.percentile(array, [25, 50, 75, 95, 99]))
    return min(p99, max(p95, p50 + 5 * (p75 - p25)))


def spread(samples: Sequence[float] | np.ndarray[Any, Any]) -> float:
    """Robust relative spread: the interquartile range over the median; 0 where the median is 0."""
    import numpy as np

    low, middle, high = (float(value) for value in np.percentile(_array(samples), [25, 50, 75]))
    return (high - low) / middle if middle > 0 else 0.0


@dataclass(frozen=True, slots=True)
class HostNoise:
    """What else the machine did during a measurement; None where the system does not tell."""

    cores: int
    threads: int = 1
    """Cores that the measurement itself could use."""
    load_before: float | None = None
    """Load average over one minute before the run."""
    other_cpus: float | None = None
    """Cores that other processes kept busy on average during the run."""
    steal: float | None = None
    """Share of CPU time that the hypervisor took, 0 to 1."""
    preemptions_per_s: float | None = None
    """Involuntary context switches a second of the measuring thread."""


def noise(samples: Sequence[float] | np.ndarray[Any, Any], host: HostNoise) -> tuple[bool, str]:
    """Whether the measurement is disturbed, and why, in one sentence (also when it is not)."""
    relative = spread(samples)
    free = max(host.cores - host.threads, 0)
    if host.other_cpus is not None and host.other_cpus > max(0.5 * free, 0.25):
        return True, f"Other processes kept {host.other_cpus:.1f} of {host.cores} cores busy during the run."
    if host.other_cpus is None and host.load_before is not None and host.load_before > host.cores / 2:
        return True, f"The load was {host.load_before:.1f} on {host.cores} cores before the run began."
    if host.steal is not None and host.steal > 0.02:
        return True, f"The hypervisor took {host.steal:.0%} of the CPU time."
    if host.preemptions_per_s is not None and host.preemptions_per_s > 20:
        return True, f"The measuring thread was interrupted {host.preemptions_per_s:.0f} times a second."
    if relative > 0.20:
        return True, f"The middle half of the latencies spreads over {relative:.0%} of the median."
    return False, f"Quiet host: the middle half of the latencies spreads over {relative:.1%} of the median."
