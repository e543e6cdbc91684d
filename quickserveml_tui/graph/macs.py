"""Count multiply-adds: one function per operator family, registered by name.

Only multiply-adds of linear operators count (a dot product of n elements is n of them); biases and elementwise work do
not, so FLOPs are about twice this figure plus the elementwise operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from quickserveml_tui.graph.reading import Node, text
from quickserveml_tui.graph.scopes import Scope

MAX_MACS = 2**63 - 1

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Op:
    """A node with the shapes of its values."""

    node: Node
    scope: Scope

    def _shape(self, names: Any, slot: int) -> Shape | None:
        if slot >= len(names) or not names[slot]:
            return None
        found = self.scope.find_type(text(names[slot]))
        return found.sizes() if found else None

    def input(self, slot: int) -> Shape | None:
        """Shape of an input, if it is wholly known."""
        return self._shape(self.node.input, slot)

    def output(self, slot: int = 0) -> Shape | None:
        """Shape of an output, if it is wholly known."""
        return self._shape(self.node.output, slot)

    def integer(self, name: str, default: int = 0) -> int:
        """An integer attribute."""
        return next((int(item.i) for item in self.node.attribute if item.name == name), default)

    def string(self, name: str) -> str:
        """A string attribute."""
        return next((text(item.s) for item in self.node.attribute if item.name == name), "")


OpCounter: TypeAlias = Callable[[Op], int | None]
_COUNTERS: dict[str, OpCounter] = {}


def counts(*names: str) -> Callable[[OpCounter], OpCounter]:
    """Register a counter for operators; those of other domains are written `domain:Name`."""

    def register(counter: OpCounter) -> OpCounter:
        _COUNTERS.update(dict.fromkeys(names, counter))
        return counter

    return register


def _convolution(op: Op, weight_slot: int) -> int | None:
    weight, output = op.input(weight_slot), op.output()
    return None if weight is None or output is None else math.prod(output) * math.prod(weight[1:])


@counts("Conv", "ConvInteger", "DeformConv", "com.microsoft:FusedConv")
def _conv(op: Op) -> int | None:
    return _convolution(op, 1)


@counts("QLinearConv", "com.microsoft:QLinearConv")
def _quantized_conv(op: Op) -> int | None:
    return _convolution(op, 3)


@counts("ConvTranspose", "com.microsoft:ConvTransposeWithDynamicPads")
def _conv_transpose(op: Op) -> int | None:
    image, weight = op.input(0), op.input(1)
    return None if image is None or weight is None else math.prod(image) * math.prod(weight[1:])


@counts("Gemm", "com.microsoft:FusedGemm", "com.microsoft:QGemm", "com.microsoft:GemmFloat8")
def _gemm(op: Op) -> int | None:
    left, output = op.input(0), op.output()
    if left is None or output is None or len(left) != 2:
        return None
    return math.prod(output) * left[0 if op.integer("transA") else 1]


@counts(
    "MatMul",
    "MatMulInteger",
    "QLinearMatMul",
    "com.microsoft:FusedMatMul",
    "com.microsoft:MatMulIntegerToFloat",
    "com.microsoft:DynamicQuantizeMatMul",
    "com.microsoft:QLinearMatMul",
)
def _matmul(op: Op) -> int | None:
    left, output = op.input(0), op.output()
    if not left or output is None:
        return None
    return math.prod(output) * left[-2 if op.integer("transA") and len(left) > 1 else -1]


@counts("com.microsoft:MatMulNBits", "com.microsoft:MatMulBnb4", "com.microsoft:MatMulFpQ4")
def _matmul_packed(op: Op) -> int | None:
    left, columns = op.input(0), op.integer("N")
    return None if left is None or columns <= 0 else math.prod(left) * columns


@counts("RNN", "GRU", "LSTM", "com.microsoft:DynamicQuantizeLSTM")
def _recurrent(op: Op) -> int | None:
    sequence, weight, recurrence = op.input(0), op.input(1), op.input(2)
    if sequence is None or weight is None or recurrence is None or len(sequence) != 3:
        return None
    return sequence[0] * sequence[1] * (math.prod(weight) + math.prod(recurrence))


@counts("Attention")
def _attention(op: Op) -> int | None:
    query, key, value = op.input(0), op.input(1), op.input(2)
    if query is None or key is None or value is None or not len(query) == len(key) == len(value):
        return None
    if len(query) == 4:
        batch, heads, length, size = query
        return batch * heads * length * key[2] * (size + value[3])
    if len(query) != 3 or not (heads := op.integer("q_num_heads")):
        return None
    kv_heads = op.integer("kv_num_heads") or heads
    return query[0] * query[1] * key[1] * (query[2] + value[2] * heads // kv_heads)


@counts("com.microsoft:Attention", "com.microsoft:QAttention")
def _fused_attention(op: Op) -> int | None:
    hidden, weight = op.input(0), op.input(1)
    if hidden is None or weight is None or len(hidden) != 3 or len(weight) != 2:
        return None
    batch, length, _ = hidden
    return batch * length * (math.prod(weight) + 2 * length * (weight[1] // 3))


@counts("com.microsoft:MultiHeadAttention")
def _multi_head_attention(op: Op) -> int | None:
    query, key = op.input(0), op.input(1)
    if query is None or key is None or len(query) != 3 or len(key) != 3:
        return None
    return 2 * query[0] * query[1] * key[1] * query[2]


@counts("Einsum")
def _einsum(op: Op) -> int | None:
    terms = op.string("equation").replace(" ", "").split("->")[0].split(",")
    if len(terms) < 2:
        return 0
    sizes: dict[str, int] = {}
    for slot, term in enumerate(terms):
        shape = op.input(slot)
        if shape is None or len(shape) != len(term):  # an ellipsis stands for an unknown number of dims
            return None
        sizes.update(zip(term, shape, strict=True))
    return math.prod(sizes.values())


def qualified_name(domain: str, op: str) -> str:
    """The operator with its domain in front, where that is not `ai.onnx`."""
    return op if domain in ("", "ai.onnx") else f"{domain}:{op}"


def operator_name(node: Node) -> str:
    """The `qualified_name` of a node's operator."""
    return qualified_name(text(node.domain), text(node.op_type))


def node_macs(node: Node, scope: Scope) -> int | None:
    """Multiply-adds of one node without its subgraphs; None where shapes are unknown, 0 for operators without any."""
    counter = _COUNTERS.get(operator_name(node))
    if counter is None:
        return 0
    found = counter(Op(node, scope))
    return found if found is None or 0 <= found <= MAX_MACS else None


def _trips(node: Node, scope: Scope) -> int | None:
    """How often a loop's body runs, where the file says it: the trip count of Loop, the scanned length of Scan."""
    if node.op_type == "Loop":
        limit = scope.find_ints(text(node.input[0])) if node.input and node.input[0] else None
        return limit[0] if limit and limit[0] >= 0 else None
    if node.op_type == "Scan":
        op = Op(node, scope)
        shape = op.input(len(node.input) - 1) if node.input else None
        axes = next((list(item.ints) for item in node.attribute if item.name == "scan_input_axes"), [0])
        axis = axes[-1] if axes else 0
        return shape[axis] if shape and -len(shape) <= axis < len(shape) else None
    return None


def total_macs(scope: Scope) -> int | None:
    """Multiply-adds of a graph: the dearer branch of If, the body of Loop and Scan times its trips.

    None where a shape or a trip count that matters is unknown.
    """
    total = 0
    for index, node in enumerate(scope.nodes):
        own = node_macs(node, scope)
        if own is None:
            return None
        bodies = [total_macs(child) for child in scope.children.get(index, ())]
        if any(body is None for body in bodies):
            return None
        inner = max((body for body in bodies if body is not None), default=0)
        if inner and node.op_type != "If":
            trips = _trips(node, scope)
            if trips is None:
                return None
            inner *= trips
        total += own + inner
    return total if total <= MAX_MACS else None
