"""Decide from a file's bytes whether it can be an ONNX model, without parsing it and without importing onnx."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import cast, overload

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph.proto_shapes import protobuf_kind
from quickserveml_tui.graph.protobuf import BYTES, VARINT, WireError, read_tag, read_varint, skip_value
from quickserveml_tui.graph.regular_files import (
    RegularFile,
    empty,
    map_file,
    open_file,
    open_regular,
    shown_name,
)
from quickserveml_tui.graph.signatures import HEAD_BYTES, TAIL_BYTES, recognise

__all__ = ["check_bytes", "check_file", "check_open", "map_file", "open_file", "open_regular"]

MAX_TOP_LEVEL_FIELDS = 1_000_000
FIRST_IR_WITH_OPSETS = 3
RANDOM_BITS = 7.8
"""Entropy of a byte from which 4 KiB look compressed, encrypted or random; float32 weights have up to 7.5."""

_IR_VERSION, _GRAPH, _OPSETS = 1, 7, 8
_WIRE_TYPES = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES,
               20: BYTES, 25: BYTES, 26: BYTES}  # fmt: skip
"""Wire type by field number of ModelProto (onnx.proto)."""
_UNFINISHED = {".part", ".partial", ".crdownload", ".download", ".incomplete", ".aria2", ".tmp", ".filepart"}
_WEIGHTS = {".bin", ".data", ".weights", ".onnx_data", ".raw", ".dat", ".wts"}
_WINDOW_BYTES = 4096


class _Window:
    """The bytes of an open file as if they were in memory, read piece by piece.

    Not mapped: whoever cuts a mapped file ends the process that looks at it.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._start = 0
        self._piece = b""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> bytes: ...

    def __getitem__(self, at: int | slice) -> int | bytes:
        if isinstance(at, slice):
            start, stop, _ = at.indices(self._size)
            return os.pread(self._descriptor, max(stop - start, 0), start)
        if not self._start <= at < self._start + len(self._piece):
            self._piece, self._start = os.pread(self._descriptor, _WINDOW_BYTES, at), at
            if not self._piece:  # cut meanwhile
                raise WireError("cut")
        return self._piece[at - self._start]


@dataclass(slots=True)
class _Walk:
    """What a walk over the top-level fields met."""

    seen: set[int] = field(default_factory=set)
    ir_version: int = 0
    problem: str = ""
    """Why it ended early: `cut`, or another word."""
    at: int = 0


def _walk(data: memoryview) -> _Walk:
    walk = _Walk()
    try:
        for _ in range(MAX_TOP_LEVEL_FIELDS):
            if walk.at >= len(data):
                return walk
            number, wire, at = read_tag(data, walk.at)
            if _WIRE_TYPES.get(number, wire) != wire:
                walk.problem = "foreign"
                return walk
            walk.seen.add(number)
            if number == _IR_VERSION:
                walk.ir_version = read_varint(data, at)[0]
            walk.at = skip_value(data, at, wire)
        walk.problem = "too many fields"
    except WireError as error:
        walk.problem = str(error)
    return walk


def _truncated(name: str, what: str) -> ModelError:
    if PurePath(name).suffix.lower() in _UNFINISHED:
        what = f"an unfinished download: {what}"
    return ModelError(
        f"“{name}” is {what}.",
        hint="Copy or download the file again and compare its size.",
        code="model.truncated",
    )


def _is_zero(data: bytes) -> bool:
    return bool(data) and not data.strip(b"\0")


def _looks_random(head: bytes) -> bool:
    if len(head) < 1024:
        return False
    counts = Counter(head).values()
    bits = -sum(count / len(head) * math.log2(count / len(head)) for count in counts)
    return bits > RANDOM_BITS


def _not_onnx(name: str, head: bytes) -> ModelError:
    hint = "Choose the binary .onnx file."
    if PurePath(name).suffix.lower() in _WEIGHTS:
        hint = "If it holds the weights of a model, add the .onnx file that belongs to it; the weights come along."
    why = ""
    if _looks_random(head):
        why = ": its bytes look compressed, encrypted or random"
        hint = "Unpack or decrypt it, or download it again."
    return ModelError(f"“{name}” is not an ONNX model{why}.", hint=hint, code="model.not_onnx")


def _check(data: memoryview, head: bytes, tail: bytes, name: str) -> None:
    if _is_zero(head) and _is_zero(tail):
        raise _truncated(name, "filled with zeros: its download or copy did not finish")
    kind = recognise(head, tail)
    if kind is not None:
        raise ModelError(f"“{name}” is {kind.what}, not an ONNX model.", hint=kind.hint, code=kind.code)
    walk = _walk(data)
    if walk.problem and walk.seen and _is_zero(bytes(data[walk.at : walk.at + 64])) and _is_zero(tail[-64:]):
        raise _truncated(name, "incomplete: it ends in zeros, so its download or copy did not finish")
    if walk.problem == "cut" and _IR_VERSION in walk.seen:
        raise _truncated(name, "cut off: it ends in the middle of the model")
    has_outline = {_IR_VERSION, _GRAPH} <= walk.seen and not walk.problem
    if not has_outline:
        kind = protobuf_kind(data)
        if kind is not None:
            raise ModelError(f"“{name}” is {kind.what}, not an ONNX model.", hint=kind.hint, code=kind.code)
        if walk.problem:
            raise _not_onnx(name, head)
        absent = "graph" if _GRAPH not in walk.seen else "IR version"
        raise ModelError(
            f"“{name}” is a protobuf file, but not an ONNX model: it holds no {absent}.",
            hint="Save it with `onnx.save(model, path)`, where `model` is a ModelProto.",
            code="model.not_onnx",
        )
    if walk.ir_version >= FIRST_IR_WITH_OPSETS and _OPSETS not in walk.seen:
        raise _truncated(name, "incomplete: it does not say which opset it takes")


def check_bytes(data: memoryview, name: str) -> None:
    """Raise `ModelError` unless `data` has the outline of a serialised ModelProto. `name` is used in messages."""
    _check(data, bytes(data[:HEAD_BYTES]), bytes(data[-TAIL_BYTES:]), name)


def check_open(file: RegularFile, path: Path) -> None:
    """Raise `ModelError` unless an open file has the outline of an ONNX model; `path` is how the user named it.

    Reads a few kilobytes at both ends and the headers of the top-level fields, whatever the size of the file. Codes:
    `model.unreadable`, `model.empty`, `model.lfs_pointer`, `model.not_onnx`, `model.truncated`.
    """
    try:
        size = os.fstat(file.descriptor).st_size
        if size == 0:
            raise empty(path)
        head = os.pread(file.descriptor, HEAD_BYTES, 0)
        tail = os.pread(file.descriptor, TAIL_BYTES, max(size - TAIL_BYTES, 0))
        _check(cast(memoryview, _Window(file.descriptor, size)), head, tail, shown_name(path))
    except OSError as error:
        raise ModelError(
            f"“{shown_name(path)}” cannot be read to its end.",
            hint="Check the disk that it lies on.",
            code="model.unreadable",
            detail=str(error),
        ) from error


def check_file(path: Path) -> None:
    """Raise `ModelError` unless `path` is a regular file with the outline of an ONNX model.

    Raises as `open_file` and `check_open`.
    """
    with open_file(path) as file:
        check_open(file, path)
