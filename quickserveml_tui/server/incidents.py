"""What versions have done to their workers: who is to blame for an end, and what is not loaded again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from quickserveml_tui.core.serving import ServedEntry, ServedState, ServedStatus, WorkerCrash
from quickserveml_tui.server.desired import Key
from quickserveml_tui.services.serving_plan import Look
from quickserveml_tui.services.serving_stats import Counters

logger = logging.getLogger(__name__)

FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
"""Signals that a process gets from others: no version raises them."""


class Culprit(NamedTuple):
    """A version that ended the worker which loaded it."""

    entry: ServedEntry
    reason: str
    is_certain: bool
    """Whether the signal came from the version itself, so that the catalog may be told."""


class Incidents:
    """The book of ends of workers; `counters` are those of each worker, by index."""

    def __init__(self, counters: Sequence[Counters]) -> None:
        self._counters = counters
        self._blamed: dict[tuple[str, str, str], str] = {}
        """Versions (name, number, digest) that cannot be loaded, with the reason."""
        self._suspects: dict[Key, int] = {}
        self._crashes: dict[tuple[str, str, str], int] = {}

    @property
    def crashes(self) -> tuple[WorkerCrash, ...]:
        """How often which version took a worker down while it ran."""
        return tuple(WorkerCrash(*key, count) for key, count in sorted(self._crashes.items()))

    @property
    def statuses(self) -> Iterator[ServedStatus]:
        """Versions that are not loaded again."""
        for (name, version, _digest), reason in self._blamed.items():
            yield ServedStatus(name, version, ServedState.UNAVAILABLE, reason)

    def blame(self, entry: ServedEntry, reason: str) -> None:
        """Load a version no more."""
        self._blamed[*entry.key, entry.digest] = reason

    def forgive(self, name: str) -> None:
        """Let the versions of a model be tried again."""
        for key in [key for key in self._blamed if key[0] == name]:
            del self._blamed[key]

    def reason(self, name: str = "") -> str:
        """Why a version of a model, or of any, is not loaded again; empty where there is none."""
        return next((reason for key, reason in self._blamed.items() if name in ("", key[0])), "")

    def without_blamed(self, look: Look) -> Look:
        """What was found without the versions that are not loaded again."""
        return replace(
            look, entries=tuple(item for item in look.entries if (*item.key, item.digest) not in self._blamed)
        )

    def note_end(self, index: int, signal: str, entries: Iterable[ServedEntry]) -> Culprit | None:
        """Find what a worker was loading or running when it ended, and count it.

        Returns the version that must not be loaded again, where there is one. `entries` are those that it may have had.
        """
        counters, by_row = self._counters[index], {entry.slot: entry for entry in entries}
        loading = [by_row[row] for row in counters.loading if row in by_row]
        running = [by_row[row] for row in counters.running if row in by_row]
        if loading:
            entry, is_certain = loading[0], signal not in FROM_OUTSIDE
            self._suspects[entry.key] = self._suspects.get(entry.key, 0) + 1
            # What ran at the same time, or an end from outside, may be to blame: the second time it is the load.
            if (is_certain and not running) or self._suspects[entry.key] > 1:
                del self._suspects[entry.key]
                reason = f"It ended the worker that loaded it ({signal or 'it exited'})."
                logger.error("%s version %s is in quarantine: %s", entry.name, entry.version, reason)
                return Culprit(entry, reason, is_certain)
        self._count(index, signal, running[0] if running else None)
        return None

    def _count(self, index: int, signal: str, culprit: ServedEntry | None) -> None:
        key = (culprit.name, culprit.version, signal) if culprit else ("", "", signal)
        self._crashes[key] = self._crashes.get(key, 0) + 1
        if culprit is not None:
            stats = self._counters[index].model(culprit.slot)
            stats.crashes += 1
            logger.error("%s version %s was running in it", culprit.name, culprit.version)
