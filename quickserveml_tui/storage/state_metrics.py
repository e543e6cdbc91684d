"""Figures of served versions over time in the state database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from quickserveml_tui.core.metric_history import KEEP_S, STEPS_S, RollUp, coarsened, joined
from quickserveml_tui.storage.state_file import StateFile
from quickserveml_tui.storage.state_runs import bounded, dump, load

MAX_ROLLUPS = 500_000
"""Rows beyond it go, oldest first: about 150 MB."""
_PART = 2_000
"""Rows that one transaction makes coarser."""


class StateMetrics:
    """The part of `StateStore` about figures over time. None of it changes the generation: no list shows it."""

    _file: StateFile

    def add_rollups(self, rollups: Sequence[RollUp]) -> None:
        """Keep roll-ups in one commit; one whose key is there is added to it."""
        if not rollups:
            return
        with self._file.writing() as connection:
            for item in rollups:
                _add(connection, item)

    def rollups(
        self, model: str, *, version: str = "", since: int = 0, until: int = 2**62, limit: int = 100_000
    ) -> tuple[RollUp, ...]:
        """Roll-ups of a model that begin in [`since`, `until`), oldest first."""
        chosen, values = ("AND version = ?", [version]) if version else ("", [])
        with self._file.reading() as view:
            rows = view.rows(
                f"SELECT document FROM metric_rollups WHERE model = ? {chosen} AND at >= ? AND at < ?"  # noqa: S608
                " ORDER BY at, version, step LIMIT ?",
                (model, *values, since, until, bounded(limit)),
                since=3,
            )
        return tuple(load(row[0], RollUp) for row in rows)

    def thin_rollups(self, now: float, *, most: int = MAX_ROLLUPS) -> int:
        """Make old roll-ups coarser, forget the oldest and those beyond `most`; returns how many rows went."""
        if self._file.is_absent():
            return 0
        removed = 0
        for step, longer, keep in zip(STEPS_S, STEPS_S[1:], KEEP_S, strict=False):
            cut = int(now - keep)
            cut -= cut % longer  # only whole ones of the longer kind are made
            while part := self._coarsen(step, longer, cut):
                removed += part
        with self._file.writing() as connection:
            removed += connection.execute("DELETE FROM metric_rollups WHERE at < ?", (int(now - KEEP_S[-1]),)).rowcount
            removed += connection.execute(
                "DELETE FROM metric_rollups WHERE seq IN"
                " (SELECT seq FROM metric_rollups ORDER BY at DESC, seq DESC LIMIT -1 OFFSET ?)",
                (max(most, 0),),
            ).rowcount
        return removed

    def _coarsen(self, step: int, longer: int, cut: int) -> int:
        with self._file.writing() as connection:
            rows = connection.execute(
                "SELECT seq, document FROM metric_rollups WHERE step = ? AND at < ? ORDER BY at LIMIT ?",
                (step, cut, _PART),
            ).fetchall()
            for item in coarsened((load(row[1], RollUp) for row in rows), longer):
                _add(connection, item)
            connection.executemany("DELETE FROM metric_rollups WHERE seq = ?", ((row[0],) for row in rows))
        return len(rows)


def _id(rollup: RollUp) -> str:
    return "/".join((rollup.model, rollup.version, str(rollup.step_s), str(rollup.at)))


def _add(connection: sqlite3.Connection, rollup: RollUp) -> None:
    row = connection.execute("SELECT document FROM metric_rollups WHERE id = ?", (_id(rollup),)).fetchone()
    put_rollup(connection, joined(load(row[0], RollUp), rollup) if row is not None else rollup)


def put_rollup(connection: sqlite3.Connection, rollup: RollUp) -> None:
    """Write the row of a roll-up, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO metric_rollups (id, model, version, step, at, document) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET document = excluded.document",
        (_id(rollup), rollup.model, rollup.version, rollup.step_s, rollup.at, dump(rollup)),
    )
