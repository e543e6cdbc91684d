"""External data stays in the model's folder, exists, and is long enough; nothing else is read."""

from __future__ import annotations

import os

import numpy as np
import pytest
from graph_builders import external_tensor, matmul_with, model, relu_model, save, value
from onnx import TensorProto, helper

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph.external import external_files
from quickserveml_tui.graph.facts import read_facts

DATA = np.zeros((4, 4), np.float32).tobytes()


def refused(path):
    with pytest.raises(ModelError) as caught:
        external_files(path)
    assert caught.value.hint
    return caught.value


def test_a_model_without_external_data_has_no_external_files(tmp_path):
    assert external_files(save(relu_model(), tmp_path)) == ()


def test_external_files_are_found_in_initializers_attributes_subgraphs_and_functions(tmp_path):
    for name in ("a.bin", "b.bin", "c.bin", "d.bin"):
        (tmp_path / name).write_bytes(DATA)
    inner = helper.make_node("Constant", [], ["k"], value=external_tensor("k", "b.bin"))
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w3"], ["o"])], "b", [], [value("o")], [external_tensor("w3", "c.bin")]
    )
    constant = helper.make_node("Constant", [], ["c"], value=external_tensor("c", "d.bin"))
    function = helper.make_function(
        "own", "F", ["p"], ["q"], [constant, helper.make_node("MatMul", ["p", "c"], ["q"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [
        inner,
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("F", ["h"], ["z"], domain="own"),
    ]
    proto = model(
        nodes,
        inputs=[value("x"), value("flag", (), TensorProto.BOOL)],
        outputs=[value("y"), value("z"), value("k", (4, 4))],
        initializers=[external_tensor("w1", "a.bin")],
        functions=[function],
        domains=("own",),
    )
    assert set(external_files(save(proto, tmp_path))) == {"a.bin", "b.bin", "c.bin", "d.bin"}


@pytest.mark.parametrize(
    "location",
    ["../w.bin", "/etc/passwd", "a/../../w.bin", "C:\\w.bin", "C:w.bin", "\\\\host\\share\\w.bin", "a\\..\\w.bin",
     "w\0.bin", "", ".", "*/_ORT_MEM_ADDR_/_", "//host/w.bin"],
)  # fmt: skip
def test_a_location_that_leaves_the_folder_is_refused(location, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(DATA)
    error = refused(save(matmul_with(external_tensor("w", location)), folder))
    assert error.code == "model.external_escape"


def test_a_link_that_leaves_the_folder_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(DATA)
    (folder / "w.bin").symlink_to(tmp_path / "secret.bin")
    assert refused(save(matmul_with(external_tensor("w", "w.bin")), folder)).code == "model.external_escape"


def test_a_missing_data_file_is_named(tmp_path):
    error = refused(save(matmul_with(external_tensor("w", "lost.bin")), tmp_path))
    assert error.code == "model.external_missing"
    assert "lost.bin" in error.message


def test_a_pipe_or_folder_or_the_model_itself_is_no_data_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.bin")
    (tmp_path / "folder").mkdir()
    for location in ("pipe.bin", "folder", "model.onnx"):
        assert refused(save(matmul_with(external_tensor("w", location)), tmp_path)).code == "model.external_invalid"


@pytest.mark.parametrize(
    "entries",
    [{"offset": 4}, {"offset": 10**12}, {"offset": "0x0"}, {"offset": "-4"}, {"offset": "٣"}, {"length": 63},
     {"length": "many"}, {"offset": "9" * 40}],
    ids=str,
)  # fmt: skip
def test_offsets_and_lengths_that_do_not_fit_are_refused(entries, tmp_path):
    (tmp_path / "w.bin").write_bytes(DATA)
    error = refused(save(matmul_with(external_tensor("w", "w.bin", **entries)), tmp_path))
    assert error.code == "model.external_range"


def test_files_below_the_folder_are_allowed_and_count_in_the_size(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"\0" * 8 + DATA)
    path = save(matmul_with(external_tensor("w", "./data/w.bin", offset=8, length=64)), tmp_path)
    assert external_files(path) == ("data/w.bin",)
    assert read_facts(path).size_bytes == path.stat().st_size + 72
    assert read_facts(path).params == 16
