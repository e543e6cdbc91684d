"""Connections, transactions and the watch on the state database's file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.intent import refuse_pending
from quickserveml_tui.storage.state_copies import DailyCopies
from quickserveml_tui.storage.state_errors import WHAT, errors, read_only
from quickserveml_tui.storage.state_migrate import migrate
from quickserveml_tui.storage.state_schema import SCHEMA, schema_of

# Below this version the write-ahead log can lose commits when several connections reset it at once.
SAFE_WAL = (3, 51, 3)
JOURNAL = "WAL" if sqlite3.sqlite_version_info >= SAFE_WAL else "DELETE"
_TRIES = 20
_abandoned: list[sqlite3.Connection] = []
"""Connections of the parent process: closing them here would undo a transaction that it is in."""


class View:
    """One consistent look at the database; empty where nothing was written yet."""

    def __init__(self, connection: sqlite3.Connection | None, schema: int) -> None:
        self.connection = connection
        self.schema = schema

    def rows(self, sql: str, values: Sequence[object] = (), *, since: int = 1) -> list[tuple[Any, ...]]:
        """Rows of a query; none where the file is of a schema before `since`, which lacked the table."""
        return list(self.each(sql, values, since=since))

    def each(self, sql: str, values: Sequence[object] = (), *, since: int = 1) -> Iterator[tuple[Any, ...]]:
        """The same rows, one at a time: for tables that may be large."""
        if self.connection is not None and self.schema >= since:
            yield from self.connection.execute(sql, values)


class StateFile:
    """The file behind the state database, safe to use from any thread and after a fork.

    Each call opens a connection of its own: that costs about 0.1 ms, next to several for a commit, and no thread,
    fork or replaced file can leave a stale one behind. Only the generation, which is polled, keeps one open.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self.copies = DailyCopies(path)
        self._busy_timeout_s = busy_timeout_s
        self._watch_lock = threading.Lock()
        self._watch: sqlite3.Connection | None = None
        self._watched: tuple[int, int] | None = None
        """Device and inode of the file that the watching connection has open."""
        self._watch_pid = 0
        self._watch_count = 0
        self._header_lock = threading.Lock()
        self._header = -1
        self._header_of: tuple[int, int] | None = None
        """Device and inode of the file that `_header` has open."""

    def identity(self) -> tuple[int, int] | None:
        """Device and inode of the file; None while there is none. Raises `OSError`."""
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_dev, status.st_ino

    def is_absent(self) -> bool:
        """Whether nothing was ever written. Raises `StoreError`."""
        with errors("read"):
            return self.identity() is None

    # ---- transactions -----------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[View]:
        """A look at the last committed state. Raises `StoreError`."""
        with errors("read"):
            connection = self.connect_to_read() if self.identity() is not None else None
            if connection is None:
                yield View(None, 0)
                return
            try:
                connection.execute("BEGIN")
                yield View(connection, schema_of(connection, to_write=False))
            finally:
                connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is committed durably when the block ends, and undone when it raises.

        A commit that the disk refused raises and is undone; where even that failed, it may stand.
        Raises `StoreError`, `ReadOnlyError`.
        """
        if self.read_only:
            raise read_only()
        try:
            fs.make_private_dir(self.path.parent)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        with errors("written"):
            connection = self._begin()
            try:
                refuse_pending(self.path.parent)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
            finally:
                connection.close()

    def _begin(self) -> sqlite3.Connection:
        """A connection in a write transaction, on the file that stands at the path, at the newest schema."""
        for _ in range(_TRIES):
            before = self.identity()
            connection = self.connect("rw" if before is not None else "rwc")
            try:
                # IMMEDIATE: two writers queue here, instead of failing when both upgrade a read lock.
                connection.execute("BEGIN IMMEDIATE")
                if before is None:  # SQLite makes it as the umask has it; by path, as a descriptor would cost the lock
                    os.chmod(self.path, 0o600)  # noqa: PTH101 - fault tests break this call
                is_led_up = False
                while before is not None and schema_of(connection, to_write=True) < SCHEMA:
                    migrate(connection, self.path, self.connect_to_read)
                    is_led_up = True
                # A repair or a restore may have put another file here while this one waited: a write to the old one
                # would be acknowledged and lost.
                if before is not None and before == self.identity():
                    if not is_led_up:  # else it is new, or was copied just now
                        self.copies.keep_before_write(self.connect_to_read)
                    return connection
                _roll_back(connection)
            except BaseException:
                _roll_back(connection)
                connection.close()
                raise
            connection.close()
        raise StoreError(
            f"The {WHAT} is being replaced all the time.", hint="Try again.", code="store.locked"
        )  # pragma: no cover

    # ---- connections ------------------------------------------------------------------------------------------------

    def connect(
        self, mode: str, *, to_write: bool = True, check_same_thread: bool = True, options: str = ""
    ) -> sqlite3.Connection:
        """A connection; `mode` is `ro`, `rw` or `rwc`. Raises `sqlite3.Error`."""
        connection = sqlite3.connect(
            f"file:{quote(os.fsencode(self.path))}?mode={mode}{options}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=check_same_thread,
        )
        if mode == "ro" or not to_write:
            return connection
        try:
            connection.execute(f"PRAGMA journal_mode = {JOURNAL}")
            # EXTRA also syncs the folder after the journal is deleted: without it, a power cut can bring a journal
            # back and undo an acknowledged commit.
            connection.execute("PRAGMA synchronous = EXTRA")
        except BaseException:
            connection.close()
            raise
        return connection

    def connect_to_read(self, *, check_same_thread: bool = True) -> sqlite3.Connection | None:
        """A connection that writes nothing but, unless read-only, the undoing of an unfinished write.

        None when the file went away meanwhile.
        """
        try:
            connection = self._connect_to_read(check_same_thread)
        except sqlite3.OperationalError:
            if self.identity() is None:
                return None
            raise
        return connection

    def _connect_to_read(self, check_same_thread: bool) -> sqlite3.Connection:
        if not self.read_only:
            return self.connect("rw", to_write=False, check_same_thread=check_same_thread)
        options = "&readonly_shm=1"
        if not _beside(self.path, "-wal").exists() and self._has_write_ahead_log():
            # SQLite would create the log even to read. Where there is none nobody has the file open for writing.
            options = "&immutable=1"
        return self.connect("ro", check_same_thread=check_same_thread, options=options)

    def _has_write_ahead_log(self) -> bool:
        """Whether the head of the file says so (file format, offset 18)."""
        with self._header_lock:
            identity = self.identity()
            if identity != self._header_of:
                # The descriptor before is never closed: closing any gives up the locks that SQLite has on the file.
                self._header = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._header_of = identity
            return os.pread(self._header, 1, 18) == b"\x02"

    # ---- the generation ---------------------------------------------------------------------------------------------

    def generation(self) -> str:
        """A token that changes with every write that matters to a list; tokens of two processes differ."""
        with self._watch_lock, errors("read"):
            identity = self.identity()
            if identity is None:
                self._drop_watch()
                return "0"
            if self._watched != identity or self._watch_pid != os.getpid():
                self._drop_watch()
                self._watch = self.connect_to_read(check_same_thread=False)
                if self._watch is None:
                    return "0"
                self._watched, self._watch_pid = identity, os.getpid()
                self._watch_count += 1
            assert self._watch is not None
            try:
                return f"{self._watch_count}-{_counter(self._watch)}"
            except sqlite3.Error:
                self._drop_watch()
                raise

    def close(self) -> None:
        """Close the connection that watches for changes."""
        with self._watch_lock:
            self._drop_watch()

    def _drop_watch(self) -> None:
        if self._watch is not None:
            if self._watch_pid == os.getpid():
                self._watch.close()
            else:
                _abandoned.append(self._watch)
        self._watch = self._watched = None


def _counter(connection: sqlite3.Connection) -> str:
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        row = None  # an older schema, or nothing was written yet: then every commit counts
    if row is not None:
        return str(row[0])
    schema_of(connection, to_write=False)
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return f"v{version}"


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        # What cannot be undone now is undone by the next one who opens the file.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
