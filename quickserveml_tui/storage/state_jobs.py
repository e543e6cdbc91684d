"""Jobs in the state database."""
# Statements are put together from names of this module only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from quickserveml_tui.core.job_records import JobRecord
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.storage.state_file import StateFile
from quickserveml_tui.storage.state_runs import bounded, dump, load
from quickserveml_tui.storage.state_schema import bump

_Row: TypeAlias = tuple[bytes, bytes, int]
_COLUMNS = "document, progress, rev"


class StateJobs:
    """The part of `StateStore` about jobs. Progress and rev stand in columns of their own: they change often."""

    _file: StateFile

    def add_jobs(self, records: Sequence[JobRecord]) -> None:
        """Keep new jobs in one commit; a job with the same id is replaced."""
        rows = [_row(record) for record in records]
        if not rows:
            return
        with self._file.writing() as connection:
            for row in rows:
                put_job(connection, row)
            bump(connection)

    def job(self, job_id: str) -> JobRecord | None:
        """The job with this id."""
        with self._file.reading() as view:
            rows = view.rows(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,), since=2)
        return job_of(rows[0]) if rows else None

    def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> tuple[JobRecord, ...]:
        """Jobs, newest first; of these states, or of all."""
        names = sorted({str(state) for state in states})
        where = f"state IN ({', '.join('?' * len(names))})" if names else "1"
        with self._file.reading() as view:
            rows = view.rows(
                f"SELECT {_COLUMNS} FROM jobs WHERE {where} ORDER BY created_at DESC, seq DESC LIMIT ?",
                (*names, bounded(limit)),
                since=2,
            )
        return tuple(job_of(row) for row in rows)

    def change_job(self, job_id: str, change: Callable[[JobRecord], JobRecord]) -> JobRecord | None:
        """Read, change and write one job in one transaction; None when there is none.

        Sets `rev` unless nothing changed. When `change` raises, nothing is written.
        """
        if self._file.is_absent():
            return None
        with self._file.writing() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if row is None:
                return None
            old = job_of(row)
            new = replace(change(old), id=job_id, rev=old.rev)
            if new == old:
                return old
            new = replace(new, rev=old.rev + 1)
            put_job(connection, _row(new))
            if replace(new, progress=old.progress, rev=old.rev) != old:
                bump(connection)
        return new

    def set_progress(self, progress: Mapping[str, Progress]) -> int:
        """Write the progress of live jobs by id in one commit; jobs that ended or are gone are left alone.

        Returns how many were written. Changes `rev`, but not the generation.
        """
        values = [(dump(item), job_id) for job_id, item in progress.items()]
        if not values or self._file.is_absent():
            return 0
        with self._file.writing() as connection:
            return sum(
                connection.execute(
                    "UPDATE jobs SET progress = ?, rev = rev + 1 WHERE id = ? AND state IN ('queued', 'running')", value
                ).rowcount
                for value in values
            )

    def remove_jobs(self, job_ids: Sequence[str]) -> int:
        """Forget jobs; returns how many there were."""
        if not job_ids or self._file.is_absent():
            return 0
        with self._file.writing() as connection:
            removed = sum(connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,)).rowcount for job_id in job_ids)
            if removed:
                bump(connection)
        return removed


def put_job(connection: sqlite3.Connection, row: tuple[object, ...]) -> None:
    """Write the row of a job, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO jobs (id, state, created_at, rev, progress, document) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, created_at = excluded.created_at,"
        " rev = excluded.rev, progress = excluded.progress, document = excluded.document",
        row,
    )


def job_of(row: _Row) -> JobRecord:
    """The job of a row. Raises `StoreError` (`store.corrupt`)."""
    document, progress, rev = row
    return replace(load(document, JobRecord), progress=load(progress, Progress), rev=rev)


def _row(record: JobRecord) -> tuple[object, ...]:
    return record.id, str(record.state), record.created_at, record.rev, dump(record.progress), dump(record)
