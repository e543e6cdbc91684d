"""The pulse of the event loop: how late it was, ten times a second, while anything is under way."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PERIOD_S = 0.1
KEPT = 1_200
"""Beats that are remembered: two minutes of work."""
AFTERMATH = 20
"""Beats after the last work has ended; then the pulse stops, because idling costs nothing."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the remembered beats say."""

    beats: int
    missed: int
    """Beats that were due while the loop was held up."""
    held: int
    """Those of them that this process took the time for itself; the rest it waited for a core."""
    median_ms: float
    p99_ms: float
    worst_ms: float

    @property
    def words(self) -> str:
        """One sentence."""
        if not self.beats:
            return "no beat yet: the loop is watched while something is under way"
        return (
            f"late by {self.median_ms:.1f} ms at the median, {self.p99_ms:.1f} ms at p99, {self.worst_ms:.0f} ms at "
            f"most; {self.missed:,} of {self.beats + self.missed:,} beats missed, {self.held:,} by our own work"
        )


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


class Heartbeat:
    """Asks to be called ten times a second and keeps how much later than that it was."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._late_s: deque[float] = deque(maxlen=KEPT)
        self._own_s: deque[float] = deque(maxlen=KEPT)
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0
        self.kept_awake = False
        """Whether it beats on when nothing is under way."""

    @property
    def beating(self) -> bool:
        """Whether the loop is watched now."""
        return self._timer is not None

    def wake(self) -> None:
        """Beat from now on, until nothing is under way any more. Call it on the loop."""
        self._left = AFTERMATH
        if self._timer is None:
            self._plan(asyncio.get_running_loop())

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget(self) -> None:
        """Start the record anew."""
        self._late_s.clear()
        self._own_s.clear()

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + PERIOD_S
        self._timer = loop.call_at(due, self._beat, loop, due, time.process_time())

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float, cpu_s: float) -> None:
        late = max(loop.time() - due, 0.0)
        self._late_s.append(late)
        # All threads count: one that holds the interpreter holds the loop up without using its time.
        self._own_s.append(min(late, time.process_time() - cpu_s))
        self._left = AFTERMATH if self.kept_awake or self._busy() else self._left - 1
        if self._left > 0:
            self._plan(loop)
        else:
            self._timer = None

    @property
    def pulse(self) -> Pulse:
        """The record so far."""
        late = sorted(self._late_s)
        missed, held = (sum(int(value / PERIOD_S) for value in values) for values in (late, self._own_s))
        worst = late[-1] if late else 0.0
        return Pulse(len(late), missed, held, 1e3 * _at(late, 0.5), 1e3 * _at(late, 0.99), 1e3 * worst)
