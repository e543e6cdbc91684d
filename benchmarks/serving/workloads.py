"""The models that servers are compared on, and a request for each in the form that a server takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SHAPES = {"tiny": (1, 4), "medium": (1, 3, 32, 32), "large": (1, 3, 224, 224)}
WORKLOADS = ("tiny", "medium", "large-json", "large-binary")


@dataclass(frozen=True)
class Body:
    """What is posted."""

    data: bytes
    headers: dict[str, str]


def model_of(workload: str) -> str:
    return workload.partition("-")[0]


def write_models(folder: Path) -> None:
    """Tiny: 4 → 16 → 3, dynamic batch. Medium: seven 3×3 convolutions. Large: a pool and a Gemm on a big image."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)

    def weights(**shapes):
        return [
            numpy_helper.from_array((rng.standard_normal(shape) * 0.1).astype(np.float32), name)
            for name, shape in shapes.items()
        ]

    def write(name, nodes, initializers, outputs):
        shape = ("batch", *SHAPES[name][1:])
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", outputs))],
            initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        save(model, folder / f"{name}.onnx")

    node = helper.make_node
    write(
        "tiny",
        [
            node("Gemm", ["x", "w1", "b1"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "w2", "b2"], ["l"]),
            node("Softmax", ["l"], ["y"]),
        ],
        weights(w1=(4, 16), b1=(16,), w2=(16, 3), b2=(3,)),
        3,
    )
    nodes, shapes, last, channels = [], {}, "x", 3
    for index in range(7):
        shapes[f"k{index}"] = (64, channels, 3, 3)
        nodes.append(node("Conv", [last, f"k{index}"], [f"c{index}"], pads=[1, 1, 1, 1]))
        nodes.append(node("Relu", [f"c{index}"], [f"a{index}"]))
        last, channels = f"a{index}", 64
    nodes += [
        node("GlobalAveragePool", [last], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    write("medium", nodes, weights(**shapes, w=(64, 10), b=(10,)), 10)
    nodes = [
        node("GlobalAveragePool", ["x"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    write("large", nodes, weights(w=(3, 10), b=(10,)), 10)


def body(workload: str, dialect: str) -> Body:
    """The request of a workload: `v2` (JSON or binary by the workload), `list`, `litserve` or `bento`."""
    shape = SHAPES[model_of(workload)]
    array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    as_json = {"content-type": "application/json"}
    flat = [round(float(value), 6) for value in array.reshape(-1)]
    if dialect == "v2" and workload.endswith("binary"):
        raw = array.tobytes()
        tensor = {"name": "x", "shape": list(shape), "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
        head = _dump({"inputs": [tensor], "parameters": {"binary_data_output": True}})
        headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
        return Body(head + raw, headers)
    if dialect == "v2":
        return Body(_dump({"inputs": [{"name": "x", "shape": list(shape), "datatype": "FP32", "data": flat}]}), as_json)
    if dialect == "list":
        return Body(_dump({"data": flat}), as_json)
    if dialect == "litserve":
        return Body(_dump({"input": flat}), as_json)
    assert dialect == "bento", dialect
    return Body(_dump({"batch": array.tolist()}), as_json)


def _dump(document) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
