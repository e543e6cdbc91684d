"""The statistics of interleaved comparisons: a block bootstrap of the median log-ratio.

Sides take turns, so what disturbs the machine disturbs all of them; the ratio of neighbours is free of it. Rounds that
follow each other resemble each other, and a process keeps the memory that it happened to get, so both are resampled in
blocks: rounds in runs of neighbours, processes as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.benchmarks import Interval
from quickserveml_tui.core.comparing import Paired, Verdict

if TYPE_CHECKING:
    import numpy as np

MIN_ROUNDS = 6
"""Fewer medians cannot hold a 95 % interval: with five, all lie on one side of the truth in 6 of 100 cases."""
RESAMPLES = 2000
_TAILS = (2.5, 97.5)


def block_length(count: int) -> int:
    """Rounds that are resampled together: the cube root of their number, the usual choice for a quantile."""
    return max(1, math.ceil(math.cbrt(count)))


def paired(
    baseline: Sequence[float] | np.ndarray[Any, Any],
    candidate: Sequence[float] | np.ndarray[Any, Any],
    processes: Sequence[int] | np.ndarray[Any, Any],
    *,
    threshold: float,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Paired:
    """Compare medians of rounds, in ms and of equal length; `processes` says which process each round ran in.

    Raises `ValueError` for lengths that differ, and without rounds.
    """
    import numpy as np

    base, other = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    groups = np.asarray(processes)
    if base.ndim != 1 or base.shape != other.shape or groups.shape != base.shape or not base.size:
        raise ValueError("as many rounds of each side are needed, at least one")
    logs = np.log(np.maximum(other, 1e-9)) - np.log(np.maximum(base, 1e-9))
    ratio = float(np.exp(np.median(logs)))
    if logs.size < MIN_ROUNDS:
        reason = f"{logs.size} of the {MIN_ROUNDS} rounds that an interval needs were measured"
        return Paired(ratio, None, int(logs.size), Verdict.INCONCLUSIVE, reason)
    medians = _resampled([logs[groups == group] for group in np.unique(groups)], seed, resamples)
    low, high = (float(value) for value in np.exp(np.percentile(medians, _TAILS)))
    interval = Interval(min(low, ratio), max(high, ratio))
    verdict = judge(interval, threshold)
    return Paired(ratio, interval, int(logs.size), verdict, _reason(verdict, interval, threshold))


def _resampled(groups: list[np.ndarray[Any, Any]], seed: int, resamples: int) -> np.ndarray[Any, Any]:
    """Medians of resampled log-ratios, shape (resamples,)."""
    import numpy as np

    rng = np.random.default_rng(seed)
    size = min(group.size for group in groups)
    length = block_length(size)
    blocks = -(-size // length)
    picked = np.empty((resamples, len(groups), size))
    chosen = rng.integers(0, len(groups), (resamples, len(groups)))
    for number, group in enumerate(groups):
        rows, slots = np.nonzero(chosen == number)
        begins = rng.integers(0, group.size, (rows.size, blocks))
        indexes = (begins[:, :, None] + np.arange(length)) % group.size
        picked[rows, slots] = group[indexes.reshape(rows.size, -1)[:, :size]]
    return np.median(picked.reshape(resamples, -1), axis=1)


def judge(interval: Interval, threshold: float) -> Verdict:
    """The verdict for the interval of a ratio: only what the whole interval says counts."""
    low, high = 1 / (1 + threshold), 1 + threshold
    if interval.low > high:
        return Verdict.SLOWER
    if interval.high < low:
        return Verdict.FASTER
    return Verdict.EQUAL if low <= interval.low and interval.high <= high else Verdict.INCONCLUSIVE


def _reason(verdict: Verdict, interval: Interval, threshold: float) -> str:
    if verdict is not Verdict.INCONCLUSIVE:
        return ""
    low, high = (100 * (bound - 1) for bound in (interval.low, interval.high))
    return f"anything from {low:+.1f} % to {high:+.1f} % fits the rounds, and ±{100 * threshold:g} % decides"


def is_precise(found: Paired, precision: float) -> bool:
    """Whether the interval reaches no further than `precision` on each side of the ratio."""
    if found.interval is None:
        return False
    return max(found.interval.high / found.ratio, found.ratio / found.interval.low) - 1 <= precision
