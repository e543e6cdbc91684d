"""JSON documents of inference requests: orjson for small ones, simdjson for large ones with many numbers."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import orjson
import simdjson

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.wire.datatypes import TensorType
from quickserveml_tui.wire.json_tensors import Array, array_from_json, bad_input

SIMD_BYTES = 8 * 1024
"""From this size on simdjson is faster: measured 1.0x at 4 KiB, 1.5x at 8 KiB, 3x at 1 MiB of FP32 data."""

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


def _parse_large(body: bytes) -> Any:
    """The document with lazy arrays, or None where orjson shall decide (an error, or no object)."""
    try:
        root = _parse_lazily(body)
    except (RuntimeError, ValueError):  # too deep, or no JSON
        return None
    if not isinstance(root, simdjson.Object):
        return None
    document = {key: _plain(value) for key, value in root.items() if key != "inputs"}
    inputs = root.get("inputs")
    if isinstance(inputs, simdjson.Array):
        document["inputs"] = [_lazy(item) for item in inputs]
    elif inputs is not None:
        document["inputs"] = _plain(inputs)
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value


def _lazy(item: Any) -> Any:
    if not isinstance(item, simdjson.Object):
        return _plain(item)
    return {key: value if key == "data" else _plain(value) for key, value in item.items()}


def _nesting(data: simdjson.Array, name: str) -> tuple[int, ...]:
    """Shape of nested lists. Raises `DataError` where lists of one level differ in length."""
    size = len(data)
    if not size or not isinstance(data[0], simdjson.Array):
        return (size,)
    inner = {_nesting(item, name) if isinstance(item, simdjson.Array) else None for item in data}
    if len(inner) != 1:
        raise bad_input(name, "has lists of unequal length", "data.ragged")
    return (size, *(inner.pop() or ()))


def values(data: Any, kind: TensorType) -> Array:
    """The values of a tensor from what `parse_document` left of them, flat or nested as they were sent.

    Raises `DataError`.
    """
    if not isinstance(data, simdjson.Array):
        return array_from_json(data, kind)
    if kind.dtype.kind != _SIMD_KINDS or kind.datatype == "BF16":
        return array_from_json(data.as_list(), kind)
    try:
        flat = np.frombuffer(data.as_buffer(of_type="d"), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise bad_input(kind.name, "must hold numbers only", "data.dtype") from error
    nesting = _nesting(data, kind.name) if len(data) and isinstance(data[0], simdjson.Array) else flat.shape
    try:
        with np.errstate(over="raise"):
            return flat.astype(kind.dtype).reshape(nesting)
    except FloatingPointError as error:
        raise bad_input(kind.name, f"holds a number beyond the range of {kind.datatype}", "data.range") from error
    except ValueError as error:
        raise bad_input(kind.name, "has lists of unequal length", "data.ragged") from error
