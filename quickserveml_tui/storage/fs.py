"""The file-system calls of the stores: private folders, atomic replacement, safe opening, one lock."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# ruff: noqa: PTH102, PTH105, PTH106, PTH108

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from quickserveml_tui.core.errors import StoreError

TEMP_PREFIX = ".tmp-"
CHUNK_BYTES = 1 << 20
LOCK_POLL_S = 0.005

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space and try again."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space and try again."),
    errno.EFBIG: ("the file would be larger than the system allows", "Raise the file size limit and try again."),
    errno.EROFS: ("the file system is read-only", "Choose a home on a writable file system with --home or QSML_HOME."),
    errno.EACCES: ("permission was denied", "Check who owns the home folder, or choose another with --home."),
    errno.EPERM: ("permission was denied", "Check who owns the home folder, or choose another with --home."),
    errno.EIO: ("the disk reported an error", "Check the disk, then try again; nothing that was confirmed is lost."),
    errno.ENOENT: ("the folder is gone", "Check that the home folder still exists, then try again."),
    errno.ENOTDIR: ("a part of its path is not a folder", "Choose another home with --home or QSML_HOME."),
    errno.EMFILE: ("too many files are open", "Close some programs or raise the limit of open files."),
    errno.ENFILE: ("too many files are open", "Close some programs or raise the limit of open files."),
    errno.ELOOP: ("its path is a symbolic link", "Put a real file or folder in its place."),
    errno.ENAMETOOLONG: ("its path is too long", "Choose a home with a shorter path."),
}


def store_error(error: OSError, what: str, action: str = "written") -> StoreError:
    """The `StoreError` that says why `what` could not be `action`; the path stands in `detail` only."""
    reason, hint = _REASONS.get(error.errno or 0, (os.strerror(error.errno or errno.EIO), "Try again."))
    code = "store.full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "store.unavailable"
    return StoreError(f"The {what} could not be {action}: {reason}.", hint=hint, code=code, detail=str(error))


def fsync_dir(folder: Path) -> None:
    """Make the entries of a folder durable. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_dir(folder: Path) -> None:
    """Create a folder with mode 0700, and its missing parents alike, durably. Raises `OSError`."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_private_dir(folder.parent)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    fsync_dir(folder.parent)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little each call takes. Raises `OSError`."""
    view = memoryview(data)
    while view:
        written = os.write(descriptor, view)
        if written <= 0:
            raise OSError(errno.EIO, "write accepted no bytes")
        view = view[written:]


def open_new(path: Path, mode: int = 0o600) -> int:
    """Descriptor of a file that did not exist before. Raises `OSError`."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def open_regular(path: Path) -> int:
    """Read descriptor of a regular file; follows no link at its end and never blocks on a FIFO or device.

    Raises `OSError`: with `ELOOP` for a link, with `EISDIR` or `EINVAL` for anything else that is not a regular file.
    """
    return _checked_regular(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))


def _checked_regular(descriptor: int) -> int:
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, "is a folder")
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "is not a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_beneath(folder: Path | int, relative: PurePath) -> int:
    """Read descriptor of a regular file below `folder`, reached without following a link anywhere on the way down.

    The folder is a path, or a descriptor that stays open.
    Each part is opened in the folder before it, so that swapping one for a link meanwhile leads nowhere. Raises
    `OSError` as `open_regular` does, with `ELOOP` or `ENOTDIR` for a link.
    """
    # A folder that may be searched need not be readable: O_PATH asks for no more than a path does.
    flags = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    at = os.dup(folder) if isinstance(folder, int) else os.open(folder, flags)
    try:
        for part in relative.parts[:-1]:
            below = os.open(part, flags, dir_fd=at)
            os.close(at)
            at = below
        return _checked_regular(
            os.open(relative.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        )
    finally:
        os.close(at)


def read_all(descriptor: int, limit: int) -> bytes:
    """Everything from a descriptor, which must be at most `limit` bytes. Raises `OSError` (`EFBIG`)."""
    chunks: list[bytes] = []
    total = 0
    while chunk := os.read(descriptor, CHUNK_BYTES):
        total += len(chunk)
        if total > limit:
            raise OSError(errno.EFBIG, f"is larger than {limit:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600, newer_than_ns: int = 0) -> None:
    """Replace the file at `path` durably: afterwards it holds the old or the new content, never a mix.

    After a failed fsync the kernel may have dropped the data, and a second fsync would lie: the new content is
    discarded and the error reported. `newer_than_ns` forces a later modification time, because two writes within one
    tick of the file system's clock (about 4 ms) could otherwise look alike to a reader. Raises `OSError`.
    """
    temp = path.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex}")
    descriptor = open_new(temp, mode)
    try:
        try:
            write_all(descriptor, data)
            if os.fstat(descriptor).st_mtime_ns <= newer_than_ns:
                os.utime(descriptor, ns=(newer_than_ns + 1000, newer_than_ns + 1000))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temp, path)
    except BaseException:
        remove_quietly(temp)
        raise
    fsync_dir(path.parent)


def remove_quietly(path: Path) -> None:
    """Remove a temporary file; one that cannot be removed now is cleaned up later as stale."""
    with suppress(OSError):
        os.unlink(path)


def remove_stale_temps(folder: Path, *, older_than_s: float = 0.0, prefix: str = TEMP_PREFIX) -> int:
    """Remove temporary files that a killed writer left; call it under the lock. Returns how many went."""
    removed = 0
    oldest = time.time() - older_than_s
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.is_file(follow_symlinks=False):
                if older_than_s and entry.stat(follow_symlinks=False).st_mtime > oldest:
                    continue
                remove_quietly(Path(entry.path))
                removed += 1
    return removed


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, following no link; one that is gone is well. Raises `OSError`."""
    try:
        with os.scandir(folder) as entries:
            found = [(Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries]
    except FileNotFoundError:
        return
    for path, is_folder in found:
        if is_folder:
            remove_tree(path)
        else:
            with suppress(FileNotFoundError):
                os.unlink(path)
    with suppress(FileNotFoundError):
        os.rmdir(folder)


def newest_mtime(folder: Path) -> float:
    """When a folder, or a file or folder right in it, was last written to (Unix time). Raises `OSError`."""
    newest = folder.stat(follow_symlinks=False).st_mtime
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                newest = max(newest, entry.stat(follow_symlinks=False).st_mtime)
    return newest


def tree_bytes(folder: Path) -> int:
    """Size of all regular files below a folder; what vanishes meanwhile is not counted. Raises `OSError`."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += tree_bytes(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def open_lock(path: Path, *, create: bool = True) -> int:
    """Descriptor of a lock file, made when it is missing unless `create` is False. Raises `OSError`."""
    flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int) -> bool:
    """Lock an open file for as long as it is open, unless another descriptor holds it. Raises `OSError`."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Free a lock and close its file: at once, also where a forked child still has the file open."""
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, what: str, *, timeout_s: float = 10.0) -> Iterator[None]:
    """Hold the lock file at `path` against other threads and processes; the kernel frees it when a holder dies.

    Raises `StoreError` (`store.locked`) when somebody else holds it for longer than `timeout_s`.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=timeout_s, poll_interval=LOCK_POLL_S)
    except Timeout as error:
        raise StoreError(
            f"The {what} is in use by another process for more than {timeout_s:g} s.",
            hint="Wait until it has finished, then try again.",
            code="store.locked",
        ) from error
    except OSError as error:
        raise store_error(error, what) from error
    try:
        yield
    finally:
        lock.release()
