"""Hostile files through the command line: one sentence, the right exit code, and the next command works."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from cli_harness import Cli, save_model
from onnx import TensorProto, helper
from test_cli_trial import save_trap


def _external(path: Path, location: str) -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])], [weight],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def _cut(path: Path) -> None:
    save_model(path)
    os.truncate(path, path.stat().st_size // 2)


def _evil(path: Path) -> None:
    node = helper.make_node("Frob\x1b]52;c;eA==\x07\n[/]", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    model = helper.make_model(
        helper.make_graph([node], "g", value[:1], value[1:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, path)


FILES = {
    "a web page": (lambda path: path.write_bytes(b"<!DOCTYPE html><html><title>404</title>"), 3, "HTML page"),
    "a pointer": (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), 3, "git-LFS"),
    "a cut model": (_cut, 3, "cut off"),
    "a pipe": (os.mkfifo, 3, "named pipe"),
    "a loop of links": (lambda path: path.symlink_to(path), 3, "loop"),
    "data elsewhere": (lambda path: _external(path, "../../../../etc/passwd"), 3, "outside the model's folder"),
    "a crash": (save_trap, 0, "SIGFPE"),
    "escapes": (_evil, 0, "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_a_hostile_file_gets_one_line_and_the_next_command_works(cli: Cli, tmp_path: Path, kind: str) -> None:
    make, code, words = FILES[kind]
    path = tmp_path / "hostile.onnx"
    make(path)
    result = cli("add", str(path))
    assert result.code == code, result
    said = result.err if code else result.out + result.err
    assert words in said
    assert "\x1b" not in said
    assert "Traceback" not in said
    document = cli.json("list", "list")
    assert len(document["models"]) == (0 if code else 1)
    assert cli("add", str(save_model(tmp_path / "linear.onnx"))).code == 0
