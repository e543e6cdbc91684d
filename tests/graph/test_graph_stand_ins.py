"""Operators whose shape inference would end the process are read like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from graph_builders import model, save, value
from onnx import TensorProto, helper

import quickserveml_tui
from quickserveml_tui.graph.layers import read_layers

ROOT = Path(quickserveml_tui.__file__).parent.parent
ML = "ai.onnx.ml"
TREE = {
    "n_targets": 3, "nodes_featureids": [0], "nodes_splits": helper.make_tensor("s", TensorProto.FLOAT, [1], [0.5]),
    "nodes_modes": helper.make_tensor("m", TensorProto.UINT8, [1], [0]), "nodes_truenodeids": [0],
    "nodes_falsenodeids": [1], "nodes_trueleafs": [1], "nodes_falseleafs": [1], "leaf_targetids": [0, 0],
    "leaf_weights": helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0]), "tree_roots": [0],
}  # fmt: skip
DEADLY = {
    "EyeLike": ("", {"dtype": TensorProto.INT32}),
    "RegexFullMatch": ("", {"pattern": "a"}),
    "DictVectorizer": (ML, {"string_vocabulary": ["a"]}),
    "LabelEncoder": (ML, {"keys_strings": ["a"], "values_int64s": [1]}),
    "TreeEnsemble": (ML, TREE),
}
OUTPUTS = {"EyeLike": TensorProto.INT32, "RegexFullMatch": TensorProto.BOOL, "LabelEncoder": TensorProto.INT64}
RESULTS = {"EyeLike": ("int32", (2, 2)), "LabelEncoder": ("int64", (2, 2)), "TreeEnsemble": ("float32", (2, 3))}


def deadly(op, source):
    domain, attributes = DEADLY[op]
    node = helper.make_node(op, [source], ["y"], domain=domain, **attributes)
    unknown = helper.make_node("Mystery", ["x"], ["z"], domain="own")
    domains = helper.make_opsetid(ML, 5), helper.make_opsetid("own", 1)
    proto = model(
        [unknown, node], [value("x", (2, 2))], [value("y", None, OUTPUTS.get(op, TensorProto.FLOAT))], opset=21, ir=10
    )
    proto.opset_import.extend(domains)
    return proto


def read_in_a_child(path) -> str:
    code = (
        "import sys; from pathlib import Path; from quickserveml_tui.graph.facts import read_facts;"
        "from quickserveml_tui.graph.layers import read_layers; path = Path(sys.argv[1]);"
        "print(read_facts(path).nodes, read_layers(path).total)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.returncode == 0, (child.returncode, child.stderr[-1000:])
    return child.stdout.strip()


def test_inputs_without_a_type_do_not_end_the_process(tmp_path):
    for op in DEADLY:
        assert read_in_a_child(save(deadly(op, "z"), tmp_path)) == "2 2", op


def test_a_split_with_more_outputs_than_it_says_does_not_end_the_process(tmp_path):
    split = helper.make_node("Split", ["x"], [f"y{index}" for index in range(6)], num_outputs=2, axis=0)
    path = save(model([split], [value("x", (12, 4))], [value("y0", None)], opset=18), tmp_path)
    assert read_in_a_child(path) == "1 1"


@pytest.mark.parametrize("op", RESULTS)
def test_their_results_are_known_where_the_input_is(op, tmp_path):
    row = read_layers(save(deadly(op, "x"), tmp_path)).rows[1]
    assert (row.output_dtype, row.output_shape) == RESULTS[op]
    assert row.op == op


def test_a_split_that_says_its_outputs_keeps_their_shapes(tmp_path):
    split = helper.make_node("Split", ["x"], ["a", "b"], num_outputs=2, axis=0)
    proto = model([split], [value("x", (12, 4))], [value("a", None), value("b", None)], opset=18)
    assert read_layers(save(proto, tmp_path)).rows[0].output_shape == (6, 4)


def einsum(equation):
    node = helper.make_node("Einsum", ["x", "x"], ["y"], equation=equation)
    return model([node], [value("x", (5, 4, 4))], [value("y", None)])


@pytest.mark.parametrize(
    "equation", [b"bi]j,bjk", b"\x94\x96 bjk -> bik", b"i>bi", b"bij,bjk->b..k", b"bij,b\njk->bik"]
)
def test_an_equation_with_odd_characters_ends(equation, tmp_path):
    assert read_in_a_child(save(einsum(equation), tmp_path)) == "1 1"


@pytest.mark.parametrize("equation", ["bij,bjk->bik", " b i j , b j k -> b i k ", "...ij,...jk->...ik"])
def test_an_equation_that_is_one_gives_its_shape(equation, tmp_path):
    assert read_layers(save(einsum(equation), tmp_path)).rows[0].output_shape == (5, 4, 4)
