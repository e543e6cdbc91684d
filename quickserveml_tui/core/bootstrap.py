"""The interval of a mean, by a block bootstrap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.benchmarks import Interval
from quickserveml_tui.core.dependence import correlation_time

if TYPE_CHECKING:
    import numpy as np

FEWEST = 20
"""Of fewer samples one slow one alone could put the lower bound below zero."""
_RESAMPLES = 1000
_MOST_BLOCKS = 2000
_FEWEST_BLOCKS = 10


def t_quantile(freedom: int) -> float:
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


def block_length(samples: np.ndarray[Any, Any]) -> int:
    """Neighbours that are drawn together: five times as far as they resemble each other, so that little of it is cut.

    The cube root of the number of samples at least; at most a tenth of them.
    """
    size = int(samples.size)
    wanted = max(math.cbrt(size), 5 * correlation_time(samples), size / _MOST_BLOCKS)
    return max(min(math.ceil(wanted), size // _FEWEST_BLOCKS), 1)


def mean_interval(
    samples: Sequence[float] | np.ndarray[Any, Any], *, seed: int = 0, resamples: int = _RESAMPLES
) -> Interval | None:
    """95 % interval of the mean by a circular block bootstrap, which holds where neighbours resemble each other.

    None for fewer than 20 samples. The same samples and seed give the same interval. Few blocks know their own spread
    badly: the interval is widened as Student's t is wider than the normal distribution.
    """
    import numpy as np

    array = np.asarray(samples, dtype=np.float64)
    if array.size < FEWEST:
        return None
    length = block_length(array)
    blocks = -(-int(array.size) // length)
    sums = np.concatenate(([0.0], np.cumsum(np.concatenate((array, array[:length])))))
    begins = np.random.default_rng(seed).integers(0, array.size, (resamples, blocks))
    means = (sums[begins + length] - sums[begins]).sum(axis=1) / (blocks * length)
    mean = float(array.mean())
    low, high = (float(value) for value in np.percentile(means, [2.5, 97.5]))
    wider = math.sqrt(blocks / (blocks - 1)) * t_quantile(blocks - 1) / NormalDist().inv_cdf(0.975)
    return Interval(mean - wider * max(mean - low, 0.0), mean + wider * max(high - mean, 0.0))
