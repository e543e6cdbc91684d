"""What is known of a tensor without its data: name, dtype, shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Dim: TypeAlias = int | str | None
"""A fixed size, a symbolic name, or unknown."""

DTYPE_BITS: dict[str, int] = {
    "float32": 32, "uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "int32": 32, "int64": 64, "bool": 8,
    "float16": 16, "float64": 64, "uint32": 32, "uint64": 64, "complex64": 64, "complex128": 128, "bfloat16": 16,
    "float8e4m3fn": 8, "float8e4m3fnuz": 8, "float8e5m2": 8, "float8e5m2fnuz": 8, "float8e8m0": 8,
    "float6e2m3": 6, "float6e3m2": 6, "uint4": 4, "int4": 4, "float4e2m1": 4, "uint2": 2, "int2": 2,
}  # fmt: skip
"""Bits per element by ONNX's lower-case dtype name; `string` has no fixed size."""

DTYPE_SHORT: dict[str, str] = {
    "float32": "f32", "float16": "f16", "float64": "f64", "bfloat16": "bf16", "int64": "i64", "int32": "i32",
    "int16": "i16", "int8": "i8", "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64", "string": "str",
}  # fmt: skip


def short_dtype(dtype: str) -> str:
    """A dtype in a column's width: `f32`, `i64`."""
    return DTYPE_SHORT.get(dtype, dtype)


def format_shape(shape: tuple[Dim, ...] | None, separator: str = "×") -> str:
    """`1×3×224×224`; symbolic dims by name, unknown dims as `?`, a scalar as `scalar`, an unknown rank as `any`."""
    if shape is None:
        return "any"
    if not shape:
        return "scalar"
    return separator.join("?" if dim is None else str(dim) for dim in shape)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    `kind` is `tensor`, `sequence`, `map`, `optional` or `sparse`; `dtype` is the element type as ONNX names it in lower
    case, or the whole type string for kinds other than `tensor`.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None = None
    """None means unknown rank."""
    kind: str = "tensor"

    def to_doc(self) -> dict[str, object]:
        """The JSON form of the command contract: `name`, `dtype`, `shape`."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
            "kind": self.kind,
        }
