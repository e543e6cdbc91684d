"""Every command's `--json` prints exactly one document that is valid against the committed schema."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_harness import SCHEMA, Cli, Result, check, save_model, save_nonfinite, save_unrunnable
from jsonschema import Draft202012Validator

from quickserveml_tui.cli.commands import COMMANDS


def test_the_schema_is_valid_and_knows_every_command() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    names = {entry.name for entry in COMMANDS.values() if not entry.hidden}
    covered = {name.split(" ")[0] for name in schema["$defs"]}
    assert names - covered - {"open"} == set()  # the workbench prints no document


def test_add_prints_the_version_flat(cli: Cli, model: Path) -> None:
    document = cli.json(
        "add", "add", str(model), "--name", "lin", "--label", "1.2.0", "--tag", "a", "--tag", "b", "--alias", "prod",
        "--task", "regression", "--author", "me", "--meta", "k=v=w",
    )  # fmt: skip
    assert (document["name"], document["version"], document["state"]) == ("lin", 1, "draft")
    assert document["aliases"] == ["prod"]
    assert document["tags"] == ["a", "b"]
    assert document["size_bytes"] == model.stat().st_size
    assert document["existed"] is False
    shown = cli.json("show", "show", "lin")
    assert shown["metadata"] == {"k": "v=w"}
    assert cli.json("add", "add", str(model), "--name", "lin")["existed"] is True


def test_add_of_a_folder_adds_what_is_a_model_and_lists_the_rest(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    save_model(folder / "one.onnx")
    save_model(folder / "two.onnx", scale=2)
    broken = tmp_path / "broken.onnx"
    broken.write_text("not a model")
    document = cli.json("add", "add", str(folder), str(broken), code=3)
    assert sorted(item["name"] for item in document["models"]) == ["one", "two"]
    assert [item["path"] for item in document["failed"]] == [str(broken)]


def test_an_unrunnable_model_is_kept_with_its_reason(cli: Cli, tmp_path: Path) -> None:
    document = cli.json("add", "add", str(save_unrunnable(tmp_path / "odd.onnx")))
    assert document["trial"]["outcome"] == "unrunnable"
    assert document["reason"]
    inspected = cli.json("inspect", "inspect", "odd")
    assert inspected["runnable"] is False
    assert inspected["reason"] == document["reason"]
    refused = cli("benchmark", "odd", "--duration", "100ms", "--json")
    assert (refused.code, refused.error["code"]) == (3, "model.unrunnable")


def test_list_pages_filters_and_sorts(cli: Cli, tmp_path: Path) -> None:
    assert cli.json("list", "list") == {"models": [], "next_page_token": "", "total": 0, "problems": []}
    for name in ("b", "a", "c"):
        cli.json("add", "add", str(save_model(tmp_path / f"{name}.onnx")), "--tag", f"tag-{name}")
    first = cli.json("list", "list", "--limit", "2")
    assert [item["name"] for item in first["models"]] == ["a", "b"]
    rest = cli.json("list", "list", "--limit", "2", "--page-token", first["next_page_token"])
    assert [item["name"] for item in rest["models"]] == ["c"]
    assert rest["next_page_token"] == ""
    assert [item["name"] for item in cli.json("list", "list", "--sort", "-name")["models"]] == ["c", "b", "a"]
    assert [item["name"] for item in cli.json("list", "list", "--filter", "tag:tag-b")["models"]] == ["b"]


def test_changes_print_the_model_as_show_does(cli: Cli, model: Path) -> None:
    cli.json("add", "add", str(model), "--name", "lin")
    updated = cli.json(
        "update", "update", "lin@1", "--task", "t", "--state", "validated", "--label", "2.0.0", "--meta", "k=v"
    )
    assert (updated["task"], updated["state"], updated["label"], updated["metadata"]) == (
        "t",
        "validated",
        "2.0.0",
        {"k": "v"},
    )
    assert cli.json("update", "update", "lin", "--meta", "k=")["metadata"] == {}
    assert cli.json("tag", "tag", "lin", "x", "y")["tags"] == ["x", "y"]
    assert cli.json("tag", "tag", "lin", "--remove", "x")["tags"] == ["y"]
    assert cli.json("alias", "alias", "lin@1", "prod")["alias_targets"] == {"prod": 1}
    refused = cli("delete", "lin", "--yes", "--json")
    assert (refused.code, bool(refused.error["hint"])) == (3, True)
    refused = cli("alias", "lin", "prod", "--remove", "--json")
    assert (refused.code, refused.error["code"]) == (3, "alias.protected")
    assert cli.json("alias", "alias", "lin", "prod", "--remove", "--force")["alias_targets"] == {}
    deleted = cli.json("delete", "delete", "lin@1", "--yes")
    assert (deleted["deleted"], deleted["versions_left"]) == ("lin", 0)
    assert deleted["restore"].endswith(deleted["trash_id"])


def test_inspect_works_on_references_and_on_files(stocked: Cli, model: Path) -> None:
    for ref in ("linear", "linear@1", str(model)):
        document = stocked.json("inspect", "inspect", ref)
        assert document["runnable"] is True
        assert document["opsets"] == {"ai.onnx": 17}
        assert document["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 4], "kind": "tensor"}]
        assert (document["nodes"], document["params"], document["macs"]) == (1, 12, 12)
    assert stocked.json("inspect", "inspect", str(model), "--no-trial")["runnable"] is None
    for ref in ("linear", str(model)):
        header = stocked.json("header", "inspect", ref, "--header")
        assert header["nodes"] > 0
        assert header["inputs"]
    layers = stocked.json("inspect", "inspect", "linear", "--layers")
    assert (layers["total"], layers["layers"][0]["op"]) == (1, "MatMul")


def test_schema_is_a_json_schema_whose_example_is_valid(stocked: Cli, tmp_path: Path) -> None:
    document = stocked.json("schema", "schema", "linear", "--output", str(tmp_path / "s.json"))
    Draft202012Validator.check_schema(document["request"])
    Draft202012Validator(document["request"]).validate(document["example"])
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == document


def test_predict_takes_npz_and_json_and_writes_npz(stocked: Cli, tmp_path: Path) -> None:
    x = np.array([[1, 2, 3, 4], [0, 0, 0, 1]], np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    (tmp_path / "in.json").write_text(json.dumps({"x": x.tolist()}))
    expected = (x @ np.arange(12, dtype=np.float32).reshape(4, 3)).tolist()
    for name in ("in.npz", "in.json"):
        document = stocked.json(
            "predict", "predict", "linear@1", "--inputs", str(tmp_path / name), "--output", str(tmp_path / "out.npz")
        )
        assert document["outputs"]["y"] == {"dtype": "float32", "shape": [2, 3], "data": expected}
        assert document["synthetic"] is False
        with np.load(tmp_path / "out.npz", allow_pickle=False) as written:
            assert written["y"].tolist() == expected


def test_predict_encodes_numbers_that_json_lacks(cli: Cli, tmp_path: Path) -> None:
    path = save_nonfinite(tmp_path / "odd.onnx")
    (tmp_path / "zero.json").write_text('{"x": [0.0]}')
    document = cli.json("predict", "predict", str(path), "--inputs", str(tmp_path / "zero.json"))
    assert document["outputs"]["y"]["data"] == [1.0, "NaN", "Infinity", "-Infinity"]


def test_predict_takes_feed_options(stocked: Cli) -> None:
    document = stocked.json("predict", "predict", "linear", "--dim", "batch=5", "--range", "x=1:2", "--seed", "7")
    assert document["outputs"]["y"]["shape"] == [5, 3]
    assert document["synthetic"] is True
    shaped = stocked.json("predict", "predict", "linear", "--shape", "x=2x4")
    assert shaped["outputs"]["y"]["shape"] == [2, 3]


def test_the_printed_command_reproduces_a_benchmark(stocked: Cli) -> None:
    options = (
        "--duration",
        "0.2s",
        "--warmup",
        "0s",
        "--warmup-runs",
        "3",
        "--batch",
        "2",
        "--range",
        "x=0:1",
        "--seed",
        "3",
    )
    document = stocked.json("benchmark", "benchmark", "linear", *options, "--spinning", "--optimization", "basic")
    assert document["n"] > 0
    assert document["ref"] == "linear@2"
    assert document["batch"] == 2
    import shlex

    again = stocked.json("benchmark", *shlex.split(document["command"])[1:])
    assert again["spec"] == document["spec"]
    assert again["command"] == document["command"]


def test_batch_counts_rows_and_measures_accuracy(stocked: Cli, tmp_path: Path) -> None:
    x = np.eye(4, dtype=np.float32)
    np.savez(tmp_path / "data.npz", x=x, label=np.array([2, 2, 2, 0]))
    document = stocked.json(
        "batch", "batch", "linear@1", str(tmp_path / "data.npz"), "--output", str(tmp_path / "o.jsonl")
    )
    assert (document["rows"], document["failed"]) == (4, 0)
    assert document["metrics"]["accuracy"] == pytest.approx(0.75)
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 4


def test_machine_commands(cli: Cli) -> None:
    document = cli.json("doctor", "doctor")
    assert {finding["area"] for finding in document["findings"]} >= {"Machine", "Stores", "Runtime", "Terminal"}
    assert document["ok"], document
    shown = cli.json("config show", "config", "show")
    assert shown["settings"]["home"] == {"value": str(cli.home), "source": "flag"}
    assert shown["settings"]["serve.port"] == {"value": 8000, "source": "default"}
    changed = cli.json("config set", "config", "set", "serve.port", "9000")
    assert changed["value"] == 9000
    read = cli.json("config get", "config", "get", "serve.port")
    assert (read["value"], read["source"]) == (9000, changed["path"])
    assert cli.json("config path", "config", "path")["user"] == changed["path"]
    Draft202012Validator.check_schema(cli.json("config schema", "config", "schema"))
    assert "quickserveml" in cli.json("completion", "completion", "bash")["script"]
    assert cli.json("version number", "--version")["version"]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("lst",), 2, "usage"),
        (("add",), 2, "usage"),
        (("list", "--frobnicate"), 2, "usage"),
        (("benchmark", "linear", "--threads", "many"), 2, "usage"),
        (("benchmark", "linear", "--duration", "soon"), 2, "usage.duration"),
        (("benchmark", "linear", "--threads", "0"), 2, "usage.benchmark"),
        (("predict", "linear", "--dim", "batch"), 2, "usage.override"),
        (("predict", "linear", "--inputs", "x.txt"), 2, "usage"),
        (("list", "--sort", "beauty"), 2, None),
        (("list", "--page-token", "forged"), 2, None),
        (("list", "--limit", "-1"), 2, None),
        (("show", "nothing"), 3, "model.not_found"),
        (("show", "linear@9"), 3, "version.not_found"),
        (("inspect", "./missing.onnx"), 3, None),
        (("batch", "linear", "missing.csv"), 3, "data.missing"),
        (("predict", "linear", "--inputs", "missing.npz"), 3, None),
        (("serve", "linear", "--host", "0.0.0.0"), 5, "serve.not_loopback"),
        (("serve", "nothing"), 3, "model.not_found"),
        (("config", "get", "serve.prt"), 2, "config.unknown_key"),
        (("config", "set", "serve.port", "high"), 2, "config.invalid"),
        (("config",), 2, "usage"),
        (("completion", "tcsh"), 2, "usage"),
        (("delete",), 2, "usage"),
        (("delete", "--filter", "linear"), 2, "usage"),
        (("delete", "linear", "--filter", "linear"), 2, "usage"),
        (("delete", "--filter", " "), 2, "usage"),
        (("purge",), 2, "usage"),
        (("purge", "--all", "--older-than", "30d"), 2, "usage"),
        (("purge", "--older-than", "soon"), 2, "usage.age"),
        (("purge", "nothing"), 3, "trash.not_found"),
        (("restore", "nothing"), 3, "trash.not_found"),
        (("restore", "trash-000000000000"), 3, "trash.not_found"),
        (("tag", "linear"), 2, "usage"),
        (("categorise", "linear", "a//b"), 2, "category.invalid"),
        (("alias", "linear"), 2, "usage"),
        (("alias", "linear", "prod", "--remove", "--history"), 2, "usage"),
        (("update", "linear", "--parent", "nothing@1"), 3, "model.not_found"),
        (("update", "linear"), 2, "usage"),
        (("open",), 2, "usage.no_terminal"),
        ((), 2, "usage.no_terminal"),
        (("list", "--json", "--format", "csv"), 2, "usage"),
    ],
)  # fmt: skip
def test_errors_are_documents_with_the_exit_code_of_their_kind(
    stocked: Cli, arguments: tuple[str, ...], code: int, error: str | None
) -> None:
    result = stocked(*arguments, "--json")
    assert result.code == code, result
    assert result.err == ""
    assert error in (None, result.error["code"])


def test_json_and_home_are_taken_before_and_after_the_command(stocked: Cli) -> None:
    before, after = stocked("--json", "list"), stocked("list", "--json", "--home", str(stocked.home))
    assert before.document == after.document
    assert len(before.document["models"]) == 1


def test_the_original_names_are_kept(cli: Cli, model: Path) -> None:
    cli.json("add", "registry-add", str(model), "--name", "lin")
    assert len(cli.json("list", "registry-list")["models"]) == 1
    assert cli.json("show", "registry-get", "lin")["version"] == 1
    assert cli.json("update", "registry-update", "lin", "--task", "t")["task"] == "t"
    assert cli.json("benchmark", "benchmark-registry", "lin", "--runs", "5")["n"] == 5
    for name in ("serve-registry", "deploy"):
        assert cli(name, "lin", "--host", "1.2.3.4").code == 5


def _one_line(result: Result) -> str:
    assert result.out.count("\n") == 1
    return result.out


def test_stdout_holds_nothing_but_one_line_of_json(stocked: Cli) -> None:
    for arguments in (("list",), ("show", "linear"), ("predict", "linear"), ("benchmark", "linear", "--runs", "3")):
        check(json.loads(_one_line(stocked(*arguments, "--json"))), arguments[0])


def test_the_printed_command_also_holds_where_settings_changed_the_defaults(
    stocked: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QSML_BENCHMARK_THREADS", "2")
    monkeypatch.setenv("QSML_BENCHMARK_WARMUP_S", "0.1")
    document = stocked.json("benchmark", "benchmark", "linear", "--runs", "5", "--threads", "1", "--warmup", "1s")
    assert "--threads 1" in document["command"]
    assert "--warmup 1s" in document["command"]
    assert stocked.json("benchmark", "benchmark", "linear", "--runs", "5")["spec"]["intra_op_threads"] == 2


def test_compare_prints_verdict_and_sides(cli: Cli, model: Path) -> None:
    document = cli.json("compare", "compare", str(model), "--with", "batch=2", "--duration", "300ms", "--no-save")
    assert document["verdict"] in ("faster", "slower", "equal", "inconclusive")
    assert [side["batch"] for side in document["sides"]] == [1, 2]
    assert document["sides"][0]["paired"] is None
    assert document["sides"][1]["paired"]["ratio"] == document["ratio"]
    assert document["saved"] is False
    assert document["command"].endswith("--with batch=2")
    refused = cli("compare", str(model), "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage.compare")
