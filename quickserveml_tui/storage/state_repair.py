"""Saving what can be read of a damaged state database."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# Statements are put together from names of this module only; values are always bound.
# ruff: noqa: PTH105, PTH108, S608

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.job_records import JobRecord
from quickserveml_tui.core.jobs import Progress
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.core.text import plural
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.state_errors import WHAT, errors, read_only
from quickserveml_tui.storage.state_figures import refresh_all_newest
from quickserveml_tui.storage.state_file import StateFile
from quickserveml_tui.storage.state_jobs import put_job
from quickserveml_tui.storage.state_leases import LEASE_COLUMNS
from quickserveml_tui.storage.state_migrate import stamp, sync_file
from quickserveml_tui.storage.state_runs import load, put_batch, put_benchmark
from quickserveml_tui.storage.state_schema import SCHEMA, step_up

MAX_GAP = 1_000_000
"""Rows looked for one by one between the readable ends of a damaged table."""
MAX_SEQ = 2**62
TEMP_PREFIX = ".repair-"
"""Not that of the registry, whose writers take away what begins so: they do not wait for the lock that is held here."""
_PAGE = 64
_JOURNALS = ("-journal", "-wal")
_ERRORS = (sqlite3.DatabaseError, StoreError)


class StateRepair:
    """The part of `SqliteState` that mends it."""

    _file: StateFile

    def repair(self) -> str:
        """Set the damaged files aside and save every row that can be read into a new database; says what it did.

        The damaged file stands at its place until the new one, complete and durable, replaces it in one step; it stays
        beside it as `state.db.damaged-TIME`. A database that is whole comes out with the same rows. Raises
        `StoreError`; then the database is as it was.
        """
        if self._file.read_only:
            raise read_only()
        path = self._file.path
        temp = path.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex}")
        aside: list[Path] = []
        keeps_aside = False
        with errors("repaired"), ExitStack() as stack:
            if self._file.identity() is None:
                return f"There is no {WHAT} to repair."
            fs.remove_stale_temps(path.parent, older_than_s=3600, prefix=TEMP_PREFIX)
            try:
                # Before SQLite sees them: it removes a journal that it takes for nothing.
                _set_aside(path, aside)
                damaged: sqlite3.Connection | None = None
                if _opens(self._file):
                    # One connection keeps writers off the file that is about to be replaced, another reads: a read
                    # that fails would give up the lock with its transaction.
                    _lock(stack.enter_context(closing(self._file.connect("rw"))))
                    damaged = stack.enter_context(closing(self._file.connect("rw")))
                saved, lost = _save(damaged, temp)
                fs.fsync_dir(path.parent)
                keeps_aside = True  # from here on the journals are nowhere else
                _remove_journals(path)
                os.replace(temp, path)
            except BaseException:
                for file in (temp, *(() if keeps_aside else aside)):
                    fs.remove_quietly(file)
                raise
            fs.fsync_dir(path.parent)
        return (
            f"{plural(saved, 'row')} of the {WHAT} {'was' if saved == 1 else 'were'} saved, {lost} could not be read;"
            f" the damaged file is kept as {aside[0].name}."
        )


def _opens(file: StateFile) -> bool:
    """Whether SQLite takes the file for a database at all; asked twice, for a read that fails looks alike."""
    for _ in range(2):
        try:
            with closing(file.connect("rw")) as connection:
                connection.execute("PRAGMA user_version").fetchone()
                return True
        except sqlite3.DatabaseError as error:
            if not (error.sqlite_errorname or "").startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
                raise
    return False


def _lock(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return  # too damaged to be locked: then nobody can write to it either


def _save(damaged: sqlite3.Connection | None, temp: Path) -> tuple[int, int]:
    """Write a new database at `temp`, durably; returns rows saved and rows lost, as far as they can be counted."""
    os.close(fs.open_new(temp))
    with closing(sqlite3.connect(temp, isolation_level=None)) as fresh:
        fresh.execute("PRAGMA journal_mode = OFF")
        fresh.execute("PRAGMA synchronous = OFF")
        fresh.execute("BEGIN")
        found = 0
        while found < SCHEMA:
            found = step_up(fresh, found)
        counts = [_save_table(damaged, fresh, *table) for table in _TABLES] if damaged is not None else []
        if damaged is not None:
            _save_leases(damaged, fresh)
        refresh_all_newest(fresh)
        # Whoever watches must see that everything may have changed.
        fresh.execute("UPDATE meta SET value = abs(random() % 1000000000) WHERE key = 'generation'")
        fresh.execute("COMMIT")
    sync_file(temp)
    return sum(saved for saved, _ in counts), sum(lost for _, lost in counts)


def _save_table(
    damaged: sqlite3.Connection,
    fresh: sqlite3.Connection,
    table: str,
    columns: str,
    put: Callable[[sqlite3.Connection, Any], None],
) -> tuple[int, int]:
    saved = lost = 0
    for row in _rows(damaged, table, columns):
        try:
            if row is None:
                raise sqlite3.DatabaseError("cannot be read")
            put(fresh, row)
            saved += 1
        except (*_ERRORS, TypeError, ValueError):
            lost += 1
    return saved, lost


def _save_leases(damaged: sqlite3.Connection, fresh: sqlite3.Connection) -> None:
    """Save the leases, if all can be read; else their owners see that they lost them."""
    with suppress(sqlite3.DatabaseError):
        for row in _fetch(damaged, f"SELECT {LEASE_COLUMNS} FROM leases", ()):
            fresh.execute(f"INSERT INTO leases ({LEASE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _rows(damaged: sqlite3.Connection, table: str, columns: str) -> Iterator[Any]:
    """All rows by their number; None for each that is there and cannot be read, as far as that can be told."""
    last = 0
    for seq, *row in _walk(damaged, f"SELECT seq, {columns} FROM {table} WHERE seq > ? ORDER BY seq", 0):
        last = seq
        yield row
    backwards = f"SELECT seq, {columns} FROM {table} WHERE seq < ? AND seq > {last} ORDER BY seq DESC"
    tail = list(_walk(damaged, backwards, MAX_SEQ))
    end = tail[-1][0] if tail else _highest(damaged, table) + 1
    for seq in range(last + 1, min(end, last + MAX_GAP)):
        try:
            yield from _fetch(damaged, f"SELECT {columns} FROM {table} WHERE seq = ?", (seq,))
        except sqlite3.DatabaseError:
            yield None
    yield from (row for _, *row in reversed(tail))


def _walk(damaged: sqlite3.Connection, sql: str, start: int) -> Iterator[Any]:
    """Rows from `start` until one cannot be read."""
    for size in (_PAGE, 1):  # one by one up to the row that is damaged
        while True:
            try:
                page = _fetch(damaged, f"{sql} LIMIT {size}", (start,))
            except sqlite3.DatabaseError:
                break
            yield from page
            if len(page) < size:
                return
            start = page[-1][0]


def _highest(damaged: sqlite3.Connection, table: str) -> int:
    """The highest number that a row ever had; 0 where that cannot be read."""
    with suppress(sqlite3.DatabaseError):
        for (number,) in _fetch(damaged, "SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)):
            return int(number)
    return 0


def _fetch(damaged: sqlite3.Connection, sql: str, values: tuple[object, ...]) -> list[Any]:
    """Rows of a query. What fails is asked once more: a disk error that passes may look like damage."""
    with suppress(sqlite3.DatabaseError):
        return damaged.execute(sql, values).fetchall()
    return damaged.execute(sql, values).fetchall()


def _put_run(fresh: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    put_benchmark(fresh, load(row[0], BenchmarkRun), row[0])


def _put_batch(fresh: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    put_batch(fresh, load(row[0], BatchResult), row[0])


def _put_job(fresh: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    document, progress, rev = row
    record = load(document, JobRecord)
    load(progress, Progress)
    put_job(fresh, (record.id, str(record.state), record.created_at, int(rev), progress, document))


_TABLES = (
    ("benchmark_runs", "document", _put_run),
    ("batch_runs", "document", _put_batch),
    ("jobs", "document, progress, rev", _put_job),
)


def _set_aside(path: Path, aside: list[Path]) -> None:
    """Give the damaged file and its journals second names, which are added to `aside`."""
    kept = path.with_name(f"{path.name}.damaged-{stamp()}")
    for suffix in ("", *_JOURNALS):
        old, new = path.with_name(path.name + suffix), kept.with_name(kept.name + suffix)
        if not suffix or os.path.lexists(old):
            os.link(old, new)
            aside.append(new)


def _remove_journals(path: Path) -> None:
    """Take journals of the damaged file away: they would be played back into the new one."""
    for suffix in _JOURNALS:
        journal = path.with_name(path.name + suffix)
        if os.path.lexists(journal):
            os.unlink(journal)
    fs.fsync_dir(path.parent)
