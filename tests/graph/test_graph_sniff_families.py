"""What people really hand in instead of a model: each is named for what it is, with the remedy that fits."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import onnx
import pytest
from graph_builders import relu_model
from onnx import TensorProto, helper, numpy_helper

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph import sniff
from quickserveml_tui.graph.protobuf import field, varint
from quickserveml_tui.graph.sniff import check_bytes, check_file, check_open, open_file

MODEL = relu_model()
BYTES = MODEL.SerializeToString()


def number(field_number, value):
    return varint(field_number << 3) + varint(value)


def fixed32(field_number, value):
    return varint(field_number << 3 | 5) + struct.pack("<f", value)


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 5000)
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.onnx"))
    return buffer.getvalue()


def encrypted_zip():
    data = bytearray(zipped("model.onnx"))
    data[6] |= 1
    return bytes(data)


def parts():
    graph = MODEL.graph
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    body = helper.make_function(
        "f", "F", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    return {
        "TensorProto": weight,
        "GraphProto": graph,
        "FunctionProto": body,
        "ValueInfoProto": graph.input[0],
        "TypeProto": graph.input[0].type,
        "NodeProto": helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3]),
        "AttributeProto": helper.make_attribute("axis", 1),
        "OperatorSetIdProto": helper.make_opsetid("ai.onnx.ml", 3),
    }


PARTS = parts()
TF_NODE = field(1, field(1, b"x") + field(2, b"Placeholder") + field(5, field(1, b"dtype") + field(2, number(6, 1))))
FOREIGN = {
    "tar": (tarred(), "a tar archive", "Unpack"),
    "gzip": (gzip.compress(BYTES), "a gzip archive", "Unpack"),
    "bzip2": (bz2.compress(BYTES), "a bzip2 archive", "Unpack"),
    "xz": (lzma.compress(BYTES), "an xz archive", "Unpack"),
    "lzma": (lzma.compress(BYTES, format=lzma.FORMAT_ALONE), "an LZMA archive", "Unpack"),
    "zstandard": (b"\x28\xb5\x2f\xfd" + b"\0" * 20, "a Zstandard archive", "Unpack"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive", "Unpack"),
    "rar": (b"Rar!\x1a\x07\x01\0", "a RAR archive", "Unpack"),
    "zip with a model": (zipped("readme.txt", "net/model.onnx"), "holds “net/model.onnx”", "Unpack"),
    "encrypted zip": (encrypted_zip(), "an encrypted zip archive", "Decrypt"),
    "torchscript": (zipped("net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"), "a TorchScript model", "torch.onnx.export"),
    "checkpoint": (zipped("archive/data.pkl", "archive/data/0"), "a PyTorch checkpoint", "torch.onnx.export"),
    "keras 3": (zipped("metadata.json", "config.json", "model.weights.h5"), "a Keras model", "Export"),
    "npz": (zipped("x.npy"), "an NPZ archive", "--inputs"),
    "npy": (b"\x93NUMPY\x01\0v\0{'descr': '<f4'", "a NumPy array", "--inputs"),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0\0\0\0", "an HDF5 file", "Export"),
    "parquet": (b"PAR1\x15\4\x15", "a Parquet table", "input data"),
    "pickle": (pickle.dumps({"a": [1]}), "a Python pickle", "run code"),
    "old pickle": (pickle.dumps({"a": [1]}, protocol=0), "a Python pickle", "run code"),
    "joblib": (zlib.compress(pickle.dumps([1] * 100)), "joblib", "run code"),
    "safetensors": (struct.pack("<Q", 60) + json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode(), "safetensors", "Export"),
    "safetensors with blanks": (struct.pack("<Q", 60) + b'{ "w": 1}' + b" " * 50, "safetensors", "Export"),
    "gguf": (b"GGUF\x03\0\0\0", "a GGUF model", "llama.cpp"),
    "ggml": (b"tjgg\x03\0\0\0", "a GGML model", "llama.cpp"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\0" * 32, "a TensorFlow Lite model", "tf2onnx"),
    "ort": (b"\x1c\0\0\0ORTM" + b"\0" * 32, "ORT format", "made from"),
    "tensorrt": (b"ptrt\0\0\0\1" + b"\0" * 32, "a TensorRT engine", "made from"),
    "openvino": (b'<?xml version="1.0"?>\n<net name="n" version="11">\n<layers>', "an OpenVINO model", "made from"),
    "ncnn": (b"7767517\n75 83\nInput data 0 1 data\n", "an NCNN model", "made from"),
    "saved model": (number(1, 1) + field(2, field(1, field(5, b"2.9")) + field(2, TF_NODE)), "a TensorFlow SavedModel", "tf2onnx"),
    "frozen graph": (TF_NODE * 3 + field(4, number(1, 27)), "a TensorFlow graph", "Export"),
    "caffe": (field(1, b"CaffeNet") + field(100, field(1, b"data") + field(2, b"Input")) * 2, "a Caffe model", "Export"),
    "core ml": (number(1, 5) + field(2, field(1, field(1, b"image"))) + field(502, number(1, 1)), "a Core ML model", "made from"),
    "paddle": (field(1, number(1, 0) + number(2, 0) + field(3, field(1, b"x"))) + field(4, number(1, 0)), "a PaddlePaddle model", "paddle2onnx"),
    "sentencepiece": (field(1, field(1, b"<unk>") + fixed32(2, 0.0) + number(3, 2)) * 4 + field(2, field(1, b"x")), "a SentencePiece tokenizer", "lies beside"),
    "operator schemas": (field(1, b"ONNXOPSET") + number(2, 8), "OperatorSetProto", "onnx.save"),
    "page": (b"\n<!DOCTYPE html><html><title>404 Not Found</title></html>", "an HTML page (“404 Not Found”)", "web page"),
    "login page": (b"<html><head><title>Sign in \xc2\xb7 GitLab</title></head>", "an HTML page to sign in", "Sign in first"),
    "hugging face": (b"<!doctype html><html><title>m at main</title><a href='https://huggingface.co/'>", "an HTML page of Hugging Face", "/resolve/"),
    "s3 error": (b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code><Message>no</Message></Error>", "(AccessDenied)", "expired"),
    "server error": (b'{"error": "Repository not found"}', "an error message of a server", "Download"),
    "plain error": (b"Entry not found", "an error message of a server", "Download"),
    "annex": (b"../../.git/annex/objects/Kv/4X/SHA256E-s12--ab.onnx", "a git-annex pointer", "git annex get"),
    "dvc": (b"outs:\n- md5: 0123\n  path: model.onnx\n", "a DVC pointer", "dvc pull"),
    "config": (b'{"architectures": ["BertModel"], "model_type": "bert"}', "a configuration that lies beside", "Choose"),
    "json": (b'{"a": 1}', "JSON text", "binary"),
    "csv": (b"x_0,x_1,label\n1,2,cat\n3,4,dog\n", "a table of text (CSV)", "batch"),
    "readme": (b"# My model\n\nIt is good.\n", "notes in Markdown", "binary"),
    "front matter": (b"---\nlicense: mit\ntags:\n- onnx\n---\n", "notes in Markdown", "binary"),
    "script": (b"#!/bin/sh\necho\n", "a script", "Choose"),
    "utf-16": ("Größe: 3\n".encode("utf-16"), "text in UTF-16", "binary"),
    "blank": (b" \n\n\t ", "nothing but white space", "again"),
    "text onnx": (b'ir_version: 8\ngraph {\n  node {\n    input: "x"\n', "protobuf's text format", 'format="textproto"'),
    "onnx syntax": (b'<\n  ir_version: 8,\n  opset_import: ["" : 17]\n>\nagraph (float[N] x)', "ONNX's text syntax", 'format="onnxtxt"'),
    "json onnx": (b'{\n  "irVersion": "8",\n  "graph": {', "written as JSON", 'format="json"'),
    "random": (np.random.default_rng(5).bytes(5000), "compressed, encrypted or random", "download it again"),
    "zeros": (b"\0" * 9000, "filled with zeros", "again"),
    "zeros at the end": (BYTES + b"\0" * 5000, "ends in zeros", "again"),
    "no opset": (BYTES[: -len(field(8, MODEL.opset_import[0].SerializeToString()))], "which opset", "again"),
    **{name: (proto.SerializeToString(), name, "") for name, proto in PARTS.items()},
}  # fmt: skip


def refusal(path):
    with pytest.raises(ModelError) as caught:
        check_file(path)
    error = caught.value
    assert error.hint
    assert "\n" not in error.message
    assert len(error.message) <= 400
    return error


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_named_and_has_its_remedy(kind, tmp_path):
    content, words, remedy = FOREIGN[kind]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    error = refusal(path)
    assert words in error.message
    assert remedy in error.hint
    with pytest.raises(ModelError) as in_memory:
        check_bytes(memoryview(content), path.name)
    assert (in_memory.value.message, in_memory.value.code) == (error.message, error.code)


def test_every_format_version_has_the_outline_of_a_model():
    for ir in range(3, 11):
        MODEL.ir_version = ir
        check_bytes(memoryview(MODEL.SerializeToString()), "model.onnx")
    MODEL.ir_version = 8


def test_a_model_of_the_first_format_needs_no_opset(tmp_path):
    model = onnx.ModelProto.FromString(BYTES)
    model.ir_version = 2
    model.ClearField("opset_import")
    check_bytes(memoryview(model.SerializeToString()), "old.onnx")


def test_an_unfinished_download_is_named_by_its_ending(tmp_path):
    path = tmp_path / "model.onnx.part"
    path.write_bytes(BYTES[: len(BYTES) // 2])
    error = refusal(path)
    assert "unfinished download" in error.message
    assert error.code == "model.truncated"


def test_raw_weights_point_at_the_model_beside_them(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(np.linspace(-1, 1, 4096, dtype=np.float32).tobytes())
    assert "weights come along" in refusal(path).hint


def test_every_prefix_of_a_model_with_weights_is_refused_as_cut_off(tmp_path):
    weight = numpy_helper.from_array(np.arange(6, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [6])], [weight],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    whole = model.SerializeToString()
    path = tmp_path / "model.onnx"
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        error = refusal(path)
        assert error.code in ("model.truncated", "model.not_onnx"), size
    path.write_bytes(whole)
    check_file(path)


def test_a_file_that_is_cut_while_it_is_looked_at_is_refused_and_harms_nobody(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    model = onnx.ModelProto.FromString(BYTES)
    model.graph.doc_string = "d" * 100_000
    path.write_bytes(model.SerializeToString())

    def cut_then_recognise(*_parts):
        os.truncate(path, 50)

    monkeypatch.setattr(sniff, "recognise", cut_then_recognise)
    with open_file(path) as file, pytest.raises(ModelError) as caught:
        check_open(file, path)
    assert caught.value.code == "model.truncated"


def test_a_file_knows_whether_its_name_still_leads_to_it(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(BYTES)
    with open_file(path) as file:
        assert file.is_in_place()
        path.rename(tmp_path / "other.onnx")
        assert not file.is_in_place()
        path.write_bytes(BYTES)
        assert not file.is_in_place()


@pytest.mark.parametrize(
    "path", ["/proc/self/maps", "/proc/cpuinfo", "/sys/kernel/uevent_seqnum", "/dev/zero", "/proc/self/mem"]
)
def test_what_the_system_makes_up_is_no_file(path):
    from pathlib import Path

    if Path(path).exists():
        assert refusal(Path(path)).code == "model.not_a_file"


def test_a_link_that_leads_nowhere_is_called_one(tmp_path):
    (tmp_path / "gone.onnx").symlink_to(tmp_path / "absent")
    assert "a link to a file that is not there" in refusal(tmp_path / "gone.onnx").message


@pytest.mark.parametrize(
    "name", ["two\nlines.onnx", "esc\x1b[31m.onnx", "rtl\u202egnp.onnx", b"bad\xff.onnx", "x" * 250]
)
def test_an_odd_name_stays_out_of_the_way(tmp_path, name):
    path = tmp_path / (os.fsdecode(name) if isinstance(name, bytes) else name)
    path.write_bytes(b"no model")
    message = refusal(path).message
    assert message.isprintable()
    path.write_bytes(BYTES)
    check_file(path)
