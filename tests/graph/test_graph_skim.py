"""Reading a model without its large weights finds the same as reading it whole."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graph_builders import external_tensor, matmul_with, model, save, value, weight
from onnx import TensorProto, helper

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph import reading, skim
from quickserveml_tui.graph.external import external_files
from quickserveml_tui.graph.facts import read_facts
from quickserveml_tui.graph.layers import read_layers
from quickserveml_tui.graph.protobuf import field


def ones(*shape):
    return np.ones(shape, np.float32)


def with_weights_everywhere():
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["h", "inner"], ["o"])],
        "b",
        [],
        [value("o", None)],
        [weight("inner", ones(64, 32))],
    )
    sparse = helper.make_sparse_tensor(
        weight("s", ones(600)), weight("s_index", np.arange(600, dtype=np.int64)), [64, 64]
    )
    body = [
        helper.make_node("Constant", [], ["w"], value=weight("w", ones(32, 32))),
        helper.make_node("MatMul", ["p", "w"], ["q"]),
    ]
    function = helper.make_function("own", "F", ["p"], ["q"], body, [helper.make_opsetid("", 17)])
    nodes = [
        helper.make_node("Constant", [], ["c"], value=weight("c", ones(64, 64))),
        helper.make_node("MatMul", ["x", "first"], ["h0"]),
        helper.make_node("MatMul", ["h0", "c"], ["h1"]),
        helper.make_node("MatMul", ["h1", "s"], ["h"]),
        helper.make_node("If", ["flag"], ["k"], then_branch=branch, else_branch=branch),
        helper.make_node("F", ["k"], ["y"], domain="own"),
    ]
    return model(
        nodes,
        inputs=[value("x"), value("flag", (), TensorProto.BOOL)],
        outputs=[value("y", ("batch", 32))],
        initializers=[weight("first", ones(4, 64)), weight("small", ones(3))],
        functions=[function],
        domains=("own",),
        sparse_initializer=[sparse],
    )


def test_facts_and_layers_are_the_same_without_the_large_weights(tmp_path, monkeypatch):
    path = save(with_weights_everywhere(), tmp_path)
    facts, layers = read_facts(path), read_layers(path)
    monkeypatch.setattr(reading, "MIN_FILE_BYTES", 0)
    assert read_facts(path) == facts
    assert read_layers(path) == layers
    assert external_files(path) == ()


def test_no_large_weight_is_left_and_nothing_else_changes():
    data = with_weights_everywhere().SerializeToString()
    short = bytes(skim.skim(memoryview(data)))
    left = [tensor for tensor in onnx.ModelProto.FromString(short).graph.initializer if len(tensor.raw_data) > 1024]
    assert not left
    assert len(short) < len(data) - 4 * (64 * 64 + 2 * 64 * 32) + 300
    found, whole = onnx.ModelProto.FromString(short), onnx.ModelProto.FromString(data)
    for tensor in (*found.graph.initializer, *whole.graph.initializer):
        for name in ("raw_data", "external_data", "data_location"):
            tensor.ClearField(name)
    assert list(found.graph.initializer) == list(whole.graph.initializer)
    assert found.graph.input == whole.graph.input
    assert [node.op_type for node in found.graph.node] == [node.op_type for node in whole.graph.node]


def test_a_large_weight_of_the_wrong_size_is_still_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MIN_FILE_BYTES", 0)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[64, 64], raw_data=b"\0" * 4096)
    with pytest.raises(ModelError, match="16,384 bytes by its shape, but holds 4,096"):
        read_facts(save(matmul_with(tensor), tmp_path))


def test_inside_data_does_not_hide_a_reference_to_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MIN_FILE_BYTES", 0)
    tensor = external_tensor("w", "../../etc/passwd", dims=(64, 64)).SerializeToString()
    tensor += field(9, b"\0" * 64 * 64 * 4)  # the raw data last: of two locations the last one counts
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])])
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString() + field(7, field(5, tensor)))
    with pytest.raises(ModelError) as caught:
        external_files(path)
    assert caught.value.code == "model.external_escape"


@pytest.mark.parametrize("cut", [10, 2000, 9000])
def test_damaged_bytes_come_back_as_they_are(cut):
    data = memoryview(with_weights_everywhere().SerializeToString()[:-cut])
    assert bytes(skim.skim(data)) == bytes(data)


def test_too_many_fields_are_left_to_the_parser(monkeypatch):
    monkeypatch.setattr(skim, "MAX_FIELDS", 10)
    data = memoryview(with_weights_everywhere().SerializeToString())
    assert skim.skim(data) is data
