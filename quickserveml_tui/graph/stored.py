"""A tensor's data in ONNX's raw form, wherever and however it is kept in the model file."""

from __future__ import annotations

from typing import Any

import numpy as np

from quickserveml_tui.core.tensors import DTYPE_BITS
from quickserveml_tui.graph.inline import RAW, numbers
from quickserveml_tui.graph.reading import Tensor
from quickserveml_tui.graph.tensors import dtype_name, inline_payload, is_external, typed_field


def stored_bytes(tensor: Tensor, file: memoryview) -> bytes | memoryview:
    """The elements of a tensor, little-endian and packed as `raw_data` is (onnx.proto).

    `file` is the model file that the tensor was read from; raw data that was left out then comes as a view of it.
    Raises `ValueError` for strings, unknown dtypes and data in other files.
    """
    dtype = dtype_name(tensor.data_type)
    if dtype not in DTYPE_BITS:
        raise ValueError(f"{dtype} has no raw form")
    payload = inline_payload(tensor)
    if payload is not None and payload.number == RAW:
        chunk = payload.chunks[0]
        return file[chunk.offset : chunk.offset + chunk.length]
    if payload is not None:
        return _raw(numbers(file, payload), dtype)
    if is_external(tensor):
        raise ValueError("the data lies in another file")
    if tensor.HasField("raw_data"):
        raw: bytes = tensor.raw_data
        return raw
    field = typed_field(dtype)
    kind = {"float_data": "<f4", "double_data": "<f8", "uint64_data": "<u8"}.get(field, "<i8")
    return _raw(np.asarray(getattr(tensor, field), dtype=kind), dtype)


def _raw(values: np.ndarray[Any, Any], dtype: str) -> bytes:
    """Values of a typed field; integers may be wider than the dtype, and 2- and 4-bit ones come packed already."""
    bits = DTYPE_BITS[dtype]
    if values.dtype.kind == "f":
        return values.tobytes()
    if bits == 6:
        spread = np.unpackbits(values.astype(np.uint8)[:, None], axis=1, bitorder="little")[:, :6]
        return np.packbits(spread.ravel(), bitorder="little").tobytes()
    return values.astype(f"<u{max(bits // 8, 1)}").tobytes()
