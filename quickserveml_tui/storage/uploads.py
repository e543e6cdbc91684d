"""Data that came over the network for a job: one private folder each, below `uploads` in the home."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from quickserveml_tui.core.errors import DataError, StoreError
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.storage import fs

MAX_UPLOADS = 1_000
MAX_BYTES = 64 << 30
"""Of all uploads together, their outputs included."""
KEPT_FREE = 256 << 20
"""An upload leaves so much of the disk free."""
STRAY_AFTER_S = 3600.0
"""A folder is filled before its job is recorded: a young one may be about to get it."""
_WHAT = "uploaded data"
_NAME = re.compile(r"upload-[0-9a-f]{32}")


class Upload:
    """A file that is being received. Nothing of it is left unless it is kept.

    It is locked while it is open, so that no sweep takes it, however slowly it comes; the kernel frees the lock of a
    process that dies.
    """

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self.path = folder / name
        """Where the data will be."""
        self.output = folder / "output.jsonl"
        """Where a job may put what it gives."""
        self.size = 0
        self._limit = limit
        self._is_kept = False
        try:
            fs.make_private_dir(folder)
            self._descriptor = fs.open_new(self.path)
            fs.try_lock(self._descriptor)
        except OSError as error:
            raise fs.store_error(error, _WHAT) from error

    def write(self, data: bytes) -> None:
        """Append a part. Raises `DataError` (`upload.too_large`), `StoreError`."""
        self.size += len(data)
        if self.size > self._limit:
            raise UploadTooLargeError(
                f"The data is larger than {format_bytes(self._limit)}.",
                hint="Send it in several batches.",
                code="upload.too_large",
            )
        try:
            fs.write_all(self._descriptor, data)
        except OSError as error:
            raise fs.store_error(error, _WHAT) from error

    def keep(self) -> None:
        """Make it durable. Raises `StoreError`."""
        try:
            os.fsync(self._descriptor)
            fs.fsync_dir(self.path.parent)
        except OSError as error:
            raise fs.store_error(error, _WHAT) from error
        self._is_kept = True

    def close(self) -> None:
        """Let go of the file, and remove what was not kept."""
        os.close(self._descriptor)
        if not self._is_kept:
            self.discard()

    def discard(self) -> None:
        """Remove it; what cannot be removed now goes as stray."""
        shutil.rmtree(self.path.parent, ignore_errors=True)


class UploadTooLargeError(DataError):
    """Data beyond the limit."""

    default_code = "upload.too_large"
    http_status = 413


class Uploads:
    """The folder of all uploads."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def begin(self, name: str, limit: int) -> Upload:
        """A place for a file of at most `limit` bytes. Raises `StoreError` (`store.full`) where there is no room."""
        folders = self._folders()
        taken = 0
        for folder in folders:
            with suppress(OSError):
                taken += fs.tree_bytes(folder)
        if len(folders) >= MAX_UPLOADS or taken >= MAX_BYTES or self._free() < KEPT_FREE:
            raise StoreError(
                "There is no room for more uploaded data.",
                hint="Delete batches that are no longer needed.",
                code="store.full",
            )
        return Upload(self._root / f"upload-{uuid.uuid4().hex}", name, limit)

    def _free(self) -> int:
        folder = self._root
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def _folders(self) -> list[Path]:
        try:
            with os.scandir(self._root) as entries:
                found = [Path(item.path) for item in entries if item.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [folder for folder in found if _NAME.fullmatch(folder.name)]

    def holds(self, path: str) -> bool:
        """Whether a file is one that was uploaded, or was put beside it."""
        place = Path(path)
        return bool(_NAME.fullmatch(place.parent.name)) and place.parent.parent == self._root

    def remove(self, path: str) -> None:
        """Remove the upload that a file belongs to; nothing happens for other files."""
        if self.holds(path):
            shutil.rmtree(Path(path).parent, ignore_errors=True)

    def sweep(self, needed: Collection[str], *, older_than_s: float = STRAY_AFTER_S) -> int:
        """Remove uploads that nobody needs, has open, or put anything into for a while; returns how many."""
        kept = {Path(path).parent for path in needed if path}
        oldest, removed = time.time() - older_than_s, 0
        for folder in self._folders():
            with suppress(OSError):
                if folder not in kept and fs.newest_mtime(folder) <= oldest and not _is_open(folder):
                    fs.remove_tree(folder)
                    removed += 1
        return removed


def _is_open(folder: Path) -> bool:
    """Whether somebody is receiving a file of an upload. Raises `OSError`."""
    with os.scandir(folder) as entries:
        files = [Path(item.path) for item in entries if item.is_file(follow_symlinks=False)]
    for file in files:
        descriptor = fs.open_regular(file)
        try:
            if not fs.try_lock(descriptor):
                return True
        finally:
            os.close(descriptor)
    return False
