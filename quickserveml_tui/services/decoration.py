"""Runs as a decoration of models: without a state database that can be read there are none, and models stay in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.care import StoreProblem
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.stores import StateStore

T = TypeVar("T")
UNREADABLE = "unreadable"
"""The generation of a database that cannot be read: once it can be again, the token changes."""


class RunDecoration:
    """What is shown beside models that have runs. Never raises `StoreError`; `problem` says why something is missing.

    May be used by several threads at once.
    """

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._failed: StoreError | None = None

    @property
    def problem(self) -> StoreProblem | None:
        """Why the runs were missing when they were last asked for; None when they were there."""
        failed = self._failed
        if failed is None:
            return None
        command = "quickserveml fsck --repair" if failed.code == "store.corrupt" else ""
        return StoreProblem("state", failed.code, failed.message, failed.hint, command)

    def generation(self) -> str:
        """The generation of the runs, `unreadable` while they cannot be read."""
        try:
            return self._state.generation()
        except StoreError as error:
            self._failed = error
            return UNREADABLE

    def newest_benchmarks(self, models: Sequence[str]) -> Mapping[str, dict[int, BenchmarkRun]]:
        """Newest complete run by model id and version."""
        return self._read(lambda: self._state.newest_benchmarks(models), {})

    def benchmarks(self, model: str, version: int, limit: int) -> tuple[BenchmarkRun, ...]:
        """Runs of a version, newest first."""
        return self._read(lambda: self._state.benchmarks(model, version, limit=limit), ())

    def _read(self, read: Callable[[], T], nothing: T) -> T:
        try:
            found = read()
        except StoreError as error:
            self._failed = error
            return nothing
        self._failed = None
        return found
