"""Kept generations of the registry: as it was before the last write, at the end of each day, and before migrations."""
# Plain `os` calls, so that fault tests can count and break every one of them.

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from quickserveml_tui.storage import fs

KEPT = 7
"""Days whose last state is kept; generations from before a migration stay."""
FOLDER = "backups"
_NAME = re.compile(r"registry-(?:schema([0-9]+)-)?([0-9]{8}T[0-9]{9}Z)\.json")
_NO_LINKS = frozenset({errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


def stamp(time_ns: int) -> str:
    """A time as file names carry it: UTC with milliseconds, sorting by time."""
    moment = datetime.fromtimestamp(time_ns / 1e9, UTC)
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z"


class RegistryGenerations:
    """Older states of a registry file, each a file of its own in `folder`.

    They cost no copy: a write puts a new file in place of the old one, so a hard link keeps what was.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._has_some = False

    def newest_first(self) -> list[Path]:
        """All that there are. Raises `OSError`."""
        found: list[tuple[str, Path]] = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._folder) as entries:
            for entry in entries:
                match = _NAME.fullmatch(entry.name)
                if match is not None:
                    found.append((match[2], Path(entry.path)))
        return [path for _stamp, path in sorted(found, reverse=True)]

    def keep_before_write(self, path: Path, mtime_ns: int, today_ns: int) -> None:
        """Keep the file at `path`, written at `mtime_ns`, for as long as it is the state before the last write.

        What was written on an earlier day stays longer, so it is kept durably; a link that a power cut takes away
        within the day costs no more than the state before. Call it under the lock, right before the file is replaced.
        Raises `OSError`.
        """
        is_durable = stamp(mtime_ns)[:8] < stamp(today_ns)[:8] or not self._has_some
        self._keep(path, f"registry-{stamp(mtime_ns)}.json", is_durable=is_durable)

    def prune(self) -> None:
        """Forget all but the newest of each of the newest days; call it under the lock, after the write."""
        with suppress(OSError):
            kept: set[str] = set()
            for path in self.newest_first():
                if "-schema" in path.name:
                    continue
                day = path.name.removeprefix("registry-")[:8]
                if day in kept or len(kept) >= KEPT:
                    fs.remove_quietly(path)
                else:
                    kept.add(day)

    def keep_before_migration(self, path: Path, mtime_ns: int, schema: int) -> None:
        """Keep the file at `path` for good. Raises `OSError`."""
        self._keep(path, f"registry-schema{schema}-{stamp(mtime_ns)}.json")

    def _keep(self, path: Path, name: str, *, is_durable: bool = True) -> None:
        fs.make_private_dir(self._folder)
        target = self._folder / name
        _link(path, target)
        if not is_durable:
            return
        try:
            fs.fsync_dir(self._folder)
        except BaseException:
            fs.remove_quietly(target)  # or the next write would take it for durable
            raise
        self._has_some = True


def set_aside(path: Path, time_ns: int) -> Path:
    """Keep a damaged file beside itself, under a name of its own, until its place is taken. Raises `OSError`."""
    target = path.with_name(f"{path.name}.damaged-{stamp(time_ns)}")
    _link(path, target)
    fs.fsync_dir(target.parent)
    return target


def _link(path: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that cannot be; both names say when, so an equal one is this one."""
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        descriptor = fs.open_regular(path)
        try:
            data = fs.read_all(descriptor, os.fstat(descriptor).st_size + fs.CHUNK_BYTES)
        finally:
            os.close(descriptor)
        fs.write_atomic(target, data)
