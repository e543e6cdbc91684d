"""Locks of the artifact store.

Two lock files lie beside the blobs, and everybody takes them in this order:

1. `gc.lock` (`guard`, `collecting`): a collection, or whoever needs that none runs: backups and checks.
2. `publish.lock` (`publishing`): adders, from the first blob put in its place until the registry or the state database
   names it; a collection, from asking what is needed until the last blob is gone.
3. the locks of the registry and the state database, which know nothing of these two.

A thread that would take the first while it holds the second is refused, so that nobody can wait in a circle. The kernel
frees all of them when their holder dies.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quickserveml_tui.core.errors import OPEN_FOR_WRITING, ReadOnlyError, StoreError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifact_files import WHAT

WAIT_S = 10.0
MAX_PURPOSE = 200


class _Held(threading.local):
    """How often this thread is inside each lock, by path: `publishing` in one store object holds for all of them."""

    def __init__(self) -> None:
        self.depth: dict[str, int] = {}


_HELD = _Held()


class StoreLocks:
    """The locks of the store at `root`. All raise `StoreError` (`store.locked`) when they cannot be had in time."""

    def __init__(self, root: Path, *, read_only: bool, wait_s: float = WAIT_S) -> None:
        self._root = root
        self._read_only = read_only
        self._wait_s = wait_s
        self._gc = root / "gc.lock"
        self._publish = root / "publish.lock"

    @contextmanager
    def publishing(self, *, touching: bool = True) -> Iterator[None]:
        """Keep collections from deciding what is needed; may be entered again by the same thread.

        Without `touching` no lock file is made: where there is none, nobody ever published.
        """
        if touching and self._read_only:
            raise read_only()
        with self._locked(self._publish, "", touching=touching):
            yield

    @contextmanager
    def guard(self, purpose: str) -> Iterator[None]:
        """Keep collections away; may be entered again by the same thread.

        On a volume that may only be read no lock file is made: where there is none, nobody ever collected.
        """
        self._check_order()
        with self._locked(self._gc, purpose, touching=not self._read_only, or_look=True):
            yield

    @contextmanager
    def collecting(self, *, touching: bool) -> Iterator[None]:
        """Keep everybody else away that would look at all blobs."""
        self._check_order()
        if _HELD.depth.get(str(self._gc)):
            raise _busy("what runs now needs the files as they are")
        with self._locked(self._gc, "collection", touching=touching):
            yield

    def _check_order(self) -> None:
        if _HELD.depth.get(str(self._publish)):
            raise _busy("files are just being added")

    @contextmanager
    def _locked(self, path: Path, purpose: str, *, touching: bool, or_look: bool = False) -> Iterator[None]:
        depth, key = _HELD.depth, str(path)
        if depth.get(key):
            depth[key] += 1
            try:
                yield
            finally:
                depth[key] -= 1
            return
        descriptor = self._take(path, purpose, touching=touching, or_look=or_look)
        depth[key] = 1
        try:
            yield
        finally:
            del depth[key]
            if descriptor is not None:
                fs.unlock(descriptor)

    def _take(self, path: Path, purpose: str, *, touching: bool, or_look: bool = False) -> int | None:
        """The locked descriptor; None where there is no lock file and none may be made.

        With `or_look` a volume that may only be read is no error.
        """
        try:
            if touching:
                fs.make_private_dir(self._root)
            descriptor = fs.open_lock(path, create=touching)
        except OSError as error:
            if or_look and error.errno == errno.EROFS:
                return self._take(path, "", touching=False)
            if not touching and isinstance(error, FileNotFoundError):
                return None
            raise fs.store_error(error, WHAT, "locked") from error
        try:
            wait_for_lock(descriptor, self._wait_s)
            if touching and purpose:
                _say(descriptor, purpose)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def wait_for_lock(descriptor: int, wait_s: float) -> None:
    """Lock an open lock file within `wait_s` seconds. Raises `StoreError` (`store.locked`), which names the holder."""
    deadline = time.monotonic() + wait_s
    try:
        while not fs.try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise _busy(_holder(descriptor))
            time.sleep(fs.LOCK_POLL_S)
    except OSError as error:
        raise fs.store_error(error, WHAT, "locked") from error


def _say(descriptor: int, purpose: str) -> None:
    """Leave word for those who wait; without it they only hear that somebody is there.

    Always as many bytes: to truncate the file first costs 3 ms on ext4, which then writes it out.
    """
    with suppress(OSError):
        text = f"{purpose[: MAX_PURPOSE // 2]} (process {os.getpid()})".encode("utf-8", "replace")
        os.pwrite(descriptor, text[:MAX_PURPOSE].ljust(MAX_PURPOSE), 0)


def _holder(descriptor: int) -> str:
    with suppress(OSError):
        text = safe_text(os.pread(descriptor, MAX_PURPOSE, 0).decode("utf-8", "replace")).strip()
        if text:
            return f"it is held by: {text}"
    return "another process holds it"


def _busy(why: str) -> StoreError:
    return StoreError(
        f"The {WHAT} is in use: {why}.",
        hint="Wait until it has finished, then try again.",
        code="store.locked",
    )


def read_only(what: str = WHAT) -> ReadOnlyError:
    """The error for a write to a store that was opened read-only."""
    return ReadOnlyError(
        f"The {what} is opened read-only; nothing is written.",
        hint=OPEN_FOR_WRITING,
    )
