"""Tiny models that carry a value into the runtime, or out of it, where its Python binding has no other way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from onnx import TensorProto, TypeProto, helper

_IR_VERSION, _OPSET = 9, 18  # old enough for every runtime, new enough for optional types
_TYPE = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_ELEMENTS = {"float": "FLOAT", "double": "DOUBLE"}


def pass_through(type_name: str) -> bytes:
    """A model whose input `x`, of a type that the runtime writes like `seq(tensor(float))`, is its output."""
    value = helper.make_value_info("x", _type(type_name))
    return _model([], [value], [value])


def sequence_maker(element: str, length: int) -> bytes:
    """A model with the inputs `x0`, `x1`, … of the type `element`, and the output `y`, a sequence of them."""
    names = [f"x{index}" for index in range(length)]
    held = _type(element)
    node = helper.make_node("SequenceConstruct", names, ["y"])
    if not names:
        node = helper.make_node("SequenceEmpty", [], ["y"], dtype=held.tensor_type.elem_type)
    result = helper.make_value_info("y", helper.make_sequence_type_proto(held))
    return _model([node], [helper.make_value_info(name, held) for name in names], [result])


def string_maker(shape: Sequence[int], words: Sequence[str]) -> bytes:
    """A model without inputs, whose output `y` is a tensor of these strings."""
    tensor = helper.make_tensor("words", TensorProto.STRING, list(shape), [word.encode() for word in words])
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    return _model([node], [], [helper.make_tensor_value_info("y", TensorProto.STRING, list(shape))])


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> bytes:
    graph = helper.make_graph(nodes, "carrier", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    data: bytes = model.SerializeToString()
    return data


def _type(text: str) -> TypeProto:
    match = _TYPE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    outer, inner = match[1], match[2]
    if outer == "tensor":
        return helper.make_tensor_type_proto(_element(inner), None)
    if outer == "sparse_tensor":
        return helper.make_sparse_tensor_type_proto(_element(inner), None)
    if outer == "map":
        key, _, value = inner.partition(",")
        return helper.make_map_type_proto(_element(key), _type(value))
    make = {"seq": helper.make_sequence_type_proto, "optional": helper.make_optional_type_proto}[outer]
    return make(_type(inner))


def _element(name: str) -> int:
    return int(TensorProto.DataType.Value(_ELEMENTS.get(name, name.upper())))
