"""Inferences far slower than the rest, and what the system did to them where it is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.benchmarks import OutlierCause, OutlierMark, Outliers
from quickserveml_tui.core.runners import Stretch

if TYPE_CHECKING:
    import numpy as np

MADS = 10.0
"""Median absolute deviations beyond the median: 6.7 standard deviations of a normal distribution."""
MAX_MARKS = 100
_CLOCK_MS = 1e-5


def outlier_bound(samples: Sequence[float] | np.ndarray[Any, Any], mads: float = MADS) -> float:
    """The latency from which on an inference counts as an outlier. Raises `ValueError` without samples."""
    import numpy as np

    array = np.asarray(samples, dtype=np.float64)
    if array.size == 0:
        raise ValueError("at least one sample is needed")
    middle = float(np.median(array))
    # Where most latencies are the same step of the clock, ten steps are no outlier.
    spread = max(float(np.median(np.abs(array - middle))), 0.005 * middle, _CLOCK_MS)
    return middle + mads * spread


def find_outliers(
    latencies_ms: Sequence[float] | np.ndarray[Any, Any],
    starts_s: Sequence[float] | np.ndarray[Any, Any],
    stretches: Sequence[Sequence[float]] | np.ndarray[Any, Any] = (),
) -> Outliers:
    """The outliers of a run, the slowest 100 of them marked with their times and causes.

    `stretches`, rows of `Stretch` in order, say what the system counted between two looks at its counters. In each, its
    slowest outliers are put down to what was counted, as often as it was: first time that the hypervisor took, then
    page faults that had to read, then interruptions of the thread. What is left is unknown. So a cause is the likeliest
    one, not a proof. Raises `ValueError` without samples.
    """
    import numpy as np

    latencies = np.asarray(latencies_ms, dtype=np.float64)
    bound = outlier_bound(latencies)
    places = np.flatnonzero(latencies > bound)
    causes = _causes(latencies, places, stretches)
    slowest = np.argsort(latencies[places], kind="stable")[::-1][:MAX_MARKS]
    starts = np.asarray(starts_s, dtype=np.float64)
    marks = tuple(
        OutlierMark(float(starts[places[at]] - starts[0]), float(latencies[places[at]]), causes[at])
        for at in np.sort(slowest).tolist()
    )
    counts = Counter(str(cause) for cause in causes)
    return Outliers(int(places.size), bound, dict(counts), marks)


def _causes(
    latencies: np.ndarray[Any, Any],
    places: np.ndarray[Any, Any],
    stretches: Sequence[Sequence[float]] | np.ndarray[Any, Any],
) -> list[OutlierCause]:
    """The cause of each outlier, in the order of `places`."""
    import numpy as np

    causes = [OutlierCause.UNKNOWN] * int(places.size)
    rows = np.asarray(stretches, dtype=np.float64).reshape(-1, len(Stretch._fields))
    if not causes or not rows.size:
        return causes
    middle = float(np.median(latencies))
    lows = np.searchsorted(places, rows[:, 0])
    highs = np.searchsorted(places, rows[:, 1])
    for number in np.flatnonzero(highs > lows):
        inside = np.arange(lows[number], highs[number])
        slowest = inside[np.argsort(latencies[places[inside]], kind="stable")[::-1]]
        excess = latencies[places[slowest]] - middle
        for at, cause in zip(slowest.tolist(), _explained(Stretch(*rows[number]), excess.tolist()), strict=False):
            causes[at] = cause
    return causes


def _explained(stretch: Stretch, excess_ms: Sequence[float]) -> list[OutlierCause]:
    """Causes of the slowest outliers of a stretch, at most as many as there are; `excess_ms` falls."""
    stolen_ms, found = 1000 * stretch.steal_s, 0
    while stolen_ms > 0 and found < len(excess_ms):
        stolen_ms -= excess_ms[found]
        found += 1
    causes = [OutlierCause.STEAL] * found
    causes += [OutlierCause.PAGE_FAULT] * int(stretch.major_faults)
    causes += [OutlierCause.INTERRUPTED] * int(min(stretch.preemptions, len(excess_ms)))
    return causes
