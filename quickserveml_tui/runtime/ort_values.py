"""Runs a session whose inputs or outputs have types that numpy lacks (bfloat16, float8)."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort

from quickserveml_tui.runtime.dtypes import EXTENDED_DTYPES, numpy_dtype, onnx_name, tensor_spec

_ELEMENT_TYPES = {  # onnx.TensorProto.DataType
    "bfloat16": 16, "float8e4m3fn": 17, "float8e4m3fnuz": 18, "float8e5m2": 19, "float8e5m2fnuz": 20,
}  # fmt: skip


def to_ort_value(array: np.ndarray[Any, Any]) -> ort.OrtValue:
    """The array as the runtime's own value; extended types cross as their bits."""
    name = onnx_name(array.dtype)
    if name not in EXTENDED_DTYPES:
        return ort.OrtValue.ortvalue_from_numpy(array)
    bits = np.ascontiguousarray(array).view(np.uint16 if array.dtype.itemsize == 2 else np.uint8)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _ELEMENT_TYPES[name])


def from_ort_value(value: ort.OrtValue) -> Any:
    """The value as a numpy array (a list for sequences), copied."""
    if not value.is_tensor():
        return value.numpy()
    dtype = tensor_spec("", value.data_type(), None).dtype
    if dtype not in EXTENDED_DTYPES:
        return value.numpy()
    shape = tuple(value.shape())
    target = numpy_dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * target.itemsize
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(raw, dtype=target).reshape(shape)


def run(
    session: ort.InferenceSession,
    names: list[str],
    feeds: Mapping[str, np.ndarray[Any, Any]],
    options: ort.RunOptions,
) -> list[Any]:
    """Outputs in the order of `names`."""
    values = session.run_with_ort_values(names, {name: to_ort_value(array) for name, array in feeds.items()}, options)
    return [from_ort_value(value) for value in values]
