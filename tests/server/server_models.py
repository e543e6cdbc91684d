"""Models for the tests of the server; opset and IR are pinned to what every supported runtime takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

FLOAT = TensorProto.FLOAT


def value(name, shape=("batch", 4), dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs, outputs, initializers=(), domains=()):
    graph = helper.make_graph(nodes, "main", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 3) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def tiny():
    """Batches: 4 → 16 → 3."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    shapes = {"w1": (4, 16), "b1": (16,), "w2": (16, 3), "b2": (3,)}
    weights = [weight(name, rng.standard_normal(shape).astype(np.float32)) for name, shape in shapes.items()]
    return model(nodes, [value("x")], [value("y", ("batch", 3))], weights)


def slow():
    """Takes some milliseconds: runs in a thread."""
    rng = np.random.default_rng(1)
    nodes, before = [], "x"
    weights = [weight("w", (rng.standard_normal((512, 512)) / 23).astype(np.float32))]
    for index in range(60):
        nodes.append(helper.make_node("MatMul", [before, "w"], [f"h{index}"]))
        before = f"h{index}"
    nodes.append(helper.make_node("Identity", [before], ["y"]))
    shape = ("batch", 8, 512)
    return model(nodes, [value("x", shape)], [value("y", shape)], weights)


def across():
    """Each row depends on all rows: must never be batched."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]
    return model(nodes, [value("x")], [value("y")])


def dynamic_int8():
    """Quantises its input over the whole batch."""
    rng = np.random.default_rng(2)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["f", "scale"], ["y"]),
    ]
    weights = [weight("w", rng.integers(-90, 90, (4, 3)).astype(np.int8))]
    return model(nodes, [value("x")], [value("y", ("batch", 3))], weights)


def dtypes():
    """Passes one input of each datatype through."""
    kinds = {
        "BOOL": TensorProto.BOOL,
        "UINT8": TensorProto.UINT8,
        "UINT64": TensorProto.UINT64,
        "INT8": TensorProto.INT8,
        "INT16": TensorProto.INT16,
        "INT32": TensorProto.INT32,
        "INT64": TensorProto.INT64,
        "FP16": TensorProto.FLOAT16,
        "FP32": TensorProto.FLOAT,
        "FP64": TensorProto.DOUBLE,
        "BYTES": TensorProto.STRING,
    }
    nodes = [helper.make_node("Identity", [f"in_{kind}"], [f"out_{kind}"]) for kind in kinds]
    inputs = [value(f"in_{kind}", ("batch", 2), dtype) for kind, dtype in kinds.items()]
    outputs = [value(f"out_{kind}", ("batch", 2), dtype) for kind, dtype in kinds.items()]
    return model(nodes, inputs, outputs)


def bfloat16():
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    shape = ("batch", 4)
    return model(nodes, [value("x", shape, TensorProto.BFLOAT16)], [value("y", shape, TensorProto.BFLOAT16)])


def strings():
    return model(
        [helper.make_node("Identity", ["text"], ["same"])],
        [value("text", ("batch",), TensorProto.STRING)],
        [value("same", ("batch",), TensorProto.STRING)],
    )


def logarithm():
    """NaN for negative numbers, -inf for 0."""
    return model([helper.make_node("Log", ["x"], ["y"])], [value("x")], [value("y")])


def zipmap():
    """Has an output that no tensor can carry."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"]),
        helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["p"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3]),
    ]
    maps = helper.make_tensor_value_info("label", TensorProto.INT64, ("batch",))
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, None))
    sequence = helper.make_value_info("probabilities", helper.make_sequence_type_proto(kind))
    return model(nodes, [value("x")], [maps, sequence], domains=("ai.onnx.ml",))


def lookup():
    """An index beyond 9 is an error of the data."""
    return model(
        [helper.make_node("Gather", ["table", "i"], ["y"])],
        [value("i", ("batch",), TensorProto.INT64)],
        [value("y", ("batch", 2))],
        [weight("table", np.arange(20, dtype=np.float32).reshape(10, 2))],
    )


def picture():
    """Large inputs: 3x64x64."""
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    return model(nodes, [value("x", ("batch", 3, 64, 64))], [value("y", ("batch", 3, 1, 1))])


def scalar():
    """Takes and gives one number."""
    return model([helper.make_node("Neg", ["x"], ["y"])], [value("x", ())], [value("y", ())])


def fixed_batch():
    """Takes eight rows, no more and no fewer."""
    return model([helper.make_node("Neg", ["x"], ["y"])], [value("x", (8, 4))], [value("y", (8, 4))])


def gigantic():
    """Declares an input that no machine holds."""
    shape = (1, 2**40)
    return model([helper.make_node("Neg", ["x"], ["y"])], [value("x", shape)], [value("y", shape)])


def endless():
    """Loops as often as its input says: 2^62 times is for ever."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["go"]), helper.make_node("Add", ["v", "one"], ["sum"])],
        "body",
        [value("i", (), TensorProto.INT64), value("c", (), TensorProto.BOOL), value("v", (1,), TensorProto.INT64)],
        [value("go", (), TensorProto.BOOL), value("sum", (1,), TensorProto.INT64)],
        [weight("one", np.ones(1, np.int64))],
    )
    nodes = [
        helper.make_node("Squeeze", ["n"], ["times"]),
        helper.make_node("Loop", ["times", "true", "zero"], ["y"], body=body),
    ]
    weights = [weight("true", np.array(True)), weight("zero", np.zeros(1, np.int64))]
    return model(nodes, [value("n", (1,), TensorProto.INT64)], [value("y", (1,), TensorProto.INT64)], weights)


def zeros():
    """Gives as many zeros as its input says."""
    node = helper.make_node("ConstantOfShape", ["n"], ["y"])
    return model([node], [value("n", (1,), TensorProto.INT64)], [value("y", ("count",))])


BUILDERS = (
    tiny,
    slow,
    across,
    dynamic_int8,
    dtypes,
    bfloat16,
    strings,
    logarithm,
    zipmap,
    lookup,
    picture,
    scalar,
    fixed_batch,
    gigantic,
    endless,
    zeros,
)


def build_all(folder: Path) -> dict[str, Path]:
    """Every model as a file, by name."""
    paths = {}
    for build in BUILDERS:
        paths[build.__name__] = folder / f"{build.__name__}.onnx"
        save(build(), paths[build.__name__])
    return paths
