"""What `alias` and `promote` check before an alias moves, and what they warn of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_harness import Cli, save_model, save_unrunnable
from onnx import TensorProto, helper, save


@pytest.fixture
def home(stock: Callable[..., Cli], tmp_path: Path) -> Cli:
    """`linear` with versions 1 and 2."""
    return stock(tmp_path / "home", ("linear", 1.0), ("linear", 2.0))


def _other(path: Path) -> Path:
    """A model that takes `z` beside an `x` of integers, with one fixed row, and gives `y` as `x` is."""
    nodes = [helper.make_node("Add", ["x", "z"], ["y"])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [1, 4]) for name in ("x", "z")]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.INT64, [1, 4])])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("command", ["alias", "promote"])
def test_a_move_to_other_inputs_and_outputs_warns_and_names_them(home: Cli, tmp_path: Path, command: str) -> None:
    home("add", str(_other(tmp_path / "other.onnx")), "--name", "linear")
    assert home(command, "linear@1", "live").err == ""
    moved = home(command, "linear@3", "live")
    assert moved.code == 0
    assert "linear@3 has other inputs or outputs than linear@1, which live pointed at" in moved.err
    assert "input “x” is int64 [1, 4], was float32 [batch, 4]; input “z” is new; output “y” is int64" in moved.err
    back = home(command, "linear@2", "live", "--json")
    (warning,) = json.loads(back.out)["warnings"]
    assert "input “z” is gone" in warning
    assert "linear@live" in warning
    assert home.json(command, command, "linear@2", "live")["warnings"] == []
    assert home.json(command, command, "linear@1", "live")["warnings"] == []


def test_an_added_version_with_other_inputs_warns_where_it_takes_an_alias(home: Cli, tmp_path: Path) -> None:
    home("alias", "linear@1", "live")
    document = home.json("added", "add", str(_other(tmp_path / "o.onnx")), "--name", "linear", "--alias", "live")
    assert "input “z” is new" in document["warning"]


def test_names_of_free_dimensions_are_no_other_inputs(home: Cli, tmp_path: Path) -> None:
    home("add", str(save_model(tmp_path / "renamed.onnx", rows="N")), "--name", "linear")
    home("alias", "linear@1", "live")
    assert home.json("alias", "alias", "linear@3", "live")["warnings"] == []


def test_promoting_points_prod_at_a_version_and_says_from_where(home: Cli) -> None:
    first = home.json("promote", "promote", "linear@1")
    assert first["promoted"] == {"alias": "prod", "version": 1, "previous": 0, "moved": True}
    assert (first["alias_targets"], first["warnings"]) == ({"prod": 1}, [])
    assert "prod: @1 → @2" in home("promote", "linear").out
    again = home.json("promote", "promote", "linear")
    assert again["promoted"] == {"alias": "prod", "version": 2, "previous": 2, "moved": False}
    assert home("promote", "./linear.onnx").code == 2
    assert home("promote", "linear@9").code == 3


def test_a_version_that_does_not_run_is_not_promoted_under_any_alias(home: Cli, tmp_path: Path) -> None:
    home("add", str(save_unrunnable(tmp_path / "bad.onnx")), "--name", "linear")
    refused = home("promote", "linear@3", "live", "--json")
    assert (refused.code, refused.error["code"]) == (3, "model.unrunnable")
    assert home("alias", "linear@3", "live").code == 0


def test_an_alias_that_is_not_there_is_told_with_how_to_make_it(home: Cli) -> None:
    missing = home("predict", "linear@prod", "--json")
    assert missing.error["message"] == "linear has no alias or label “prod”."
    assert "`quickserveml --home" in missing.error["hint"] or "`quickserveml alias" in missing.error["hint"]
    assert "alias linear@2 prod`" in missing.error["hint"]
    assert home("alias", "linear@2", "prod").code == 0
    assert home("predict", "linear@prod").code == 0
    assert home("predict", "linear@7", "--json").error["message"] == "linear has no version “7”."
    assert "alias" not in home("predict", "linear@1.2.3", "--json").error["hint"].replace("aliases", "")
