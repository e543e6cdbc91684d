"""Files that leave the home: written beside their place and put there whole, never through a link."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# ruff: noqa: PTH102, PTH105, PTH116

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quickserveml_tui.core.errors import ConflictError, DataError, StoreError, UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.storage import fs

MODE = 0o644


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a place for a file that is taken, a link, or anything but a file.

    Raises `ConflictError` (`export.exists`) for a file that may not be overwritten, `UsageError` (`usage.path`) else.
    """
    name = safe_text(path.name, 80)
    try:
        if not stat.S_ISDIR(os.stat(path.parent).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        if path.parent.exists():
            return
        raise UsageError(
            f"There is no folder for “{name}”.", hint="Create it first, or choose another.", code="usage.path"
        ) from None
    except (OSError, ValueError) as error:
        raise _unwritable(error, name) from error
    if not stat.S_ISREG(mode):
        what = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise UsageError(
            f"“{name}” is {what}, and nothing is written through it.", hint="Choose another name.", code="usage.path"
        )
    if not overwrite:
        raise ConflictError(
            f"There is already a file “{name}”.", hint="Choose another name, or add --overwrite.", code="export.exists"
        )


def check_space(folder: Path, size: int, what: str) -> None:
    """Raise `StoreError` (`store.full`) unless the folder's file system has room for `size` bytes."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # a file system that does not tell: the write itself will
    if free < size:
        raise StoreError(
            f"There is not enough space for {what}: it takes {format_bytes(size)}, {format_bytes(free)} are free.",
            hint="Free some space, or choose another folder.",
            code="store.full",
        )


@contextmanager
def output_file(path: Path, *, overwrite: bool) -> Iterator[int]:
    """Descriptor of a new file that takes its place at `path`, durably, when the block ends without an error.

    Raises what `check_output` raises, and `DataError` (`output.unwritable`) when it cannot be written.
    """
    check_output(path, overwrite=overwrite)
    name = safe_text(path.name, 80)
    temp = path.with_name(f"{fs.TEMP_PREFIX}{uuid.uuid4().hex}")
    try:
        descriptor = fs.open_new(temp, MODE)
    except OSError as error:
        raise _unwritable(error, name) from error
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        check_output(path, overwrite=overwrite)
        os.replace(temp, path)
    except OSError as error:
        fs.remove_quietly(temp)
        raise _unwritable(error, name) from error
    except BaseException:
        fs.remove_quietly(temp)
        raise
    try:
        fs.fsync_dir(path.parent)
    except OSError as error:
        raise _unwritable(error, name) from error


def make_plain_folder(root: Path, relative: Path) -> Path:
    """`root / relative`, made where it is missing; raises `UsageError` where a link or file is in the way."""
    folder = root
    for part in relative.parts:
        folder = folder / part
        with suppress(FileExistsError):
            os.mkdir(folder, 0o755)
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise UsageError(
                f"“{safe_text(part, 80)}” is no folder, but the model's data must go into one of that name.",
                hint="Choose another folder.",
                code="usage.path",
            )
    return folder


def read_checked(
    path: Path,
    digest: str,
    size: int,
    *,
    changed: Callable[[], StoreError],
    cancel: CancelToken | None = None,
) -> Iterator[bytes]:
    """Content of a regular file while it is compared with its digest; `changed` makes the error when it differs."""
    try:
        descriptor = fs.open_regular(path)
    except OSError as error:
        raise changed() from error
    hasher, done = hashlib.sha256(), 0
    try:
        while done <= size:
            try:
                chunk = os.read(descriptor, fs.CHUNK_BYTES)
            except OSError as error:
                raise changed() from error
            if not chunk:
                break
            if cancel is not None:
                cancel.raise_if_cancelled()
            done += len(chunk)
            hasher.update(chunk)
            if done <= size:
                yield chunk
    finally:
        os.close(descriptor)
    if done != size or hasher.hexdigest() != digest:
        raise changed()


def _unwritable(error: OSError | ValueError, name: str) -> DataError:
    reason = error.strerror if isinstance(error, OSError) else "its path is not valid"
    return DataError(
        f"“{name}” could not be written: {safe_text(reason or 'unknown reason', 80)}.",
        hint="Check the free space and the permissions of its folder.",
        code="output.unwritable",
        detail=str(error),
    )
