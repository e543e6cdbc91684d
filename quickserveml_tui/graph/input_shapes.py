"""Shapes of a model's inputs as its file declares them, those inside sequences and optional values included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quickserveml_tui.core.tensors import Dim
from quickserveml_tui.graph.reading import read_model, text
from quickserveml_tui.graph.scopes import shape_of

_MAX_DEPTH = 16


def read_input_shapes(path: Path) -> dict[str, tuple[Dim, ...] | None]:
    """By input name the shape of the tensor, or of each tensor in a sequence; None for an unknown rank.

    Maps are left out. Raises `ModelError` as `read_model` does.
    """
    found: dict[str, tuple[Dim, ...] | None] = {}
    for info in read_model(path).graph.input:
        tensor = _innermost(info.type)
        if tensor is not None:
            found[text(info.name)] = shape_of(tensor)
    return found


def _innermost(kind: Any) -> Any:
    for _ in range(_MAX_DEPTH):
        which = kind.WhichOneof("value")
        if which in ("tensor_type", "sparse_tensor_type"):
            return getattr(kind, which)
        if which not in ("sequence_type", "optional_type"):
            return None
        kind = getattr(kind, which).elem_type
    return None
