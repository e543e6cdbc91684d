"""Count a model's weights, wherever they hide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from quickserveml_tui.graph.columns import INPUT, OP_TYPE
from quickserveml_tui.graph.reading import text
from quickserveml_tui.graph.scopes import Scope

SHAPE_SLOTS: dict[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,), "Reshape": (1,), "Expand": (1,), "Slice": (1, 2, 3, 4), "Squeeze": (1,), "Unsqueeze": (1,),
    "Pad": (1, 3), "Tile": (1,), "Resize": (3, 4), "Split": (1,), "TopK": (1,), "Trilu": (1,), "CumSum": (1,),
    "OneHot": (1,), "Range": (0, 1, 2), "Loop": (0,), "ReduceSum": (1,), "ReduceMean": (1,), "ReduceMax": (1,),
    "ReduceMin": (1,), "ReduceProd": (1,), "ReduceL1": (1,), "ReduceL2": (1,), "ReduceSumSquare": (1,),
    "ReduceLogSum": (1,), "ReduceLogSumExp": (1,), "CenterCropPad": (1,), "Col2Im": (1, 2), "DFT": (1, 2),
}  # fmt: skip
"""Inputs that say how to compute instead of holding learned values, by operator."""


def _parameters_of_operators(scope: Scope) -> set[tuple[int, str]]:
    """Scope (by identity) and name of the integer constants that only shape, slice or index other values."""
    shaping: set[tuple[int, str]] = set()
    computing: set[tuple[int, str]] = set()
    known = {name.encode("utf-8", "replace") for inner in scope.family() for name in inner.ints}
    if not known:
        return shaping
    for inner in scope.family():
        for op, slot, name in _reads_of(inner, known):
            owner = next((item for item in inner.chain() if name in item.ints), None)
            if owner is not None:
                (shaping if slot in SHAPE_SLOTS.get(op, ()) else computing).add((id(owner), name))
    return shaping - computing


def _reads_of(scope: Scope, names: set[bytes]) -> Iterator[tuple[str, int, str]]:
    """Operator, input slot and name of each read of these names by the nodes of a scope."""
    if scope.columns is None:
        texts = {name.decode("utf-8", "replace") for name in names}
        for node in scope.nodes:
            for slot, raw in enumerate(node.input):
                if raw in texts:
                    yield text(node.op_type), slot, text(raw)
        return
    ops = scope.columns.strings(OP_TYPE)
    read, owners, slots = scope.columns.slots(INPUT)
    for at in [at for at, name in enumerate(read) if name in names]:
        yield text(ops[owners[at]]), int(slots[at]), text(read[at])


def count_weights(scope: Scope) -> Counter[str]:
    """Weight elements by dtype in a scope and those below it: initializers, sparse ones by their stored values,
    Constant and ConstantOfShape outputs. Shapes, axes and the like are no weights.
    """
    skipped = _parameters_of_operators(scope)
    counts: Counter[str] = Counter()
    for inner in scope.family():
        for name, weight in inner.weights.items():
            if (id(inner), name) not in skipped and weight.elements:
                counts[weight.dtype] += weight.elements
    return counts
