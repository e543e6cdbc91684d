"""`convert`, and what `inspect`, `show` and `doctor` say about the formats that the runtime takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_harness import Cli, check
from convert_models import product, random, relu, save, squeeze

from quickserveml_tui.runtime.compatibility import probe_limits

NEWEST = probe_limits().opsets["ai.onnx"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    folder = tmp_path_factory.mktemp("convert")
    cli = Cli(folder / "home")
    models = {"row": squeeze(), "old": product(), "dice": random(), "new": relu(opset=NEWEST + 1)}
    for name, proto in models.items():
        assert cli("add", str(save(folder / f"{name}.onnx", proto))).code == 0
    return cli


def test_a_conversion_prints_what_changed_and_what_it_equals(home: Cli) -> None:
    document = home.json("convert", "convert", "old", "--opset", "17")
    assert (document["from"], document["opset_before"], document["opset"]) == ("old", 6, 17)
    assert document["compared_with"] == "onnx reference"
    assert document["version"]["version"] == 2
    assert document["version"]["runnable"] is True
    again = home.json("convert", "convert", "old@1", "--opset", "17")
    assert (again["existed"], again["version"]["version"]) == (True, 2)
    assert "opset 6 → 17" in home("show", "old@2").out


def test_text_says_it_in_two_lines(home: Cli) -> None:
    result = home("convert", "row", "--opset", "13", "--name", "row-13", "--label", "1.0.0")
    assert result.code == 0, result
    assert result.out.splitlines()[0] == "✓ Added row-13@1: opset 11 → 13."
    assert result.out.splitlines()[1].startswith("Its outputs equal those of onnxruntime ")


def test_a_file_is_written_and_checked(home: Cli, tmp_path: Path) -> None:
    source = save(tmp_path / "in.onnx", squeeze())
    document = home.json("convert", "convert", str(source), "--opset", "13", "--output", str(tmp_path / "out.onnx"))
    assert document["output"] == str(tmp_path / "out.onnx")
    assert document["version"] is None
    assert home.json("inspect", "inspect", str(tmp_path / "out.onnx"))["opsets"]["ai.onnx"] == 13
    taken = home("convert", str(source), "--opset", "13", "--output", str(tmp_path / "out.onnx"), "--json")
    assert taken.error["code"] == "export.exists"
    options = ("--opset", "13", "--output", str(tmp_path / "out.onnx"), "--overwrite")
    assert home("convert", str(source), *options).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("row", "--opset", "0"), 2, "usage.convert"),
        (("row", "--opset", "-1"), 2, "usage.convert"),
        (("row", "--opset", str(NEWEST + 1)), 2, "usage.convert"),
        (("row", "--opset", "many"), 2, "usage"),
        (("row", "--ir", "0"), 2, "usage.convert"),
        (("row", "--ir", "1000"), 2, "usage.convert"),
        (("row", "--ir", "3"), 3, "convert.failed"),
        (("row",), 3, "convert.unneeded"),
        (("row", "--opset", "13", "--seed", "-1"), 2, "usage.convert"),
        (("row", "--opset", "13", "--output", "x.onnx", "--name", "n"), 2, "usage"),
        (("row", "--opset", "13", "--overwrite"), 2, "usage"),
        (("./row.onnx", "--opset", "13"), 2, "usage.convert"),
        (("nothing", "--opset", "13"), 3, "model.not_found"),
        (("dice", "--opset", "21"), 3, "convert.unverified"),
        (("new",), 3, "convert.failed"),
    ],
)
def test_every_refusal_is_one_sentence(home: Cli, arguments: tuple[str, ...], code: int, error: str) -> None:
    result = home("convert", *arguments, "--json")
    assert result.code == code, result
    assert result.error["code"] == error
    assert result.error["hint"]
    assert "\n" not in result.error["message"]


def test_inspect_and_show_name_the_format_that_is_too_new_with_the_remedy(home: Cli) -> None:
    for arguments in (("inspect", "new"), ("show", "new"), ("show", "new@1")):
        document = home.json(arguments[0], *arguments)
        check(document["compatibility"], "compatibility")
        assert document["compatibility"]["ok"] is False
        mismatch = document["compatibility"]["mismatches"][0]
        assert (mismatch["what"], mismatch["has"], mismatch["takes"]) == ("opset of ai.onnx", NEWEST + 1, NEWEST)
        assert f"Opset of ai.onnx is {NEWEST + 1}" in home(*arguments).out


def test_a_model_that_fits_says_so_in_json_only(home: Cli) -> None:
    assert home.json("inspect", "inspect", "row")["compatibility"]["ok"] is True
    assert "takes up to" not in home("inspect", "row").out


def test_doctor_says_what_the_runtime_takes(home: Cli) -> None:
    formats = [item for item in home.json("doctor", "doctor")["findings"] if item["name"] == "formats"]
    assert f"takes opset ≤ {NEWEST}" in formats[0]["message"]
