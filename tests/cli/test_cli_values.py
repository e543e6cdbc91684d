"""`predict` on values of every kind: options, previews and files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_harness import Cli

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime"))
from value_models import helper, map_type, optional, save, seq, tensor, tensor_type, value_info

FLOATS = seq(tensor_type(1, ["n", 2]))
MAYBE = optional(tensor_type(8, [2]))


@pytest.fixture
def every(tmp_path: Path) -> str:
    """A model with a sequence, an optional, maps, int4 and bfloat16."""
    nodes = [
        helper.make_node("Identity", ["s"], ["t"]),
        helper.make_node("Identity", ["o"], ["p"]),
        helper.make_node("ZipMap", ["x"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[3, 5]),
        helper.make_node("Cast", ["x"], ["b"], to=16),
        helper.make_node("Transpose", ["i"], ["j"], perm=[1, 0]),
    ]
    inputs = [
        value_info("s", FLOATS),
        value_info("o", MAYBE),
        tensor("x", "float32", ["n", 2]),
        tensor("i", "int4", [2, 1]),
    ]
    outputs = [
        value_info("t", FLOATS), value_info("p", MAYBE), value_info("maps", seq(map_type("int64"))),
        tensor("b", "bfloat16", None), tensor("j", "int4", None),
    ]  # fmt: skip
    return str(save(tmp_path / "every.onnx", nodes, inputs, outputs, ml=True, opset=21, ir=10))


def test_what_was_made_up_is_said_in_a_few_words(cli: Cli, every: str) -> None:
    said = cli("predict", every).err
    assert "s of 2 elements" in said
    assert "x 1×2" in said or "x 2×2" in said
    assert "i 2×1" in said


def test_every_kind_of_output_has_a_short_preview(cli: Cli, every: str) -> None:
    shown = cli("predict", every, "--length", "s=6", "--word", "o=red", "--word", "o=blue", "--batch", "2")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert "t  seq(tensor(float))  6 elements" in lines
    assert "  … 2 more" in lines
    assert any(line.startswith("  [0]  float32  2×2") for line in lines)
    assert any(line.startswith("  [1]  3: 0.") for line in lines)
    assert "j  int4  1×2  0 to 1" in lines or any(line.startswith("j  int4  1×2") for line in lines)
    assert {word for line in lines for word in line.split()} & {"red", "blue"}
    left_out = cli("predict", every, "--absent", "o")
    assert "p  optional(tensor(string))  no value" in left_out.out.splitlines()


def test_outputs_are_written_as_npz_or_json_by_the_name_of_the_file(cli: Cli, every: str, tmp_path: Path) -> None:
    for name in ("out.npz", "out.json"):
        document = cli.json("predict", "predict", every, "--absent", "o", "--output", str(tmp_path / name))
    assert json.loads((tmp_path / "out.json").read_text())["outputs"] == document["outputs"]
    assert document["outputs"]["p"] == {"dtype": "optional(tensor(string))", "shape": None, "data": None}
    assert [list(row) for row in document["outputs"]["maps"]["data"]] == [["3", "5"]]
    with np.load(tmp_path / "out.npz", allow_pickle=False) as archive:
        assert "quickserveml.json" in archive.files
    assert cli("predict", every, "--output", str(tmp_path / "out.txt"), "--json").error["code"] == "usage"


@pytest.mark.parametrize("option", [("--length", "x=2"), ("--word", "x=a"), ("--absent", "s"), ("--dim", "x[1]=3")])
def test_an_option_for_another_kind_of_input_is_refused(cli: Cli, every: str, option: tuple[str, str]) -> None:
    result = cli("predict", every, *option, "--json")
    assert (result.code, result.error["code"]) == (2, "usage.override")
    assert result.error["hint"]


def test_a_benchmark_takes_the_same_options_and_prints_them(cli: Cli, every: str) -> None:
    options = ("--length", "s=3", "--word", "o=a", "--absent", "o")
    document = cli.json("benchmark", "benchmark", every, "--runs", "3", "--no-save", *options)
    assert all(option in document["command"] for option in ("--length s=3", "--word o=a", "--absent o"))
