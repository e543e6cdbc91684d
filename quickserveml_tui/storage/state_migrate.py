"""Leading a state database to the schema of this program, with a copy kept before each step."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# ruff: noqa: PTH105

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.state_errors import damaged
from quickserveml_tui.storage.state_schema import SCHEMA, schema_of, step_up

BACKUPS = "backups"


def migrate(connection: sqlite3.Connection, path: Path, open_reader: Callable[[], sqlite3.Connection | None]) -> None:
    """Lead the database one step up; `connection` is in a write transaction, and is in another one afterwards.

    Each step is one transaction. Before it the file is copied to `backups/`, unless it is new: the write lock that is
    held meanwhile keeps the copy and the step on one state. Raises `sqlite3.Error`, `OSError`, `StoreError`.
    """
    found = schema_of(connection, to_write=True)
    if found == 0:
        while found < SCHEMA:
            found = step_up(connection, found)
        return
    _keep_copy(path, found, open_reader)
    step_up(connection, found)
    connection.execute("COMMIT")
    connection.execute("BEGIN IMMEDIATE")


def _keep_copy(path: Path, schema: int, open_reader: Callable[[], sqlite3.Connection | None]) -> None:
    folder = path.parent / BACKUPS
    fs.make_private_dir(folder)
    fs.remove_stale_temps(folder)  # of a migration that was killed: this one holds the lock
    reader = open_reader()
    if reader is None:
        raise damaged("The file went away while it was to be copied.")
    with closing(reader):
        reader.execute("SELECT count(*) FROM benchmark_runs").fetchone()  # what is no database of ours needs no copy
        copy_database(reader, folder / f"state-schema{schema}-{stamp()}.db")


def stamp() -> str:
    """Now, as a part of a file name that sorts by time."""
    return utc_now().replace("-", "").replace(":", "").replace(".", "")


def copy_database(source: sqlite3.Connection, target: Path) -> None:
    """Copy what `source` sees to a new file, durably; a copy that failed leaves nothing behind.

    Raises `sqlite3.Error`, and `OSError` (`FileExistsError` when something is at `target`).
    """
    temp = target.with_name(f"{fs.TEMP_PREFIX}{uuid.uuid4().hex}")
    os.close(fs.open_new(temp))
    try:
        with closing(sqlite3.connect(temp, isolation_level=None)) as copy:
            # The copy counts only once it is complete and synced below.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            source.backup(copy)
        sync_file(temp)
        put_in_place(temp, target)
    except BaseException:
        fs.remove_quietly(temp)
        raise


def put_in_place(temp: Path, target: Path) -> None:
    """Give a finished file its name, durably, unless something has that name. Raises `OSError`."""
    if os.path.lexists(target):
        raise FileExistsError(17, "something is there already")
    os.replace(temp, target)
    fs.fsync_dir(target.parent)


def sync_file(path: Path) -> None:
    """Make a file's content durable. Raises `OSError`.

    Never for a database that is in use: closing any descriptor of a file gives up the locks that SQLite has on it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
