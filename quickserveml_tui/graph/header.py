"""Read what a model file says at once, however large it is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import onnx

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.facts import ModelHeader
from quickserveml_tui.graph.external import present_bytes
from quickserveml_tui.graph.lean import ModelOutline
from quickserveml_tui.graph.reading import Tensor, parse, read_file, shown, tensors
from quickserveml_tui.graph.tensors import external_entries, inline_payload, is_external
from quickserveml_tui.graph.values import read_signature, read_texts

MAX_LOCATIONS = 10_000
"""Data files that are counted; more than a folder should hold."""
_LOCATION = b"location"


def read_header(path: Path) -> ModelHeader:
    """What the model at `path` says of itself, in milliseconds: nodes are counted, but not looked at.

    Raises `ModelError` as `read_model` does, and `model.no_graph` and `model.too_large`. Damage inside nodes shows only
    when they are read, by `read_facts` and `read_layers`.
    """
    file = read_file(path, ModelOutline, counted=False)
    model = file.model
    if not model.HasField("graph"):
        raise ModelError("The file holds no graph.", hint="Export the model again.", code="model.no_graph")
    inputs, outputs = read_signature(model)
    locations = _locations(model, shown(path.name)) if file.mentions_files else {}
    return ModelHeader(
        ir_version=model.ir_version,
        inputs=inputs,
        outputs=outputs,
        size_bytes=file.file_bytes + present_bytes(path, locations),
        file_bytes=file.file_bytes,
        nodes=len(model.graph.node),
        initializers=len(model.graph.initializer) + len(model.graph.sparse_initializer),
        functions=len(model.functions),
        external_files=len(locations),
        **read_texts(model),
    )


def _locations(model: Any, name: str) -> dict[str, Tensor]:
    """Each location of external data, with the first tensor that refers to it."""
    found: dict[str, Tensor] = {}
    graph = model.graph
    parts = chain.from_iterable((sparse.values, sparse.indices) for sparse in graph.sparse_initializer)
    for tensor in chain(graph.initializer, parts, _hidden_tensors(model, name)):
        if is_external(tensor) and inline_payload(tensor) is None:
            found.setdefault(external_entries(tensor).get("location", ""), tensor)
        if len(found) >= MAX_LOCATIONS:
            break
    return found


def _hidden_tensors(model: Any, name: str) -> Iterator[Tensor]:
    """Tensors in those nodes, functions and training graphs that can refer to a file."""
    holder = onnx.ModelProto()
    for raw, add in (
        (model.graph.node, holder.graph.node.add),
        (model.functions, holder.functions.add),
        (model.training_info, holder.training_info.add),
    ):
        for data in raw:
            if _LOCATION in data:
                parse(add(), data, name)
    yield from tensors(holder)
