"""ONNX dtypes in numpy, and the runtime's type strings as tensor specs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.tensors import Dim, TensorSpec

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
}
EXTENDED_DTYPES = frozenset(_ML_DTYPES)
"""Types that numpy itself lacks: they reach the runtime as `OrtValue`s."""


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """The numpy dtype of an ONNX dtype; strings are object arrays.

    Raises `ModelError` (`model.dtype_unsupported`) for types that have no route into the runtime from Python.
    """
    known: np.dtype[Any] | None = NUMPY_DTYPES.get(dtype)
    if known is not None:
        return known
    if dtype in _ML_DTYPES:
        try:
            import ml_dtypes
        except ImportError as error:
            raise ModelError(
                f"Inputs of type {dtype} need the package ml_dtypes.",
                hint="Install it: python3 -m pip install ml_dtypes",
                code="model.dtype_unsupported",
            ) from error
        extended: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _ML_DTYPES[dtype]))
        return extended
    raise ModelError(
        f"Values of type {dtype} cannot be passed to the runtime from Python.",
        hint="Export the model with float32, float16 or int8 inputs.",
        code="model.dtype_unsupported",
    )


def onnx_name(dtype: np.dtype[Any]) -> str:
    """The ONNX name of a numpy dtype: `float32`, `string`, `bfloat16`."""
    if dtype.kind in "OUST":
        return "string"
    for name, other in _ML_DTYPES.items():
        if dtype.name == other:
            return name
    return dtype.name


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
