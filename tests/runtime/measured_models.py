"""Small models that measuring and batch tests run."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]


def info(name, dtype, shape):
    return helper.make_tensor_value_info(name, dtype, shape)


def save(path: Path, nodes, inputs, outputs, weights=()) -> Path:
    tensors = [numpy_helper.from_array(array, name) for name, array in dict(weights).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=tensors)
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=10), path)
    return path


def relu(path: Path, shape=("n", 4), dtype=TensorProto.FLOAT) -> Path:
    return save(path, [helper.make_node("Relu", ["x"], ["y"])], [info("x", dtype, shape)], [info("y", dtype, shape)])


def identity(path: Path, dtype, shape=("n", 2)) -> Path:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    return save(path, nodes, [info("x", dtype, shape)], [info("y", dtype, shape)])


def nonzero(path: Path) -> Path:
    """The output's shape depends on the values."""
    nodes = [helper.make_node("NonZero", ["x"], ["y"])]
    return save(path, nodes, [info("x", TensorProto.FLOAT, ["n", 4])], [info("y", TensorProto.INT64, [2, None])])


def sequence(path: Path) -> Path:
    nodes = [helper.make_node("SequenceConstruct", ["x", "x"], ["y"])]
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    return save(path, nodes, [info("x", TensorProto.FLOAT, ["n", 2])], [output])


def endless(path: Path) -> Path:
    """One inference that takes minutes: a loop of 2^40 steps."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Sin", ["v"], ["w"])],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("v", TensorProto.FLOAT, [4])],
        [info("go_on", TensorProto.BOOL, []), info("w", TensorProto.FLOAT, [4])],
    )
    nodes = [helper.make_node("Loop", ["steps", "yes", "x"], ["y"], body=body)]
    weights = {"steps": np.array(2**40), "yes": np.array(True)}
    return save(path, nodes, [info("x", TensorProto.FLOAT, [4])], [info("y", TensorProto.FLOAT, [4])], weights)


def gather(path: Path, rows=3) -> Path:
    """Fails for an index beyond `rows`; answers one of three classes with probabilities."""
    table = np.eye(3, dtype=np.float32)[np.arange(rows) % 3]
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"], axis=0)]
    return save(
        path, nodes, [info("x", TensorProto.INT64, ["n"])], [info("y", TensorProto.FLOAT, ["n", 3])], {"table": table}
    )


def classifier(path: Path, features=2, classes=3, shape=None, softmax=True) -> Path:
    """Class k for a row whose largest feature is number k."""
    weights = {"w": 10 * np.eye(features, classes, dtype=np.float32)}
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["z"]),
        helper.make_node("Softmax" if softmax else "Identity", ["z"], ["y"]),
    ]
    shape = shape or ["n", features]
    output = info("y", TensorProto.FLOAT, [shape[0], classes])
    return save(path, nodes, [info("x", TensorProto.FLOAT, shape)], [output], weights)


def batch_dependent(path: Path) -> Path:
    """Scales every row by the batch's largest value, as dynamic int8 models do."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Div", ["x", "m"], ["y"]),
    ]
    return save(path, nodes, [info("x", TensorProto.FLOAT, ["n", 2])], [info("y", TensorProto.FLOAT, ["n", 2])])


def labelled(path: Path, zipmap=True) -> Path:
    """A linear classifier with a label output and ZipMap probabilities, as skl2onnx writes them."""
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml",
            coefficients=[5.0, 0.0, 0.0, 5.0], intercepts=[0.0, 0.0], classlabels_strings=["cat", "dog"],
            post_transform="SOFTMAX",
        ),
    ]  # fmt: skip
    outputs = [info("label", TensorProto.STRING, ["n"])]
    if zipmap:
        nodes.append(
            helper.make_node("ZipMap", ["scores"], ["odds"], domain="ai.onnx.ml", classlabels_strings=["cat", "dog"])
        )
        value = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        outputs.append(helper.make_value_info("odds", helper.make_sequence_type_proto(value)))
    else:
        outputs.append(info("scores", TensorProto.FLOAT, ["n", 2]))
    return save(path, nodes, [info("x", TensorProto.FLOAT, ["n", 2])], outputs)


def two_inputs(path: Path) -> Path:
    """Adds two columns; a string column passes through."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Identity", ["name"], ["label"])]
    return save(
        path,
        nodes,
        [info("a", TensorProto.FLOAT, ["n", 1]), info("b", TensorProto.FLOAT, ["n"]),
         info("name", TensorProto.STRING, ["n", 1])],
        [info("sum", TensorProto.FLOAT, None), info("label", TensorProto.STRING, ["n", 1])],
    )  # fmt: skip
