"""Models of known cost, built with weights from a fixed seed."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = [helper.make_opsetid("", 21)]


def _save(path, nodes, shape, weights=()):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(array, name) for name, array in dict(weights).items()]
    graph = helper.make_graph(nodes, "g", [x], [y], initializer=tensors)
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=10), path)
    return path


def trivial(folder: Path) -> Path:
    """One Relu on four values: about 2 µs."""
    return _save(folder / "trivial.onnx", [helper.make_node("Relu", ["x"], ["y"])], ["n", 4])


def convolutions(folder: Path, name: str, layers: int, channels: int = 32, size: int = 32) -> Path:
    """A chain of 3x3 convolutions with Relu on an image of `channels` x `size` x `size`."""
    generator = np.random.default_rng(0)
    nodes, weights, last = [], {}, "x"
    for layer in range(layers):
        weights[f"w{layer}"] = generator.normal(0, 0.05, (channels, channels, 3, 3)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [last, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        last = "y" if layer == layers - 1 else f"r{layer}"
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [last]))
    return _save(folder / f"{name}.onnx", nodes, ["n", channels, size, size], weights)
