"""The artifact store: content-addressed, read-only files, staged privately and committed by rename."""

from __future__ import annotations

import hashlib
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from quickserveml_tui.core.care import BlobInfo, CollectReport
from quickserveml_tui.core.errors import ModelError, StoreError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import ArtifactManifest, FileEntry
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifact_cache import ModelCache
from quickserveml_tui.storage.artifact_collect import Collection, scan_blobs
from quickserveml_tui.storage.artifact_files import (
    WHAT,
    blob_path,
    check_relative,
    damaged,
    file_digest,
    hash_copy,
    manifest_digest,
    missing,
    open_source,
    publish,
    seal,
)
from quickserveml_tui.storage.artifact_links import LinkedFiles
from quickserveml_tui.storage.artifact_locks import WAIT_S, StoreLocks, read_only
from quickserveml_tui.storage.artifact_staging import STALE_AFTER_S, BlobStaging, expired_folders, private_folder

__all__ = ["BlobArtifactStore", "blob_path", "check_relative", "file_digest", "manifest_digest"]

MAX_BLOB_BYTES = 4 << 30
"""Largest blob that is read whole into memory."""


class BlobArtifactStore:
    """`ArtifactStore` in `root/sha256/ab/<digest>`; models with external data are put together in `cache`.

    Any number of threads and processes may use it at once; `artifact_locks` says in which order locks are taken.
    """

    def __init__(self, root: Path, cache: Path, *, read_only: bool = False, wait_s: float = WAIT_S) -> None:
        self._root = root
        self._read_only = read_only
        self._cache = ModelCache(cache, root, read_only=read_only, wait_s=wait_s)
        self._links = LinkedFiles()
        self._locks = StoreLocks(root, read_only=read_only, wait_s=wait_s)

    # ---- coming in ------------------------------------------------------------------------------------------------

    @contextmanager
    def stage(self) -> Iterator[BlobStaging]:
        """Begin to bring in the files of one model; what was not committed is gone after the block."""
        self._check_writable()
        parent = self._root / "staging"
        with ExitStack() as stack:
            try:
                fs.make_private_dir(parent)
                self._clean_stale(parent)
                folder = stack.enter_context(private_folder(parent))
            except OSError as error:
                raise fs.store_error(error, WHAT) from error
            yield BlobStaging(folder, self._root, self.publishing)

    def _clean_stale(self, parent: Path) -> None:
        for path in expired_folders(parent, STALE_AFTER_S):
            with suppress(OSError):  # it is in nobody's way
                fs.remove_tree(path)

    def publishing(self) -> AbstractContextManager[None]:
        """Hold collection off between writing blobs and naming them elsewhere; see `ArtifactStore.publishing`."""
        return self._locks.publishing()

    def put_bytes(self, data: bytes) -> str:
        """Keep a blob durably; returns its sha256."""
        digest = hashlib.sha256(data).hexdigest()
        with self._new_blob() as (temp, output):
            try:
                fs.write_all(output, data)
            except OSError as error:
                raise fs.store_error(error, WHAT) from error
            self._seal_and_publish(temp, output, digest)
        return digest

    def put_file(self, source: Path, *, cancel: CancelToken | None = None) -> tuple[str, int]:
        """Keep a regular file as a blob; returns sha256 and size. Raises `ModelError` for what is none."""
        with open_source(source) as descriptor, self._new_blob() as (temp, output):
            digest, size = hash_copy(descriptor, output, cancel=cancel)
            self._seal_and_publish(temp, output, digest)
        return digest, size

    @contextmanager
    def _new_blob(self) -> Iterator[tuple[Path, int]]:
        """A new file, locked so that no collection takes it while it is written; gone after unless published."""
        self._check_writable()
        temp = self._root / f"{fs.TEMP_PREFIX}{uuid.uuid4().hex}"
        output = None
        try:
            fs.make_private_dir(self._root)
            output = fs.open_new(temp)
            fs.try_lock(output)
        except OSError as error:
            if output is not None:
                os.close(output)
                fs.remove_quietly(temp)
            raise fs.store_error(error, WHAT) from error
        try:
            yield temp, output
        except BaseException:
            fs.remove_quietly(temp)
            raise
        finally:
            fs.unlock(output)

    def _seal_and_publish(self, temp: Path, output: int, digest: str) -> None:
        seal(output)
        with self.publishing():
            publish(temp, blob_path(self._root, digest))

    def _check_writable(self) -> None:
        if self._read_only:
            raise read_only()

    # ---- being read -----------------------------------------------------------------------------------------------

    def open_path(self, manifest: ArtifactManifest) -> Path:
        """A path at which the model can be opened, with its external data beside it; see `ArtifactStore.open_path`.

        Raises `ReadOnlyError` where its files would have to be put together in a store that is opened read-only.
        """
        if manifest.is_linked:
            return self._links.open_path(manifest)
        for file in manifest.files:
            self._check_present(file)
        if len(manifest.files) == 1:
            return blob_path(self._root, manifest.files[0].digest)
        return self._cache.open_path(manifest)

    def _check_present(self, file: FileEntry) -> None:
        status = self._status(file.digest)
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size_bytes:
            raise damaged(file.digest)

    def _status(self, digest: str) -> os.stat_result:
        try:
            return os.stat(blob_path(self._root, digest), follow_symlinks=False)  # noqa: PTH116 - fault tests break it
        except FileNotFoundError as error:
            raise missing(digest) from error
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error

    def read_bytes(self, digest: str) -> bytes:
        """A blob's content, checked against its digest; see `ArtifactStore.read_bytes`."""
        try:
            descriptor = fs.open_regular(blob_path(self._root, digest))
        except FileNotFoundError as error:
            raise missing(digest) from error
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        try:
            data = fs.read_all(descriptor, MAX_BLOB_BYTES)
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        finally:
            os.close(descriptor)
        if hashlib.sha256(data).hexdigest() != digest:
            raise damaged(digest)
        return data

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies, to be read only. Raises `StoreError` (`artifact.missing`)."""
        if not stat.S_ISREG(self._status(digest).st_mode):
            raise missing(digest)
        return blob_path(self._root, digest)

    def has(self, digest: str) -> bool:
        """Whether the blob is there; its content is not read."""
        try:
            return bool(self.blob_path(digest))
        except StoreError as error:
            if error.code == "artifact.missing":
                return False
            raise

    def blobs(self) -> Iterator[BlobInfo]:
        """All blobs there are. Raises `StoreError`."""
        try:
            yield from scan_blobs(self._root)
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error

    # ---- being looked after ---------------------------------------------------------------------------------------

    def check(self, digest: str, *, full: bool = True, cancel: CancelToken | None = None) -> str:
        """`""` when a blob is whole, else `missing` or `damaged`; without `full` its content is not read."""
        try:
            is_file = stat.S_ISREG(self._status(digest).st_mode)
        except StoreError as error:
            if error.code == "artifact.missing":
                return "missing"
            raise
        if not is_file:
            return "damaged"
        try:
            is_whole = not full or file_digest(blob_path(self._root, digest), cancel=cancel)[0] == digest
        except ModelError as error:
            return "missing" if error.code == "model.missing" and not self.has(digest) else "damaged"
        return "" if is_whole else "damaged"

    def verify(self, manifest: ArtifactManifest) -> tuple[str, ...]:
        """Paths of the manifest whose blob or linked file is missing or changed; reads every byte."""
        return tuple(file.path for file in manifest.files if not self._is_whole(file))

    def _is_whole(self, file: FileEntry) -> bool:
        if file.link is not None:
            return self._links.is_same(file, file.link)
        return not self.check(file.digest)

    def guard(self, purpose: str) -> AbstractContextManager[None]:
        """Keep collection away for as long as the block takes. Raises `StoreError` (`store.locked`): who holds it."""
        return self._locks.guard(purpose)

    def collect(
        self,
        needed: Callable[[], frozenset[str]],
        *,
        grace_s: float,
        cache_budget_bytes: int | None,
        pinned: frozenset[str] = frozenset(),
        dry_run: bool = False,
        cancel: CancelToken | None = None,
    ) -> CollectReport:
        """Remove what nothing needs, expired uploads and cache over its budget; see `ArtifactStore.collect`.

        A cancelled or failed run has removed a part of it and nothing else; the next one goes on.
        """
        if not dry_run:
            self._check_writable()
        if not self._root.is_dir():
            return CollectReport(dry_run)
        run = Collection(self._root, self._cache, self._locks, grace_s, dry_run, cancel or CancelToken())
        return run.run(needed, cache_budget_bytes, pinned)
