"""Check that a model's graphs hang together: outputs, single assignment, known names, no cycles, no recursion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph.columns import DOMAIN, INPUT, OP_TYPE, OUTPUT, OVERLOAD, NodeColumns
from quickserveml_tui.graph.reading import Function, Graph, ModelProto, Node, node_label, shown, subgraphs, text

_NOWHERE = 2**62
"""Position of the node that makes a name that none makes."""
MAX_EXPANDED_NODES = 200_000
MAX_CALL_DEPTH = 64
"""Beyond either, functions are not expanded: 30 functions that call each other twice make a billion nodes."""


def _broken(problem: str) -> ModelError:
    return ModelError(
        f"The graph is broken: {problem}.",
        hint="Export the model again; `onnx.checker` names more.",
        code="model.broken",
    )


def check_ends(model: ModelProto) -> None:
    """Raise `ModelError` (`model.no_graph`, `model.no_outputs`) for a model that cannot answer anything."""
    if not model.HasField("graph"):
        raise ModelError("The file holds no graph.", hint="Export the model again.", code="model.no_graph")
    if not model.graph.output:
        raise ModelError(
            "The model has no outputs.", hint="Export it again with its outputs named.", code="model.no_outputs"
        )


def check_structure(model: ModelProto) -> None:
    """Raise `ModelError` (`model.broken`, and as `check_ends`) for a model that cannot make sense.

    Linear in nodes and edges. Nodes in an unusual order are accepted when they have no cycle, as the runtime does.
    """
    check_ends(model)
    missing = _check_scope(
        model.graph.node, _graph_names(model.graph), [text(output.name) for output in model.graph.output]
    )
    _refuse_missing(missing)
    check_functions(model)


def check_functions(model: ModelProto) -> None:
    """`check_structure` for the functions of a model."""
    for function in model.functions:
        names = [text(name) for name in function.input]
        _refuse_missing(_check_scope(function.node, names, [text(name) for name in function.output]))


def is_plainly_sound(graph: Graph, columns: NodeColumns, nodes: Mapping[int, Node]) -> bool:
    """Whether `check_structure` has no word to say on a main graph; False where that takes a closer look.

    0.1 µs a name instead of a microsecond. `nodes` are those with graphs in their attributes, by position.
    """
    given = {name.encode("utf-8", "replace") for name in _graph_names(graph)}
    outputs, makers = columns.lists(OUTPUT)
    made = dict(zip(outputs, makers.tolist(), strict=True))
    if len(made) < len(outputs) or not made.keys().isdisjoint(given):
        return False
    made.update(dict.fromkeys(given, -1))
    reads, readers = columns.lists(INPUT)
    sources = np.fromiter((made.get(name, _NOWHERE) for name in reads), dtype=np.int64, count=len(reads))
    return (
        bool((sources < readers).all())
        and all(text(output.name).encode("utf-8", "replace") in made for output in graph.output)
        and all(
            made.get(name.encode("utf-8", "replace"), _NOWHERE) < index
            for index, node in nodes.items()
            for name in _names_read_inside(node)
        )
    )


def _refuse_missing(missing: dict[str, str]) -> None:
    for name, reader in missing.items():
        raise _broken(f"{reader} reads “{shown(name)}”, which nothing makes")


def _graph_names(graph: Graph) -> list[str]:
    """Names that a graph has before its first node runs."""
    inputs = [text(item.name) for item in graph.input]
    if len(set(inputs)) != len(inputs):
        raise _broken("two inputs have the same name")
    listed = set(inputs)
    weights = [text(tensor.name) for tensor in graph.initializer]
    weights += [text(sparse.values.name) for sparse in graph.sparse_initializer]
    return inputs + [name for name in weights if name not in listed]


def _check_scope(nodes: Sequence[Node], given: list[str], outputs: list[str]) -> dict[str, str]:
    """Check one list of nodes; returns the names it reads from outside, each with one reader."""
    made = set(given)
    pending: dict[str, str] = {}
    inner: dict[int, dict[str, str]] = {}
    ordered = True
    for index, node in enumerate(nodes):
        for raw in node.input:
            if raw and raw not in made and text(raw) not in made:
                pending.setdefault(text(raw), node_label(node))
        if node.attribute and (read := _names_read_inside(node)):
            inner[index] = read
            for name, reader in read.items():
                if name not in made:
                    pending.setdefault(name, reader)
        for raw in node.output:
            if raw:
                name = text(raw)
                if name in made:
                    raise _broken(f"“{shown(name)}” is made twice, the second time by {node_label(node)}")
                made.add(name)
                ordered = ordered and name not in pending
    for name in outputs:
        if name not in made:
            pending.setdefault(name, f"output “{shown(name)}”")
    if not ordered:
        _check_acyclic(nodes, inner)
    return {name: reader for name, reader in pending.items() if name not in made}


def _names_read_inside(node: Node) -> dict[str, str]:
    """Names that the subgraphs of a node read from outside, each with one reader."""
    names: dict[str, str] = {}
    for _, graph in subgraphs(node):
        names |= _check_scope(graph.node, _graph_names(graph), [text(output.name) for output in graph.output])
    return names


def _check_acyclic(nodes: Sequence[Node], inner: Mapping[int, Iterable[str]]) -> None:
    """`inner` has the names that subgraphs read, by position of their node."""
    made = {text(name): index for index, node in enumerate(nodes) for name in node.output if name}
    users: list[list[int]] = [[] for _ in nodes]
    waiting = [0] * len(nodes)
    for index, node in enumerate(nodes):
        for name in {text(name) for name in node.input if name}.union(inner.get(index, ())):
            if name in made:
                users[made[name]].append(index)
                waiting[index] += 1
    ready = [index for index, count in enumerate(waiting) if count == 0]
    done = 0
    while ready:
        done += 1
        for user in users[ready.pop()]:
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    if done < len(nodes):
        stuck = next(index for index, count in enumerate(waiting) if count)
        name = next((name for name, index in made.items() if index == stuck), "")
        raise _broken(f"it holds a cycle through “{shown(name)}”")


@dataclass(frozen=True, slots=True)
class Expansion:
    """How large the main graph becomes when its function calls are written out."""

    nodes: int
    """Capped at one more than `MAX_EXPANDED_NODES`."""
    depth: int
    """Longest chain of calls."""

    @property
    def bounded(self) -> bool:
        """Whether it is small enough to be written out."""
        return self.nodes <= MAX_EXPANDED_NODES and self.depth <= MAX_CALL_DEPTH


_Key: TypeAlias = tuple[str, str, str]


def _key(item: Node | Function, name: str) -> _Key:
    return text(item.domain), text(name), text(getattr(item, "overload", ""))


def _calls(nodes: Iterable[Node], known: set[_Key]) -> tuple[int, list[_Key]]:
    """Own nodes, subgraphs included, and the functions they call."""
    count, calls, stack = 0, [], [nodes]
    while stack:
        for node in stack.pop():
            count += 1
            key = _key(node, node.op_type)
            if key in known:
                calls.append(key)
            if node.attribute:
                stack += [graph.node for _, graph in subgraphs(node, strict=True)]
    return count, calls


def measure_expansion(model: ModelProto, columns: NodeColumns, nodes: Mapping[int, Node]) -> Expansion:
    """Size and depth of the model with its functions written out, found without writing them out.

    `columns` are the nodes of the main graph, `nodes` those with graphs in their attributes. Raises `ModelError`
    (`model.broken`) when a function calls itself, directly or through others.
    """
    functions = {_key(function, function.name): function for function in model.functions}
    known = set(functions)
    own = {key: _calls(function.node, known) for key, function in functions.items()}
    done: dict[_Key, Expansion] = {}
    entered: set[_Key] = set()
    for start in functions:
        stack = [start]  # iterative: chains are thousands of calls deep in hostile files
        while stack:
            key = stack[-1]
            if key in done:
                stack.pop()
                continue
            todo = [callee for callee in own[key][1] if callee not in done]
            if not todo:
                done[key] = _combine(own[key], done)
                stack.pop()
            elif key in entered:
                raise _broken(f"function “{shown(key[1])}” calls itself")
            else:
                entered.add(key)
                stack += dict.fromkeys(todo)
    return _combine(_main_calls(columns, nodes, known), done)


def _main_calls(columns: NodeColumns, nodes: Mapping[int, Node], known: set[_Key]) -> tuple[int, list[_Key]]:
    inner = [graph.node for node in nodes.values() for _, graph in subgraphs(node, strict=True)]
    found = [_calls(graph_nodes, known) for graph_nodes in inner]
    calls = [key for _, keys in found for key in keys]
    if known:
        keys = zip(*(columns.strings(number) for number in (DOMAIN, OP_TYPE, OVERLOAD)), strict=True)
        calls += [key for raw in keys if (key := (text(raw[0]), text(raw[1]), text(raw[2]))) in known]
    return len(columns) + sum(count for count, _ in found), calls


def _combine(own: tuple[int, list[_Key]], done: dict[_Key, Expansion]) -> Expansion:
    nodes = own[0] + sum(done[callee].nodes for callee in own[1])
    depth = max((done[callee].depth + 1 for callee in own[1]), default=0)
    return Expansion(min(nodes, MAX_EXPANDED_NODES + 1), depth)
