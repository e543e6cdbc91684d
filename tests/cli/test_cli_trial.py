"""`trial`, `feed`, and what the other commands say of versions that do not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cli_harness import Cli, save_model, save_unrunnable
from onnx import TensorProto, helper, numpy_helper

from quickserveml_tui.cli import trial as trial_command
from quickserveml_tui.core.errors import CancelledError

KEPT = {"dims": {}, "shapes": {}, "ranges": {}, "batch": None, "seed": 0, "lengths": {}, "words": {}, "absent": []}


def save_picky(path: Path) -> Path:
    """A model that runs on rows of 6 only, and does not say so."""
    weight = numpy_helper.from_array(np.ones((6, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "picky",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "width"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])], [weight],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def save_trap(path: Path) -> Path:
    """A model whose integer division kills the process that runs it."""
    low = numpy_helper.from_array(np.array([np.iinfo(np.int32).min], np.int32), "a")
    minus = numpy_helper.from_array(np.array([-1], np.int32), "b")
    graph = helper.make_graph(
        [helper.make_node("Div", ["a", "b"], ["q"]), helper.make_node("Add", ["q", "x"], ["y"])], "trap",
        [helper.make_tensor_value_info("x", TensorProto.INT32, [1])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1])], [low, minus],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_crash_puts_a_version_into_quarantine_and_every_command_says_so(cli: Cli, tmp_path: Path) -> None:
    added = cli.json("add", "add", str(save_trap(tmp_path / "trap.onnx")))
    assert (added["status"], added["quarantined"], added["trial"]["code"]) == ("quarantined", True, "runtime.crashed")
    shown = cli("show", "trap").out
    assert "In quarantine" in shown
    assert "SIGFPE" in shown
    assert "quarantined" in cli("list").out
    found = cli.json("list", "list", "--filter", "status = quarantined")
    assert [model["name"] for model in found["models"]] == ["trap"]
    error = cli("predict", "trap", "--json").error
    assert error["code"] == "model.quarantined"
    assert "quickserveml" in error["hint"]
    assert cli("alias", "trap", "prod").code != 0


def test_a_version_is_tried_again_and_the_table_says_before_and_after(cli: Cli, tmp_path: Path) -> None:
    assert cli("add", str(save_model(tmp_path / "linear.onnx"))).code == 0
    assert cli("add", str(save_unrunnable(tmp_path / "odd.onnx"))).code == 0
    document = cli.json("trial", "trial", "--all")
    assert [(item["ref"], item["status"], item["before"]["outcome"]) for item in document["trials"]] == [
        ("linear@1", "draft", "ready"),
        ("odd@1", "unrunnable", "unrunnable"),
    ]
    assert document["failed"] == []
    text = cli("trial", "--filter", "runnable = false").out
    assert "odd@1" in text
    assert "1 version tried, 0 changed." in text


def test_what_cannot_be_tried_is_an_error_and_the_others_are_tried(cli: Cli, tmp_path: Path) -> None:
    assert cli("add", str(save_model(tmp_path / "linear.onnx"))).code == 0
    document = cli.json("trial", "trial", "absent", "linear", code=3)
    assert [item["ref"] for item in document["failed"]] == ["absent"]
    assert [item["ref"] for item in document["trials"]] == ["linear@1"]
    assert cli("trial", "--json").code == 2
    assert cli("trial", "linear", "--all").code == 2


def test_overrides_make_a_version_ready_and_are_kept_shown_and_taken_away(cli: Cli, tmp_path: Path) -> None:
    assert cli("add", str(save_picky(tmp_path / "picky.onnx"))).code == 0
    assert cli.json("feed", "feed", "picky")["runnable"] is False
    kept = cli.json("feed", "feed", "picky", "--dim", "width=6", "--seed", "7")
    assert (kept["runnable"], kept["args"]) == (True, ["--dim", "width=6", "--seed", "7"])
    assert kept["feed"] == KEPT | {"dims": {"width": 6}, "seed": 7}
    assert "--dim width=6" in cli("feed", "picky").out
    assert "--dim width=6" in cli("show", "picky").out
    assert cli("predict", "picky", "--json").document["outputs"]["y"]
    refused = cli("feed", "picky", "--dim", "width=5", "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage.override")
    assert cli("feed", "picky", "--clear").code == 2
    assert cli.json("feed", "feed", "picky")["feed"]["dims"] == {"width": 6}


def test_a_first_trial_takes_the_overrides_of_add(cli: Cli, tmp_path: Path) -> None:
    added = cli.json("add", "add", str(save_picky(tmp_path / "picky.onnx")), "--shape", "x=2x6")
    assert added["runnable"] is True
    assert cli.json("feed", "feed", "picky")["feed"] == KEPT | {"shapes": {"x": [2, 6]}}


@pytest.mark.parametrize(
    "options",
    [("--dim", "depth=3"), ("--shape", "z=1x6"), ("--shape", "x=6"), ("--word", "x=hello"), ("--length", "x=3"),
     ("--absent", "x"), ("--dim", "x[2]=3"), ("--range", "z=0:1"), ("--batch", "0")],
)  # fmt: skip
def test_an_override_that_fits_nothing_is_refused(stocked: Cli, options: tuple[str, str]) -> None:
    refused = stocked("feed", "linear", *options, "--json")
    assert refused.code == 2
    assert refused.error["hint"]
    assert stocked.json("feed", "feed", "linear")["feed"] == KEPT


def test_a_limit_of_the_settings_holds_for_a_trial(cli: Cli, tmp_path: Path) -> None:
    assert cli("config", "set", "trial.timeout_s", "0.5").code == 2
    assert cli("config", "set", "trial.timeout_s", "120").code == 0
    assert cli("config", "get", "trial.timeout_s").out.strip() == "120.0"


def test_what_was_tried_before_a_cancel_is_printed(stocked: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = trial_command._try_one

    def cancelled_at_two(catalog: Any, ref: str) -> Any:
        if ref.endswith("@2"):
            raise CancelledError("Cancelled.")
        return real(catalog, ref)

    monkeypatch.setattr(trial_command, "_try_one", cancelled_at_two)
    result = stocked("trial", "--all")
    assert result.code == 130
    assert "linear@1" in result.out


def test_the_reason_stands_below_the_table_in_full(cli: Cli, tmp_path: Path) -> None:
    assert cli("add", str(save_unrunnable(tmp_path / "odd.onnx"))).code == 0
    reason = cli.json("trial", "trial", "odd")["trials"][0]["trial"]["reason"]
    lines = cli("trial", "odd").out.splitlines()
    assert f"odd@1: {reason}" in lines
    assert max(map(len, lines[: lines.index(f"odd@1: {reason}")])) <= 80
