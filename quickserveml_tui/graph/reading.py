"""Read a model file into a ModelProto, and walk what it holds: bodies, nodes, subgraphs, tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import onnx
from google.protobuf.message import DecodeError

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.nesting import is_too_deep
from quickserveml_tui.graph.skim import MIN_FILE_BYTES, mentions_files, skim
from quickserveml_tui.graph.sniff import check_bytes, map_file

MAX_PROTO_BYTES = 2**31 - 1
"""Protobuf's own limit for one message."""

Node: TypeAlias = Any
Graph: TypeAlias = Any
Tensor: TypeAlias = Any
Function: TypeAlias = Any
ModelProto: TypeAlias = Any


def text(value: str | bytes) -> str:
    """A string field as text: protobuf hands out bytes where a file holds invalid UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def shown(value: str | bytes) -> str:
    """A name from the file, fit for a message."""
    return safe_text(text(value), 80)


def node_label(node: Node) -> str:
    """How a message names a node: by its name or first output, and its operator."""
    name = text(node.name) or next((text(output) for output in node.output if output), "")
    op = shown(node.op_type)
    return f"{op} “{shown(name)}”" if name else op


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A parsed model file."""

    model: ModelProto
    file_bytes: int
    mentions_files: bool
    """Whether some of its data may be in other files; False is certain."""


def read_model(path: Path) -> ModelProto:
    """The model at `path` without its external data; in large files large weights are replaced by references (`skim`).

    Raises `ModelError` as `check_file` does, and `model.unreadable`, `model.too_large` and `model.ir_too_new`.
    """
    return read_file(path).model


def read_file(path: Path, kind: type[Any] = onnx.ModelProto, *, counted: bool = True) -> ModelFile:
    """Like `read_model`, with what was learned on the way. `kind` is the message to parse, a part of ModelProto.

    Files beyond 2 GiB, which no protobuf parser takes, are read as long as what is left without large weights fits.
    """
    model = kind()
    with map_file(path) as data:
        check_bytes(data, shown(path.name))
        size = len(data)
        short = skim(data, counted=counted) if size >= MIN_FILE_BYTES else data
        found_files = mentions_files(short)
        parse(model, short, shown(path.name))
    if not 1 <= model.ir_version <= onnx.IR_VERSION:
        raise ModelError(
            f"“{shown(path.name)}” has IR version {model.ir_version}; versions 1 to {onnx.IR_VERSION} can be read.",
            hint="Export it again with an older IR version, or update the onnx package.",
            code="model.ir_too_new",
        )
    return ModelFile(model, size, found_files)


def parse(model: Any, data: bytes | memoryview, name: str) -> None:
    """Parse a message. Raises `ModelError` (`model.too_large`, `model.unreadable`); `name` is the file's."""
    if len(data) > MAX_PROTO_BYTES:
        raise ModelError(
            f"“{name}” holds more than 2 GiB beside its large weights, more than a protobuf file can.",
            hint="Save it with external data: `onnx.save(model, path, save_as_external_data=True)`.",
            code="model.too_large",
        )
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        nested = "MaxDepth" in str(error) or is_too_deep(data)
        raise ModelError(
            f"“{name}” is not a readable ONNX model: "
            + ("its graphs are nested too deep." if nested else "its protobuf content is damaged."),
            hint="Export or download the model again.",
            detail=safe_text(error, 300),
        ) from None


@dataclass(frozen=True, slots=True)
class Body:
    """A list of nodes with its own names: the main graph, a subgraph or a function."""

    nodes: Any
    graph: Graph | None
    """None for a function."""
    depth: int
    function: Function | None = None


_KIND = onnx.AttributeProto
_WITH_GRAPHS = frozenset((_KIND.UNDEFINED, _KIND.GRAPH, _KIND.GRAPHS))


def subgraphs(node: Node, *, strict: bool = False) -> Iterator[tuple[str, Graph]]:
    """Attribute name and graph of each subgraph of a node.

    Attributes are taken for what their `type` says, as the runtime does; `strict` finds graphs in any, 4 times slower.
    """
    for attribute in node.attribute:
        if strict or attribute.type in _WITH_GRAPHS:
            if attribute.HasField("g"):
                yield text(attribute.name), attribute.g
            for graph in attribute.graphs:
                yield text(attribute.name), graph


def bodies(model: ModelProto) -> Iterator[Body]:
    """The main graph, the functions and all subgraphs below them. Protobuf's parser bounds the depth."""
    stack = [Body(model.graph.node, model.graph, 0)]
    stack += [Body(function.node, None, 0, function) for function in model.functions]
    while stack:
        body = stack.pop()
        yield body
        for node in body.nodes:
            if node.attribute:
                stack += [Body(graph.node, graph, body.depth + 1, body.function) for _, graph in subgraphs(node)]


def _sparse_parts(sparse: Any) -> Iterator[Tensor]:
    yield sparse.values
    yield sparse.indices


def attribute_tensors(attribute: Any) -> Iterator[Tensor]:
    """The tensors in an attribute, the parts of sparse ones included; none of its subgraphs'."""
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    if attribute.HasField("sparse_tensor"):
        yield from _sparse_parts(attribute.sparse_tensor)
    for sparse in attribute.sparse_tensors:
        yield from _sparse_parts(sparse)


def graph_tensors(graph: Graph) -> Iterator[Tensor]:
    """The initializers of a graph, the parts of sparse ones included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from _sparse_parts(sparse)


def node_tensors(node: Node) -> Iterator[Tensor]:
    """The tensors in a node's attributes and in the subgraphs below it."""
    stack = [node]
    while stack:
        for attribute in stack.pop().attribute:
            yield from attribute_tensors(attribute)
            graphs = [attribute.g] if attribute.HasField("g") else []
            for graph in (*graphs, *attribute.graphs):
                yield from graph_tensors(graph)
                stack += [inner for inner in graph.node if inner.attribute]


def tensors(model: ModelProto) -> Iterator[Tensor]:
    """Every tensor: initializers and attributes, sparse ones too, also in subgraphs, functions and training graphs."""
    graphs = [model.graph]
    for info in model.training_info:
        graphs += [info.initialization, info.algorithm]
    for graph in graphs:
        yield from graph_tensors(graph)
    for nodes in (*(graph.node for graph in graphs), *(function.node for function in model.functions)):
        for node in nodes:
            if node.attribute:
                yield from node_tensors(node)
    for function in model.functions:
        for attribute in function.attribute_proto:
            yield from attribute_tensors(attribute)
