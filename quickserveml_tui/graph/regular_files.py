"""Open the files that users name: regular ones only, never blocking, following no link that was put in later."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.text import safe_text

_SYSTEM_FOLDERS = (Path("/proc"), Path("/sys"))
_FOLDER_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""A folder that may be searched need not be readable: O_PATH asks for no more than a path does."""
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_IRREGULAR = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, slots=True)
class RegularFile:
    """An open regular file, and the open folder that it lies in; both are closed by who opened them."""

    path: Path
    """The real file, all links followed."""
    descriptor: int
    folder: int

    def is_in_place(self) -> bool:
        """Whether its name still leads to this very file."""
        return self._leads_here(self.path.name, self.folder)

    def is_at(self, path: Path) -> bool:
        """Whether a path leads to this very file without a link at its end."""
        return self._leads_here(str(path), None)

    def _leads_here(self, name: str, folder: int | None) -> bool:
        try:
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self.descriptor))


def shown_name(path: Path) -> str:
    """The name of a file, fit for a message."""
    return safe_text(path.name or path, 120)


def missing(path: Path) -> ModelError:
    """The error for a path that leads to nothing."""
    if path.is_symlink():
        return ModelError(
            f"“{shown_name(path)}” is a link to a file that is not there.",
            hint="Put the file back, or name another one.",
            code="model.missing",
        )
    return ModelError(
        f"There is no file “{safe_text(path, 200)}”.", hint="Check the path, then try again.", code="model.missing"
    )


def _check_kind(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ModelError(
            f"“{shown_name(path)}” is a folder.",
            hint="Name the .onnx file in it, or scan the folder.",
            code="model.not_a_file",
        )
    what = next((name for test, name in _IRREGULAR if test(mode)), "not a regular file")
    raise ModelError(f"“{shown_name(path)}” is {what}.", hint="Name a regular .onnx file.", code="model.not_a_file")


def _resolve(path: Path) -> Path:
    try:
        found = path.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise _absent(path) from None
    except PermissionError as error:
        raise _unreadable(path, error) from None
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, on Python below 3.13
        raise ModelError(
            f"“{shown_name(path)}” cannot be followed to a file: its links form a loop or the name is too long.",
            hint="Name the .onnx file itself.",
            code="model.missing",
        ) from None
    if any(found.is_relative_to(folder) for folder in _SYSTEM_FOLDERS):
        raise ModelError(
            f"“{shown_name(path)}” is made up by the system, not a file on a disk.",
            hint="Name a regular .onnx file.",
            code="model.not_a_file",
        )
    return found


def _absent(path: Path) -> ModelError:
    try:
        return missing(path)
    except (OSError, ValueError):  # a NUL in the path
        return ModelError(
            f"There is no file “{safe_text(path, 200)}”.", hint="Check the path, then try again.", code="model.missing"
        )


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"“{shown_name(path)}” cannot be read: {safe_text(error.strerror or error, 120)}.",
        hint="Check the permissions of the file and its folder.",
        code="model.unreadable",
    )


def _open_folder(folder: Path) -> int:
    """Descriptor of a folder whose path has no links, reached part by part without following any."""
    at = os.open(folder.anchor, _FOLDER_FLAGS)
    try:
        for part in folder.parts[1:]:
            below = os.open(part, _FOLDER_FLAGS, dir_fd=at)
            os.close(at)
            at = below
    except BaseException:
        os.close(at)
        raise
    return at


@contextmanager
def open_file(path: Path) -> Iterator[RegularFile]:
    """A regular file, open for reading; never blocks, not even on a named pipe.

    Links in `path` are followed once; then what was found is opened from the root down without following further ones,
    so that whoever swaps a part of the path meanwhile leads nowhere. Raises `ModelError` (`model.missing`,
    `model.not_a_file`, `model.unreadable`).
    """
    found = _resolve(path)
    folder = descriptor = -1
    try:
        try:
            folder = _open_folder(found.parent)
            # Before the open: opening some devices already acts on them.
            _check_kind(path, os.stat(found.name, dir_fd=folder, follow_symlinks=False).st_mode)
            descriptor = os.open(found.name, _FILE_FLAGS, dir_fd=folder)
        except FileNotFoundError:
            raise _absent(path) from None
        except OSError as error:
            raise _unreadable(path, error) from None
        _check_kind(path, os.fstat(descriptor).st_mode)
        yield RegularFile(found, descriptor, folder)
    finally:
        for opened in (descriptor, folder):
            if opened >= 0:
                os.close(opened)


@contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """A read-only descriptor of a regular file. Raises like `open_file`."""
    with open_file(path) as file:
        yield file.descriptor


@contextmanager
def map_file(path: Path) -> Iterator[memoryview]:
    """The bytes of a non-empty regular file, mapped read-only. Raises like `open_file`, and `model.empty`.

    Only for runners: whoever cuts the file while it is mapped ends the process that reads it (SIGBUS).
    """
    with open_regular(path) as descriptor:
        if os.fstat(descriptor).st_size == 0:
            raise empty(path)
        try:
            mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"“{shown_name(path)}” cannot be read: {safe_text(error, 120)}.", hint="Copy the file to a local disk."
            ) from None
        with mapped, memoryview(mapped) as view:
            yield view


def empty(path: Path) -> ModelError:
    """The error for a file without a byte."""
    return ModelError(f"“{shown_name(path)}” is empty.", hint="Copy or download the model again.", code="model.empty")
