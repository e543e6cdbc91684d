"""`golden`, `verify`, and the commands that check golden outputs before they use a version."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_harness import Cli, save_model, save_unrunnable

from quickserveml_tui.runtime.value_files import save_values
from quickserveml_tui.services.home import open_workbench

QUICK = ("--duration", "50ms", "--warmup", "0")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `lin@1` and its golden output `default`."""
    folder = tmp_path_factory.mktemp("original")
    cli = Cli(folder / "home")
    cli.json("add", "add", str(save_model(folder / "linear.onnx")), "--name", "lin")
    cli.json("golden record", "golden", "record", "lin", "--seed", "7", "--batch", "2")
    return cli.home


@pytest.fixture
def recorded(cli: Cli, original: Path) -> Cli:
    """Command lines on a copy of that home."""
    shutil.copytree(original, cli.home)
    return cli


def tamper(cli: Cli) -> None:
    """Let the golden output expect what the model does not answer."""
    home = open_workbench(cli.home)
    with home.artifacts.publishing():
        digest = home.artifacts.put_bytes(save_values({"y": np.full((2, 3), 1e6, np.float32)}))
        home.registry.put(
            "lin",
            lambda old: replace(
                old,
                versions=tuple(
                    replace(item, golden=tuple(replace(one, outputs_digest=digest) for one in item.golden))
                    for item in old.versions
                ),
            ),
        )
    home.close()


def test_what_is_recorded_is_listed_shown_counted_and_removed(recorded: Cli, tmp_path: Path) -> None:
    listed = recorded.json("golden list", "golden", "list", "lin")
    assert [(item["name"], item["source"]) for item in listed["golden"]] == [("default", "--batch 2 --seed 7")]
    shown = recorded.json("golden show", "golden", "show", "lin@1", "default", "--output-dir", str(tmp_path / "out"))
    assert (shown["inputs"]["x"]["shape"], shown["outputs"]["y"]["dtype"]) == ([2, 4], "float32")
    assert all(Path(path).is_file() for path in shown["files"])
    assert recorded.json("show", "show", "lin")["golden"] == 1
    assert recorded.json("list", "list", "--filter", "golden > 0")["total"] == 1
    inputs, outputs = shown["files"]
    again = recorded.json(
        "golden record", "golden", "record", "lin", "files", "--inputs", inputs, "--outputs", outputs, "--notes", "n"
    )
    assert (again["name"], again["outputs_digest"]) == ("files", listed["golden"][0]["outputs_digest"])
    assert recorded.json("golden remove", "golden", "remove", "lin", "default")["left"] == 1
    refused = recorded("golden", "remove", "lin", "default", "--json")
    assert (refused.code, refused.error["code"]) == (3, "golden.not_found")


def test_verify_passes_and_fails_by_its_exit_code(recorded: Cli) -> None:
    document = recorded.json("verify", "verify", "lin")
    assert (document["ok"], document["checked"], document["failed"]) == (True, 1, 0)
    assert document["reports"][0]["checks"][0]["differences"][0]["max_abs"] == 0
    tamper(recorded)
    failed = recorded.json("verify", "verify", "lin", code=1)
    check = failed["reports"][0]["checks"][0]
    assert (failed["ok"], failed["failed"], check["code"]) == (False, 1, "golden.differs")
    text = recorded("verify", "lin")
    assert text.code == 1
    assert "lin@1  0 of 1 ok" in text.out
    assert "max abs" in text.out
    assert "✕ default: y[0, 0] is" in text.out


def test_one_version_that_cannot_be_read_does_not_keep_the_others_from_their_turn(
    recorded: Cli, tmp_path: Path
) -> None:
    recorded.json("add", "add", str(save_unrunnable(tmp_path / "odd.onnx")), "--name", "odd")
    document = recorded.json("verify", "verify", "nothing", "odd", "lin", code=3)
    assert [item["code"] for item in document["errors"]] == ["model.not_found", "model.unrunnable"]
    assert document["checked"] == 1
    assert "lin@1  1 of 1 ok" in recorded("verify", "nothing", "lin").out
    alone = recorded("verify", "nothing", "--json")
    assert (alone.code, alone.error["code"]) == (3, "model.not_found")
    unknown = recorded("verify", "lin", "--name", "nope", "--json")
    assert (unknown.code, unknown.error["code"]) == (3, "golden.not_found")


def test_nothing_to_verify_is_said_plainly_and_fails_only_where_it_is_required(cli: Cli, model: Path) -> None:
    assert cli("verify", "--all").out == "There are no golden outputs, so there is nothing to verify.\n"
    assert cli("verify", "--all", "--require").code == 1
    cli.json("add", "add", str(model), "--name", "lin")
    said = cli("verify", "lin")
    assert (said.code, said.out) == (0, "lin@1 has no golden outputs, so there is nothing to verify.\n")
    assert cli.json("verify", "verify", "lin", "--require", code=1)["ok"] is True
    assert "has no golden outputs" in cli("golden", "list", "lin").out
    assert cli("verify").code == 2
    assert cli("verify", "lin", "--all").code == 2


def test_all_finds_every_version_that_has_some(recorded: Cli, tmp_path: Path) -> None:
    recorded.json("add", "add", str(save_model(tmp_path / "b.onnx", scale=2)), "--name", "lin")
    recorded.json("add", "add", str(save_model(tmp_path / "c.onnx", scale=3)), "--name", "other")
    recorded.json("golden record", "golden", "record", "other", "smoke")
    document = recorded.json("verify", "verify", "--all")
    assert [report["ref"] for report in document["reports"]] == ["lin@1", "other@1"]
    named = recorded.json("verify", "verify", "--all", "--name", "smoke")
    assert [report["ref"] for report in named["reports"]] == ["other@1"]


def test_bad_options_are_usage_errors(recorded: Cli) -> None:
    for arguments in (
        ("record", "lin", "--inputs", "x.csv"),
        ("record", "lin", "--outputs", "x.txt"),
        ("record", "lin", "--rtol", "nan"),
        ("record", "lin", "--atol", "-1"),
        ("record", "lin", "--seed", "-1"),
        ("record", "lin", "../x"),
        ("record", "lin", "--inputs", "x.npz", "--seed", "3"),
        ("show", "lin", "default", "--overwrite"),
    ):
        refused = recorded("golden", *arguments, "--json")
        assert (refused.code, bool(refused.error["hint"])) == (2, True), arguments


def test_a_name_that_no_version_has_and_one_that_cannot_be_are_told(recorded: Cli) -> None:
    missing = recorded("verify", "--all", "--name", "typo", "--json")
    assert (missing.code, missing.error["code"]) == (3, "golden.not_found")
    assert (
        "is not a valid name of a golden output"
        in recorded("golden", "record", "lin", "x/y", "--json").error["message"]
    )
    assert recorded("predict", "lin", "--inputs", "x.npz", "--batch", "2").code == 2


def test_benchmark_batch_and_serve_refuse_a_version_that_fails(
    recorded: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []

    def supervise(plan: Any, source: Any, *_arguments: Any, **_options: Any) -> None:
        served.extend(f"{entry.name}@{entry.version}" for entry in source.look(plan, strict=True).entries)
        source.close()

    monkeypatch.setattr("quickserveml_tui.server.run.supervise", supervise)
    np.savez(tmp_path / "rows.npz", x=np.ones((3, 4), np.float32))
    commands = (("benchmark", "lin", *QUICK), ("batch", "lin", str(tmp_path / "rows.npz")), ("serve", "lin"))
    assert "1 of 1" in recorded(*commands[0]).out
    assert recorded(*commands[2]).code == 0
    assert served == ["lin@1"]
    tamper(recorded)
    for command in commands:
        refused = recorded(*command, "--json")
        assert (refused.code, refused.error["code"]) == (1, "golden.differs"), command
        assert "lin@1 does not give its golden output default" in refused.error["message"]
    assert served == ["lin@1"]
    for command in commands:
        assert recorded(*command, "--no-verify").code == 0, command
    assert served == ["lin@1"] * 2


def test_promotion_and_import_say_what_fails(recorded: Cli, tmp_path: Path) -> None:
    tamper(recorded)
    refused = recorded("alias", "lin@1", "prod", "--json")
    assert (refused.code, refused.error["code"]) == (1, "golden.differs")
    for alias in ("prod", "live"):
        refused = recorded("promote", "lin@1", alias, "--json")
        assert (refused.code, refused.error["code"]) == (1, "golden.differs")
    assert recorded.json("show", "show", "lin")["alias_targets"] == {}
    assert recorded.json("alias", "alias", "lin@1", "live")["alias_targets"] == {"live": 1}
    bundle = str(tmp_path / "lin.qsml")
    recorded.json("export", "export", "lin", bundle)
    document = recorded.json("import", "import", bundle, "--name", "copy")
    assert "does not give its golden output default" in document["warning"]
    assert document["golden"] == 1


def test_a_prediction_document_is_taken_as_what_to_expect(recorded: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps({"x": [[1, 2, 3, 4]]}))
    said = recorded("predict", "lin", "--inputs", str(tmp_path / "in.json"), "--json")
    (tmp_path / "out.json").write_text(said.out)
    files = ("--inputs", str(tmp_path / "in.json"), "--outputs", str(tmp_path / "out.json"))
    assert recorded.json("golden record", "golden", "record", "lin", *files)["name"] == "default-2"
    document = json.loads(said.out)
    document["outputs"]["y"]["data"][0][0] += 1
    (tmp_path / "out.json").write_text(json.dumps(document))
    refused = recorded("golden", "record", "lin", *files, "--json")
    assert (refused.code, refused.error["code"]) == (3, "golden.differs")
