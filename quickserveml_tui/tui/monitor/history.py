"""What was seen of a server lately: bounded, and laid out in columns of a window that ends with the newest snapshot."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.monitoring import ModelRates, ServerRates, ServerSnapshot
from quickserveml_tui.tui.monitor.events import Event, events_between

MAX_POINTS = 600
"""Intervals that are kept."""
MAX_EVENTS = 500
_HALF = 0.5 + 1e-6
ModelKey = tuple[str, str]
Pick = Callable[["Point"], float | None]


@dataclass(frozen=True, slots=True)
class Point:
    """One interval."""

    at: float
    """Unix time of its end."""
    interval_s: float
    rates: ServerRates
    cpu_percent: float | None = None
    gpu_percent: float | None = None

    def of(self, model: ModelKey | None) -> ModelRates | None:
        """The rates of one version, or of all together."""
        if model is None:
            return self.rates.total
        return next((item for item in self.rates.models if (item.name, item.version) == model), None)


@dataclass
class History:
    """Intervals of one server, oldest first."""

    points: deque[Point] = field(default_factory=lambda: deque(maxlen=MAX_POINTS))
    snapshot: ServerSnapshot | None = None
    """The newest one."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    """What happened, oldest first."""
    generation: int = 0
    """Changes with every snapshot."""

    def add(self, snapshot: ServerSnapshot, rates: ServerRates | None) -> None:
        """Take in a snapshot and, unless it is the first one, what it says together with the one before."""
        if self.snapshot is not None:
            self.events.extend(events_between(self.snapshot, snapshot))
        self.snapshot = snapshot
        self.generation += 1
        if rates is None or rates.interval_s <= 0:
            return
        if self.points and rates.at < self.points[-1].at:
            self.points.clear()  # the clock of the server was set back: older times would lie in the future
        gpus = [gpu.utilisation for gpu in snapshot.gpus]
        gpu = 100 * sum(gpus) / len(gpus) if gpus else None
        self.points.append(Point(rates.at, rates.interval_s, rates, snapshot.cpu_percent, gpu))

    def note(self, at: float, words: str, role: Role) -> None:
        """Something that no snapshot tells happened to the server."""
        self.events.append(Event(at, "server", words, role))

    @property
    def newest(self) -> Point | None:
        """The newest interval."""
        return self.points[-1] if self.points else None

    @property
    def end(self) -> float:
        """Unix time at the right edge of every window."""
        return self.points[-1].at if self.points else self.snapshot.taken_at if self.snapshot else 0.0

    def _covered(self, window_s: float, columns: int) -> Iterator[tuple[range, Point]]:
        """Columns that each interval lies in."""
        start, each = self.end - window_s, window_s / max(columns, 1)
        for point in self.points:
            if point.at <= start:
                continue
            # A column belongs to the interval that holds its middle, so that neighbours leave none out.
            first = math.floor((point.at - point.interval_s - start) / each + _HALF)
            last = math.floor((point.at - start) / each + _HALF)
            yield range(max(min(first, columns - 1), 0), min(max(last, first + 1), columns)), point

    def columns(self, pick: Pick, window_s: float, columns: int, *, most: bool = False) -> list[float | None]:
        """A quantity by column: its mean, or the largest value with `most`; None where nothing is known."""
        sums: list[float] = [0.0] * columns
        counts = [0] * columns
        for places, point in self._covered(window_s, columns):
            value = pick(point)
            if value is None or not math.isfinite(value):
                continue
            for at in places:
                sums[at] = max(sums[at], value) if most and counts[at] else value if most else sums[at] + value
                counts[at] += 1
        return [
            None if not count else total if most else total / count for total, count in zip(sums, counts, strict=True)
        ]

    def heat(
        self, model: ModelKey | None, window_s: float, columns: int
    ) -> tuple[list[tuple[int, ...] | None], tuple[float, ...]]:
        """Counts by bucket for each column, and the buckets' upper bounds in milliseconds.

        Intervals with other bounds than the newest (another server began to answer there) are left out.
        """
        seen = (point.of(model) for point in reversed(self.points))
        bounds = next((found.bounds for found in seen if found is not None and found.heat), ())
        sums: list[list[int] | None] = [None] * columns
        for places, point in self._covered(window_s, columns):
            found = point.of(model)
            if found is None or (found.heat and found.bounds != bounds):
                continue
            for at in places:
                held = sums[at] or [0] * (len(bounds) + 1)
                counts = found.heat or (0,) * len(held)
                sums[at] = [old + new for old, new in zip(held, counts, strict=False)]
        return [None if column is None else tuple(column) for column in sums], tuple(bound * 1e3 for bound in bounds)

    def at_column(self, column: int, window_s: float, columns: int) -> Point | None:
        """The newest interval that lies in a column."""
        found = None
        for places, point in self._covered(window_s, columns):
            if column in places:
                found = point
        return found

    def models(self) -> Iterable[ModelRates]:
        """Rates of every version in the newest interval."""
        return self.points[-1].rates.models if self.points else ()
