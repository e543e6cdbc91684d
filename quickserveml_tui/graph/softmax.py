"""Softmax of before opset 13 takes all dims from its axis on; only along the last one both mean the same."""

from __future__ import annotations

from typing import Any

from quickserveml_tui.graph.operators import STANDARD, standard_opset
from quickserveml_tui.graph.reading import ModelProto, bodies, text

FAMILY = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
_CHANGED = 13


def lost_softmax(model: ModelProto, typed: ModelProto, opset: int) -> str:
    """An operator of the family that an older opset cannot say; empty where there is none.

    `typed` is the model with inferred types: without a rank, a positive axis may not be the last.
    """
    if not opset < _CHANGED <= standard_opset(model.opset_import):
        return ""
    ranks = _ranks(typed)
    for body in bodies(model):
        for node in body.nodes if body.function is None else ():
            if text(node.op_type) in FAMILY and text(node.domain) in STANDARD:
                axis = next((item.i for item in node.attribute if text(item.name) == "axis"), -1)
                rank = ranks.get(text(node.input[0])) if node.input else None
                if axis != -1 and (rank is None or axis != rank - 1):
                    return text(node.op_type)
    return ""


def _ranks(model: ModelProto) -> dict[str, int | None]:
    """Rank by value; None where branches use one name for values of different ranks."""
    found: dict[str, int | None] = {}
    for body in bodies(model):
        graph: Any = body.graph
        if graph is not None:
            known = [
                (text(info.name), len(info.type.tensor_type.shape.dim))
                for infos in (graph.input, graph.value_info, graph.output)
                for info in infos
                if info.type.tensor_type.HasField("shape")
            ]
            known += [(text(tensor.name), len(tensor.dims)) for tensor in graph.initializer]
            for name, rank in known:
                found[name] = rank if found.get(name, rank) == rank else None
    return found
