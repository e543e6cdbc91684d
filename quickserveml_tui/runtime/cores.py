"""Gives measured runners cores of their own: this program keeps to the others while they run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from quickserveml_tui.runtime import host


class Cores:
    """The cores of this process, leased from the highest down; at least one is always left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: tuple[int, ...] = ()
        self._leased: set[int] = set()

    @contextmanager
    def lease(self, count: int) -> Iterator[tuple[int, ...]]:
        """`count` cores for the block, or () where too few are free or cores cannot be bound."""
        cpus = self._take(count)
        try:
            yield cpus
        finally:
            self._give_back(cpus)

    def _take(self, count: int) -> tuple[int, ...]:
        with self._lock:
            if not self._leased:  # only then does the affinity show what this process was given
                self._all = host.available_cpus()
            free = [cpu for cpu in self._all if cpu not in self._leased]
            if count < 1 or count >= len(free) or not host.CAN_PIN:
                return ()
            taken, rest = free[-count:], tuple(free[:-count])
            if not host.confine_threads(rest):
                return ()
            self._leased.update(taken)
            return tuple(taken)

    def _give_back(self, cpus: tuple[int, ...]) -> None:
        if not cpus:
            return
        with self._lock:
            self._leased.difference_update(cpus)
            host.confine_threads(tuple(cpu for cpu in self._all if cpu not in self._leased))


CORES = Cores()
"""The cores of this process."""
