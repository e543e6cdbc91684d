"""Single files of the artifact store: safe names, hashing while copying, digests, and what can be wrong with them."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from quickserveml_tui.core.errors import ModelError, StoreError
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink, ignore_progress
from quickserveml_tui.core.models import FileEntry
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage import fs

WHAT = "artifact store"
READ_ONLY = 0o444
_HEX = frozenset("0123456789abcdef")


def check_relative(name: str) -> PurePosixPath:
    """`name` as a path that stays inside its folder. Raises `ModelError` (`model.unsafe_path`)."""
    path = PurePosixPath(name)
    parts = name.split("/")
    # A line break would make two lists of files look alike to `manifest_digest`.
    is_safe = name and not {"", ".", ".."} & set(parts) and not {"\\", "\0", "\n"} & set(name) and ":" not in parts[0]
    try:
        too_long = len(name) > 1024 or any(len(part.encode("utf-8")) > 255 for part in parts)
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
    with open_source(path) as descriptor:
        return hash_copy(descriptor, None, cancel=cancel)


def blob_path(root: Path, digest: str) -> Path:
    """Where a blob lies. Raises `StoreError` for what is no sha256, so that no path can be smuggled in."""
    return root / "sha256" / checked(digest)[:2] / digest


def is_digest(text: str) -> bool:
    """Whether a name is a sha256 as the store writes it."""
    return len(text) == 64 and set(text) <= _HEX


def checked(digest: str) -> str:
    """`digest`, if it is one. Raises `StoreError` (`artifact.missing`)."""
    if not is_digest(digest):
        raise StoreError("This is not the digest of an artifact.", hint="", code="artifact.missing")
    return digest


def missing(digest: str) -> StoreError:
    """The error for a blob that is not there."""
    return StoreError(
        f"The artifact {digest[:12]} is missing from the store.",
        hint="Add the model file again; an equal file takes its place.",
        code="artifact.missing",
    )


def damaged(digest: str) -> StoreError:
    """The error for a blob whose content is not what its digest says."""
    return StoreError(
        f"The artifact {digest[:12]} is damaged: its content no longer fits its digest.",
        hint="Add the model file again; an equal file takes its place.",
        code="artifact.corrupt",
    )


@contextmanager
def from_start(descriptor: int) -> Iterator[int]:
    """An open file, at its beginning; it stays open. Raises `ModelError`."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        raise _unreadable(error) from error
    yield descriptor


@contextmanager
def open_source(path: Path, beneath: Path | None = None, folder: int | None = None) -> Iterator[int]:
    """Descriptor of a model file or its data. Raises `ModelError` for anything but a readable regular file.

    With `beneath`, also for one that is reached through a link below that folder, or that has another name elsewhere;
    `folder` is that folder, where it is open already.
    """
    name = safe_text(path.name, 80)
    try:
        descriptor = fs.open_regular(path) if beneath is None else _open_beneath(path, beneath, folder)
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


def _open_beneath(path: Path, folder: Path, opened: int | None) -> int:
    descriptor = fs.open_beneath(folder if opened is None else opened, path.relative_to(folder))
    try:
        if os.fstat(descriptor).st_nlink > 1:
            raise OSError(errno.EMLINK, "has another name")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def hash_copy(
    source: int,
    output: int | None,
    *,
    phase: str = "copying",
    cancel: CancelToken | None = None,
    on_progress: ProgressSink = ignore_progress,
) -> tuple[str, int]:
    """sha256 and size of what was read from `source` and, where there is an `output`, written to it."""
    before = status_of(source)
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
        on_progress(Progress(phase, done, before.st_size, "B", elapsed_s=time.monotonic() - started))
    after = status_of(source)
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


def status_of(source: int) -> os.stat_result:
    """`fstat` of an open source. Raises `ModelError`."""
    try:
        return os.fstat(source)
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> ModelError:
    return ModelError("The file cannot be read to its end.", hint="Check the disk it lies on.", detail=str(error))


def seal(descriptor: int) -> None:
    """Make a written file read-only and durable. Raises `StoreError`."""
    try:
        os.fchmod(descriptor, READ_ONLY)
        os.fsync(descriptor)
    except OSError as error:
        raise fs.store_error(error, WHAT) from error


def publish(written: Path, blob: Path) -> None:
    """Put a sealed file in its place under its digest, durably; call it inside `publishing`. Raises `StoreError`.

    Replacing an equal blob heals one that was damaged.
    """
    try:
        fs.make_private_dir(blob.parent)
        os.replace(written, blob)  # noqa: PTH105 - fault tests break this call
        fs.fsync_dir(blob.parent)
    except OSError as error:
        raise fs.store_error(error, WHAT) from error
