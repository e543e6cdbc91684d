"""Small models of many opsets, with what stands in the way of a conversion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def value(name, shape=(2, 3), dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs, outputs, initializers=(), *, opset=17, ir=8, functions=(), domains=(), sparse=()):
    graph = helper.make_graph(
        list(nodes), "g", list(inputs), list(outputs), list(initializers), sparse_initializer=list(sparse)
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, number) for name, number in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=list(functions))


def save(path: Path, proto) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def relu(*, opset=17, ir=8):
    """An operator that is the same from opset 14 on."""
    return model([helper.make_node("Relu", ["x"], ["y"])], [value("x")], [value("y")], opset=opset, ir=ir)


def squeeze(*, opset=11, ir=8, scale=1.0, weights=3):
    """Axes are an attribute up to opset 12, an input from 13 on; with a weight of `weights` elements."""
    nodes = [helper.make_node("Mul", ["x", "w"], ["z"]), helper.make_node("Squeeze", ["z"], ["y"], axes=[0])]
    weight = constant("w", np.arange(weights, dtype=np.float32) * np.float32(scale))
    return model(nodes, [value("x", (1, weights))], [value("y", (weights,))], [weight], opset=opset, ir=ir)


def product(*, opset=6, ir=3):
    """Multiplication of before opset 7, which the runtime lacks and the reference evaluator has."""
    return model([helper.make_node("Mul", ["x", "x"], ["y"])], [value("x")], [value("y")], opset=opset, ir=ir)


def upsample():
    """Upsample of opset 1, which both the runtime and the reference evaluator lack."""
    node = helper.make_node("Upsample", ["x"], ["y"], height_scale=2.0, width_scale=2.0)
    return model([node], [value("x", (1, 1, 2, 2))], [value("y", (1, 1, 4, 4))], opset=6, ir=3)


def gelu():
    """An operator that opset 20 brought."""
    return model([helper.make_node("Gelu", ["x"], ["y"])], [value("x")], [value("y")], opset=20, ir=9)


def resize():
    """A Resize of opset 13, for which the converter has no way back."""
    node = helper.make_node("Resize", ["x", "", "s"], ["y"])
    scales = constant("s", np.array([1, 1, 2, 2], np.float32))
    return model([node], [value("x", (1, 1, 2, 2))], [value("y", (1, 1, 4, 4))], [scales], opset=13)


def random():
    """Different outputs in every run."""
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    return model(nodes, [value("x")], [value("y")])


def branches():
    """A Squeeze of opset 11 in both branches of an If."""
    parts = [
        helper.make_graph([helper.make_node("Squeeze", ["x"], [name], axes=[0])], name, [], [value(name, None)])
        for name in ("yes", "no")
    ]
    node = helper.make_node("If", ["c"], ["y"], then_branch=parts[0], else_branch=parts[1])
    inputs = [value("c", (), TensorProto.BOOL), value("x", (1, 3))]
    return model([node], inputs, [value("y", (3,))], opset=11)


def function(op="Squeeze", *, opset=11, function_opset=None, **attributes):
    """A function of one operator, called once."""
    imports = [helper.make_opsetid("", function_opset or opset)]
    body = [helper.make_node(op, ["a"], ["b"], **attributes)]
    own = helper.make_function("own", "Step", ["a"], ["b"], body, imports)
    node = helper.make_node("Step", ["x"], ["y"], domain="own")
    return model(
        [node], [value("x", (1, 3))], [value("y", None)], opset=opset, ir=8, functions=[own], domains=[("own", 1)]
    )


def sparse():
    """A sparse initializer beside a Squeeze of opset 11."""
    weight = onnx.SparseTensorProto(dims=[1, 3])
    weight.values.CopyFrom(constant("s", np.array([5.0], np.float32)))
    weight.indices.CopyFrom(constant("", np.array([1], np.int64)))
    nodes = [helper.make_node("Add", ["x", "s"], ["z"]), helper.make_node("Squeeze", ["z"], ["y"], axes=[0])]
    return model(nodes, [value("x", (1, 3))], [value("y", (3,))], opset=11, sparse=[weight])


def external(folder: Path, *, data="weights.bin", elements=2000) -> Path:
    """A model with its weight in another file."""
    folder.mkdir(exist_ok=True)
    proto = squeeze(weights=elements)
    onnx.save(
        proto,
        folder / "model.onnx",
        save_as_external_data=True,
        location=data,
        size_threshold=0,
        convert_attribute=False,
    )
    return folder / "model.onnx"
