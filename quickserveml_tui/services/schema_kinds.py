"""JSON Schema of the short form of a value, for every kind of input and output."""

from __future__ import annotations

from typing import Any

from quickserveml_tui.core.tensors import Dim, TensorSpec, format_shape
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.dtypes import integer_bounds, is_float
from quickserveml_tui.runtime.kinds import ValueType, parse_type

_COUNT = {"type": "integer", "minimum": 0}


def describe(spec: TensorSpec) -> str:
    """Type and shape in words."""
    if spec.kind != "tensor" and spec.shape is None:
        return safe_text(spec.dtype, 300)
    return safe_text(f"{spec.dtype} {format_shape(spec.shape)}", 300)


def short_form(spec: TensorSpec) -> dict[str, Any]:
    """The schema of a value.

    Nested lists for a tensor, a list for a sequence, an object for a map, null for an optional without a value, an
    object of shape, indices and values for a sparse tensor.
    """
    kind = ValueType("tensor", spec.dtype) if spec.kind == "tensor" else parse_type(spec.dtype)
    schema = {} if kind is None else _value(kind, spec.shape)
    return schema | {"description": describe(spec)}


def _value(kind: ValueType, shape: tuple[Dim, ...] | None) -> dict[str, Any]:
    if kind.kind == "optional":
        return {"anyOf": [_value(kind.held, shape), {"type": "null"}]}
    if kind.kind == "sequence":
        return {"type": "array", "items": _value(kind.held, shape)}
    if kind.kind == "map":
        keys = {"propertyNames": {"pattern": "^-?[0-9]+$"}} if kind.dtype != "string" else {}
        return {"type": "object", "additionalProperties": _leaf(kind.held.dtype), **keys}
    return _sparse(kind.dtype) if kind.kind == "sparse" else _tensor(kind.dtype, shape)


def _tensor(dtype: str, shape: tuple[Dim, ...] | None) -> dict[str, Any]:
    """Nested lists of the tensor's shape; a free dim has any length."""
    schema = _leaf(dtype)
    if not schema:
        return {}
    if shape is None:
        return {"type": ["array", schema["type"]]}
    for dim in reversed(shape):
        schema = {"type": "array", "items": schema}
        if isinstance(dim, int):
            schema |= {"minItems": dim, "maxItems": dim}
    return schema


def _sparse(dtype: str) -> dict[str, Any]:
    properties = {
        "shape": {"type": "array", "items": _COUNT},
        "indices": {"type": "array", "items": {"type": "array", "items": _COUNT}},
        "values": {"type": "array", "items": _leaf(dtype)},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _leaf(dtype: str) -> dict[str, Any]:
    """One element; empty for types that JSON has no form for."""
    if dtype == "bool":
        return {"type": "boolean"}
    if dtype == "string":
        return {"type": "string"}
    if (bounds := integer_bounds(dtype)) is not None:
        return {"type": "integer", "minimum": bounds[0], "maximum": bounds[1]}
    return {"type": "number"} if is_float(dtype) else {}
