"""Results of the lab in the state database."""
# Statements are put together from names of this module only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from quickserveml_tui.core.results import LabResult
from quickserveml_tui.storage.state_errors import damaged
from quickserveml_tui.storage.state_file import StateFile
from quickserveml_tui.storage.state_runs import bounded, load
from quickserveml_tui.storage.state_schema import bump

COLUMNS = "id, kind, created_at, model, version, digests, body"


class StateResults:
    """The part of `StateStore` about what the lab finds beside runs."""

    _file: StateFile

    def add_result(self, result: LabResult) -> None:
        """Keep a result durably; one with the same id is replaced."""
        with self._file.writing() as connection:
            put_result(connection, result)
            bump(connection)

    def remove_result(self, result_id: str) -> bool:
        """Forget a result; whether there was one. Its blobs go with the next collection."""
        if self._file.is_absent():
            return False
        with self._file.writing() as connection:
            removed = connection.execute("DELETE FROM lab_results WHERE id = ?", (result_id,)).rowcount > 0
            if removed:
                bump(connection)
        return removed

    def result(self, result_id: str) -> LabResult | None:
        """The result with this id."""
        with self._file.reading() as view:
            rows = view.rows(f"SELECT {COLUMNS} FROM lab_results WHERE id = ?", (result_id,), since=4)
        return result_of(rows[0]) if rows else None

    def results(
        self, kind: str | None = None, model: str | None = None, version: int | None = None, limit: int = 100
    ) -> tuple[LabResult, ...]:
        """Results, newest first; `model` is a model id. At most a million."""
        given = (("kind", kind), ("model", model), ("version", version))
        wanted = [(column, value) for column, value in given if value is not None]
        where = " AND ".join(f"{column} = ?" for column, _ in wanted) or "1"
        with self._file.reading() as view:
            rows = view.rows(
                f"SELECT {COLUMNS} FROM lab_results WHERE {where} ORDER BY created_at DESC, seq DESC LIMIT ?",
                (*(value for _, value in wanted), bounded(limit)),
                since=4,
            )
        return tuple(result_of(row) for row in rows)


def put_result(connection: sqlite3.Connection, result: LabResult) -> None:
    """Write the row of a result, inside the caller's transaction."""
    connection.execute(
        f"INSERT INTO lab_results ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, created_at = excluded.created_at,"
        " model = excluded.model, version = excluded.version, digests = excluded.digests, body = excluded.body",
        (
            result.id,
            result.kind,
            result.created_at,
            result.model,
            result.version,
            msgspec.json.encode(result.digests),
            result.body,
        ),
    )


def result_of(row: tuple[Any, ...]) -> LabResult:
    """The result in a row of `COLUMNS`. Raises `StoreError` (`store.corrupt`)."""
    result_id, kind, created_at, model, version, digests, body = row
    blobs = load(digests, tuple[str, ...])
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, TypeError, RecursionError) as error:
        raise damaged(str(error)) from error
    return LabResult(result_id, kind, created_at, model, version, blobs, body)
