"""Whether a folder may hold backups, or holds some: asked before anything in it is believed or written."""
# Plain `os` calls, so that fault tests can count and break every one of them.

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from quickserveml_tui.core.errors import ConflictError, NotFoundError, UsageError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.backup_folder import BLOBS, GENERATIONS, LOCK, MARKER, WHAT

_EMPTY = frozenset({LOCK, "lost+found"})
_OURS = _EMPTY | {MARKER, BLOBS, GENERATIONS}


def check_backup(root: Path) -> None:
    """Refuse links where folders should be, and a folder that no backup was ever made into.

    Raises what `check_plain` raises, and `NotFoundError` (`backup.not_found`).
    """
    check_plain(root)
    if not os.path.lexists(root / MARKER):
        raise NotFoundError(
            "There is no backup in this folder.",
            hint="`quickserveml backup FOLDER` makes one.",
            code="backup.not_found",
        )


def check_plain(root: Path) -> None:
    """Refuse a folder that holds what is no backup, and links in it.

    Raises `UsageError` (`backup.link`), `ConflictError` (`backup.foreign`), `NotFoundError` (`backup.not_found`).
    """
    name = safe_text(root.name, 80)
    try:
        if not stat.S_ISDIR(os.lstat(root).st_mode):
            raise UsageError(
                f"“{name}” is no folder, or a link to one.", hint="Name the folder itself.", code="backup.link"
            )
        with os.scandir(root) as entries:
            found = {entry.name for entry in entries if not entry.name.startswith(fs.TEMP_PREFIX)}
        if any(_misplaced(root)):
            raise UsageError(
                "The backup folder holds a link or file where a folder should be.",
                hint="Choose another folder.",
                code="backup.link",
            )
    except FileNotFoundError:
        raise NotFoundError(f"There is no folder “{name}”.", hint="Check the path.", code="backup.not_found") from None
    except OSError as error:
        raise fs.store_error(error, WHAT, "read") from error
    foreign = found - (_OURS if MARKER in found else _EMPTY)
    if foreign:
        raise ConflictError(
            f"The folder holds something else (“{safe_text(min(foreign), 80)}”), so no backup is kept in it.",
            hint="Choose an empty folder, or one that holds backups only.",
            code="backup.foreign",
        )


def _misplaced(root: Path) -> Iterator[bool]:
    """Whether what is no folder, for each place where folders are: files would be written or removed through links."""
    fan_out = root / BLOBS / "sha256"
    for folder in (root / BLOBS, fan_out, root / GENERATIONS):
        yield os.path.lexists(folder) and not stat.S_ISDIR(os.lstat(folder).st_mode)
    if fan_out.is_dir():
        with os.scandir(fan_out) as entries:
            for entry in entries:
                yield entry.is_symlink()
