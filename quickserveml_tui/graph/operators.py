"""What an operator of `ai.onnx` is in an opset."""

from __future__ import annotations

from typing import Any

import onnx

from quickserveml_tui.graph.reading import text

STANDARD = frozenset({"", "ai.onnx"})
"""Both names of the default domain."""


def newest_opset() -> int:
    """The newest opset of `ai.onnx` that the onnx package knows."""
    newest: int = onnx.defs.onnx_opset_version()
    return newest


def standard_opset(imports: Any) -> int:
    """The opset of `ai.onnx` among a model's or function's imports; 1 where it is not among them."""
    return max((entry.version for entry in imports if text(entry.domain) in STANDARD), default=1)


def since(op: str, opset: int) -> int | None:
    """The opset since which an operator is what it is in `opset`; None for one that is not in it."""
    found = schema(op, opset)
    return None if found is None else int(found.since_version)


def schema(op: str, opset: int) -> Any:
    """The `OpSchema` of an operator in an opset; None for one that is not in it."""
    try:
        return onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None
