"""Small models that behave or misbehave, built with pinned opset and IR version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR = 8
INT64_MIN = -(2**63)


def value(name, dtype=TensorProto.FLOAT, shape=("N", 4)):
    return helper.make_tensor_value_info(name, dtype, shape)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def save(path: Path, nodes, inputs, outputs, initializers=(), *, opset=OPSET, ir=IR, domains=(), functions=()) -> Path:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(initializers))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=list(functions))
    path.write_bytes(model.SerializeToString())
    return path


def adder(folder: Path, name: str = "add.onnx") -> Path:
    """y = x + 1 on [N, 4] float32."""
    nodes = [helper.make_node("Add", ["x", "one"], ["y"])]
    return save(folder / name, nodes, [value("x")], [value("y")], [constant("one", np.float32(1))])


def identity(folder: Path, dtype, shape=("N", 4), *, opset: int = OPSET, name: str = "identity.onnx") -> Path:
    return save(
        folder / name, [helper.make_node("Identity", ["x"], ["y"])], [value("x", dtype, shape)],
        [value("y", dtype, shape)], opset=opset, ir=10,
    )  # fmt: skip


def division_trap(folder: Path, *, at_load: bool) -> Path:
    """INT64_MIN / -1: kills the process by SIGFPE, while constants are folded or when it runs."""
    numerator = constant("a", np.array([INT64_MIN], np.int64))
    denominator = constant("b", np.array([-1], np.int64))
    if at_load:
        nodes = [helper.make_node("Div", ["a", "b"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])]
    else:
        nodes = [
            helper.make_node("Mul", ["x", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "a"], ["low"]),
            helper.make_node("Div", ["low", "b"], ["y"]),
        ]
    inputs = [value("x", TensorProto.INT64, [1])]
    outputs = [value("y", TensorProto.INT64, [1])]
    zero = constant("zero", np.array([0], np.int64))
    return save(folder / "trap.onnx", nodes, inputs, outputs, [numerator, denominator, zero])


def endless_loop(folder: Path) -> Path:
    """A Loop of 2^62 trips."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c_out"]), helper.make_node("Add", ["v", "v"], ["v_out"])],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("v")],
        [value("c_out", TensorProto.BOOL, []), value("v_out")],
    )
    nodes = [helper.make_node("Loop", ["trips", "go", "x"], ["y"], body=body)]
    constants = [constant("trips", np.array(2**62, np.int64)), constant("go", np.array(True))]
    return save(folder / "endless.onnx", nodes, [value("x")], [value("y")], constants)


def memory_bomb(folder: Path) -> Path:
    """Asks for 16 GB in one ConstantOfShape whose size depends on the input."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Mul", ["shape", "huge"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["block"]),
        helper.make_node("ReduceSum", ["block"], ["y"], keepdims=0),
    ]
    huge = constant("huge", np.array([2**30, 1], np.int64))
    return save(folder / "bomb.onnx", nodes, [value("x")], [value("y", shape=[])], [huge])


def function_bomb(folder: Path, levels: int = 40) -> Path:
    """Local functions that each call the one before twice: inlining never ends, and no flag stops a load."""
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("f", 1)]
    functions = [helper.make_function("f", "F0", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], imports)]
    for level in range(1, levels):
        calls = [
            helper.make_node(f"F{level - 1}", ["a"], ["m"], domain="f"),
            helper.make_node(f"F{level - 1}", ["m"], ["b"], domain="f"),
        ]
        functions.append(helper.make_function("f", f"F{level}", ["a"], ["b"], calls, imports))
    nodes = [helper.make_node(f"F{levels - 1}", ["x"], ["y"], domain="f")]
    path = folder / "functions.onnx"
    return save(path, nodes, [value("x")], [value("y")], domains=("f",), functions=functions)


def unsized_convolution(folder: Path) -> Path:
    """A 5x5 convolution on [N, 1, ?, ?]: fails on images of one pixel."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    weights = constant("w", np.ones((1, 1, 5, 5), np.float32))
    return save(
        folder / "conv.onnx", nodes, [value("x", shape=["N", 1, None, None])], [value("y", shape=None)], [weights]
    )


def external(folder: Path, location: str) -> Path:
    """A model whose weight lies in another file; the file is not written."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    return save(folder / "external.onnx", nodes, [value("x")], [value("y")], [tensor])


def load(path: Path) -> onnx.ModelProto:
    return onnx.load(path)
