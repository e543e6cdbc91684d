"""What `add` and `alias` say of many files, of names and of aliases that move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cli_harness import Cli, save_model


def test_files_of_one_name_become_models_of_their_folders_and_the_last_line_counts(cli: Cli, tmp_path: Path) -> None:
    for scale, folder in enumerate(("cats", "dogs"), start=1):
        (tmp_path / folder).mkdir()
        save_model(tmp_path / folder / "model.onnx", scale=scale)
    (tmp_path / "bad.onnx").write_text("no")
    result = cli("add", str(tmp_path))
    assert result.code == 3
    assert f"{tmp_path}/cats/model.onnx → cats@1." in result.out
    assert f"{tmp_path}/dogs/model.onnx → dogs@1." in result.out
    assert result.out.splitlines()[-1] == "2 added, 1 rejected."
    failure, hint = result.err.splitlines()
    assert failure.startswith(f"! {tmp_path}/bad.onnx: ")
    assert hint.startswith("  ")
    again = cli("add", str(tmp_path / "cats" / "model.onnx"), str(tmp_path / "dogs" / "model.onnx"))
    assert again.out.splitlines()[-1] == "0 added, 2 were there already."
    assert "cats/model.onnx" in cli("show", "cats@1").out


def test_a_move_of_an_alias_is_said_with_both_ends(stock: Callable[..., Cli], tmp_path: Path) -> None:
    cli = stock(tmp_path / "home", ("linear", 1.0), ("linear", 2.0))
    third = save_model(tmp_path / "linear.onnx", scale=3)
    assert "prod: none → @2" in cli("alias", "linear@2", "prod").out
    assert "already" in cli("alias", "linear@2", "prod").out
    assert "prod: @2 → @3" in cli("add", str(third), "--alias", "prod").out
    document = cli.json("added", "add", str(third), "--alias", "prod")
    assert document["moved"] is None
    assert "prod: @3 → @1" in cli("alias", "linear@1", "prod").out


def test_an_alias_that_leaves_golden_outputs_behind_warns_and_says_how_to_run_them(
    stock: Callable[..., Cli], tmp_path: Path
) -> None:
    cli = stock(tmp_path / "home", ("linear", 1.0), ("linear", 2.0))
    assert cli("golden", "record", "linear@1").code == 0
    assert cli("alias", "linear@1", "prod").code == 0
    moved = cli("alias", "linear@2", "prod")
    assert moved.code == 0
    command = f"quickserveml --home {cli.home} verify linear@2 --against linear@1"
    assert f"linear@2 has no golden outputs; linear@1, which prod pointed at, has 1: `{command}`." in moved.err
    ran = cli("verify", "linear@2", "--against", "linear@1")
    assert ran.code == 1
    assert "linear@2  0 of 1 ok" in ran.out
    assert cli("verify", "linear@1", "--against", "linear@1").code == 0
    assert cli("golden", "list", "linear@2").out.startswith("linear@2 has no golden outputs")
    assert cli("verify", "--all").code == 0
    assert cli("verify", "--all", "--require").code == 1
    assert cli("alias", "linear@1", "prod").err == ""
    third = save_model(tmp_path / "linear.onnx", scale=3)
    assert "linear@3 has no golden outputs" in cli("add", str(third), "--alias", "prod").err


def test_a_model_that_cannot_run_is_added_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    import onnx

    path = save_model(tmp_path / "late.onnx")
    model = onnx.load(path)
    model.opset_import[0].version = 99
    path.write_bytes(model.SerializeToString())
    err = cli("add", str(path)).err
    assert "late@1 cannot be run" in err
    assert "onvert" in err or "xport" in err
    assert "What to do" in cli("show", "late@1").out


def test_a_folder_without_models_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    result = cli("add", str(tmp_path / "bare"))
    assert result.code == 3
    assert "bare" in result.err
    assert ".onnx" in result.err


def test_integers_that_differ_are_not_offered_a_tolerance(cli: Cli, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])], "n", [value("x", TensorProto.INT64, [2])],
        [value("y", TensorProto.INT64, [2])],
    )  # fmt: skip
    path = tmp_path / "neg.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    assert cli("add", str(path)).code == 0
    (tmp_path / "expected.json").write_text('{"y": [5, 6]}')
    refused = cli("golden", "record", "neg", "--outputs", str(tmp_path / "expected.json"))
    assert refused.code == 3
    assert "--rtol" not in refused.err
    recorded = cli("golden", "record", "neg")
    assert "of neg@1." in recorded.out
    assert "output  y  int64  2" in recorded.out
