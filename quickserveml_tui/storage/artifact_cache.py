"""Models with external data, put together in a folder each; evicted by a budget, never while somebody may open them."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.models import ArtifactManifest, FileEntry
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifact_files import (
    blob_path,
    check_relative,
    checked,
    damaged,
    hash_copy,
    is_digest,
    seal,
)
from quickserveml_tui.storage.artifact_locks import WAIT_S, read_only, wait_for_lock
from quickserveml_tui.storage.artifact_staging import STALE_AFTER_S, expired_folders, private_folder

WHAT = "model cache"
LOCK = ".lock"
LIST_SUFFIX = ".files"
"""Beside each entry lies the list of the files that it was made of."""
IN_USE_S = 600.0
"""For so long after it was opened an entry stays: a runner may be about to read it."""
LEFTOVER_S = 3600.0

_UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_FILES = msgspec.json.Decoder(tuple[FileEntry, ...])


@dataclass(frozen=True)
class CacheEntry:
    """One materialised model."""

    folder: Path
    digest: str
    size_bytes: int
    opened_at: float
    is_whole: bool


class ModelCache:
    """Copies of models with external data under the folder `cache`, by the digest of their manifest."""

    def __init__(self, folder: Path, root: Path, *, read_only: bool, wait_s: float = WAIT_S) -> None:
        self._folder = folder
        self._root = root
        self._read_only = read_only
        self._wait_s = wait_s

    def open_path(self, manifest: ArtifactManifest) -> Path:
        """The model file of a complete entry, made when there is none. Raises `StoreError`, `ReadOnlyError`."""
        folder = self._folder / checked(manifest.digest)
        if not self._use(folder, manifest.files):
            if self._read_only:
                raise read_only(WHAT)
            self._materialise(folder, manifest)
        return folder / check_relative(manifest.files[0].path)

    def _use(self, folder: Path, files: tuple[FileEntry, ...]) -> bool:
        """Whether the entry is complete; if it is, nobody evicts it for the next ten minutes."""
        if self._read_only:
            return is_complete(folder, files)
        try:
            if not folder.is_dir():
                return False
            with self._locked():
                if not is_complete(folder, files):
                    return False
                os.utime(folder)
                return True
        except OSError as error:
            if error.errno in _UNWRITABLE:  # a volume that is mounted read-only is served from, and never evicted
                return is_complete(folder, files)
            raise fs.store_error(error, WHAT) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Between looking at an entry and saying that it is in use, nobody else may take it away."""
        descriptor = fs.open_lock(self._folder / LOCK)
        try:
            wait_for_lock(descriptor, self._wait_s)
            yield
        finally:
            fs.unlock(descriptor)

    def _materialise(self, folder: Path, manifest: ArtifactManifest) -> None:
        """Copy the files together; copies, because onnx refuses external data that is linked."""
        try:
            fs.make_private_dir(self._folder)
            self._clean_stale()
            with private_folder(self._folder, fs.TEMP_PREFIX) as temp:
                for file in manifest.files:
                    self._copy_blob(file, temp / check_relative(file.path))
                fs.write_atomic(self._list_of(folder), msgspec.json.encode(manifest.files))
                os.utime(temp)  # a large model takes longer to copy than an entry counts as in use
                self._put_in_place(temp, folder, manifest)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error

    def _put_in_place(self, temp: Path, folder: Path, manifest: ArtifactManifest) -> None:
        with self._locked():
            if is_complete(folder, manifest.files):
                os.utime(folder)
                return  # somebody else put an equal one there meanwhile
            with suppress(FileNotFoundError):
                os.replace(folder, temp.with_name("incomplete"))  # noqa: PTH105 - fault tests break this call
            os.replace(temp, folder)  # noqa: PTH105
            fs.fsync_dir(self._folder)

    def _copy_blob(self, file: FileEntry, target: Path) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        source = fs.open_regular(blob_path(self._root, file.digest))
        try:
            output = fs.open_new(target)
            try:
                digest, _size = hash_copy(source, output)
                seal(output)
            finally:
                os.close(output)
        except ModelError as error:
            raise damaged(file.digest) from error
        finally:
            os.close(source)
        if digest != file.digest:
            raise damaged(file.digest)

    def _clean_stale(self) -> None:
        for path in expired_folders(self._folder, STALE_AFTER_S, fs.TEMP_PREFIX):
            fs.remove_tree(path)

    def _list_of(self, folder: Path) -> Path:
        return folder.with_name(folder.name + LIST_SUFFIX)

    # ---- eviction -------------------------------------------------------------------------------------------------

    def entries(self) -> list[CacheEntry]:
        """All entries, that opened longest ago first. Raises `OSError`."""
        try:
            with os.scandir(self._folder) as found:
                folders = [
                    Path(item.path) for item in found if is_digest(item.name) and item.is_dir(follow_symlinks=False)
                ]
        except FileNotFoundError:
            return []
        return sorted((self._entry(folder) for folder in folders), key=lambda entry: entry.opened_at)

    def _entry(self, folder: Path) -> CacheEntry:
        files = self._listed(folder)
        return CacheEntry(
            folder,
            folder.name,
            fs.tree_bytes(folder),
            os.stat(folder).st_mtime,  # noqa: PTH116 - fault tests break this call
            files is None or is_complete(folder, files),
        )

    def _listed(self, folder: Path) -> tuple[FileEntry, ...] | None:
        """What an entry was made of; None where it cannot be told, as for one that an earlier version made."""
        try:
            return _FILES.decode(self._list_of(folder).read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def surplus(
        self, budget_bytes: int | None, pinned: frozenset[str], is_there: Callable[[str], bool]
    ) -> list[CacheEntry]:
        """Entries to evict: incomplete ones, those whose blobs are gone, and what exceeds the budget. Raises `OSError`.

        `is_there` says of a blob whether the store holds it. Entries that are pinned or were opened within the last
        ten minutes stay, whatever the budget.
        """
        newest = time.time() - IN_USE_S
        entries = self.entries()
        total = sum(entry.size_bytes for entry in entries)
        chosen = []
        for entry in entries:
            if entry.digest in pinned or entry.opened_at > newest:
                continue
            is_over = budget_bytes is not None and total > budget_bytes
            if is_over or not entry.is_whole or not self._can_be_opened(entry, is_there):
                chosen.append(entry)
                total -= entry.size_bytes
        return chosen

    def _can_be_opened(self, entry: CacheEntry, is_there: Callable[[str], bool]) -> bool:
        return all(is_there(file.digest) for file in self._listed(entry.folder) or ())

    def evict(self, entry: CacheEntry) -> bool:
        """Take an entry away unless it was opened meanwhile; who has its files open keeps them. Raises `OSError`."""
        with private_folder(self._folder, fs.TEMP_PREFIX) as temp:
            with self._locked():
                try:
                    if os.stat(entry.folder).st_mtime > entry.opened_at:  # noqa: PTH116
                        return False
                    os.replace(entry.folder, temp / "evicted")  # noqa: PTH105
                except FileNotFoundError:
                    return False
                fs.remove_quietly(self._list_of(entry.folder))
            return True

    def tidy(self) -> None:
        """Remove lists without an entry, and what a killed writer of a list left. Raises `OSError`."""
        fs.remove_stale_temps(self._folder, older_than_s=LEFTOVER_S)
        oldest = time.time() - LEFTOVER_S
        for path in self._folder.glob(f"*{LIST_SUFFIX}"):
            with suppress(FileNotFoundError):
                if not path.with_suffix("").exists() and path.stat().st_mtime < oldest:
                    fs.remove_quietly(path)

    def leftovers(self) -> Iterator[Path]:
        """Folders and files in which a killed process was putting a model together, locked while looked at."""
        yield from expired_folders(self._folder, LEFTOVER_S, fs.TEMP_PREFIX)


def is_complete(folder: Path, files: tuple[FileEntry, ...]) -> bool:
    """Whether all files are there with their sizes, as regular files."""
    for file in files:
        try:
            status = (folder / check_relative(file.path)).stat(follow_symlinks=False)
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size_bytes:
            return False
    return True
