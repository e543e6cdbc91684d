"""What an operator of `ai.onnx` is in an opset, and whether it is the same in another one."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import onnx

from quickserveml_tui.graph.reading import text

STANDARD = frozenset({"", "ai.onnx"})
"""Both names of the default domain."""

_Signature: TypeAlias = tuple[Any, ...]


def newest_opset() -> int:
    """The newest opset of `ai.onnx` that the onnx package knows."""
    newest: int = onnx.defs.onnx_opset_version()
    return newest


def standard_opset(imports: Any) -> int:
    """The opset of `ai.onnx` among a model's or function's imports; 1 where it is not among them."""
    return max((entry.version for entry in imports if text(entry.domain) in STANDARD), default=1)


def since(op: str, opset: int) -> int | None:
    """The opset since which an operator is what it is in `opset`; None for one that is not in it."""
    schema = _schema(op, opset)
    return None if schema is None else int(schema.since_version)


@cache
def is_alike(op: str, opset: int, other: int) -> bool:
    """Whether an operator takes the same inputs and attributes, with the same defaults, in both opsets.

    The data types that it takes, and its description, may differ.
    """
    schemas = _schema(op, opset), _schema(op, other)
    return None not in schemas and _signature(schemas[0]) == _signature(schemas[1])


def _schema(op: str, opset: int) -> Any:
    try:
        return onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None


def _signature(schema: Any) -> _Signature:
    attributes = {
        name: (attribute.type, attribute.required, attribute.default_value.SerializeToString())
        for name, attribute in schema.attributes.items()
    }
    sides = [
        [(item.option, item.min_arity, item.is_homogeneous) for item in side]
        for side in (schema.inputs, schema.outputs)
    ]
    counts = (schema.min_input, schema.max_input, schema.min_output, schema.max_output)
    return attributes, sides, counts, schema.deprecated
