"""JSON documents of inference requests: orjson for small ones, simdjson for large ones with many numbers."""

from __future__ import annotations

import math
import threading
from typing import Any, NamedTuple

import numpy as np
import orjson
import simdjson

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.wire.datatypes import MAX_RANK, TensorType
from quickserveml_tui.wire.json_tensors import Array, array_from_json, bad_input

SIMD_BYTES = 4 * 1024
"""From this size on simdjson is faster: FP32 requests are read at 0.7x the speed at 1 KiB, 1.1 to 1.4x at 4,
1.5 to 2.2x at 8, and 2 to 3x from 32 KiB on."""

_FEW_BRACKETS = 64
_SIMD_KINDS = "f"  # simdjson converts whole arrays to float64; integers beyond 2^53 would lose digits that way
_local = threading.local()


def bad_json(error: BaseException | None = None) -> DataError:
    """The error for a body that is not JSON; NaN, infinities, 1e999 and nesting over 1,024 levels count as that."""
    reason = str(error).split(":", maxsplit=1)[0].strip().lower() if isinstance(error, orjson.JSONDecodeError) else ""
    return DataError(
        f"The request is not valid JSON{': ' + reason if reason else ''}.",
        hint="Send UTF-8 JSON without NaN or infinities; raw values can go as binary data.",
        code="request.json",
    )


def parse_document(body: bytes | memoryview) -> Any:
    """The JSON value in `body`. Raises `DataError` (`request.json`).

    A large document comes with the `data` arrays of its inputs unparsed: see `values`.
    """
    if len(body) >= SIMD_BYTES:
        document = _parse_large(bytes(body) if isinstance(body, memoryview) else body)
        if document is not None:
            return document
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_json(error) from error


def _parse_lazily(body: bytes) -> Any:
    parser = getattr(_local, "parser", None)
    if parser is not None:
        try:
            return parser.parse(body)
        except RuntimeError:  # an array of an earlier document is still referred to
            parser = None
    parser = _local.parser = simdjson.Parser()
    return parser.parse(body)


def float_list(text: bytes) -> Array | None:
    """The float64 values of a JSON list of numbers, shape (length,); None where it is anything else.

    What is nested deeper comes out flat.
    """
    try:
        found = _parse_lazily(text)
        if not isinstance(found, simdjson.Array):
            return None
        return np.frombuffer(found.as_buffer(of_type="d"), dtype=np.float64)
    except (RuntimeError, ValueError, TypeError):  # no JSON, no numbers, or none at all
        return None


class Numbers(NamedTuple):
    """A `data` array that is not converted yet, with the shape that its nesting has."""

    array: simdjson.Array
    nesting: tuple[int, ...]

    def brackets(self) -> int:
        """Lists that an array of this shape takes, if nothing in it is nested deeper."""
        return 1 + sum(math.prod(self.nesting[:depth]) for depth in range(1, len(self.nesting)))


def _parse_large(body: bytes) -> Any:
    """The document with lazy arrays, or None where orjson shall decide: an error, no object, repeated keys, ragged."""
    try:
        root = _parse_lazily(body)
        if not isinstance(root, simdjson.Object):
            return None
        document = _members(root, "inputs")
        given = document.get("inputs")
        inputs = [_input(item) for item in given] if isinstance(given, simdjson.Array) else _plain(given)
    except (RuntimeError, ValueError, KeyError):  # too deep, or no JSON, or as below
        return None
    if "inputs" in document:
        document["inputs"] = inputs
    return document if _is_regular(document, body) else None


def _is_regular(document: dict[str, Any], body: bytes) -> bool:
    """Whether nothing in a lazy array is nested deeper than its first elements: simdjson would flatten it."""
    lazy: list[Numbers] = []

    def count_later(found: Any) -> int:
        lazy.append(found)
        return 0

    try:
        rest = orjson.dumps(document, default=count_later).count(b"[")
    except TypeError:  # too deep to be written
        return False
    return not lazy or _has_brackets(body, rest + sum(numbers.brackets() for numbers in lazy))


def _has_brackets(body: bytes, expected: int) -> bool:
    """Whether a body has as many opening brackets; counting looks at each byte, finding goes in strides."""
    if expected > _FEW_BRACKETS:
        return body.count(b"[") == expected
    position = -1
    for _ in range(expected):
        position = body.find(b"[", position + 1)
        if position < 0:
            return False
    return body.find(b"[", position + 1) < 0


def _members(item: simdjson.Object, lazy: str) -> dict[str, Any]:
    """Values by key, `lazy` unconverted. Raises `ValueError` for repeated keys, of which simdjson gives the first."""
    keys = list(item.keys())
    if len(set(keys)) != len(keys):
        raise ValueError
    return {key: item[key] if key == lazy else _plain(item[key]) for key in keys}


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value


def _input(item: Any) -> Any:
    if not isinstance(item, simdjson.Object):
        return _plain(item)
    members = _members(item, "data")
    data = members.get("data")
    if isinstance(data, simdjson.Array):
        nesting = _nesting(data)
        members["data"] = Numbers(data, nesting) if math.prod(nesting) else data.as_list()
    else:
        members["data"] = _plain(data)
    return members


def _nesting(data: simdjson.Array) -> tuple[int, ...]:
    """Shape of nested lists. Raises `ValueError` where lists of one level differ in length."""
    size = len(data)
    if not size or not isinstance(data[0], simdjson.Array):
        return (size,)
    inner = {_nesting(item) if isinstance(item, simdjson.Array) else () for item in data}
    if len(inner) != 1:
        raise ValueError
    return (size, *inner.pop())


def values(data: Any, kind: TensorType) -> Array:
    """The values of a tensor from what `parse_document` left of them, flat or nested as they were sent.

    Raises `DataError`.
    """
    if not isinstance(data, Numbers):
        return array_from_json(data, kind)
    if kind.dtype.kind != _SIMD_KINDS or kind.datatype == "BF16" or len(data.nesting) > MAX_RANK:
        return array_from_json(data.array.as_list(), kind)
    try:
        flat = np.frombuffer(data.array.as_buffer(of_type="d"), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise bad_input(kind.name, "must hold numbers only", "data.dtype") from error
    try:
        with np.errstate(over="raise"):
            return flat.astype(kind.dtype).reshape(data.nesting)
    except FloatingPointError as error:
        raise bad_input(kind.name, f"holds a number beyond the range of {kind.datatype}", "data.range") from error
    except ValueError as error:
        raise bad_input(kind.name, "has lists of unequal length", "data.ragged") from error
