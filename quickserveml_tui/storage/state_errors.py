"""SQLite's errors as sentences."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from quickserveml_tui.core.errors import OPEN_FOR_WRITING, ReadOnlyError, StoreError
from quickserveml_tui.storage import fs

WHAT = "state database"
REPAIR_COMMAND = "quickserveml fsck --repair"


def damaged(detail: str) -> StoreError:
    """The error of a database that cannot be read in full."""
    return StoreError(
        f"The {WHAT} is damaged; it was left as it is.",
        hint=f"`{REPAIR_COMMAND}` keeps the damaged file aside and saves every row that can still be read.",
        code="store.corrupt",
        detail=detail[:2000],
    )


def read_only() -> ReadOnlyError:
    """The error of a write to a database that was opened read-only."""
    return ReadOnlyError(f"The {WHAT} cannot be written: it was opened for reading only.", hint=OPEN_FOR_WRITING)


@contextmanager
def errors(action: str) -> Iterator[None]:
    """Turn SQLite's errors, and those of looking for its file, into `StoreError`s."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, action) from error
    except OSError as error:
        raise fs.store_error(error, WHAT, action) from error


def translate(error: sqlite3.Error, action: str) -> StoreError:
    """What an error of SQLite means to a user."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA", "SQLITE_FORMAT")) or _lacks_a_part(error):
        return damaged(str(error))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(
            f"The {WHAT} is in use by another process.",
            hint="Wait until it has finished, then try again.",
            code="store.locked",
        )
    if name in ("SQLITE_READONLY_ROLLBACK", "SQLITE_READONLY_RECOVERY", "SQLITE_READONLY_CANTINIT"):
        return ReadOnlyError(
            f"The {WHAT} holds an unfinished write that must be undone before it can be read.",
            hint=f"As a user who may write the home: {OPEN_FOR_WRITING[0].lower()}{OPEN_FOR_WRITING[1:]}",
            detail=str(error),
        )
    reason, hint, code = "SQLite reported an error", "Try again; nothing was changed.", "store.unavailable"
    if name.startswith("SQLITE_FULL"):
        reason, hint, code = "the disk is full", "Free some space and try again.", "store.full"
    elif name.startswith("SQLITE_READONLY"):
        return ReadOnlyError(
            f"The {WHAT} cannot be written: permission was denied.",
            hint="Check who owns the home folder, or choose another with --home.",
        )
    elif name.startswith(("SQLITE_PERM", "SQLITE_AUTH", "SQLITE_CANTOPEN")):
        reason, hint = "permission was denied", "Check who owns the home folder, or choose another with --home."
    elif name.startswith("SQLITE_IOERR"):
        reason, hint = "the disk reported an error", "Check the disk, then try again."
    return StoreError(f"The {WHAT} could not be {action}: {reason}.", hint=hint, code=code, detail=str(error))


def _lacks_a_part(error: sqlite3.Error) -> bool:
    text = str(error)
    return "no such table" in text or "no such column" in text or "malformed" in text
