"""Daily copies of the state database: what a repair goes back to for rows that the damaged file no longer gives."""
# Plain `os` calls, so that fault tests can count and break every one of them.

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.state_errors import WHAT
from quickserveml_tui.storage.state_migrate import BACKUPS, copy_database, stamp
from quickserveml_tui.storage.state_schema import SCHEMA

KEPT = 3
MAX_BYTES = 256_000_000
"""Size of a database above which no copies are kept: each would hold up writers for seconds."""
_NAME = re.compile(r"state-([0-9]{8})T[0-9]{9}Z\.db")
_log = logging.getLogger(__name__)


class DailyCopies:
    """The copies of one database: of the state before the first write of each UTC day, and before the second ever.

    Where a copy cannot be made the write goes on without: it must not fail for want of what only a repair needs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.parent / BACKUPS
        self._day = ""
        """The last day of which there is a copy, or on which one was tried: looked for once a day and process."""

    def newest_first(self) -> list[Path]:
        """All that there are. Raises `OSError`."""
        found = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._folder) as entries:
            found = [entry.name for entry in entries if _NAME.fullmatch(entry.name)]
        return [self._folder / name for name in sorted(found, reverse=True)]

    def keep_before_write(self, open_reader: Callable[[], sqlite3.Connection | None]) -> None:
        """Copy the file unless there is a copy of today; call it in a write transaction that changed nothing yet."""
        now = stamp()
        if self._day == now[:8]:
            return
        self._day = now[:8]
        try:
            kept = self.newest_first()
            if not any(path.name.startswith(f"state-{now[:8]}T") for path in kept):
                self._copy(now, kept, open_reader)
        except (OSError, sqlite3.Error, StoreError) as error:
            _log.warning("No copy of the %s was kept today: %s", WHAT, error)

    def _copy(self, now: str, kept: list[Path], open_reader: Callable[[], sqlite3.Connection | None]) -> None:
        if os.stat(self._path).st_size > MAX_BYTES:  # noqa: PTH116 - fault tests break this call
            return
        reader = open_reader()
        if reader is None:
            return
        with closing(reader):
            if not _is_whole(reader):  # it would push out a good one
                return
            fs.make_private_dir(self._folder)
            fs.remove_stale_temps(self._folder, older_than_s=3600)
            copy_database(reader, self._folder / f"state-{now}.db")
        for path in kept[KEPT - 1 :]:
            fs.remove_quietly(path)

    @contextmanager
    def newest_good(self) -> Iterator[tuple[str, sqlite3.Connection] | None]:
        """Name of the newest copy that is whole, and a connection that reads it; None where there is none."""
        for path in self.newest_first():
            connection = _opened(path)
            if connection is None:
                continue
            with closing(connection):
                if _is_readable(connection):
                    yield f"{BACKUPS}/{path.name}", connection
                    return
        yield None


def _opened(path: Path) -> sqlite3.Connection | None:
    # Immutable: nobody writes to a copy, and nothing is to appear beside it.
    with suppress(sqlite3.Error):
        return sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True, isolation_level=None)
    return None


def _is_readable(copy: sqlite3.Connection) -> bool:
    with suppress(sqlite3.Error):
        (schema,) = copy.execute("PRAGMA user_version").fetchone()
        return 0 < schema <= SCHEMA and _is_whole(copy)
    return False


def _is_whole(connection: sqlite3.Connection) -> bool:
    try:
        return connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        return False
