"""Figures of served versions over time: written down once a minute, read by model."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.metric_history import STEPS_S, RollUp, between, coarsened
from quickserveml_tui.core.monitoring import ModelSnapshot

if TYPE_CHECKING:
    from quickserveml_tui.core.ports import MetricHistoryPort
    from quickserveml_tui.core.stores import RegistryStore, StateStore

_PART_ROWS = 20_000
"""Roll-ups that are in memory at once while a question is answered."""
_THIN_EVERY_S = 3600.0
_log = logging.getLogger(__name__)


class MetricHistoryService:
    """`MetricHistoryPort` on the state database. Models are kept by id, so that a rename takes nothing away."""

    def __init__(self, state: StateStore, registry: RegistryStore) -> None:
        self._state = state
        self._registry = registry

    def key_of(self, name: str) -> str:
        """What a model's figures are kept under: its id, or its name where it is not registered."""
        model = self._registry.find(name)
        return model.id if model is not None else name

    def record(self, rollups: Sequence[RollUp]) -> None:
        """Keep figures; what is there for the same minute is added up. `model` is the served name."""
        keys = {name: self.key_of(name) for name in {item.model for item in rollups}}
        self._state.add_rollups([_under(item, keys[item.model]) for item in rollups])

    def read(
        self, name: str, *, version: str = "", since: int = 0, until: int = 2**62, step_s: int = STEPS_S[0]
    ) -> tuple[RollUp, ...]:
        """Figures of a model between two times (Unix), oldest first, in steps of `step_s` or what is kept coarser."""
        return coarsened(self._kept(self.key_of(name), version, since, until), step_s)

    def _kept(self, key: str, version: str, since: int, until: int) -> Iterator[RollUp]:
        """All roll-ups, oldest first, a part at a time; parts end between two moments."""
        limit = _PART_ROWS
        while found := self._state.rollups(key, version=version, since=since, until=until, limit=limit):
            last = found[-1].at
            if len(found) < limit:
                yield from found
                return
            if found[0].at == last:  # more versions in one moment than a part holds
                limit *= 2
                continue
            yield from (item for item in found if item.at < last)
            since = last

    def thin(self, now: float) -> int:
        """Make old figures coarser and forget the oldest; returns how many rows went."""
        return self._state.thin_rollups(now)


def _under(rollup: RollUp, key: str) -> RollUp:
    return rollup if rollup.model == key else replace(rollup, model=key)


class MetricRecorder:
    """Writes down what happened since it looked last: one a server. A failed write is tried again with the next.

    `take` gives the counters of all versions over all workers.
    """

    def __init__(self, history: MetricHistoryPort, take: Callable[[], Sequence[ModelSnapshot]]) -> None:
        self._history = history
        self._take = take
        self._before = {(item.name, item.version): item for item in take()}
        self._thinned_s = 0.0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def tick(self, now: float) -> int:
        """Write down what happened until `now` (Unix time); returns how many versions something happened to.

        Raises `StoreError`; then it counts with the next.
        """
        after = {(item.name, item.version): item for item in self._take()}
        # What is written at the turn of a minute happened before it.
        at = int(now) - 1
        found = [between(self._before.get(key), item, item.name, at) for key, item in after.items()]
        rollups = [item for item in found if item is not None]
        self._history.record(rollups)
        # A version that is unloaded and loaded again goes on counting where it was.
        self._before |= after
        if now - self._thinned_s >= _THIN_EVERY_S:
            self._thinned_s = now
            self._history.thin(now)
        return len(rollups)

    def start(self) -> None:
        """Write at every full minute, in a thread, until `stop`."""
        self._thread = threading.Thread(target=self._run, name="metric-history", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write the rest down and end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._try(time.time())

    def _run(self) -> None:
        step = STEPS_S[0]
        while not self._stopped.wait(step - time.time() % step):
            self._try(time.time())

    def _try(self, now: float) -> None:
        try:
            self.tick(now)
        except QuickServeError as error:
            _log.warning("The metrics of the last minute could not be kept: %s", error.message)
