"""Ending a run once a figure is known well enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quickserveml_tui.core import statistics

if TYPE_CHECKING:
    import numpy as np

_GROWTH = 1.2
_FEWEST = 100


def half_width(samples: np.ndarray[Any, Any], figure: str) -> float | None:
    """Half the width of a figure's 95 % interval over the figure; None where it has no interval or is not positive.

    `figure` is one of `PRECISION_FIGURES`; the interval minds that neighbours may resemble each other.
    """
    summary, intervals = statistics.summarise(samples, only=(figure,))
    interval, value = intervals[figure], float(getattr(summary, figure))
    if interval is None or value <= 0:
        return None
    return (interval.high - interval.low) / 2 / value


class PrecisionWatch:
    """Says when a run may end. Each look waits for a fifth more samples, since looking costs time and caches."""

    def __init__(self, figure: str, precision: float) -> None:
        self._figure = figure
        self._precision = precision
        self._next = _FEWEST
        self._was_precise = False

    def is_due(self, count: int) -> bool:
        """Whether it is time to look at `count` samples."""
        return count >= self._next

    def is_reached(self, samples: np.ndarray[Any, Any]) -> bool:
        """Whether the half-width is small enough, for the second look in a row: one alone may be luck."""
        self._next = int(samples.size * _GROWTH) + 1
        reached = half_width(samples, self._figure)
        precise = reached is not None and reached <= self._precision
        enough, self._was_precise = precise and self._was_precise, precise
        return enough
