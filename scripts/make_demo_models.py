"""Make the demo's models and test data: `python scripts/make_demo_models.py [FOLDER]`.

Trains on the digits that scikit-learn ships (offline, fixed seeds), writes three ONNX models with the same input
`pixels` (float32, batch × 64, 0 to 16) and outputs `label` and `probabilities`, and the test split as CSV and NPZ.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from demo_training import SCALE, Split, load_split, train_cnn, train_mlp
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static

OPSET, IR_VERSION = 17, 8
FOLDER = Path(__file__).resolve().parent.parent / "quickserveml_tui" / "services" / "demo_data"
CALIBRATION_ROWS = 256


def weight(name: str, values: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values), name)


def node(op: str, name: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=f"/{name}", **attributes)


def head(scores: str) -> list[onnx.NodeProto]:
    """From scores to probabilities and the class."""
    return [
        node("Softmax", "output/Softmax", [scores], "probabilities", axis=1),
        node("ArgMax", "output/ArgMax", ["probabilities"], "label", axis=1, keepdims=0),
    ]


def build(
    name: str, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], about: dict[str, str]
) -> onnx.ModelProto:
    batch = "batch"
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 64])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [batch]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, 10]),
        ],
        [weight(key, values) for key, values in weights.items()],
        doc_string=about["description"],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    describe(model, about)
    onnx.checker.check_model(model, full_check=True)
    return model


def describe(model: onnx.ModelProto, about: dict[str, str]) -> None:
    model.producer_name, model.producer_version = "quickserveml-tui make_demo_models.py", "1"
    del model.metadata_props[:]
    entries = {
        "author": "the QuickServeML TUI contributors",
        "license": "MIT (model); CC BY 4.0 (training data)",
        "data": "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository",
        **about,
    }
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)


def make_mlp(split: Split) -> onnx.ModelProto:
    classifier = train_mlp(split)
    weights: dict[str, np.ndarray] = {"preprocess.scale": np.array(SCALE, np.float32)}
    nodes = [node("Mul", "preprocess/Mul", ["pixels", "preprocess.scale"], "scaled")]
    names = ["hidden", "head"]
    previous = "scaled"
    for layer, matrix, bias in zip(names, classifier.coefs_, classifier.intercepts_, strict=True):
        weights[f"{layer}.weight"], weights[f"{layer}.bias"] = matrix.astype(np.float32), bias.astype(np.float32)
        nodes.append(node("Gemm", f"{layer}/Gemm", [previous, f"{layer}.weight", f"{layer}.bias"], f"{layer}.out"))
        previous = f"{layer}.out"
        if layer != names[-1]:
            nodes.append(node("Relu", f"{layer}/Relu", [previous], f"{layer}.active"))
            previous = f"{layer}.active"
    about = {"description": "Handwritten digits, 8×8 pixels: multilayer perceptron 64-64-10 trained by scikit-learn."}
    return build("digits_mlp", nodes + head(previous), weights, about)


def make_cnn(split: Split) -> onnx.ModelProto:
    weights = train_cnn(split)
    weights |= {
        "preprocess.scale": np.array(SCALE, np.float32),
        "preprocess.shape": np.array([0, 1, 8, 8], np.int64),  # 0 keeps the batch, by name too
    }
    nodes = [
        node("Mul", "preprocess/Mul", ["pixels", "preprocess.scale"], "scaled"),
        node("Reshape", "preprocess/Reshape", ["scaled", "preprocess.shape"], "image"),
    ]
    previous = "image"
    for block in ("conv1", "conv2"):
        nodes += [
            node("Conv", f"{block}/Conv", [previous, f"{block}.weight", f"{block}.bias"], f"{block}.out",
                 kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Relu", f"{block}/Relu", [f"{block}.out"], f"{block}.active"),
            node("MaxPool", f"{block}/MaxPool", [f"{block}.active"], f"{block}.pooled",
                 kernel_shape=[2, 2], strides=[2, 2]),
        ]  # fmt: skip
        previous = f"{block}.pooled"
    nodes += [
        node("Flatten", "flatten/Flatten", [previous], "flat", axis=1),
        node("Gemm", "hidden/Gemm", ["flat", "hidden.weight", "hidden.bias"], "hidden.out", transB=1),
        node("Relu", "hidden/Relu", ["hidden.out"], "hidden.active"),
        node("Gemm", "head/Gemm", ["hidden.active", "head.weight", "head.bias"], "scores", transB=1),
    ]
    about = {"description": "Handwritten digits, 8×8 pixels: two convolutions and two dense layers, trained in numpy."}
    return build("digits_cnn", nodes + head("scores"), weights, about)


class Calibration(CalibrationDataReader):
    """Training rows, one batch."""

    def __init__(self, split: Split) -> None:
        self._batches = iter([{"pixels": split.train_pixels[:CALIBRATION_ROWS]}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def make_int8(cnn: Path, split: Split) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(cnn, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Calibration(split),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv", "Gemm", "MaxPool", "Relu"],
        )
        model = onnx.load(quantized)
    model.ir_version = IR_VERSION
    model.graph.name = "digits_cnn_int8"
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPSET))
    for item in model.graph.node:
        if not item.name.startswith("/"):  # what the quantiser added: conv1.weight_DequantizeLinear
            stem, _, op = item.name.rpartition("_")
            item.name = f"/{stem.replace('.', '/')}/{op}"
    about = {"description": "The convolutional digits network with weights and activations in 8 bits (static QDQ)."}
    model.graph.doc_string = about["description"]
    describe(model, about)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_test_data(folder: Path, split: Split) -> None:
    pixels, labels = split.test_pixels, split.test_labels
    header = ",".join([*(f"pixels_{index}" for index in range(64)), "label"])
    rows = (",".join(str(int(value)) for value in (*row, label)) for row, label in zip(pixels, labels, strict=True))
    (folder / "digits_test.csv").write_text("\n".join([header, *rows]) + "\n", encoding="ascii")
    np.savez_compressed(folder / "digits_test.npz", pixels=pixels, label=labels)


def accuracy(path: Path, split: Split) -> float:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (labels,) = session.run(["label"], {"pixels": split.test_pixels})
    return float((labels == split.test_labels).mean())


def main(folder: Path) -> None:
    logging.disable(logging.WARNING)  # the quantiser advises preprocessing that was just done
    folder.mkdir(parents=True, exist_ok=True)
    split = load_split()
    write_test_data(folder, split)
    onnx.save(make_mlp(split), folder / "digits_mlp.onnx")
    onnx.save(make_cnn(split), folder / "digits_cnn.onnx")
    onnx.save(make_int8(folder / "digits_cnn.onnx", split), folder / "digits_cnn_int8.onnx")
    for path in sorted(folder.glob("*.onnx")):
        print(f"{path.name:24} {path.stat().st_size:>7,} bytes  accuracy {accuracy(path, split):.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
