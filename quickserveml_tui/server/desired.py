"""Revisions of the desired state, and the rows of the counters that its versions get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.serving import DesiredState, ServedEntry

Key: TypeAlias = tuple[str, str]


def counters_path(folder: Path, index: int) -> Path:
    """File of the counters of a worker."""
    return folder / f"worker-{index}.counters"


class Revisions:
    """Makes desired states with growing revisions.

    A version keeps its row for as long as rows last, so that one that is loaded again goes on counting; rows that were
    never used go first, then those that were given up longest ago.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._revision = 0
        self._row_of: dict[Key, int] = {}
        """By version, those in use last."""

    def make(self, entries: Sequence[ServedEntry], default: Key | None, in_use: Sequence[ServedEntry]) -> DesiredState:
        """The next state; `in_use` are entries whose rows must not be given away yet.

        Raises `UsageError` (`serve.too_many`) when there are more versions than rows.
        """
        wanted = dict.fromkeys([entry.key for entry in (*in_use, *entries)])
        if len(wanted) > self._rows:
            raise UsageError(
                f"A server takes at most {self._rows} versions at once.",
                hint="Serve fewer models, or start a second server.",
                code="serve.too_many",
            )
        for key in wanted:
            row = self._row_of.pop(key, None)
            self._row_of[key] = self._free(wanted) if row is None else row
        self._revision += 1
        rowed = tuple(replace(entry, slot=self._row_of[entry.key]) for entry in entries)
        return DesiredState(self._revision, rowed, default)

    def _free(self, wanted: dict[Key, None]) -> int:
        if len(self._row_of) < self._rows:
            used = set(self._row_of.values())
            return next(row for row in range(self._rows) if row not in used)
        return self._row_of.pop(next(key for key in self._row_of if key not in wanted))
