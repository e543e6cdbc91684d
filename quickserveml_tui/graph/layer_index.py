"""What a page of the layer table needs besides the nodes it shows, worked out once per file and kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx

from quickserveml_tui.graph import shapes
from quickserveml_tui.graph.analysis import Sketch, check_sketch, read_sketch
from quickserveml_tui.graph.reading import Node, parse, read_model, shown
from quickserveml_tui.graph.scopes import Scope, ValueType, build_scopes
from quickserveml_tui.graph.stand_ins import stand_in_for_uninferred

MAX_KEPT_FILES = 2
MAX_KEPT_NODES = 250_000
"""In all files that are kept; 100,000 nodes take 40 MB."""

_Key: TypeAlias = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Visit:
    """A node with its scope, and with the scopes that know the types of its values where those were inferred."""

    scope: Scope
    node: Node
    symbolic: Scope | None
    """Open dims by their names."""
    fixed: Scope | None
    """Open dims of the inputs set to 1."""


@dataclass(frozen=True, slots=True)
class _Skeletons:
    """Serialised models without large weights, for inference."""

    symbolic: bytes
    fixed: bytes
    own_symbols: frozenset[str]
    """Dim names of the model itself."""


def _make_skeletons(path: Path) -> _Skeletons | None:
    """None for a graph that is too large for inference."""
    model = read_model(path)
    symbols = frozenset(shapes.symbols(model))
    skeleton = shapes.make_skeleton(model)
    if not shapes.is_small_enough(skeleton):
        return None
    symbolic = stand_in_for_uninferred(skeleton).SerializeToString()
    return _Skeletons(symbolic, shapes.fix_batch(skeleton).SerializeToString(), symbols)


class LayerIndex:
    """The rows of a model's layer table; the nodes of the main graph are parsed when they are visited."""

    def __init__(self, path: Path) -> None:
        sketch = read_sketch(path)
        self._sketch: Sketch | None = sketch
        self._name = shown(path.name)
        self._nodes, self._bodied, self._main = sketch.nodes, sketch.bodied, sketch.main
        self._starts, self.total = _count_rows(sketch.main, len(sketch.nodes))
        self.own_symbols: frozenset[str] = frozenset()
        self._symbolic: Scope | None = None
        self._fixed: Scope | None = None

    @property
    def complete(self) -> bool:
        """Whether the graph was checked and its types are known, as far as they can be."""
        return self._sketch is None

    def infer_types(self) -> None:
        """Check the whole graph and find the types of its values, once. Raises `ModelError`."""
        sketch = self._sketch
        if sketch is None:
            return
        is_bounded, path = check_sketch(sketch).expansion.bounded, sketch.path
        self._sketch = self._main.graph = sketch = None  # what was parsed goes: inference takes memory of its own
        skeletons = _make_skeletons(path) if is_bounded else None
        if skeletons is not None:
            share = _Sharing()
            self.own_symbols = skeletons.own_symbols
            self._symbolic = share.types_of(self._main, shapes.infer(skeletons.symbolic))
            self._fixed = share.types_of(self._main, shapes.infer(skeletons.fixed))

    def visits(self, offset: int, limit: int) -> Iterator[tuple[int, Visit]]:
        """Rows from `offset` on with their position, at most `limit` of them."""
        if offset >= self.total:
            return
        first = int(np.searchsorted(self._starts, offset, side="right")) - 1
        skipped = offset - int(self._starts[first])
        yield from enumerate(islice(self._walk_main(first), skipped, skipped + limit), offset)

    def _walk_main(self, first: int) -> Iterator[Visit]:
        for index in range(first, len(self._nodes)):
            node = self._bodied.get(index)
            if node is None:
                node = onnx.NodeProto()
                parse(node, self._nodes.data(index), self._name)
            yield Visit(self._main, node, self._symbolic, self._fixed)
            yield from _walk_children(self._main, index, self._symbolic, self._fixed)


def _walk_children(scope: Scope, index: int, symbolic: Scope | None, fixed: Scope | None) -> Iterator[Visit]:
    for at, child in enumerate(scope.children.get(index, ())):
        types = [tree and tree.children[index][at] for tree in (symbolic, fixed)]
        for inner, node in enumerate(child.nodes):
            yield Visit(child, node, *types)
            yield from _walk_children(child, inner, *types)


def _count_rows(main: Scope, nodes: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], int]:
    """First row of each node of the main graph, and rows in all."""
    rows = np.ones(nodes, dtype=np.int64)
    for index, children in main.children.items():
        rows[index] += sum(len(scope.nodes) for child in children for scope in child.family())
    ends = np.cumsum(rows)
    return ends - rows, int(ends[-1]) if nodes else 0


class _Sharing:
    """Keeps equal names and types once: of 100,000 values most have one of a few shapes."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._types: dict[ValueType, ValueType] = {}

    def types_of(self, scope: Scope, inferred: onnx.ModelProto) -> Scope:
        """Scopes like those below `scope`, with nothing but the types of their values."""
        return self._copy(scope, build_scopes(inferred)[0], None)

    def _copy(self, scope: Scope, inferred: Scope, parent: Scope | None) -> Scope:
        types = {**scope.types, **inferred.types}
        copy = Scope((), parent=parent, depth=scope.depth)
        copy.types = {
            self._names.setdefault(name, name): self._types.setdefault(found, found) for name, found in types.items()
        }
        for index, children in scope.children.items():
            twins = inferred.children.get(index, ())
            if len(twins) != len(children):  # inference has another node there: then their own types must do
                twins = children
            copy.children[index] = tuple(
                self._copy(child, twin, copy) for child, twin in zip(children, twins, strict=True)
            )
        return copy


class _Kept:
    """The indexes of the last files; a file that changed is read again."""

    def __init__(self) -> None:
        self._indexes: OrderedDict[_Key, LayerIndex] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, path: Path, *, complete: bool) -> LayerIndex:
        key = _identify(path)
        with self._lock:
            index = self._indexes.pop(key, None) if key else None
            if index is None:
                index = LayerIndex(path)
            if complete:
                index.infer_types()
            if key and index.total <= MAX_KEPT_NODES:
                self._indexes[key] = index
            while len(self._indexes) > MAX_KEPT_FILES or self._rows() > MAX_KEPT_NODES:
                self._indexes.popitem(last=False)
            return index

    def _rows(self) -> int:
        return sum(index.total for index in self._indexes.values())

    def clear(self) -> None:
        with self._lock:
            self._indexes.clear()


def _identify(path: Path) -> _Key | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None  # reading it says what is wrong
    return str(path.absolute()), status.st_ino, status.st_size, status.st_mtime_ns


_KEPT = _Kept()


def open_index(path: Path, *, shapes: bool = True) -> LayerIndex:
    """The index of the model at `path`, kept from the last time or made now, complete where `shapes` are wanted.

    Raises `ModelError` as `read_facts`.
    """
    return _KEPT.open(path, complete=shapes)


def forget_indexes() -> None:
    """Give the memory of all kept indexes back."""
    _KEPT.clear()
