"""Check that a model's graphs hang together: outputs, single assignment, known names, no cycles, no recursion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph.reading import Function, Graph, ModelProto, Node, node_label, shown, subgraphs, text

MAX_EXPANDED_NODES = 200_000
MAX_CALL_DEPTH = 64
"""Beyond either, functions are not expanded: 30 functions that call each other twice make a billion nodes."""


def _broken(problem: str) -> ModelError:
    return ModelError(
        f"The graph is broken: {problem}.",
        hint="Export the model again; `onnx.checker` names more.",
        code="model.broken",
    )


def check_structure(model: ModelProto) -> None:
    """Raise `ModelError` (`model.no_graph`, `model.no_outputs`, `model.broken`) for a model that cannot make sense.

    Linear in nodes and edges. Nodes in an unusual order are accepted when they have no cycle, as the runtime does.
    """
    if not model.HasField("graph"):
        raise ModelError("The file holds no graph.", hint="Export the model again.", code="model.no_graph")
    if not model.graph.output:
        raise ModelError(
            "The model has no outputs.", hint="Export it again with its outputs named.", code="model.no_outputs"
        )
    missing = _check_scope(
        model.graph.node, _graph_names(model.graph), [text(output.name) for output in model.graph.output]
    )
    _refuse_missing(missing)
    for function in model.functions:
        names = [text(name) for name in function.input]
        _refuse_missing(_check_scope(function.node, names, [text(name) for name in function.output]))


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


def _check_scope(nodes: Iterable[Node], given: list[str], outputs: list[str]) -> dict[str, str]:
    """Check one list of nodes; returns the names it reads from outside, each with one reader."""
    made: dict[str, int] = dict.fromkeys(given, -1)
    reads: list[list[str]] = []
    outside: dict[str, str] = {}
    ordered = True
    pending: dict[str, str] = {}
    for index, node in enumerate(nodes):
        names = {text(name): "" for name in node.input if name}
        for _, graph in subgraphs(node):
            names |= _check_scope(graph.node, _graph_names(graph), [text(output.name) for output in graph.output])
        for name in names:
            if name not in made:
                pending.setdefault(name, names[name] or node_label(node))
        reads.append(list(names))
        for output in node.output:
            if not output:
                continue
            name = text(output)
            if name in made:
                raise _broken(f"“{shown(name)}” is made twice, the second time by {node_label(node)}")
            made[name] = index
            ordered = ordered and name not in pending
    for name in outputs:
        if name not in made:
            pending.setdefault(name, f"output “{shown(name)}”")
    outside = {name: reader for name, reader in pending.items() if name not in made}
    if not ordered:
        _check_acyclic(made, reads)
    return outside


def _check_acyclic(made: dict[str, int], reads: list[list[str]]) -> None:
    users: list[list[int]] = [[] for _ in reads]
    waiting = [0] * len(reads)
    for index, names in enumerate(reads):
        for name in names:
            source = made.get(name, -1)
            if source >= 0:
                users[source].append(index)
                waiting[index] += 1
    ready = [index for index, count in enumerate(waiting) if count == 0]
    done = 0
    while ready:
        done += 1
        for user in users[ready.pop()]:
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    if done < len(reads):
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


def _key(item: Node | Function, name: str) -> tuple[str, str, str]:
    return text(item.domain), text(name), text(getattr(item, "overload", ""))


def _calls(nodes: Iterable[Node], known: set[tuple[str, str, str]]) -> tuple[int, list[tuple[str, str, str]]]:
    """Own nodes, subgraphs included, and the functions they call."""
    count, calls, stack = 0, [], [nodes]
    while stack:
        for node in stack.pop():
            count += 1
            key = _key(node, node.op_type)
            if key in known:
                calls.append(key)
            if node.attribute:
                stack += [graph.node for _, graph in subgraphs(node)]
    return count, calls


def measure_expansion(model: ModelProto) -> Expansion:
    """Size and depth of the model with its functions written out, found without writing them out.

    Raises `ModelError` (`model.broken`) when a function calls itself, directly or through others.
    """
    functions = {_key(function, function.name): function for function in model.functions}
    known = set(functions)
    own = {key: _calls(function.node, known) for key, function in functions.items()}
    done: dict[tuple[str, str, str], Expansion] = {}
    entered: set[tuple[str, str, str]] = set()
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
    return _combine(_calls(model.graph.node, known), done)


def _combine(own: tuple[int, list[tuple[str, str, str]]], done: dict[tuple[str, str, str], Expansion]) -> Expansion:
    nodes = own[0] + sum(done[callee].nodes for callee in own[1])
    depth = max((done[callee].depth + 1 for callee in own[1]), default=0)
    return Expansion(min(nodes, MAX_EXPANDED_NODES + 1), depth)
