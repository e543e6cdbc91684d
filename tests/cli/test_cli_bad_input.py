"""Bad names and paths get a clear error, nothing is registered, and the next command works."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from cli_harness import Cli, save_model

NAMES = [
    "../x", "..\\x", "/etc/passwd", "C:\\x", "\\\\host\\share", "%2e%2e%2fx", "%252e%252e", ".", "..", "", " ", "a b",
    "a" * 256, "a" * 4097, "CON", "con.onnx", "lpt1", "trailing.", unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"), "раураl", "a\u202eb", "a\u200bb", "a\x1b[31mb", "a\x1b]52;c;eA==\x07b", "a\x9bb",
    "a\r\nb", "x[/]y", "[@click=app.quit]", "=cmd|'/c calc'!A1", "<script>", "'; DROP TABLE models", "{{7*7}}", "-rf",
]  # fmt: skip
VERSIONS = ["-1", "0", "1e3", "٣", str(2**63), "01", "", "+1"]
ALIASES = ["1", "01", "latest", "LATEST", "1.2.0", "v1.0", *NAMES]


def _ids(values: list[str]) -> list[str]:
    return [ascii(value)[:24] for value in values]


def _is_clean(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


@pytest.fixture(scope="module")
def lin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, str]:
    folder = tmp_path_factory.mktemp("bad")
    cli = Cli(folder / "home")
    path = str(save_model(folder / "linear.onnx"))
    assert cli("add", path, "--name", "lin").code == 0
    return cli, path


def _nothing_changed(cli: Cli) -> None:
    document = cli.json("list", "list")
    assert [item["name"] for item in document["models"]] == ["lin"]
    assert (document["models"][0]["tags"], document["models"][0]["aliases"]) == ([], [])


@pytest.mark.parametrize("name", [name for name in NAMES if name], ids=_ids([name for name in NAMES if name]))
def test_add_refuses_a_bad_name(lin: tuple[Cli, str], name: str) -> None:
    cli, path = lin
    result = cli("add", path, f"--name={name}", "--json")
    assert (result.code, result.error["code"]) == (2, "name.invalid")
    assert _is_clean(result.error["message"] + result.error["hint"])
    _nothing_changed(cli)


@pytest.mark.parametrize("name", NAMES, ids=_ids(NAMES))
def test_show_tag_and_alias_refuse_bad_names(lin: tuple[Cli, str], name: str) -> None:
    cli, _ = lin
    for arguments in (
        ("show", "--", name),
        ("tag", "--", "lin", name),
        ("tag", "--", name, "x"),
        ("alias", "--", name, "x"),
    ):
        result = cli("--json", *arguments)
        assert result.code in (2, 3), (arguments, result)
        assert _is_clean(result.error["message"] + result.error["hint"])
    _nothing_changed(cli)


@pytest.mark.parametrize("version", VERSIONS, ids=_ids(VERSIONS))
def test_a_version_is_plain_digits(lin: tuple[Cli, str], version: str) -> None:
    cli, _ = lin
    result = cli("show", f"lin@{version}", "--json")
    assert result.code in (2, 3), result
    assert result.error["message"]


@pytest.mark.parametrize("alias", ALIASES, ids=_ids(ALIASES))
def test_an_alias_is_no_number_label_or_bad_name(lin: tuple[Cli, str], alias: str) -> None:
    cli, _ = lin
    result = cli("--json", "alias", "--", "lin", alias)
    assert (result.code, result.error["code"]) == (2, "alias.invalid")
    _nothing_changed(cli)


def test_add_refuses_what_is_no_regular_file(lin: tuple[Cli, str], tmp_path: Path) -> None:
    cli, _ = lin
    fifo = tmp_path / "pipe.onnx"
    os.mkfifo(fifo)
    loop = tmp_path / "loop.onnx"
    loop.symlink_to(loop)
    for path in (str(fifo), str(loop), "/dev/zero", str(tmp_path / "missing.onnx"), "a\0b.onnx", "x" * 5000, ""):
        result = cli("add", "--json", "--", path)
        assert result.code in (2, 3), (path[:20], result)
        assert _is_clean(result.error["message"])
    _nothing_changed(cli)


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"<html></html>", b"PK\x03\x04zip", b"version https://git-lfs.github.com/spec/v1\n"],
    ids=["empty", "text", "html", "zip", "lfs"],
)  # fmt: skip
def test_add_rejects_files_that_are_no_model(lin: tuple[Cli, str], tmp_path: Path, content: bytes) -> None:
    cli, _ = lin
    (tmp_path / "bad.onnx").write_bytes(content)
    result = cli("add", str(tmp_path / "bad.onnx"), "--json")
    assert (result.code, result.error["code"].split(".")[0]) == (3, "model")
    _nothing_changed(cli)


def test_names_from_a_file_reach_no_terminal_as_escapes(cli: Cli, tmp_path: Path) -> None:
    import onnx

    path = save_model(tmp_path / "evil.onnx")
    model = onnx.load(path)
    model.graph.node[0].name = "a\x1b[31mred\x1b]0;title\x07"
    model.producer_name = "p\x1b[2J\u202e"
    model.doc_string = "line\r\n\x9b31m"
    onnx.save(model, path)
    assert cli("add", str(path)).code == 0
    for arguments in (("inspect", "evil"), ("inspect", "evil", "--layers"), ("inspect", str(path)), ("show", "evil")):
        result = cli(*arguments)
        assert result.code == 0, result
        assert _is_clean(result.out), arguments
