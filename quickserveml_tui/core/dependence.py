"""How much neighbouring samples resemble each other, and how many independent ones they are worth.

A machine that is slower for a while makes many slow inferences in a row: a thousand of them say less than a thousand
independent ones would, and an interval that ignores it is too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_POINTS = 65_536
"""Longer series are looked at in blocks, whose means have the same long-run variance: 20 ms instead of seconds."""
_FEWEST = 12


def correlation_time(samples: Sequence[float] | np.ndarray[Any, Any]) -> float:
    """The integrated autocorrelation time: how many neighbours are worth one independent sample; 1 at least.

    By Geyer's initial monotone sequence (1992). What independent samples could show by chance counts as 1, and so do
    fewer than 12 samples and equal ones. Samples that alternate are not taken for more than they are.
    """
    import numpy as np

    array = np.asarray(samples, dtype=np.float64)
    if array.size < _FEWEST:
        return 1.0
    spread = float(array.var())
    if spread <= 0:
        return 1.0
    factor = -(-array.size // _POINTS)
    blocks = array[: array.size // factor * factor].reshape(-1, factor).mean(axis=1)
    inflation = factor * float(blocks.var()) / spread if factor > 1 else 1.0
    time = inflation * _geyer(blocks)
    return time if time > 1 + 6 / float(np.sqrt(array.size)) else 1.0


def _geyer(values: np.ndarray[Any, Any]) -> float:
    import numpy as np

    correlations = autocorrelations(values)
    pairs = correlations[: correlations.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    kept = np.minimum.accumulate(pairs[: negative[0]] if negative.size else pairs)
    return max(2 * float(kept.sum()) - 1, 1e-9)


def autocorrelations(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Autocorrelation by lag, from 0 to half the number of values; 1 and then zeros for equal values."""
    import numpy as np

    centred = values - values.mean()
    size = 1 << (2 * values.size - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    found = np.fft.irfft(spectrum * np.conj(spectrum), size)[: max(values.size // 2, 2)]
    if found[0] <= 0:
        found = np.zeros_like(found)
        found[0] = 1.0
    return np.asarray(found / found[0])


def first_autocorrelation(samples: Sequence[float] | np.ndarray[Any, Any]) -> float | None:
    """Correlation of each sample's rank half with its neighbour's: of being above the median; None below 12 samples.

    Of halves, since one slow inference would drown all else in the correlation of the latencies themselves.
    """
    import numpy as np

    array = np.asarray(samples, dtype=np.float64)
    if array.size < _FEWEST:
        return None
    above = (array > np.median(array)).astype(np.float64)
    spread = float(above.var())
    if spread <= 0:
        return 0.0
    centred = above - above.mean()
    return float(np.dot(centred[:-1], centred[1:]) / (array.size - 1) / spread)


def worth_of_percentile(samples: np.ndarray[Any, Any], value: float) -> int:
    """Independent samples that these are worth where the percentile `value` is concerned; 1 at least.

    A percentile is uncertain by how many samples fall below it, so the correlation of just that counts.
    """
    import numpy as np

    below = samples <= value
    if below.all():  # the slowest samples are equal: which ones they are still tells
        below = samples < value
    return _worth(int(samples.size), correlation_time(below.astype(np.float64)))


def worth_of_mean(samples: np.ndarray[Any, Any]) -> int:
    """Independent samples that these are worth where the mean is concerned; 1 at least."""
    return _worth(int(samples.size), correlation_time(samples))


def _worth(size: int, time: float) -> int:
    return max(int(size / time), 1)
