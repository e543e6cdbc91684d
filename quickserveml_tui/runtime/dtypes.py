"""ONNX dtypes in numpy, and the runtime's type strings as tensor specs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.tensors import DTYPE_BITS, Dim, TensorSpec

_KINDS = {"seq": "sequence", "map": "map", "optional": "optional", "sparse_tensor": "sparse"}
_ORT_NAMES = {"float": "float32", "double": "float64"}
_TYPE = re.compile(r"(\w+)\((.*)\)", re.DOTALL)

NUMPY_DTYPES: dict[str, Any] = {
    name: np.dtype(name)
    for name in (
        "float16", "float32", "float64", "int8", "int16", "int32", "int64",
        "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128",
    )
}  # fmt: skip
NUMPY_DTYPES["string"] = np.dtype(object)

_ML_DTYPES = {
    "bfloat16": "bfloat16",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
    "float8e8m0": "float8_e8m0fnu",
    "float4e2m1": "float4_e2m1fn",
    "int4": "int4",
    "uint4": "uint4",
    "int2": "int2",
    "uint2": "uint2",
}
_ONNX_NAMES = {name: onnx for onnx, name in _ML_DTYPES.items()}
EXTENDED_DTYPES = frozenset(_ML_DTYPES)
"""Types that numpy itself lacks: they reach the runtime as `OrtValue`s."""
_INTEGER = re.compile(r"(u?)int(\d+)")


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """The numpy dtype of an ONNX dtype; strings are object arrays, types of 4 and 2 bits take a byte per element.

    Raises `ModelError` (`model.dtype_unsupported`) for types that have no route into the runtime from Python.
    """
    known: np.dtype[Any] | None = NUMPY_DTYPES.get(dtype)
    if known is not None:
        return known
    if dtype in _ML_DTYPES:
        try:
            import ml_dtypes

            extended: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _ML_DTYPES[dtype]))
        except (ImportError, AttributeError) as error:
            raise ModelError(
                f"Values of type {dtype} need a newer version of the package ml_dtypes.",
                hint="Install it: python3 -m pip install --upgrade ml_dtypes",
                code="model.dtype_unsupported",
            ) from error
        return extended
    raise ModelError(
        f"Values of type {dtype} cannot be passed to the runtime from Python.",
        hint="Export the model with float32, float16 or int8 inputs.",
        code="model.dtype_unsupported",
    )


def is_extended(dtype: np.dtype[Any]) -> bool:
    """Whether a numpy dtype is one that numpy itself lacks; quicker than asking for its name.

    They are of kind V, but float8e5m2, which is of kind f.
    """
    return dtype.kind == "V" or (dtype.kind == "f" and dtype.itemsize == 1)


def onnx_name(dtype: np.dtype[Any]) -> str:
    """The ONNX name of a numpy dtype: `float32`, `string`, `bfloat16`."""
    if dtype.kind in "OUST":
        return "string"
    return _ONNX_NAMES.get(dtype.name, dtype.name)


def integer_bounds(dtype: str) -> tuple[int, int] | None:
    """The smallest and largest value of an ONNX integer type; None for any other type."""
    match = _INTEGER.fullmatch(dtype)
    if match is None:
        return None
    bits = int(match[2])
    return (0, 2**bits - 1) if match[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def is_float(dtype: str) -> bool:
    """Whether an ONNX dtype is a real floating-point type, of any width."""
    return "float" in dtype


def element_bytes(dtype: str) -> int:
    """Bytes that an element takes in memory, at least 1; about 64 for a string."""
    bits = DTYPE_BITS.get(dtype)
    if bits is None:
        return 64
    return max(1, bits // 8)


def _dim(value: object) -> Dim:
    if isinstance(value, int):
        return value if value >= 0 else None
    # Exporters write '?' for “unknown”; two of them are not the same size.
    return value if isinstance(value, str) and value not in ("", "?") else None


def tensor_spec(name: str, type_name: str, shape: Sequence[object] | None) -> TensorSpec:
    """The spec of an input or output from the runtime's type string: `tensor(float)`, `seq(map(int64,tensor(float)))`.

    The runtime reports an unknown rank as an empty shape, like a scalar.
    """
    match = _TYPE.fullmatch(type_name)
    if match and match[1] == "tensor":
        dims = None if shape is None else tuple(_dim(dim) for dim in shape)
        return TensorSpec(name, _ORT_NAMES.get(match[2], match[2]), dims)
    return TensorSpec(name, type_name, None, _KINDS.get(match[1] if match else "", "tensor"))
