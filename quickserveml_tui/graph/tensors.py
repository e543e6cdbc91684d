"""What a stored tensor claims and whether its data can be true: dtype names, element counts, sizes."""

from __future__ import annotations

import math
from typing import Any

import onnx

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.tensors import DTYPE_BITS
from quickserveml_tui.graph.inline import Payload, decode
from quickserveml_tui.graph.reading import Tensor, shown, text

MAX_ELEMENTS = 2**63 - 1

_RENAMED = {"FLOAT": "float32", "DOUBLE": "float64", "UNDEFINED": "undefined"}
DTYPES: dict[int, str] = {
    number: _RENAMED.get(name, name.lower()) for name, number in onnx.TensorProto.DataType.items()
}
"""dtype name by TensorProto.DataType."""

_COMPLEX = {"complex64", "complex128"}
_TYPED_FIELDS = {
    "float_data": {"float32", "complex64"},
    "double_data": {"float64", "complex128"},
    "int64_data": {"int64"},
    "uint64_data": {"uint32", "uint64"},
    "string_data": {"string"},
}


def dtype_name(number: int) -> str:
    """`float32`, `int64`, …; `type 99` for a number that the onnx package does not know."""
    return DTYPES.get(number, f"type {number}")


def _bad(tensor: Tensor, problem: str) -> ModelError:
    return ModelError(
        f"Tensor “{shown(tensor.name)}” {problem}.",
        hint="The file is damaged: export or download the model again.",
        code="model.bad_tensor",
    )


def element_count(tensor: Tensor) -> int:
    """Elements by the tensor's dims. Raises `ModelError` (`model.bad_tensor`) for negative or overflowing dims."""
    dims = list(tensor.dims)
    if any(dim < 0 for dim in dims):
        raise _bad(tensor, "has a negative dimension")
    count = math.prod(dims) if len(dims) <= 64 else _bounded_product(dims)
    if count > MAX_ELEMENTS:
        raise _bad(tensor, "has dimensions whose product overflows")
    return count


def _bounded_product(dims: list[int]) -> int:
    """The product, stopped once it overflows: a million dims would make a number of millions of digits."""
    count = 1
    for dim in dims:
        if dim == 0:
            return 0
        count = min(count * dim, MAX_ELEMENTS + 1)
    return count


def byte_count(tensor: Tensor) -> int | None:
    """Bytes of the tensor's raw form; None for strings and unknown dtypes."""
    bits = DTYPE_BITS.get(dtype_name(tensor.data_type))
    return None if bits is None else (element_count(tensor) * bits + 7) // 8


def is_external(tensor: Tensor) -> bool:
    """Whether its data is not in the message: in another file, or skimmed."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def external_entries(tensor: Tensor) -> dict[str, str]:
    """The tensor's external data: `location`, `offset`, `length`."""
    return {text(entry.key): text(entry.value) for entry in tensor.external_data}


def inline_payload(tensor: Tensor) -> Payload | None:
    """Where the data lies in the model file, if it was left out when the file was read; else None."""
    return decode(external_entries(tensor)) if is_external(tensor) else None


def typed_field(dtype: str) -> str:
    """The field of TensorProto that holds values of a dtype, where they are not raw."""
    return next((name for name, dtypes in _TYPED_FIELDS.items() if dtype in dtypes), "int32_data")


def _typed_length(dtype: str, count: int) -> int:
    """Entries that the typed field should hold: 4-bit types share a byte, 6-bit ones have one each (onnx.proto)."""
    if dtype in _COMPLEX:
        return 2 * count
    bits = DTYPE_BITS.get(dtype, 8)
    return (count * bits + 7) // 8 if bits in (2, 4) else count


def check_tensor(tensor: Tensor) -> None:
    """Raise `ModelError` (`model.bad_tensor`) unless the data inside the file fits dtype and dims."""
    count = element_count(tensor)
    payload = None
    if is_external(tensor):
        payload = inline_payload(tensor)
        if payload is None:
            return
    dtype = dtype_name(tensor.data_type)
    if dtype == "undefined":
        raise _bad(tensor, "has no data type")
    if dtype not in DTYPE_BITS and dtype != "string":
        return
    field = payload.form.name if payload else "raw_data" if tensor.HasField("raw_data") else typed_field(dtype)
    if field == "raw_data":
        if dtype == "string":
            raise _bad(tensor, "keeps strings as raw bytes, which ONNX does not allow")
        held = payload.values if payload else len(tensor.raw_data)
        wanted, unit = (count * DTYPE_BITS[dtype] + 7) // 8, "bytes"
    else:
        fits = field == typed_field(dtype)
        held = payload.values if payload else len(getattr(tensor, field))
        held, wanted, unit = held if fits else 0, _typed_length(dtype, count), "values"
    if held is not None and held != wanted:
        raise _bad(tensor, f"should hold {wanted:,} {unit} by its shape, but holds {held:,}")


MAX_INTEGERS = 100
"""Shapes, axes and split sizes are shorter. That many are within `skim.KEPT_BYTES` in every encoding."""


def integers(tensor: Tensor, limit: int = MAX_INTEGERS) -> list[int] | None:
    """The values of a small integer tensor inside the file; None for any other tensor."""
    if is_external(tensor) or element_count(tensor) > limit:
        return None
    dtype = dtype_name(tensor.data_type)
    if dtype not in ("int64", "int32"):
        return None
    if tensor.HasField("raw_data"):
        size = DTYPE_BITS[dtype] // 8
        raw: bytes = tensor.raw_data
        return [int.from_bytes(raw[at : at + size], "little", signed=True) for at in range(0, len(raw), size)]
    field: Any = tensor.int64_data if dtype == "int64" else tensor.int32_data
    return list(field)
