"""Saving what can be read of a damaged state database."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# Statements are put together from names of this module only; values are always bound.
# ruff: noqa: PTH105, PTH108, S608

from __future__ import annotations

import logging
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.job_records import JobRecord
from quickserveml_tui.core.jobs import Progress
from quickserveml_tui.core.metric_history import RollUp
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.state_copies import DailyCopies
from quickserveml_tui.storage.state_errors import WHAT, errors, read_only
from quickserveml_tui.storage.state_figures import refresh_all_newest
from quickserveml_tui.storage.state_file import StateFile
from quickserveml_tui.storage.state_jobs import put_job
from quickserveml_tui.storage.state_leases import LEASE_COLUMNS
from quickserveml_tui.storage.state_metrics import put_rollup
from quickserveml_tui.storage.state_migrate import stamp, sync_file
from quickserveml_tui.storage.state_repair_report import Saved, SavedTable, Table, told
from quickserveml_tui.storage.state_results import COLUMNS as RESULT_COLUMNS
from quickserveml_tui.storage.state_results import put_result, result_of
from quickserveml_tui.storage.state_runs import load, put_batch, put_benchmark
from quickserveml_tui.storage.state_schema import SCHEMA, step_up

MAX_GAP = 1_000_000
"""Rows looked for one by one between the readable ends of a damaged table."""
MAX_SEQ = 2**62
TEMP_PREFIX = ".repair-"
"""Not that of the registry, whose writers take away what begins so: they do not wait for the lock that is held here."""
_PAGE = 64
_log = logging.getLogger(__name__)
_JOURNALS = ("-journal", "-wal")
_ERRORS = (sqlite3.DatabaseError, StoreError)


class StateRepair:
    """The part of `SqliteState` that mends it."""

    _file: StateFile

    def repair(self) -> str:
        """Set the damaged files aside and save every row that can be read into a new database; says what it did.

        Rows that the file no longer gives are taken from the newest good copy of it: those that were deleted since then
        may come back, and those that were changed are as they were then. Which kinds of rows are incomplete is said.

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
                saved = _save(damaged, temp, self._file.copies)
                fs.fsync_dir(path.parent)
                keeps_aside = True  # from here on the journals are nowhere else
                _remove_journals(path)
                os.replace(temp, path)
            except BaseException:
                for file in (temp, *(() if keeps_aside else aside)):
                    fs.remove_quietly(file)
                raise
            fs.fsync_dir(path.parent)
        return f"{told(saved)}; the damaged file is kept as {aside[0].name}."


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


def _save(damaged: sqlite3.Connection | None, temp: Path, copies: DailyCopies) -> Saved:
    """Write a new database at `temp`, durably; returns what it holds, as far as that can be told."""
    os.close(fs.open_new(temp))
    saved = Saved()
    with closing(sqlite3.connect(temp, isolation_level=None)) as fresh:
        fresh.execute("PRAGMA journal_mode = OFF")
        fresh.execute("PRAGMA synchronous = OFF")
        fresh.execute("BEGIN")
        found = 0
        while found < SCHEMA:
            found = step_up(fresh, found)
        tables = [_save_table(damaged, fresh, table) for table in _TABLES]
        saved.tables = tables
        if any(table.lost or not table.is_whole for table in tables):
            with copies.newest_good() as copy:
                if copy is not None:
                    saved.copy = copy[0]
                    for table in tables:
                        table.copied = _copy_rows(copy[1], fresh, table)
        if damaged is not None:
            _save_leases(damaged, fresh)
        refresh_all_newest(fresh)
        # Whoever watches must see that everything may have changed.
        fresh.execute("UPDATE meta SET value = abs(random() % 1000000000) WHERE key = 'generation'")
        fresh.execute("COMMIT")
    sync_file(temp)
    return saved


def _save_table(damaged: sqlite3.Connection | None, fresh: sqlite3.Connection, table: Table) -> SavedTable:
    saved = SavedTable(table)
    if damaged is None:
        saved.is_whole = False
        return saved
    for seq, row in _rows(damaged, saved):
        try:
            if row is None:
                raise sqlite3.DatabaseError("cannot be read")
            table.put(fresh, row)
            saved.rows += 1
        except (*_ERRORS, TypeError, ValueError):
            saved.lost.add(seq)
    return saved


def _copy_rows(copy: sqlite3.Connection, fresh: sqlite3.Connection, saved: SavedTable) -> int:
    """Take rows from a copy: those that could not be read, or where more are missing all that are not there."""
    if saved.is_whole and not saved.lost:
        return 0
    table, copied = saved.table, 0
    there = {row[0] for row in fresh.execute(f"SELECT id FROM {table.name}")}
    try:
        for seq, row_id, *row in copy.execute(f"SELECT seq, id, {table.columns} FROM {table.name} ORDER BY seq"):
            if row_id in there or (saved.is_whole and seq not in saved.lost):
                continue
            with suppress(*_ERRORS, TypeError, ValueError):
                table.put(fresh, tuple(row))
                copied += 1
    except sqlite3.DatabaseError as error:  # such as a table that the schema of the copy lacked
        _log.warning("No more %s could be taken from the copy: %s", table.kind, error)
    return copied


def _save_leases(damaged: sqlite3.Connection, fresh: sqlite3.Connection) -> None:
    """Save the leases, if all can be read; else their owners see that they lost them."""
    with suppress(sqlite3.DatabaseError):
        for row in _fetch(damaged, f"SELECT {LEASE_COLUMNS} FROM leases", ()):
            fresh.execute(f"INSERT INTO leases ({LEASE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _rows(damaged: sqlite3.Connection, saved: SavedTable) -> Iterator[tuple[int, Any]]:
    """All rows with their numbers; None for each that is there and cannot be read, as far as that can be told.

    Clears `saved.is_whole` where the table could not be walked to its end: nobody knows then what it held.
    """
    table, columns = saved.table.name, saved.table.columns
    last = 0
    try:
        for seq, *row in _walk(damaged, f"SELECT seq, {columns} FROM {table} WHERE seq > ? ORDER BY seq", 0):
            last = seq
            yield seq, row
        return
    except sqlite3.DatabaseError:
        saved.is_whole = False
    backwards = f"SELECT seq, {columns} FROM {table} WHERE seq < ? AND seq > {last} ORDER BY seq DESC"
    tail: list[Any] = []
    with suppress(sqlite3.DatabaseError):
        tail.extend(_walk(damaged, backwards, MAX_SEQ))
    end = tail[-1][0] if tail else _highest(damaged, table) + 1
    for seq in range(last + 1, min(end, last + MAX_GAP)):
        try:
            for row in _fetch(damaged, f"SELECT {columns} FROM {table} WHERE seq = ?", (seq,)):
                yield seq, row
        except sqlite3.DatabaseError:
            yield seq, None
    yield from ((seq, row) for seq, *row in reversed(tail))


def _walk(damaged: sqlite3.Connection, sql: str, start: int) -> Iterator[Any]:
    """Rows from `start` until one cannot be read; raises `sqlite3.DatabaseError` there."""
    for size in (_PAGE, 1):  # one by one up to the row that is damaged
        while True:
            try:
                page = _fetch(damaged, f"{sql} LIMIT {size}", (start,))
            except sqlite3.DatabaseError:
                if size == 1:
                    raise
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


def _put_result(fresh: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    put_result(fresh, result_of(row))


def _put_rollup(fresh: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    put_rollup(fresh, load(row[0], RollUp))


_TABLES = (
    Table("benchmark_runs", "document", "benchmark runs", _put_run),
    Table("batch_runs", "document", "batch results", _put_batch),
    Table("jobs", "document, progress, rev", "jobs", _put_job),
    Table("lab_results", RESULT_COLUMNS, "results of the lab", _put_result),
    Table("metric_rollups", "document", "metric roll-ups", _put_rollup),
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
