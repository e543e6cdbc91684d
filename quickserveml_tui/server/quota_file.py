"""What keys used of their day, kept over restarts: one small file for each address."""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import msgspec

FOLDER = "quotas"
MAX_BYTES = 4 * 1024 * 1024
_OLD_S = 2 * 86_400


class Used(msgspec.Struct):
    """What the file holds."""

    day: int
    """Days since the epoch (UTC)."""
    used: dict[str, int]
    """Requests of that day by the id of the key."""


class QuotaFile:
    """The counts of one server. Written every few seconds without a sync: a kill loses the last of them, never more.

    It only spares a key from a fresh day after a restart, so a file that cannot be read counts as none.
    """

    def __init__(self, home: Path, host: str, port: int) -> None:
        self._folder = home / FOLDER
        self._path = self._folder / f"{re.sub(r'[^0-9A-Za-z.]', '-', host)[:64]}-{port}.json"
        self._written: Used | None = None

    def read(self) -> Used:
        """The counts as they were last written. Removes the files of servers that went days ago."""
        self._remove_old()
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            return msgspec.json.decode(data, type=Used)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Used(0, {})

    def write(self, day: int, used: Mapping[str, int]) -> None:
        """Replace the file where anything changed. Raises `OSError`."""
        now = Used(day, dict(used))
        if now == self._written:
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        temp = self._folder / f".tmp-{uuid.uuid4().hex}"
        try:
            descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(now))
            temp.replace(self._path)
        except OSError:
            temp.unlink(missing_ok=True)
            raise
        self._written = now

    def _remove_old(self) -> None:
        oldest = time.time() - _OLD_S
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime < oldest:
                    Path(entry.path).unlink(missing_ok=True)
