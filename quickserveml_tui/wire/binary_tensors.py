"""Tensors as raw bytes: little-endian, row-major; strings with a four-byte length before each."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from quickserveml_tui.wire.datatypes import TensorType, format_dims
from quickserveml_tui.wire.json_tensors import Array, bad_input

_LENGTH = struct.Struct("<I")


def array_from_bytes(data: memoryview, shape: tuple[int, ...], kind: TensorType) -> Array:
    """The tensor in `data`, without a copy where alignment allows. Raises `DataError` when the sizes differ."""
    count = math.prod(shape)
    if kind.datatype == "BYTES":
        array = _strings_from_bytes(data, count, kind)
    else:
        wanted = count * kind.itemsize
        if len(data) != wanted:
            raise bad_input(
                kind.name,
                f"has {len(data)} bytes of binary data, shape {format_dims(shape)} of {kind.datatype} needs {wanted}",
                "data.shape",
            )
        array = np.frombuffer(data, dtype=kind.dtype, count=count) if count else np.empty(0, kind.dtype)
        if not array.flags.aligned:
            array = array.copy()
        if kind.datatype == "BOOL" and count and array.view(np.uint8).max() > 1:
            raise bad_input(kind.name, "holds a byte other than 0 and 1", "data.range")
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise bad_input(kind.name, "has a shape that is too large", "data.shape") from error


def _strings_from_bytes(data: memoryview, count: int, kind: TensorType) -> Array:
    if count > len(data) // 4:
        raise bad_input(kind.name, f"has too little binary data for {count} strings", "data.shape")
    texts: list[str] = []
    offset, size = 0, len(data)
    while offset < size:
        if len(texts) == count or size - offset < 4:
            raise bad_input(kind.name, f"has binary data beyond its {count} strings", "data.shape")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += 4
        if length > size - offset:
            raise bad_input(kind.name, "has a string that ends beyond its binary data", "data.shape")
        texts.append(_text(bytes(data[offset : offset + length]), kind))
        offset += length
    if len(texts) != count:
        raise bad_input(kind.name, f"has {len(texts)} strings, its shape needs {count}", "data.shape")
    array = np.empty(count, dtype=object)
    array[:] = texts
    return array


def _text(raw: bytes, kind: TensorType) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise bad_input(kind.name, "holds a string that is not UTF-8", "data.encoding") from error


def single_string(data: memoryview, kind: TensorType) -> Array:
    """The one string that a raw binary request holds, without a length before it."""
    array = np.empty(1, dtype=object)
    array[0] = _text(bytes(data), kind)
    return array


def array_to_bytes(array: Array, datatype: str) -> bytes | memoryview:
    """The tensor as raw bytes."""
    if datatype == "BYTES":
        return b"".join(_prefixed(item) for item in array.flat)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return array.tobytes()


def _prefixed(item: Any) -> bytes:
    raw = item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogateescape")
    return _LENGTH.pack(len(raw)) + raw
