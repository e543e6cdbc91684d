"""The layer table shows each node once, in order, with shapes, weights and cost."""

from __future__ import annotations

import numpy as np
import pytest
from graph_builders import model, save, value, weight
from onnx import TensorProto, helper

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph.facts import read_facts
from quickserveml_tui.graph.layers import read_layers


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.fixture
def path(tmp_path):
    branch = helper.make_graph(
        [helper.make_node("Neg", ["h"], ["t"], name="inner"), helper.make_node("Relu", ["t"], ["o"])],
        "branch",
        [],
        [value("o", None)],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], name="/conv/Conv", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("If", ["flag"], ["k"], then_branch=branch, else_branch=branch),
        helper.make_node("Constant", [], ["target"], value=weight("t", np.array([0, -1], np.int64))),
        helper.make_node("Reshape", ["k", "target"], ["f"], name="/flatten"),
        helper.make_node("MatMul", ["f", "m"], ["y"], name="/head/MatMul"),
    ]
    proto = model(
        nodes,
        inputs=[value("x", ("batch", 2, 8, 8)), value("flag", (), TensorProto.BOOL)],
        outputs=[value("y", ("batch", 10))],
        initializers=[weight("w", ones(4, 2, 3, 3)), weight("b", ones(4)), weight("m", ones(256, 10))],
    )
    return save(proto, tmp_path)


def test_nodes_of_subgraphs_follow_their_owner(path):
    page = read_layers(path)
    assert [(row.index, row.op, row.depth) for row in page.rows] == [
        (0, "Conv", 0), (1, "If", 0), (2, "Neg", 1), (3, "Relu", 1), (4, "Neg", 1), (5, "Relu", 1),
        (6, "Constant", 0), (7, "Reshape", 0), (8, "MatMul", 0),
    ]  # fmt: skip
    assert page.total == 9


def test_a_row_tells_shape_dtype_weights_cost_and_attributes(path):
    conv = read_layers(path).rows[0]
    assert conv.name == "/conv/Conv"
    assert conv.inputs == ("x", "w", "b")
    assert (conv.output_shape, conv.output_dtype) == (("batch", 4, 8, 8), "float32")
    assert (conv.params, conv.macs, conv.output_bytes) == (72 + 4, 4 * 8 * 8 * 18, 4 * 8 * 8 * 4)
    assert conv.attributes == {"pads": "[1, 1, 1, 1]", "kernel_shape": "[3, 3]"}


def test_a_node_without_a_name_goes_by_its_first_output(path):
    assert [row.name for row in read_layers(path).rows[1:4]] == ["k", "inner", "o"]


def test_rows_add_up_to_the_facts(path):
    rows, facts = read_layers(path).rows, read_facts(path)
    assert sum(row.params for row in rows) == facts.params
    assert sum(row.macs for row in rows) == facts.macs
    assert len(rows) == facts.nodes


def test_pages_put_together_are_the_whole(path):
    whole = read_layers(path).rows
    parts = [read_layers(path, offset, 2) for offset in range(0, 10, 2)]
    assert tuple(row for part in parts for row in part.rows) == whole
    assert {part.total for part in parts} == {9}
    assert read_layers(path, 100, 5).rows == ()


def test_dims_that_inference_makes_up_are_shown_as_unknown(tmp_path):
    nodes = [helper.make_node("NonZero", ["x"], ["h"]), helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT)]
    row = read_layers(save(model(nodes, outputs=[value("y", (2, None))]), tmp_path)).rows[0]
    assert row.output_shape == (2, None)
    assert row.output_bytes is None


def test_long_attributes_are_cut(tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"], doc="a\x1b[31m" * 1000, many=list(range(5000)))
    attributes = read_layers(save(model([node]), tmp_path)).rows[0].attributes
    assert attributes["many"].endswith("5,000 in all]")
    assert all(len(text) <= 120 and "\x1b" not in text for text in attributes.values())


def test_a_broken_model_has_no_layers(tmp_path):
    with pytest.raises(ModelError):
        read_layers(save(model([helper.make_node("Add", ["x", "ghost"], ["y"])]), tmp_path))


@pytest.mark.parametrize("operator", ["Scaler", "Constant"])
def test_a_graph_in_an_attribute_that_takes_none_is_listed_with_its_owner(tmp_path, operator):
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["s"])], "body", [], [value("s")])
    owner = helper.make_node(operator, [] if operator == "Constant" else ["x"], ["y"], body=body)
    if operator == "Constant":
        owner.attribute.append(helper.make_attribute("value", weight("v", ones(1000))))
    else:
        owner.domain = "ai.onnx.ml"
    proto = model([owner], outputs=[value("y", None)], domains=["ai.onnx.ml"])
    page = read_layers(save(proto, tmp_path))
    assert [(row.op, row.depth) for row in page.rows] == [(operator, 0), ("Identity", 1)]
