"""A model as a tree of name scopes: the main graph, subgraphs below their nodes, and functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import onnx

from quickserveml_tui.core.tensors import Dim
from quickserveml_tui.graph.columns import DOMAIN, OP_TYPE, NodeColumns
from quickserveml_tui.graph.reading import Function, Graph, ModelProto, Node, subgraphs, text
from quickserveml_tui.graph.tensors import dtype_name, element_count, integers

MAX_CONSTANT_ELEMENTS = 2**40
"""A ConstantOfShape that makes more is a computation or a bomb, not a weight."""


@dataclass(frozen=True, slots=True)
class ValueType:
    """dtype and shape of a value; an unknown rank is None."""

    dtype: str
    shape: tuple[Dim, ...] | None

    def sizes(self) -> tuple[int, ...] | None:
        """The shape, if every dim is a number."""
        if self.shape is None:
            return None
        fixed = tuple(dim for dim in self.shape if isinstance(dim, int))
        return fixed if len(fixed) == len(self.shape) else None


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant value of the model."""

    elements: int
    dtype: str


@dataclass(slots=True)
class Scope:
    """The nodes and names of one body. Lookups climb to the enclosing bodies."""

    nodes: Any
    graph: Graph | None = None
    function: Function | None = None
    parent: Scope | None = None
    depth: int = 0
    weights: dict[str, Weight] = field(default_factory=dict)
    ints: dict[str, list[int]] = field(default_factory=dict)
    """Values of small integer constants: shapes, axes, trip counts."""
    types: dict[str, ValueType] = field(default_factory=dict)
    columns: NodeColumns | None = None
    """The nodes of a main graph whose nodes were not parsed; `nodes` is empty then."""
    children: dict[int, tuple[Scope, ...]] = field(default_factory=dict)
    """Subgraph scopes by position of their node."""

    def chain(self) -> Iterator[Scope]:
        """This scope and those around it, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def find_weight(self, name: str) -> Weight | None:
        """The constant with this name."""
        return next((scope.weights[name] for scope in self.chain() if name in scope.weights), None)

    def find_ints(self, name: str) -> list[int] | None:
        """The values of a small integer constant."""
        return next((scope.ints[name] for scope in self.chain() if name in scope.ints), None)

    def find_type(self, name: str) -> ValueType | None:
        """The type of a value, where it is declared or inferred."""
        return next((scope.types[name] for scope in self.chain() if name in scope.types), None)

    def walk(self) -> Iterator[tuple[Scope, Node]]:
        """All nodes with their scope; those of subgraphs follow their owner."""
        for index, node in enumerate(self.nodes):
            yield self, node
            for child in self.children.get(index, ()):
                yield from child.walk()

    def family(self) -> Iterator[Scope]:
        """This scope and all below it."""
        yield self
        for children in self.children.values():
            for child in children:
                yield from child.family()


Operator: TypeAlias = tuple[str, str]
"""Domain and name."""


def count_operators(scope: Scope) -> Counter[Operator]:
    """Nodes by operator, those of subgraphs included."""
    counts: Counter[tuple[Any, Any]] = Counter()
    for inner in scope.family():
        if inner.columns is not None:
            counts.update(zip(inner.columns.strings(DOMAIN), inner.columns.strings(OP_TYPE), strict=True))
        else:
            counts.update([(node.domain, node.op_type) for node in inner.nodes])
    found: Counter[Operator] = Counter()
    for (domain, op), count in counts.items():
        found[text(domain), text(op)] += count
    return found


def build_scopes(model: ModelProto) -> tuple[Scope, tuple[Scope, ...]]:
    """The scope of the main graph and those of the functions."""
    return _build(Scope(model.graph.node, graph=model.graph)), function_scopes(model)


def function_scopes(model: ModelProto) -> tuple[Scope, ...]:
    """The scopes of the functions."""
    return tuple(_build(Scope(function.node, function=function)) for function in model.functions)


def sketch_scope(graph: Graph, columns: NodeColumns, nodes: Mapping[int, Node]) -> Scope:
    """The scope of a main graph of which only the `nodes` that hold tensors or graphs, by position, are parsed.

    It has no types.
    """
    scope = Scope((), graph=graph, columns=columns)
    _add_weights(scope, graph)
    for index, node in nodes.items():
        _add_node(scope, index, node)
    return scope


def _build(scope: Scope) -> Scope:
    if scope.graph is not None:
        for info in (*scope.graph.input, *scope.graph.output, *scope.graph.value_info):
            scope.types[text(info.name)] = _shared_type(info.type.SerializePartialToString())
        _add_weights(scope, scope.graph)
    for index, node in enumerate(scope.nodes):
        _add_node(scope, index, node)
    return scope


def _add_node(scope: Scope, index: int, node: Node) -> None:
    if node.op_type == "Constant":
        _add_constant(scope, node)
    elif node.op_type == "ConstantOfShape":
        _add_filled(scope, node)
    if node.attribute:
        children = tuple(
            _build(Scope(graph.node, graph=graph, function=scope.function, parent=scope, depth=scope.depth + 1))
            for _, graph in subgraphs(node)
        )
        if children:
            scope.children[index] = children


@lru_cache(maxsize=4096)
def _shared_type(data: bytes) -> ValueType:
    """The type in a serialised TypeProto: of 100,000 values most have one of a few, and looking takes 5 µs."""
    return value_type(onnx.TypeProto.FromString(data))


def value_type(proto: Any) -> ValueType:
    """The type of a TypeProto; kinds other than tensor keep only their kind as dtype."""
    kind = proto.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return ValueType((kind or "unknown").removesuffix("_type"), None)
    tensor = getattr(proto, kind)
    return ValueType(dtype_name(tensor.elem_type), shape_of(tensor))


def shape_of(tensor_type: Any) -> tuple[Dim, ...] | None:
    """The shape in a tensor type; None for an unknown rank."""
    if not tensor_type.HasField("shape"):
        return None
    return tuple(_dim(dim) for dim in tensor_type.shape.dim)


def _dim(dim: Any) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None  # −1 is how some exporters write “unknown”
    name = text(dim.dim_param)
    return None if name in ("", "?") else name


def _add_weights(scope: Scope, graph: Graph) -> None:
    for tensor in graph.initializer:
        name = text(tensor.name)
        scope.weights[name] = Weight(element_count(tensor), dtype_name(tensor.data_type))
        scope.types[name] = ValueType(dtype_name(tensor.data_type), tuple(tensor.dims))
        _add_ints(scope, name, integers(tensor))
    for sparse in graph.sparse_initializer:
        name = text(sparse.values.name)
        scope.weights[name] = Weight(element_count(sparse.values), dtype_name(sparse.values.data_type))
        scope.types[name] = ValueType(dtype_name(sparse.values.data_type), tuple(sparse.dims))


def _add_ints(scope: Scope, name: str, values: list[int] | None) -> None:
    if values is not None:
        scope.ints[name] = values


_LISTS = {
    "value_float": "float32",
    "value_floats": "float32",
    "value_int": "int64",
    "value_ints": "int64",
    "value_string": "string",
    "value_strings": "string",
}


def _add_constant(scope: Scope, node: Node) -> None:
    if not node.output or not node.attribute:
        return
    output, attribute = text(node.output[0]), node.attribute[0]
    name = text(attribute.name)
    if name == "value" and attribute.HasField("t"):
        scope.weights[output] = Weight(element_count(attribute.t), dtype_name(attribute.t.data_type))
        _add_ints(scope, output, integers(attribute.t))
    elif name == "sparse_value":
        values = attribute.sparse_tensor.values
        scope.weights[output] = Weight(element_count(values), dtype_name(values.data_type))
    elif name in _LISTS:
        ints = [attribute.i] if name == "value_int" else list(attribute.ints)
        count = max(len(attribute.floats), len(attribute.ints), len(attribute.strings)) if name.endswith("s") else 1
        scope.weights[output] = Weight(count, _LISTS[name])
        if "int" in name:
            scope.ints[output] = ints


def _add_filled(scope: Scope, node: Node) -> None:
    if not node.input or not node.output:
        return
    shape = scope.find_ints(text(node.input[0]))
    if shape is None or any(size < 0 for size in shape) or len(shape) > 64:
        return
    elements = math.prod(shape)
    if elements <= MAX_CONSTANT_ELEMENTS:
        dtype = next((dtype_name(item.t.data_type) for item in node.attribute if item.name == "value"), "float32")
        scope.weights[text(node.output[0])] = Weight(elements, dtype)
