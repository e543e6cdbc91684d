"""When a latency became steady, and whether it stayed where it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 0.05
_FEWEST = 12
_WINDOWS = 40
_IN_WINDOW = 5


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether the latency stayed where it was."""

    steady: bool
    change: float
    """Median of the last third over that of the first, minus one; 0 with fewer than 12 samples."""


def drift(samples: Sequence[float] | np.ndarray[Any, Any], tolerance: float = TOLERANCE) -> Drift:
    """Compare the medians of the three thirds of the run.

    Unsteady means that two of them differ by more than `tolerance` and by more than their own uncertainty. Fewer than
    12 samples cannot show a drift and count as steady. Raises `ValueError` without samples.
    """
    import numpy as np

    array = np.asarray(samples, dtype=np.float64)
    if array.size == 0:
        raise ValueError("at least one sample is needed")
    if array.size < _FEWEST:
        return Drift(True, 0.0)
    medians, errors = _middles(np.array_split(array, 3))
    middle = float(np.median(medians))
    if middle <= 0:
        return Drift(True, 0.0)
    allowed = max(tolerance * middle, 3 * math.sqrt(2) * float(errors.max()))
    return Drift(bool(medians.max() - medians.min() <= allowed), float(medians[-1] / medians[0] - 1))


def steady_from(samples: Sequence[float] | np.ndarray[Any, Any], tolerance: float = TOLERANCE) -> int | None:
    """Index of the first sample from which on the latency is steady: 0 where it always was, None where it never was.

    The run is cut into up to 40 windows. It settles where two windows in a row lie at the level of its second half,
    by `drift`'s measure, and what follows does not drift. It is looked for in the first half only: what settles later
    has not been seen to stay.
    """
    import numpy as np

    array = np.asarray(samples, dtype=np.float64)
    count = min(_WINDOWS, int(array.size) // _IN_WINDOW)
    if count < 6:
        return 0 if drift(array, tolerance).steady else None
    edges = np.linspace(0, array.size, count + 1).astype(np.int64)
    medians, errors = _middles(np.split(array, edges[1:-1]))
    level = float(np.median(array[array.size // 2 :]))
    allowed = np.maximum(tolerance * level, 3 * math.sqrt(2) * errors)
    near = np.abs(medians - level) <= allowed
    for place in range(count // 2 + 1):
        if near[place] and near[place + 1]:
            begin = int(edges[place])
            return begin if drift(array[begin:], tolerance).steady else None
    return None


def _middles(parts: Sequence[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Median of each part and its standard error: about 0.93 IQR / sqrt(n) for a normal core."""
    import numpy as np

    quartiles = np.array([np.percentile(part, [25, 50, 75]) for part in parts])
    return quartiles[:, 1], 0.93 * (quartiles[:, 2] - quartiles[:, 0]) / np.sqrt([part.size for part in parts])
