"""Where a series of figures changed its level: regressions and gains, told from noise."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FEWEST = 3
"""Figures on each side of a change; fewer could be two bad days."""
MIN_CHANGE = 0.03
"""Smaller changes of level are not called one."""
ALPHA = 0.002
"""Chance of a split that shuffled figures would show, too: small, as each stretch is looked at again."""
_SHUFFLES = 2000
_SUSPECT_SIGMAS = 5.0
_SIGMA_OF_MAD = 1.4826


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A change of level."""

    index: int
    """First figure of the new level."""
    before: float
    """Median of the level before."""
    after: float

    @property
    def ratio(self) -> float:
        """The new level over the one before."""
        return self.after / self.before


def find_changes(
    values: Sequence[float] | np.ndarray[Any, Any], *, min_change: float = MIN_CHANGE, seed: int = 0
) -> tuple[ChangePoint, ...]:
    """Changes of level in positive figures, in the order in which they were measured.

    Binary segmentation on logarithms: the best split of a stretch counts where fewer than 2 in 1,000 shuffles of the
    same figures have one as good, and the medians differ by `min_change`. One wild figure makes no level: there must be
    three. Raises `ValueError` for figures that are not positive and finite.
    """
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    if array.size and not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError("figures must be positive and finite")
    rng = np.random.default_rng(seed)
    edges = [0, *sorted(_splits(np.log(array), 0, rng, min_change)), int(array.size)]
    medians = [float(np.median(array[begin:end])) if end > begin else 0.0 for begin, end in itertools.pairwise(edges)]
    return tuple(
        ChangePoint(index, before, after)
        for index, before, after in zip(edges[1:-1], medians, medians[1:], strict=False)
        if abs(np.log(after / before)) >= np.log1p(min_change)
    )


def _splits(logs: np.ndarray[Any, Any], offset: int, rng: np.random.Generator, min_change: float) -> list[int]:
    import numpy as np

    if logs.size < 2 * FEWEST:
        return []
    calm = _calmed(logs)
    scores = _scores(calm[None, :])[0]
    best = int(np.argmax(scores))
    place = best + FEWEST
    if abs(float(np.median(logs[place:]) - np.median(logs[:place]))) < np.log1p(min_change):
        return []
    shuffled = rng.permuted(np.broadcast_to(calm, (_SHUFFLES, calm.size)).copy(), axis=1)
    if float((_scores(shuffled).max(axis=1) >= scores[best]).mean()) > ALPHA:
        return []
    return [
        *_splits(logs[:place], offset, rng, min_change),
        offset + place,
        *_splits(logs[place:], offset + place, rng, min_change),
    ]


def _calmed(logs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The figures with single wild ones drawn in to their neighbours' median: these make no level."""
    import numpy as np

    padded = np.pad(logs, 1, mode="edge")
    middles = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    away = np.abs(logs - middles)
    spread = _SIGMA_OF_MAD * float(np.median(np.abs(np.diff(logs)))) / np.sqrt(2)
    return np.where(away > 4 * max(spread, 1e-12), middles, logs)


def _scores(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How much each split explains, shape (rows, splits): the squared difference of the means, by their weights."""
    import numpy as np

    size = rows.shape[1]
    sums = np.cumsum(rows, axis=1)
    left = np.arange(FEWEST, size - FEWEST + 1)
    before = sums[:, left - 1]
    right = size - left
    difference = before / left - (sums[:, -1:] - before) / right
    return np.asarray(left * right / size * difference**2)


def is_suspect(values: Sequence[float] | np.ndarray[Any, Any], *, min_change: float = MIN_CHANGE) -> bool:
    """Whether the last figure lies far above the level before it, though one figure proves nothing yet."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    if array.size < 2 * FEWEST:
        return False
    level = np.log(array[:-1][-10:])
    middle = float(np.median(level))
    spread = _SIGMA_OF_MAD * float(np.median(np.abs(level - middle)))
    return bool(np.log(array[-1]) - middle > max(_SUSPECT_SIGMAS * spread, np.log1p(min_change)))
