"""Garbage collection of the artifact store: what nothing needs and what killed writers left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from quickserveml_tui.core.care import BlobInfo, CollectReport
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifact_cache import ModelCache
from quickserveml_tui.storage.artifact_files import WHAT, blob_path, is_digest
from quickserveml_tui.storage.artifact_locks import StoreLocks
from quickserveml_tui.storage.artifact_staging import STALE_AFTER_S, expired_folders

TEMP_AGE_S = 3600.0
MAX_DIGESTS = 1_000
BATCH = 1_000
"""Blobs decided on at once, after which adders get their turn: they wait 10 s at most."""


def scan_blobs(root: Path) -> Iterator[BlobInfo]:
    """All blobs below `root`, folder by folder. Raises `OSError`."""
    for shard in shard_folders(root):
        with suppress(FileNotFoundError), os.scandir(shard) as entries:
            for entry in entries:
                if not is_digest(entry.name) or entry.name[:2] != shard.name:
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_file(follow_symlinks=False):
                        yield BlobInfo(entry.name, status.st_size, status.st_mtime)


def shard_folders(root: Path) -> list[Path]:
    """The folders that hold blobs. Raises `OSError`."""
    try:
        with os.scandir(root / "sha256") as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


@dataclass
class Collection:
    """One run over the store at `root`; with `dry_run` it only counts."""

    root: Path
    cache: ModelCache
    locks: StoreLocks
    grace_s: float
    dry_run: bool
    cancel: CancelToken
    removed: dict[str, int] = field(default_factory=dict)
    """Size by digest of each blob that went, or would go."""
    young: int = 0
    uploads: int = 0
    upload_bytes: int = 0
    cache_entries: int = 0
    cache_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0

    def run(
        self, needed: Callable[[], frozenset[str]], cache_budget_bytes: int | None, pinned: frozenset[str]
    ) -> CollectReport:
        """Uploads, blobs, then the cache: each step leaves a whole store. Raises `StoreError`, `CancelledError`."""
        touching = not self.dry_run
        try:
            with self.locks.collecting(touching=touching):
                self._take_uploads()
                found = list(scan_blobs(self.root))
                self.cancel.raise_if_cancelled()
                for start in range(0, max(len(found), 1), BATCH):
                    with self.locks.publishing(touching=touching):
                        self._take_blobs(found[start : start + BATCH], needed())
                if self.removed and touching:
                    self._take_empty_folders()
                self._take_cache(cache_budget_bytes, pinned)
        except OSError as error:
            raise fs.store_error(error, WHAT, "cleaned up") from error
        return self._report()

    def _report(self) -> CollectReport:
        return CollectReport(
            self.dry_run,
            blobs=len(self.removed),
            blob_bytes=sum(self.removed.values()),
            young=self.young,
            uploads=self.uploads,
            upload_bytes=self.upload_bytes,
            cache_entries=self.cache_entries,
            cache_bytes=self.cache_bytes,
            kept_blobs=self.kept,
            kept_bytes=self.kept_bytes,
            digests=tuple(sorted(self.removed)[:MAX_DIGESTS]),
        )

    # ---- blobs ----------------------------------------------------------------------------------------------------

    def _take_blobs(self, found: list[BlobInfo], needed: frozenset[str]) -> None:
        """Whoever wrote a blob after `found` was made has it either in `needed` by now, or it is not in `found`."""
        oldest = time.time() - self.grace_s
        for blob in found:
            self.cancel.raise_if_cancelled()
            if blob.digest not in needed:
                modified_at = self._modified_at(blob)
                if modified_at is None:
                    continue
                if self.grace_s <= 0 or modified_at <= oldest:
                    self._unlink(blob)
                    continue
                self.young += 1
            self.kept += 1
            self.kept_bytes += blob.size_bytes

    def _take_empty_folders(self) -> None:
        """Whoever puts a blob in its place makes the folder again, and is held off meanwhile."""
        with self.locks.publishing():
            for shard in shard_folders(self.root):
                with suppress(OSError):  # it holds something, or it stays until the next time: no harm either way
                    os.rmdir(shard)  # noqa: PTH106 - fault tests break this call

    def _modified_at(self, blob: BlobInfo) -> float | None:
        """When a blob was written, asked again: it may have been put anew since it was found; None when it is gone."""
        try:
            return os.stat(blob_path(self.root, blob.digest), follow_symlinks=False).st_mtime  # noqa: PTH116
        except FileNotFoundError:
            return None

    def _unlink(self, blob: BlobInfo) -> None:
        if not self.dry_run:
            with suppress(FileNotFoundError):
                os.unlink(blob_path(self.root, blob.digest))  # noqa: PTH108
        self.removed[blob.digest] = blob.size_bytes

    # ---- what killed writers left ---------------------------------------------------------------------------------

    def _take_uploads(self) -> None:
        for folder in expired_folders(self.root / "staging", STALE_AFTER_S):
            self.cancel.raise_if_cancelled()
            size = fs.tree_bytes(folder)
            if not self.dry_run:
                fs.remove_tree(folder)
            self.uploads += 1
            self.upload_bytes += size
        for place in (self.root, *shard_folders(self.root)):
            for path, size in abandoned_temps(place):
                if not self.dry_run:
                    fs.remove_quietly(path)
                self.uploads += 1
                self.upload_bytes += size

    # ---- cache ----------------------------------------------------------------------------------------------------

    def _take_cache(self, budget_bytes: int | None, pinned: frozenset[str]) -> None:
        for folder in self.cache.leftovers():
            size = fs.tree_bytes(folder)
            if not self.dry_run:
                fs.remove_tree(folder)
            self._count_cache(size)
        for entry in self.cache.surplus(budget_bytes, pinned, self._is_there):
            self.cancel.raise_if_cancelled()
            if self.dry_run or self.cache.evict(entry):
                self._count_cache(entry.size_bytes)
        if not self.dry_run:
            self.cache.tidy()

    def _count_cache(self, size_bytes: int) -> None:
        self.cache_entries += 1
        self.cache_bytes += size_bytes

    def _is_there(self, digest: str) -> bool:
        return blob_path(self.root, digest).is_file() and not (self.dry_run and digest in self.removed)


def abandoned_temps(folder: Path, older_than_s: float = TEMP_AGE_S) -> Iterator[tuple[Path, int]]:
    """Temporary files in a folder whose writer is gone, with their sizes; each is locked while it is looked at."""
    oldest = time.time() - older_than_s
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if entry.name.startswith(fs.TEMP_PREFIX)]
    except FileNotFoundError:
        return
    for path in found:
        with suppress(FileNotFoundError), _held(path) as size:
            if size is not None and os.stat(path).st_mtime < oldest:  # noqa: PTH116 - fault tests break this call
                yield path, size


@contextmanager
def _held(path: Path) -> Iterator[int | None]:
    """Size of a file that nobody has locked, locked now; None when somebody writes it, or it is no file."""
    try:
        descriptor = fs.open_regular(path)
    except FileNotFoundError:
        raise
    except OSError:
        yield None
        return
    try:
        yield os.fstat(descriptor).st_size if fs.try_lock(descriptor) else None
    finally:
        fs.unlock(descriptor)
