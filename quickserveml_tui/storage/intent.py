"""Replacing registry and state database together: a durable intent that whoever comes next carries out to its end.

A restore puts the new files, complete and durable, into a folder of the home and writes `restore.json` last. From
then on the home is the restored one: each file is moved into its place under the lock of its store, and only then the
intent goes. A kill in between leaves the intent, and `finish_restore` goes on where it stopped; a file that is no
longer in the folder has been moved, so nothing that was written since is overwritten.
"""
# Plain `os` calls, so that fault tests can count and break every one of them.
# ruff: noqa: PTH108

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from quickserveml_tui.core.errors import OPEN_FOR_WRITING, StoreError
from quickserveml_tui.storage import fs

if TYPE_CHECKING:
    from quickserveml_tui.storage.registry import TinyDbRegistry
    from quickserveml_tui.storage.state import SqliteState

INTENT = "restore.json"
LOCK = "restore.lock"
FOLDER_PREFIX = ".restore-"
REGISTRY, STATE = "registry.json", "state.db"
MAX_INTENT_BYTES = 1 << 16
WHAT = "restore"
_FOLDER = re.compile(r"\.restore-[0-9a-f]{32}")


class Intent(msgspec.Struct, frozen=True):
    """What is to be done; `folder` lies in the home."""

    folder: str
    generation: str
    has_registry: bool
    """False where the registry becomes an empty one: nothing had been written to it."""
    version: int = 1


@dataclass(frozen=True)
class Switch:
    """The places of both stores, with their writers held off."""

    home: Path
    put_registry: Callable[[Path | None], None]
    put_state: Callable[[Path], None]

    def begin(self, intent: Intent) -> None:
        """Make the intent durable: from here on there is no way back. Raises `StoreError`."""
        try:
            fs.write_atomic(self.home / INTENT, msgspec.json.encode(intent))
        except OSError as error:
            raise fs.store_error(error, WHAT) from error

    def finish(self, intent: Intent) -> None:
        """Move what has not been moved yet and take the intent away. Raises `StoreError`; it can be called again."""
        folder = self.home / intent.folder
        try:
            if not intent.has_registry:
                if os.path.lexists(folder / STATE):
                    self.put_registry(None)
            elif os.path.lexists(folder / REGISTRY):
                self.put_registry(folder / REGISTRY)
            if os.path.lexists(folder / STATE):
                self.put_state(folder / STATE)
            fs.fsync_dir(self.home)
            os.unlink(self.home / INTENT)
            fs.fsync_dir(self.home)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        with suppress(OSError):  # what is left is an empty folder; the next restore takes it away
            fs.remove_tree(folder)


def is_pending(home: Path) -> bool:
    """Whether a restore was begun and not finished; one `lstat`."""
    return os.path.lexists(home / INTENT)


def refuse_pending(home: Path) -> None:
    """Raise `StoreError` (`restore.pending`) where a write would be lost to a restore; call it under a store's lock."""
    if is_pending(home):
        raise StoreError(
            "A restore of this home was interrupted, so nothing is written before it is finished.",
            hint="Any new command finishes it: try `quickserveml fsck`. Open the workbench again after that.",
            code="restore.pending",
        )


def finish_restore(home: Path, *, read_only: bool = False) -> bool:
    """Carry out a restore that was interrupted; returns whether there was one.

    Costs one `lstat` where there is none. Raises `StoreError`: `store.locked` while another process restores,
    `restore.pending` where nothing may be written, `store.corrupt` for an intent that cannot be read.
    """
    if not is_pending(home):
        return False
    if read_only:
        raise StoreError(
            "A restore of this home was interrupted, and it is opened read-only.",
            hint=f"{OPEN_FOR_WRITING} That finishes the restore.",
            code="restore.pending",
        )
    from quickserveml_tui.storage.registry import TinyDbRegistry
    from quickserveml_tui.storage.state import SqliteState

    with fs.locked(home / LOCK, WHAT):
        intent = read_intent(home)
        if intent is None:
            return False
        finish(home, TinyDbRegistry(home / REGISTRY), SqliteState(home / STATE), intent)
    return True


def finish(home: Path, registry: TinyDbRegistry, state: SqliteState, intent: Intent) -> None:
    """Carry out an intent that is durable already. Raises `StoreError`."""
    with registry.replacing() as put_registry, state.replacing() as put_state:
        Switch(home, put_registry, put_state).finish(intent)


def read_intent(home: Path) -> Intent | None:
    """The intent of a home; None where there is none. Raises `StoreError` (`store.corrupt`)."""
    try:
        descriptor = fs.open_regular(home / INTENT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise fs.store_error(error, WHAT, "read") from error
    try:
        intent = msgspec.json.decode(fs.read_all(descriptor, MAX_INTENT_BYTES), type=Intent)
    except msgspec.DecodeError as error:
        raise _unreadable(str(error)) from error
    except OSError as error:
        raise fs.store_error(error, WHAT, "read") from error
    finally:
        os.close(descriptor)
    if not _FOLDER.fullmatch(intent.folder):
        raise _unreadable(intent.folder)
    return intent


def remove_leftovers(home: Path) -> None:
    """Remove the files of restores that were killed before their intent; call it under the restore lock."""
    intent = read_intent(home)
    with suppress(OSError), os.scandir(home) as entries:
        for entry in entries:
            is_ours = _FOLDER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            if is_ours and (intent is None or intent.folder != entry.name):
                with suppress(OSError):
                    fs.remove_tree(Path(entry.path))


def _unreadable(detail: str) -> StoreError:
    return StoreError(
        "The note of an interrupted restore cannot be read.",
        hint="Take the file restore.json out of the home, then run restore-backup again.",
        code="store.corrupt",
        detail=detail[:200],
    )
