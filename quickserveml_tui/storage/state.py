"""The state database: benchmark and batch runs in SQLite."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.documents import corrupt, newer_schema, to_document

WHAT = "state database"
SCHEMA = 1
# Below this version the write-ahead log can lose commits when several connections reset it at once.
SAFE_WAL = (3, 51, 3)
MAX_ROWS = 10_000

_CREATE = """
CREATE TABLE benchmark_runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    version INTEGER,
    cancelled INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX benchmark_runs_by_version ON benchmark_runs (model, version, seq);
CREATE TABLE batch_runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    document BLOB NOT NULL
);
"""
T = TypeVar("T")


class SqliteState:
    """`StateStore` in a file that any number of threads and processes may use at once.

    Each call opens a connection of its own. A file that does not exist yet reads as empty and is created by the first
    write.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = 10.0, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._watch_lock = threading.Lock()
        self._watch: sqlite3.Connection | None = None
        self._watched: tuple[int, int] | None = None
        """Device and inode of the file that the watching connection has open."""
        self._watch_count = 0

    # ---- runs -----------------------------------------------------------------------------------------------------

    def add_benchmark(self, run: BenchmarkRun) -> None:
        """Keep a run durably; a run with the same id is replaced."""
        self._write(
            "INSERT INTO benchmark_runs (id, model, version, cancelled, created_at, document) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET model = excluded.model, version = excluded.version,"
            " cancelled = excluded.cancelled, created_at = excluded.created_at, document = excluded.document",
            (run.id, run.model, run.version, run.summary.cancelled, run.created_at, _dump(run)),
        )

    def benchmark(self, run_id: str) -> BenchmarkRun | None:
        """The run with this id."""
        rows = self._read("SELECT document FROM benchmark_runs WHERE id = ?", (run_id,))
        return _load(rows[0][0], BenchmarkRun) if rows else None

    def benchmarks(
        self, model: str | None = None, version: int | None = None, limit: int = 100
    ) -> tuple[BenchmarkRun, ...]:
        """Runs, newest first; `model` is a model id. At most 10,000."""
        rows = self._read(
            "SELECT document FROM benchmark_runs WHERE (?1 IS NULL OR model = ?1) AND (?2 IS NULL OR version = ?2)"
            " ORDER BY created_at DESC, seq DESC LIMIT ?3",
            (model, version, _bounded(limit)),
        )
        return tuple(_load(row[0], BenchmarkRun) for row in rows)

    def newest_benchmarks(self) -> dict[str, dict[int, BenchmarkRun]]:
        """Newest complete run by model id and version."""
        rows = self._read(
            "SELECT document FROM ("
            " SELECT document, row_number() OVER (PARTITION BY model, version ORDER BY created_at DESC, seq DESC) AS n"
            " FROM benchmark_runs WHERE NOT cancelled AND version IS NOT NULL AND model <> '') WHERE n = 1",
        )
        newest: dict[str, dict[int, BenchmarkRun]] = {}
        for (document,) in rows:
            run = _load(document, BenchmarkRun)
            newest.setdefault(run.model, {})[run.version or 0] = run
        return newest

    def add_batch(self, result: BatchResult) -> None:
        """Keep the result of a batch durably; a result with the same id is replaced."""
        self._write(
            "INSERT INTO batch_runs (id, created_at, document) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at, document = excluded.document",
            (result.id, result.created_at, _dump(result)),
        )

    def batches(self, limit: int = 100) -> tuple[BatchResult, ...]:
        """Batch results, newest first. At most 10,000."""
        rows = self._read(
            "SELECT document FROM batch_runs ORDER BY created_at DESC, seq DESC LIMIT ?", (_bounded(limit),)
        )
        return tuple(_load(row[0], BatchResult) for row in rows)

    def generation(self) -> str:
        """A token that changes with every write, by this process or another; tokens of two processes differ."""
        with self._watch_lock, _errors("read"):
            try:
                status = self._path.stat()
            except (FileNotFoundError, NotADirectoryError):
                self._drop_watch()
                return "0"
            if self._watched != (status.st_dev, status.st_ino):  # none yet, or a backup was put in its place
                self._drop_watch()
                self._watch = self._connect(check_same_thread=False)
                self._watched = status.st_dev, status.st_ino
                self._watch_count += 1
            assert self._watch is not None
            (version,) = self._watch.execute("PRAGMA data_version").fetchone()
            return f"{self._watch_count}-{version}"

    def close(self) -> None:
        """Close the connection that watches for changes; the store can still be used."""
        with self._watch_lock:
            self._drop_watch()

    # ---- connections ----------------------------------------------------------------------------------------------

    def _drop_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = self._watched = None

    def _read(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[bytes]]:
        with _errors("read"):
            if not self._path.exists():
                return []
            with closing(self._connect()) as connection:
                return connection.execute(sql, values).fetchall() if _schema(connection) else []

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        try:
            fs.make_private_dir(self._path.parent)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        with _errors("written"), closing(self._connect()) as connection:
            # IMMEDIATE: two writers queue here, instead of failing when both upgrade a read lock.
            connection.execute("BEGIN IMMEDIATE")
            try:
                if _schema(connection) == 0:
                    _create(connection)
                connection.execute(sql, values)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _connect(self, *, check_same_thread: bool = True) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=check_same_thread
        )
        try:
            connection.execute(
                f"PRAGMA journal_mode = {'WAL' if sqlite3.sqlite_version_info >= SAFE_WAL else 'DELETE'}"
            )
            # EXTRA also syncs the folder after the journal is deleted: without it, a power cut can bring a journal
            # back and undo an acknowledged commit.
            connection.execute("PRAGMA synchronous = EXTRA")
        except BaseException:
            connection.close()
            raise
        return connection


def _create(connection: sqlite3.Connection) -> None:
    for statement in _CREATE.split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _schema(connection: sqlite3.Connection) -> int:
    """Schema of the file; 0 when nothing was written yet. Raises `StoreError` for a newer or foreign one."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA:
        raise newer_schema(WHAT, found, SCHEMA)
    if found == 0 and connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        raise corrupt(WHAT, "The file is a database of another program.")
    return int(found)


def _dump(record: BenchmarkRun | BatchResult) -> bytes:
    return msgspec.json.encode(to_document(record))


def _load(document: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise corrupt(WHAT, str(error)) from error


def _bounded(limit: int) -> int:
    return min(max(limit, 0), MAX_ROWS)


@contextmanager
def _errors(action: str) -> Iterator[None]:
    """Turn SQLite's errors, and those of looking for its file, into sentences."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, action) from error
    except OSError as error:
        raise fs.store_error(error, WHAT, action) from error


def _translate(error: sqlite3.Error, action: str) -> StoreError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA")) or "no such table" in str(error):
        return corrupt(WHAT, str(error))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(
            f"The {WHAT} is in use by another process.",
            hint="Wait until it has finished, then try again.",
            code="store.locked",
        )
    reason, hint, code = "SQLite reported an error", "Try again; nothing was changed.", "store.unavailable"
    if name.startswith("SQLITE_FULL"):
        reason, hint, code = "the disk is full", "Free some space and try again.", "store.full"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH", "SQLITE_CANTOPEN")):
        reason, hint = "permission was denied", "Check who owns the home folder, or choose another with --home."
    elif name.startswith("SQLITE_IOERR"):
        reason, hint = "the disk reported an error", "Check the disk, then try again."
    return StoreError(f"The {WHAT} could not be {action}: {reason}.", hint=hint, code=code, detail=str(error))
