"""Decide from a file's bytes whether it can be an ONNX model, without parsing it and without importing onnx."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.protobuf import BYTES, VARINT, WireError, read_tag, skip_value
from quickserveml_tui.graph.signatures import HEAD_BYTES, recognise

MAX_TOP_LEVEL_FIELDS = 1_000_000

_IR_VERSION, _GRAPH = 1, 7
_WIRE_TYPES = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES,
               20: BYTES, 25: BYTES, 26: BYTES}  # fmt: skip
"""Wire type by field number of ModelProto (onnx.proto)."""

_IRREGULAR = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _missing(path: Path) -> ModelError:
    return ModelError(
        f"There is no file “{safe_text(path, 200)}”.", hint="Check the path, then try again.", code="model.missing"
    )


def _name(path: Path) -> str:
    return safe_text(path.name or path, 120)


def _check_kind(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ModelError(
            f"“{_name(path)}” is a folder.",
            hint="Name the .onnx file in it, or scan the folder.",
            code="model.not_a_file",
        )
    what = next((name for test, name in _IRREGULAR if test(mode)), "not a regular file")
    raise ModelError(f"“{_name(path)}” is {what}.", hint="Name a regular .onnx file.", code="model.not_a_file")


def _resolve(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise _missing(path) from None
    except PermissionError as error:
        raise _unreadable(path, error) from None
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, on Python below 3.13
        raise ModelError(
            f"“{_name(path)}” cannot be followed to a file: its links form a loop or the name is too long.",
            hint="Name the .onnx file itself.",
            code="model.missing",
        ) from None


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"“{_name(path)}” cannot be read: {safe_text(error.strerror or error, 120)}.",
        hint="Check the permissions of the file and its folder.",
        code="model.unreadable",
    )


@contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """A read-only descriptor of a regular file; never blocks, not even on a named pipe.

    Links in `path` are followed once, then the file that was found is opened without following further ones. Raises
    `ModelError` (`model.missing`, `model.not_a_file`, `model.unreadable`).
    """
    found = _resolve(path)
    try:
        _check_kind(path, found.lstat().st_mode)  # before the open: opening some devices already acts on them
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(found, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        _check_kind(path, os.fstat(descriptor).st_mode)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def map_file(path: Path) -> Iterator[memoryview]:
    """The bytes of a non-empty regular file, mapped read-only. Raises like `open_regular`, and `model.empty`."""
    with open_regular(path) as descriptor:
        if os.fstat(descriptor).st_size == 0:
            raise ModelError(f"“{_name(path)}” is empty.", hint="Copy or download the model again.", code="model.empty")
        try:
            mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"“{_name(path)}” cannot be read: {safe_text(error, 120)}.", hint="Copy the file to a local disk."
            ) from None
        with mapped, memoryview(mapped) as view:
            yield view


def _walk(data: memoryview) -> tuple[set[int], str]:
    """Field numbers at the top level, and why the walk ended early (`cut`, or another word), if it did."""
    seen: set[int] = set()
    at = 0
    for _ in range(MAX_TOP_LEVEL_FIELDS):
        if at >= len(data):
            return seen, ""
        try:
            number, wire, at = read_tag(data, at)
            if _WIRE_TYPES.get(number, wire) != wire:
                return seen, "foreign"
            seen.add(number)
            at = skip_value(data, at, wire)
        except WireError as error:
            return seen, str(error)
    return seen, "too many fields"


def check_bytes(data: memoryview, name: str) -> None:
    """Raise `ModelError` unless `data` has the outline of a serialised ModelProto. `name` is used in messages."""
    kind = recognise(bytes(data[:HEAD_BYTES]))
    if kind is not None:
        raise ModelError(f"“{name}” is {kind.what}, not an ONNX model.", hint=kind.hint, code=kind.code)
    seen, problem = _walk(data)
    if problem == "cut" and _IR_VERSION in seen:
        raise ModelError(
            f"“{name}” is cut off: it ends in the middle of the model.",
            hint="Copy or download the file again and compare its size.",
            code="model.truncated",
        )
    if problem:
        raise ModelError(f"“{name}” is not an ONNX model.", hint="Choose the binary .onnx file.", code="model.not_onnx")
    if _GRAPH not in seen or _IR_VERSION not in seen:
        absent = "graph" if _GRAPH not in seen else "IR version"
        raise ModelError(
            f"“{name}” is a protobuf file, but not an ONNX model: it holds no {absent}.",
            hint="Save it with `onnx.save(model, path)`, where `model` is a ModelProto.",
            code="model.not_onnx",
        )


def check_file(path: Path) -> None:
    """Raise `ModelError` unless `path` is a regular file with the outline of an ONNX model.

    Reads the first kilobytes and the headers of the top-level fields, whatever the size of the file. Codes:
    `model.missing`, `model.not_a_file`, `model.unreadable`, `model.empty`, `model.lfs_pointer`, `model.not_onnx`,
    `model.truncated`.
    """
    with map_file(path) as data:
        check_bytes(data, _name(path))
