"""Which IR version a model needs for what it uses; the source is the list of versions in onnx.proto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx

from quickserveml_tui.graph.reading import ModelProto, bodies, tensors, text

_OF_TYPE = {16: 4, 17: 9, 18: 9, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13, 26: 13, 27: 14, 28: 14}
"""By number of the data type (`TensorProto.DataType`): bfloat16, 8-bit floats, 4-bit integers, and so on."""
_TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype"})


def least_ir_version(model: ModelProto) -> tuple[int, str]:
    """The oldest IR version that has all that the model uses, and what needs it."""
    found = [(3, "its operator sets")]
    inputs = {text(value.name) for value in model.graph.input}
    if any(text(tensor.name) not in inputs for tensor in model.graph.initializer):
        found.append((4, "a weight that is no input"))
    if any(body.graph is not None and body.graph.sparse_initializer for body in bodies(model)):
        found.append((6, "a sparse weight"))
    if model.training_info:
        found.append((7, "a training graph"))
    if model.functions:
        found.append((8, "a function"))
    if any(function.attribute_proto for function in model.functions):
        found.append((9, "a default attribute of a function"))
    if any(function.overload for function in model.functions):
        found.append((10, "an overloaded function"))
    names = onnx.TensorProto.DataType.items()
    used = set(_data_types(model))
    found += [
        (_OF_TYPE[number], f"the type {name.lower()}") for name, number in names if number in used & set(_OF_TYPE)
    ]
    return max(found, key=lambda item: item[0])


def _data_types(model: ModelProto) -> Iterator[int]:
    for tensor in tensors(model):
        yield tensor.data_type
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        yield from _element_types(value.type)
    for body in bodies(model):
        for node in body.nodes:
            for attribute in node.attribute:
                if text(attribute.name) in _TYPE_ATTRIBUTES:
                    yield attribute.i


def _element_types(kind: Any) -> Iterator[int]:
    """The data types of a value's type, those in sequences, maps and optional values included."""
    if kind.HasField("tensor_type"):
        yield kind.tensor_type.elem_type
    elif kind.HasField("sparse_tensor_type"):
        yield kind.sparse_tensor_type.elem_type
    elif kind.HasField("sequence_type"):
        yield from _element_types(kind.sequence_type.elem_type)
    elif kind.HasField("optional_type"):
        yield from _element_types(kind.optional_type.elem_type)
    elif kind.HasField("map_type"):
        yield from _element_types(kind.map_type.value_type)
