"""Answers that were given under an idempotency key, for requests that come once more; a small SQLite file.

A file of its own, apart from the state database: what it holds lasts a day, belongs in no backup, and may be thrown
away. One that cannot be read is begun anew.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage import fs

SCHEMA = 1
WHAT = "file of kept answers"
MAX_KEYS = 1000
"""Newest keys of a caller that are kept."""
KEEP_S = 24 * 3600.0
_TABLE = """CREATE TABLE answers (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    owner TEXT NOT NULL,
    at REAL NOT NULL,
    status INTEGER,
    headers BLOB,
    body BLOB,
    PRIMARY KEY (caller, key)
)"""
_INDEX = "CREATE INDEX answers_by_time ON answers (caller, at)"


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What is known of a key."""

    request: str
    """Digest of the request that it was first used for."""
    owner: str
    """The process that works on it, or did."""
    status: int | None = None
    """None while there is no answer yet."""
    headers: bytes = b""
    body: bytes = b""


class KeptAnswers:
    """Answers by caller and key; any number of threads and processes may use the file at once.

    `clock` gives Unix time. Raises `StoreError` where the file cannot be read or written.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = 10.0, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._clock = clock

    def claim(
        self, caller: str, key: str, request: str, owner: str, is_alive: Callable[[str], bool]
    ) -> KeptAnswer | None:
        """Take a key for a request: None when it is ours now, else what is known of it.

        A key without an answer, whose owner is not alive any more, is taken over.
        """
        now = self._clock()
        with self._writing() as connection:
            connection.execute("DELETE FROM answers WHERE at < ?", (now - KEEP_S,))
            row = connection.execute(
                "SELECT request, owner, status, headers, body FROM answers WHERE caller = ? AND key = ?", (caller, key)
            ).fetchone()
            if row is not None:
                kept = KeptAnswer(row[0], row[1], row[2], row[3] or b"", row[4] or b"")
                if kept.status is not None or kept.request != request or is_alive(kept.owner):
                    return kept
            connection.execute(
                "INSERT OR REPLACE INTO answers (caller, key, request, owner, at) VALUES (?, ?, ?, ?, ?)",
                (caller, key, request, owner, now),
            )
            connection.execute(
                "DELETE FROM answers WHERE caller = ? AND status IS NOT NULL AND key NOT IN "
                "(SELECT key FROM answers WHERE caller = ? ORDER BY at DESC LIMIT ?)",
                (caller, caller, MAX_KEYS),
            )
            return None

    def keep(self, caller: str, key: str, owner: str, *, status: int, headers: bytes, body: bytes) -> None:
        """Keep the answer to a claimed key."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE answers SET status = ?, headers = ?, body = ? WHERE caller = ? AND key = ? AND owner = ?",
                (status, headers, body, caller, key, owner),
            )

    def release(self, caller: str, key: str, owner: str) -> None:
        """Let a claimed key be used again: its request had no answer that is worth keeping."""
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM answers WHERE caller = ? AND key = ? AND owner = ? AND status IS NULL",
                (caller, key, owner),
            )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._transaction() as connection:
                yield connection
        except sqlite3.Error as error:
            raise StoreError(
                f"The {WHAT} could not be used.", hint="Try again, or leave out the key.", detail=str(error)
            ) from error
        except OSError as error:
            raise fs.store_error(error, WHAT) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        fs.make_private_dir(self._path.parent)
        connection = self._begun()
        try:
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()  # undoes what was not committed

    def _begun(self) -> sqlite3.Connection:
        """A connection in a write transaction on a file with our table."""
        for is_last in (False, True):
            connection = self._connect()
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._prepare(connection)
            except sqlite3.DatabaseError as error:
                connection.close()
                if is_last or getattr(error, "sqlite_errorname", "") not in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
                    raise
                self._path.unlink(missing_ok=True)
                continue
            except BaseException:
                connection.close()
                raise
            return connection
        raise AssertionError  # pragma: no cover

    def _connect(self) -> sqlite3.Connection:
        if not self._path.exists():
            self._path.touch(0o600)
        return sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=rw", uri=True, timeout=self._busy_timeout_s, isolation_level=None
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found == SCHEMA:
            return
        # Of another version of the program: nothing in it is worth leading over.
        connection.execute("DROP TABLE IF EXISTS answers")
        connection.execute(_TABLE)
        connection.execute(_INDEX)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
