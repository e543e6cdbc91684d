"""Statistics of latency samples that can be trusted: percentiles with confidence, drift, noise, histograms.

All functions are pure and take samples in ms in the order in which they were measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.benchmarks import HistogramData, Interval, LatencySummary

if TYPE_CHECKING:
    import numpy as np

PERCENTILES: dict[str, float] = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0}
"""The percentiles that summaries report, by name."""

_TAIL = 0.025  # each side of a 95 % interval
_BATCHES = 20
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
    if array.size < needed_runs(percent):
        return None
    return _interval_of_sorted(np.sort(array), percent)


def _interval_of_sorted(ordered: np.ndarray[Any, Any], percent: float) -> Interval | None:
    if ordered.size < needed_runs(percent):
        return None
    lower, upper = _binomial_bounds(int(ordered.size), percent / 100)
    if lower < 1 or upper > ordered.size:
        return None
    return Interval(float(ordered[lower - 1]), float(ordered[upper - 1]))


def _t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: closed forms for 1 and 2, else Cornish-Fisher (error < 0.03)."""
    if freedom == 1:
        return math.tan(math.pi * 0.475)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))
    z = NormalDist().inv_cdf(0.975)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def mean_interval(samples: Sequence[float] | np.ndarray[Any, Any]) -> Interval | None:
    """95 % interval of the mean by batch means, which neighbours that resemble each other do not make too narrow.

    Twenty batches of consecutive samples from 100 samples on, else the samples themselves; None for fewer than
    20, of which one slow sample alone can put the lower bound below zero.
    """
    import numpy as np

    array = _array(samples)
    if array.size < _BATCHES:
        return None
    values = array
    if array.size >= 5 * _BATCHES:
        edges = np.linspace(0, array.size, _BATCHES + 1).astype(np.int64)
        values = np.add.reduceat(array, edges[:-1]) / np.diff(edges)
    half = _t_quantile(values.size - 1) * float(values.std(ddof=1)) / math.sqrt(values.size)
    mean = float(array.mean())
    return Interval(mean - half, mean + half)


def summarise(
    samples: Sequence[float] | np.ndarray[Any, Any],
) -> tuple[LatencySummary, dict[str, Interval | None]]:
    """The summary of latencies, and the 95 % intervals `p50`, `p90`, `p95`, `p99`, `mean` (None where n is too small).

    Raises `ValueError` without samples.
    """
    import numpy as np

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
    intervals = {name: _interval_of_sorted(ordered, percent) for name, percent in PERCENTILES.items()}
    return summary, {**intervals, "mean": mean_interval(array)}


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


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether the latency stayed where it was."""

    steady: bool
    change: float
    """Median of the last third over that of the first, minus one; 0 with fewer than 12 samples."""


def drift(samples: Sequence[float] | np.ndarray[Any, Any], tolerance: float = 0.05) -> Drift:
    """Compare the medians of the three thirds of the run.

    Unsteady means that two of them differ by more than `tolerance` and by more than their own uncertainty. Fewer than
    12 samples cannot show a drift and count as steady.
    """
    import numpy as np

    array = _array(samples)
    if array.size < 12:
        return Drift(True, 0.0)
    thirds = np.array_split(array, 3)
    quartiles = np.array([np.percentile(third, [25, 50, 75]) for third in thirds])
    medians = quartiles[:, 1]
    middle = float(np.median(medians))
    if middle <= 0:
        return Drift(True, 0.0)
    # Standard error of a median is about 0.93 IQR / sqrt(n) for a normal core; three of them, for two medians.
    errors = 0.93 * (quartiles[:, 2] - quartiles[:, 0]) / np.sqrt([third.size for third in thirds])
    allowed = max(tolerance * middle, 3 * math.sqrt(2) * float(errors.max()))
    return Drift(bool(medians.max() - medians.min() <= allowed), float(medians[-1] / medians[0] - 1))


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
