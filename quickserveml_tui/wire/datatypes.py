"""Datatypes of the Open Inference Protocol and their ONNX and numpy forms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from quickserveml_tui.core.tensors import TensorSpec

MAX_RANK = 32
"""Dims that a tensor of a request may have; numpy's own limit is 64."""

DATATYPE_BY_ONNX: dict[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "bfloat16": "BF16", "float32": "FP32", "float64": "FP64",
    "string": "BYTES",
}  # fmt: skip
"""Protocol name by ONNX's lower-case dtype name."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """How one tensor of a model crosses the wire."""

    name: str
    datatype: str
    dtype: np.dtype[Any]
    """Little-endian numpy dtype; objects (`str`) for BYTES."""
    shape: tuple[int, ...] | None
    """-1 stands for a free dim; None for any rank."""

    @property
    def itemsize(self) -> int:
        """Bytes an element takes in the binary form; 0 for BYTES, whose elements differ."""
        return 0 if self.datatype == "BYTES" else self.dtype.itemsize

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape can be one of these."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want in (-1, size) for want, size in zip(self.shape, shape, strict=True)
        )

    def describe_shape(self) -> str:
        """The shape as messages show it: `[-1,4]`."""
        return "any" if self.shape is None else format_dims(self.shape)


def format_dims(shape: tuple[int, ...]) -> str:
    """A shape as JSON writes it: `[-1,4]`."""
    return "[" + ",".join(map(str, shape)) + "]"


@cache
def numpy_dtype(datatype: str) -> np.dtype[Any]:
    """The numpy dtype of a protocol datatype."""
    if datatype == "BYTES":
        return np.dtype(object)
    if datatype == "BF16":
        import ml_dtypes  # comes with onnx; only models with bfloat16 inputs or outputs need it

        extended: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return extended
    onnx_name = next(name for name, known in DATATYPE_BY_ONNX.items() if known == datatype)
    return np.dtype(onnx_name).newbyteorder("<")


def tensor_type(spec: TensorSpec) -> TensorType | None:
    """The wire form of a model's input or output; None for what the protocol cannot carry (sequences, maps, float8)."""
    datatype = DATATYPE_BY_ONNX.get(spec.dtype) if spec.kind == "tensor" else None
    if datatype is None:
        return None
    # The runtime reports an unknown rank as an empty shape: the model itself decides then.
    shape = tuple(dim if isinstance(dim, int) else -1 for dim in spec.shape) if spec.shape else None
    return TensorType(spec.name, datatype, numpy_dtype(datatype), shape)
