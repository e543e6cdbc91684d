"""Independent walks over models: by what protobuf itself knows of its messages, not by tables of ours."""

from __future__ import annotations

import onnx
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from quickserveml_tui.graph.tensors import dtype_name


def messages(message, kind):
    """All messages of a kind in a message, in the order of fields and positions."""
    if isinstance(message, kind):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                yield from messages(item, kind)


def tensors(model):
    return list(messages(model, TensorProto))


def nodes(model):
    return list(messages(model, NodeProto))


def rows(graph):
    """Operators of a graph, those of subgraphs after their owner."""
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
            for child in inner:
                yield from rows(child)


def raw(tensor):
    """The tensor's data as onnx itself makes it raw; None for strings."""
    if tensor.data_type == TensorProto.STRING:
        return None
    copy = TensorProto.FromString(tensor.SerializeToString())
    return numpy_helper.from_array(numpy_helper.to_array(copy)).raw_data


def declared(info):
    """Name, dtype and dims of an input or output that is a tensor."""
    kind = info.type.tensor_type
    if not info.type.HasField("tensor_type"):
        return info.name, None, None
    dims = None
    if kind.HasField("shape"):
        dims = tuple(
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or None
            for dim in kind.shape.dim
        )
    return info.name, dtype_name(kind.elem_type), dims


def inferred_shapes(model):
    """Shape of each value of the main graph by onnx's own inference on the whole model."""
    found = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return {info.name: declared(info)[2] for info in (*found.graph.value_info, *found.graph.output, *found.graph.input)}
