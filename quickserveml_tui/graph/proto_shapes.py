"""Tell protobuf messages that are not ONNX models apart by the shape of their top-level fields."""

from __future__ import annotations

from dataclasses import dataclass, field

from quickserveml_tui.graph.mistaken import EXPORT, EXPORT_TF, SAVE_MODEL, SOURCE, Mistaken
from quickserveml_tui.graph.protobuf import BYTES, FIXED32, VARINT, WireError, read_tag, read_varint, skip_value

MAX_FIELDS = 4096
MAX_PAYLOAD = 4096
_TYPE_FIELDS = {1, 4, 5, 7, 8, 9}
_MAX_DTYPE = 40


@dataclass(slots=True)
class Outline:
    """The fields at the top of a message: how often each occurs, and what it holds at first."""

    wires: dict[int, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    """First value of each varint field."""
    payloads: dict[int, bytes] = field(default_factory=dict)
    """Begin of the first payload of each length-delimited field."""
    problem: str = ""
    """Why the walk ended early: `cut`, or another word."""
    ended_at: int = 0

    def has(self, **wires: int) -> bool:
        """Whether fields are there with these wire types; names are `f` and the number."""
        return all(self.wires.get(int(name[1:])) == wire for name, wire in wires.items())

    def only(self, *numbers: int) -> bool:
        """Whether there are no other fields than these."""
        return set(self.wires) <= set(numbers)


def outline(data: memoryview, most: int = MAX_FIELDS) -> Outline:
    """The first fields of a message."""
    found = Outline()
    at = 0
    try:
        for _ in range(most):
            found.ended_at = at
            if at >= len(data):
                break
            at = _take(found, data, at)
    except WireError as error:
        found.problem = str(error)
    return found


def _take(found: Outline, data: memoryview, at: int) -> int:
    number, wire, at = read_tag(data, at)
    if found.wires.setdefault(number, wire) != wire:
        raise WireError("foreign")
    found.counts[number] = found.counts.get(number, 0) + 1
    if wire == VARINT:
        value, end = read_varint(data, at)
        found.numbers.setdefault(number, value)
        return end
    end = skip_value(data, at, wire)
    if wire == BYTES and number not in found.payloads:
        begin = read_varint(data, at)[1]
        found.payloads[number] = bytes(data[begin : min(end, begin + MAX_PAYLOAD)])
    return end


def _inner(found: Outline, number: int) -> Outline:
    return outline(memoryview(found.payloads.get(number, b"")), 64)


def _is_name(data: bytes) -> bool:
    try:
        return data.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False


def _is_type(data: bytes) -> bool:
    """Whether this is a TypeProto: one kind of value, whose element type is a number or a type."""
    found = outline(memoryview(data), 64)
    kinds = set(found.wires) & _TYPE_FIELDS
    if found.problem or len(kinds) != 1 or not found.only(6, *kinds):
        return False
    inner = _inner(found, kinds.pop())
    dtype = inner.numbers.get(1, 0)
    return not inner.problem and inner.only(1, 2) and (0 < dtype < _MAX_DTYPE or inner.wires.get(1) == BYTES)


def _is_tensor(top: Outline) -> bool:
    data_fields = {4, 5, 6, 7, 9, 10, 11, 13}
    return (
        0 < top.numbers.get(2, 0) < _MAX_DTYPE
        and top.only(*range(1, 15), 16)
        and bool(data_fields & set(top.wires) or top.has(f8=BYTES))
        and top.wires.get(9, BYTES) == top.wires.get(8, BYTES) == BYTES
        and (1 not in top.payloads or top.counts[1] == 1)
        and not (top.wires.get(1) == BYTES and top.has(f3=BYTES))
    )


def _is_graph(top: Outline) -> bool:
    return (
        top.only(1, 2, 5, 10, 11, 12, 13, 14, 15, 16)
        and set(top.wires.values()) == {BYTES}
        and bool({11, 12} & set(top.wires))
        and top.counts.get(2, 1) == 1
        and (11 not in top.payloads or 2 in _inner(top, 11).wires or 1 in _inner(top, 11).wires)
    )


def _is_function(top: Outline) -> bool:
    return (
        top.only(1, 2, *range(4, 15))
        and top.has(f1=BYTES, f7=BYTES)
        and top.counts[1] == 1
        and bool({9, 10} & set(top.wires))
        and _is_name(top.payloads[1])
    )


def _is_node(top: Outline) -> bool:
    return top.only(*range(1, 10)) and top.has(f2=BYTES, f4=BYTES) and top.counts[4] == 1 and _is_name(top.payloads[4])


def _is_value_info(top: Outline) -> bool:
    return top.only(1, 2, 3, 4) and top.has(f1=BYTES, f2=BYTES) and top.counts[1] == 1 and _is_type(top.payloads[2])


def _is_opset(top: Outline) -> bool:
    return top.only(1, 2) and top.wires.get(2) == VARINT and top.numbers[2] < 1000 and top.counts[2] == 1


def _is_saved_model(top: Outline) -> bool:
    if not (top.only(1, 2) and top.has(f1=VARINT, f2=BYTES)):
        return False
    meta = _inner(top, 2)
    return meta.wires.get(2) == BYTES or (meta.wires.get(1) == BYTES and _inner(meta, 1).wires.get(5) == BYTES)


def _is_graph_def(top: Outline) -> bool:
    node = _inner(top, 1)
    return (
        top.only(1, 2, 3, 4, 5)
        and top.wires.get(1) == BYTES
        and node.has(f1=BYTES, f2=BYTES)
        and node.only(1, 2, 3, 4, 5, 6, 7)
        and node.counts[1] == node.counts[2] == 1
        and _is_name(node.payloads[2])
        and (node.wires.get(5) == BYTES or 4 in top.wires)
    )


def _is_paddle(top: Outline) -> bool:
    block = _inner(top, 1)
    return top.only(1, 3, 4, 5) and block.has(f1=VARINT, f2=VARINT) and block.only(1, 2, 3, 4, 5)


def _is_sentencepiece(top: Outline) -> bool:
    piece = _inner(top, 1)
    return top.only(1, 2, 3, 4, 5) and piece.has(f1=BYTES, f2=FIXED32) and piece.only(1, 2, 3)


def _is_caffe(top: Outline) -> bool:
    if top.wires.get(1, BYTES) != BYTES:
        return False
    if top.wires.get(100) == BYTES:
        return top.only(1, 3, 4, 5, 6, 7, 8, 100)
    layer = _inner(top, 2)
    return top.has(f1=BYTES, f2=BYTES) and top.counts[2] > 1 and layer.has(f4=BYTES, f5=VARINT)


def _is_core_ml(top: Outline) -> bool:
    return top.has(f1=VARINT, f2=BYTES) and 7 not in top.wires and any(200 <= number <= 3500 for number in top.wires)


_PART = "a part of an ONNX model"
_SHAPES = (
    (_is_core_ml, Mistaken("a Core ML model", SOURCE)),
    (_is_sentencepiece, Mistaken("a SentencePiece tokenizer", "Add the .onnx model that it lies beside.")),
    (_is_paddle, Mistaken("a PaddlePaddle model", "Convert it to ONNX first, with paddle2onnx.")),
    (_is_saved_model, Mistaken("a TensorFlow SavedModel", EXPORT_TF)),
    (_is_caffe, Mistaken("a Caffe model", EXPORT)),
    (
        _is_tensor,
        Mistaken(
            f"a tensor (TensorProto), {_PART}",
            "It can be input data once it is saved with `numpy.savez`, made an array by `onnx.numpy_helper.to_array`.",
        ),
    ),
    (_is_graph, Mistaken(f"a bare graph (GraphProto), {_PART}", SAVE_MODEL)),
    (_is_function, Mistaken(f"a function (FunctionProto), {_PART}", SAVE_MODEL)),
    (_is_value_info, Mistaken(f"the declaration of an input or output (ValueInfoProto), {_PART}", SAVE_MODEL)),
    (_is_graph_def, Mistaken("a TensorFlow graph (GraphDef)", EXPORT)),
    (_is_node, Mistaken(f"a node (NodeProto), {_PART}", SAVE_MODEL)),
    (_is_opset, Mistaken(f"the name of an operator set (OperatorSetIdProto), {_PART}", SAVE_MODEL)),
)


def protobuf_kind(data: memoryview) -> Mistaken | None:
    """What a protobuf message is that is no ONNX model; None for none that is known."""
    top = outline(data)
    if not top.wires or top.problem:
        return None
    if top.payloads.get(1) == b"ONNXOPSET":
        return Mistaken("a set of operator schemas (OperatorSetProto)", SAVE_MODEL)
    if top.has(f1=BYTES, f20=VARINT):
        return Mistaken(f"an attribute (AttributeProto), {_PART}", SAVE_MODEL)
    for fits, kind in _SHAPES:
        if fits(top):
            return kind
    return Mistaken(f"a type (TypeProto), {_PART}", SAVE_MODEL) if _is_type(bytes(data[:MAX_PAYLOAD])) else None
