"""The artifact store: content-addressed, read-only files, staged privately and committed by rename."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from quickserveml_tui.core.errors import ModelError, StoreError
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink, ignore_progress
from quickserveml_tui.core.models import ArtifactManifest, FileEntry
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage import fs

WHAT = "artifact store"
STALE_AFTER_S = 24 * 3600.0
MAX_BLOB_BYTES = 4 << 30
"""Largest blob that is read whole into memory."""
MAX_FILES = 10_000
READ_ONLY = 0o444
_HEX = frozenset("0123456789abcdef")


def check_relative(name: str) -> PurePosixPath:
    """`name` as a path that stays inside its folder. Raises `ModelError` (`model.unsafe_path`)."""
    path = PurePosixPath(name)
    parts = name.split("/")
    is_safe = name and not {"", ".", ".."} & set(parts) and not {"\\", "\0"} & set(name) and ":" not in parts[0]
    try:
        too_long = len(name) > 1024 or any(len(os.fsencode(part)) > 255 for part in parts)
    except UnicodeEncodeError:
        too_long = True
    if not is_safe or too_long or path.is_absolute():
        raise ModelError(
            f"The model refers to “{safe_text(name, 80)}”, which is not a plain relative path.",
            hint="External data must lie beside the model file or in a folder below it.",
            code="model.unsafe_path",
        )
    return path


def manifest_digest(files: tuple[FileEntry, ...]) -> str:
    """Digest of a whole artifact: the file's own for a single file, else of the sorted list of files."""
    if len(files) == 1:
        return files[0].digest
    lines = sorted(f"{file.digest} {file.size_bytes} {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_digest(path: Path, *, cancel: CancelToken | None = None) -> tuple[str, int]:
    """sha256 and size in bytes of a regular file. Raises `ModelError` for anything else."""
    with _open_source(path) as descriptor:
        return _hash_copy(descriptor, None, cancel=cancel)


class BlobStaging:
    """`Staging`: a private folder that fills with the files of one model."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder
        self._root = root
        self._files: list[FileEntry] = []

    @property
    def folder(self) -> Path:
        """Private folder with the files under their own names."""
        return self._folder

    def add(
        self,
        source: Path,
        name: str,
        *,
        cancel: CancelToken | None = None,
        on_progress: ProgressSink = ignore_progress,
    ) -> Path:
        """Copy a regular file while hashing it; the first one is the model. See `Staging.add`."""
        relative = check_relative(name)
        target = self._folder / relative
        if len(self._files) >= MAX_FILES:
            raise ModelError(f"The model refers to more than {MAX_FILES:,} files.", code="model.unsafe_path")
        with _open_source(source) as descriptor:
            try:
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                output = fs.open_new(target)
            except (FileExistsError, NotADirectoryError) as error:
                raise ModelError(
                    f"The model uses the name “{safe_text(name, 80)}” for two files, or for a file and a folder.",
                    hint="Save it again with external data under a name of its own.",
                    code="model.unsafe_path",
                ) from error
            except OSError as error:
                raise fs.store_error(error, WHAT) from error
            try:
                digest, size = _hash_copy(descriptor, output, cancel=cancel, on_progress=on_progress)
                _seal(output)
            finally:
                os.close(output)
        self._files.append(FileEntry(name, digest, size))
        return target

    def commit(self) -> ArtifactManifest:
        """Make the files durable in the store; the blobs exist before anything can refer to them."""
        if not self._files:
            raise StoreError("There is nothing to commit.", hint="Add the model file first.", code="artifact.empty")
        for file in self._files:
            # Replacing an equal blob heals one that was damaged.
            _publish(self._folder / file.path, blob_path(self._root, file.digest))
        files = tuple(self._files)
        return ArtifactManifest(manifest_digest(files), files)


class BlobArtifactStore:
    """`ArtifactStore` in `root/sha256/ab/<digest>`; models with external data are put together in `cache`."""

    def __init__(self, root: Path, cache: Path, *, read_only: bool = False) -> None:
        self._read_only = read_only
        self._root = root
        self._cache = cache

    @contextmanager
    def stage(self) -> Iterator[BlobStaging]:
        """Begin to bring in the files of one model; what was not committed is gone after the block."""
        parent = self._root / "staging"
        folder = parent / uuid.uuid4().hex
        try:
            fs.make_private_dir(parent)
            self._clean_stale(parent)
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        try:
            yield BlobStaging(folder, self._root)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _clean_stale(self, folder: Path, prefix: str = "") -> None:
        # Whoever holds the lock is cleaning already.
        with suppress(StoreError), fs.locked(self._root / "clean.lock", WHAT, timeout_s=0.0):
            fs.remove_stale_dirs(folder, STALE_AFTER_S, prefix)

    def open_path(self, manifest: ArtifactManifest) -> Path:
        """A path at which the model can be opened, with its external data beside it; see `ArtifactStore.open_path`."""
        for file in manifest.files:
            self._check_present(file)
        if len(manifest.files) == 1:
            return blob_path(self._root, manifest.files[0].digest)
        folder = self._cache / _checked(manifest.digest)
        if not _is_complete(folder, manifest):
            self._materialise(folder, manifest)
        return folder / check_relative(manifest.files[0].path)

    def _check_present(self, file: FileEntry) -> None:
        try:
            status = blob_path(self._root, file.digest).stat(follow_symlinks=False)
        except FileNotFoundError as error:
            raise _missing(file.digest) from error
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size_bytes:
            raise _damaged(file.digest)

    def _materialise(self, folder: Path, manifest: ArtifactManifest) -> None:
        """Copy the files together; copies, because onnx refuses external data that is linked."""
        temp, trash = (self._cache / f"{fs.TEMP_PREFIX}{uuid.uuid4().hex}" for _ in range(2))
        try:
            fs.make_private_dir(self._cache)
            self._clean_stale(self._cache, fs.TEMP_PREFIX)
            temp.mkdir(mode=0o700)
            for file in manifest.files:
                self._copy_blob(file, temp / check_relative(file.path))
            with suppress(FileNotFoundError):
                folder.rename(trash)  # it is there, but not complete
            try:
                temp.rename(folder)
            except OSError:
                if not _is_complete(folder, manifest):  # unless somebody else put an equal one there meanwhile
                    raise
        except OSError as error:
            raise fs.store_error(error, "model cache") from error
        finally:
            shutil.rmtree(temp, ignore_errors=True)
            shutil.rmtree(trash, ignore_errors=True)

    def _copy_blob(self, file: FileEntry, target: Path) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        source = fs.open_regular(blob_path(self._root, file.digest))
        try:
            output = fs.open_new(target)
            try:
                digest, _size = _hash_copy(source, output)
                _seal(output)
            finally:
                os.close(output)
        except ModelError as error:
            raise _damaged(file.digest) from error
        finally:
            os.close(source)
        if digest != file.digest:
            raise _damaged(file.digest)

    def put_bytes(self, data: bytes) -> str:
        """Keep a blob durably; returns its sha256."""
        digest = hashlib.sha256(data).hexdigest()
        path = blob_path(self._root, digest)
        try:
            fs.make_private_dir(path.parent)
            fs.write_atomic(path, data, mode=READ_ONLY)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        return digest

    def read_bytes(self, digest: str) -> bytes:
        """A blob's content, checked against its digest; see `ArtifactStore.read_bytes`."""
        try:
            descriptor = fs.open_regular(blob_path(self._root, digest))
        except FileNotFoundError as error:
            raise _missing(digest) from error
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        try:
            data = fs.read_all(descriptor, MAX_BLOB_BYTES)
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        finally:
            os.close(descriptor)
        if hashlib.sha256(data).hexdigest() != digest:
            raise _damaged(digest)
        return data

    def verify(self, manifest: ArtifactManifest) -> tuple[str, ...]:
        """Paths of the manifest whose blob is missing or changed; reads every byte."""
        wrong = []
        for file in manifest.files:
            try:
                digest, _size = file_digest(blob_path(self._root, file.digest))
            except ModelError:
                digest = ""
            if digest != file.digest:
                wrong.append(file.path)
        return tuple(wrong)


def blob_path(root: Path, digest: str) -> Path:
    """Where a blob lies. Raises `StoreError` for what is no sha256, so that no path can be smuggled in."""
    return root / "sha256" / _checked(digest)[:2] / digest


def _checked(digest: str) -> str:
    if len(digest) != 64 or not set(digest) <= _HEX:
        raise StoreError("This is not the digest of an artifact.", hint="", code="artifact.missing")
    return digest


def _missing(digest: str) -> StoreError:
    return StoreError(
        f"The artifact {digest[:12]} is missing from the store.",
        hint="Add the model file again; an equal file takes its place.",
        code="artifact.missing",
    )


def _damaged(digest: str) -> StoreError:
    return StoreError(
        f"The artifact {digest[:12]} is damaged: its content no longer fits its digest.",
        hint="Add the model file again; an equal file takes its place.",
        code="artifact.corrupt",
    )


@contextmanager
def _open_source(path: Path) -> Iterator[int]:
    """Descriptor of a model file or its data. Raises `ModelError` for anything but a readable regular file."""
    name = safe_text(path.name, 80)
    try:
        descriptor = fs.open_regular(path)
    except FileNotFoundError as error:
        raise ModelError(
            f"There is no file {name}.", hint="Check the path; external data must lie beside it.", code="model.missing"
        ) from error
    except PermissionError as error:
        raise ModelError(f"{name} may not be read.", hint="Check its permissions.", code="model.missing") from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{name} is not a regular file.",
            hint="Give the file itself: no folder, link, FIFO or device.",
            code="model.not_a_file",
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _hash_copy(
    source: int, output: int | None, *, cancel: CancelToken | None = None, on_progress: ProgressSink = ignore_progress
) -> tuple[str, int]:
    """sha256 and size of what was read from `source` and, where there is an `output`, written to it."""
    before = _status(source)
    hasher, done = hashlib.sha256(), 0
    started = time.monotonic()
    while chunk := _read_chunk(source):
        if cancel is not None:
            cancel.raise_if_cancelled()
        done += len(chunk)
        if done > before.st_size:
            break  # it grows while it is read: without this, a file that never ends would fill the disk
        hasher.update(chunk)
        if output is not None:
            try:
                fs.write_all(output, chunk)
            except OSError as error:
                raise fs.store_error(error, WHAT) from error
        on_progress(Progress("copying", done, before.st_size, "B", elapsed_s=time.monotonic() - started))
    after = _status(source)
    if done != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise ModelError(
            "The file changed while it was read.",
            hint="Wait until whatever writes it has finished, then try again.",
            code="model.changed",
        )
    return hasher.hexdigest(), done


def _read_chunk(source: int) -> bytes:
    try:
        return os.read(source, fs.CHUNK_BYTES)
    except OSError as error:
        raise _unreadable(error) from error


def _status(source: int) -> os.stat_result:
    try:
        return os.fstat(source)
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> ModelError:
    return ModelError("The file cannot be read to its end.", hint="Check the disk it lies on.", detail=str(error))


def _seal(descriptor: int) -> None:
    try:
        os.fchmod(descriptor, READ_ONLY)
        os.fsync(descriptor)
    except OSError as error:
        raise fs.store_error(error, WHAT) from error


def _publish(staged: Path, blob: Path) -> None:
    try:
        fs.make_private_dir(blob.parent)
        staged.replace(blob)
        fs.fsync_dir(blob.parent)
    except OSError as error:
        raise fs.store_error(error, WHAT) from error


def _is_complete(folder: Path, manifest: ArtifactManifest) -> bool:
    for file in manifest.files:
        try:
            status = (folder / check_relative(file.path)).stat(follow_symlinks=False)
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size_bytes:
            return False
    return True
