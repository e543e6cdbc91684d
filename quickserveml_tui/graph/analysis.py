"""One pass over a model file: everything that facts and layers are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from quickserveml_tui.graph.columns import OP_TYPE, NodeColumns
from quickserveml_tui.graph.external import external_sizes
from quickserveml_tui.graph.lean import ModelSketch
from quickserveml_tui.graph.protobuf import WireError
from quickserveml_tui.graph.reading import (
    ModelFile,
    ModelProto,
    Node,
    Tensor,
    graph_tensors,
    node_tensors,
    read_file,
    read_model,
    tensors,
)
from quickserveml_tui.graph.scopes import Scope, function_scopes, sketch_scope
from quickserveml_tui.graph.structure import (
    Expansion,
    check_ends,
    check_functions,
    check_structure,
    is_plainly_sound,
    measure_expansion,
)
from quickserveml_tui.graph.tensors import check_tensor


@dataclass(frozen=True, slots=True)
class Sketch:
    """A model file whose nodes and tensors were found readable, and no more."""

    path: Path
    file: ModelFile
    """Its `model` is a `lean.ModelSketch`."""
    nodes: NodeColumns
    """Nodes of the main graph."""
    bodied: dict[int, Node]
    """Those that hold tensors or graphs, and constants, by position; they are parsed."""
    main: Scope


@dataclass(frozen=True, slots=True)
class Reading:
    """A model file whose structure, tensors and external data were found sound; most of its nodes are not parsed."""

    path: Path
    file: ModelFile
    """Its `model` is a `lean.ModelSketch`."""
    nodes: NodeColumns
    """Nodes of the main graph."""
    bodied: dict[int, Node]
    """Those that hold tensors or graphs, and constants, by position."""
    main: Scope
    functions: tuple[Scope, ...]
    expansion: Expansion
    external_bytes: int

    @property
    def model(self) -> ModelProto:
        """What was parsed: everything but the nodes of the main graph."""
        return self.file.model

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor of the model."""
        return _tensors(self.model, self.bodied)


def read_sound_model(path: Path) -> Reading:
    """Read and check a model file. Raises `ModelError` for anything that makes it useless; linear in its size.

    Damage inside of nodes that hold neither tensors nor graphs is found where the text of their fields is not.
    """
    return check_sketch(read_sketch(path))


def read_sketch(path: Path) -> Sketch:
    """Read a model file and check its tensors. Raises `ModelError`; a microsecond a node."""
    file = read_file(path, ModelSketch)
    check_ends(file.model)
    nodes, bodied = _read_nodes(file, path)
    for tensor in _tensors(file.model, bodied):
        check_tensor(tensor)
    return Sketch(path, file, nodes, bodied, sketch_scope(file.model.graph, nodes, bodied))


def check_sketch(sketch: Sketch) -> Reading:
    """Check how the nodes of a sketch hang together, and its external data. Raises `ModelError`."""
    path, model, nodes, bodied = sketch.path, sketch.file.model, sketch.nodes, sketch.bodied
    if is_plainly_sound(model.graph, nodes, bodied):
        check_functions(model)
    else:
        check_structure(read_model(path))
    expansion = measure_expansion(model, nodes, bodied)
    external_bytes = sum(external_sizes(_tensors(model, bodied), path).values())
    functions = function_scopes(model)
    return Reading(path, sketch.file, nodes, bodied, sketch.main, functions, expansion, external_bytes)


def _read_nodes(file: ModelFile, path: Path) -> tuple[NodeColumns, dict[int, Node]]:
    """The nodes as columns, and those parsed that hold more than settings."""
    try:
        return _split(NodeColumns(file.model.graph.node))
    except (WireError, DecodeError):
        whole = read_model(path)  # says what is wrong, or knows fields that only a parser can leave out
        whole.DiscardUnknownFields()
        return _split(NodeColumns([node.SerializePartialToString() for node in whole.graph.node]))


_CONSTANTS = {b"Constant", b"ConstantOfShape"}


def _split(nodes: NodeColumns) -> tuple[NodeColumns, dict[int, Node]]:
    bodied = nodes.with_bodies()
    bodied.update(index for index, op in enumerate(nodes.strings(OP_TYPE)) if op in _CONSTANTS)
    return nodes, {index: nodes.node(index) for index in sorted(bodied)}


def _tensors(model: ModelProto, bodied: Mapping[int, Node]) -> Iterator[Tensor]:
    yield from graph_tensors(model.graph)
    holder = onnx.ModelProto(functions=model.functions, training_info=model.training_info)
    yield from tensors(holder)
    for node in bodied.values():
        yield from node_tensors(node)
