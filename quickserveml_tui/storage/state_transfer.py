"""The state database as a whole: every row for a digest, its file replaced by a restore."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# Statements are put together from names of this module only; values are always bound.
# ruff: noqa: PTH105, PTH108, S608

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.job_records import JobRecord
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.core.results import LabResult
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.state_errors import WHAT, errors, read_only
from quickserveml_tui.storage.state_file import StateFile
from quickserveml_tui.storage.state_jobs import job_of
from quickserveml_tui.storage.state_results import COLUMNS, result_of
from quickserveml_tui.storage.state_runs import load
from quickserveml_tui.storage.state_schema import SCHEMA, step_up

PAGE = 500
_TRIES = 20
_JOURNALS = ("-journal", "-wal", "-shm")


class StateTransfer:
    """The part of `SqliteState` that carries its file."""

    _file: StateFile

    def all_rows(self) -> Iterator[BenchmarkRun | BatchResult | JobRecord | LabResult]:
        """Every run, result and job, in no order that means anything; a page at a time, so no writer waits."""
        for row in self._pages("benchmark_runs", "document"):
            yield load(row[0], BenchmarkRun)
        for row in self._pages("batch_runs", "document"):
            yield load(row[0], BatchResult)
        for row in self._pages("lab_results", COLUMNS, since=4):
            yield result_of(row[:-1])
        for row in self._pages("jobs", "document, progress, rev", since=2):
            yield job_of((row[0], row[1], row[2]))

    def foreign_parts(self) -> tuple[str, ...]:
        """Tables, triggers and the like that differ from those that this program makes; none in what it wrote.

        A trigger in a file from elsewhere would undo writes that were acknowledged. Raises `StoreError`.
        """
        with self._file.reading() as view:
            if view.connection is None or view.schema > SCHEMA:
                return ()
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as own:
                found = 0
                while found < view.schema:
                    found = step_up(own, found)
                return tuple(sorted(name for _kind, name, *_ in _parts(view.connection) ^ _parts(own)))

    def _pages(self, table: str, columns: str, *, since: int = 1) -> Iterator[tuple[Any, ...]]:
        last = 0
        while True:
            with self._file.reading() as view:
                rows = view.rows(
                    f"SELECT {columns}, seq FROM {table} WHERE seq > ? ORDER BY seq LIMIT {PAGE}", (last,), since=since
                )
            if not rows:
                return
            yield from rows
            last = rows[-1][-1]

    @contextmanager
    def replacing(self) -> Iterator[Callable[[Path], None]]:
        """Hold off all writers; what is yielded moves a durable file of the same folder into the database's place.

        A writer that waited meanwhile finds the new file there and begins again on it. Raises `StoreError`; the old or
        the new file is there then.
        """
        file = self._file
        if file.read_only:
            raise read_only()
        try:
            fs.make_private_dir(file.path.parent)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        connection = None
        try:
            with errors("written"):
                connection = _lock(file)
            yield self._replace
        finally:
            _close(connection)

    def _replace(self, new: Path) -> None:
        path = self._file.path
        try:
            # A journal of the old file would be played back into the new one.
            for suffix in _JOURNALS:
                with suppress(FileNotFoundError):
                    os.unlink(path.with_name(path.name + suffix))
            fs.fsync_dir(path.parent)
            os.replace(new, path)
            fs.fsync_dir(path.parent)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error


def _parts(connection: sqlite3.Connection) -> set[tuple[str, str, str, str]]:
    # Statistics that ANALYZE left are nobody's harm.
    rows = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type <> 'table' OR name NOT LIKE 'sqlite_stat_'"
    )
    return {(kind, name, table, " ".join((sql or "").split())) for kind, name, table, sql in rows}


def _lock(file: StateFile) -> sqlite3.Connection | None:
    """A connection that keeps others from writing the file at the path; None for one too damaged to be written."""
    for _ in range(_TRIES):
        before, connection = file.identity(), None
        try:
            connection = file.connect("rw" if before is not None else "rwc")
            connection.execute("BEGIN IMMEDIATE")
            if before is not None and before == file.identity():
                return connection
        except sqlite3.OperationalError:
            _close(connection)
            raise
        except sqlite3.DatabaseError:
            _close(connection)
            return None
        _close(connection)
    raise StoreError(f"The {WHAT} is being replaced all the time.", hint="Try again.", code="store.locked")


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()
