"""Put back into a translated model what the converter of the onnx package drops."""

from __future__ import annotations

from typing import Any

from quickserveml_tui.graph.reading import ModelProto, bodies, text

_MADE_UP = "unk__"
"""Shape inference gives open dims names that begin so."""


def restore(model: ModelProto, original: ModelProto) -> None:
    """Put back the declared inputs and outputs, metadata and doc strings of graph, values and weights, by their names.

    Names that were made up for open dims are taken away everywhere.
    """
    graph, before = model.graph, original.graph
    if not graph.metadata_props:
        graph.metadata_props.extend(before.metadata_props)
    graph.name, graph.doc_string = before.name, before.doc_string
    for infos, old in (
        (graph.input, before.input),
        (graph.output, before.output),
        (graph.value_info, before.value_info),
    ):
        _copy(infos, {text(info.name): info for info in old})
    notes = {text(tensor.name): tensor for tensor in before.initializer if tensor.doc_string or tensor.metadata_props}
    for tensor in graph.initializer if notes else ():
        noted = notes.get(text(tensor.name))
        if noted is not None:
            tensor.doc_string = noted.doc_string
            del tensor.metadata_props[:]
            tensor.metadata_props.extend(noted.metadata_props)
    _unname(model, original)


def _copy(infos: Any, old: dict[str, Any]) -> None:
    for info in infos:
        known = old.get(text(info.name))
        if known is not None:
            info.CopyFrom(known)


def _unname(model: ModelProto, original: ModelProto) -> None:
    own = {text(dim.dim_param) for dim in _dims(original)}
    for dim in _dims(model):
        name = text(dim.dim_param)
        if name.startswith(_MADE_UP) and name not in own:
            dim.ClearField("dim_param")


def _dims(model: ModelProto) -> list[Any]:
    return [
        dim
        for body in bodies(model)
        if body.graph is not None
        for infos in (body.graph.input, body.graph.output, body.graph.value_info)
        for info in infos
        for dim in info.type.tensor_type.shape.dim
    ]
