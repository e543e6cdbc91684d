"""Small models for the tests of the graph package; opset and IR are pinned to what every supported runtime takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def value(name, shape=("batch", 4), dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs=None, outputs=None, initializers=(), *, functions=(), opset=17, domains=(), ir=8, **graph):
    body = helper.make_graph(
        nodes,
        "main",
        [value("x")] if inputs is None else inputs,
        [value("y")] if outputs is None else outputs,
        list(initializers),
        **graph,
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(body, opset_imports=opsets, ir_version=ir, functions=list(functions))


def relu_model(**kwargs):
    return model([helper.make_node("Relu", ["x"], ["y"])], **kwargs)


def save(proto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def external_tensor(name, location, dims=(4, 4), dtype=FLOAT, **entries):
    tensor = TensorProto(name=name, data_type=dtype, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(text))
    return tensor


def matmul_with(tensor) -> onnx.ModelProto:
    return model([helper.make_node("MatMul", ["x", tensor.name], ["y"])], initializers=[tensor])
