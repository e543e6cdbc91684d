"""Every parameter of every command takes every bad name and path of the list: one clear error or a clean success."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from cli_harness import Cli, save_model
from test_cli_bad_input import ALIASES, NAMES, VERSIONS
from typer.main import get_command

from quickserveml_tui.cli import app

BAD = [*NAMES, *VERSIONS, *ALIASES[:6], "lin@-1", "lin@0", "lin@1e3", f"lin@{2**63}", "lin@01", "a\0b", "\ud800"]
BAD = list(dict.fromkeys(BAD))
SCREENS = {"open", "demo"}
"""Open a screen: the workbench has tests of its own."""
SLOW = {"benchmark", "batch", "predict", "inspect", "schema", "doctor", "feed", "trial", "golden", "convert"}
"""Start processes: of their further options each sees a few of the values."""
FEW = ["../x", "", "a" * 4097, "a\x1b]52;c;eA==\x07b", "-1", "x[/]y", "\ud800"]
REFERENCES = {
    "REF",
    "[REF]",
    "NAME",
    "[REF]...",
    "NAME...",
    "NAME [TAG]...",
    "NAME [CATEGORY]...",
    "[REF...]",
    "REF...",
}
ENTRY_CODES = set(range(6))


def _leaves(command, path=()) -> Iterator[tuple[tuple[str, ...], object]]:
    names = command.list_commands(None) if hasattr(command, "list_commands") else []
    if not names:
        yield path, command
    for name in names:
        yield from _leaves(command.get_command(None, name), (*path, name))


def _entries() -> list[tuple[tuple[str, ...], str, str]]:
    """Command, option (empty for an argument) and metavar of each parameter that takes text or a number."""
    root = get_command(app.build()) if not hasattr(app.build(), "get_command") else app.build()
    found = []
    for path, command in _leaves(root):
        if path[0] in SCREENS:
            continue
        for parameter in command.params:
            if parameter.metavar is None:
                continue
            is_option = parameter.param_type_name == "option"
            found.append((path, parameter.opts[0] if is_option else "", parameter.metavar))
    return found


ENTRIES = _entries()


@cache
def _arguments(path: tuple[str, ...]) -> list[tuple[str, bool]]:
    root = get_command(app.build()) if not hasattr(app.build(), "get_command") else app.build()
    command = root
    for name in path:
        command = command.get_command(None, name)
    return [
        (parameter.metavar, bool(parameter.required)) for parameter in command.params
        if parameter.param_type_name == "argument"
    ]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, Path]:
    folder = tmp_path_factory.mktemp("entries")
    (folder / "a" / "b" / "c").mkdir(parents=True)
    cli = Cli(folder / "home")
    assert cli("add", str(save_model(folder / "linear.onnx")), "--name", "lin").code == 0
    (folder / "rows.csv").write_text("x_0,x_1,x_2,x_3\n1,2,3,4\n", encoding="utf-8")
    return cli, folder


def _benign(metavar: str, folder: Path) -> str:
    name = metavar.strip("[].").split(" ")[0].rstrip(".").strip("[]")
    known = {"REF": "lin", "NAME": "lin", "PATH": str(folder / "linear.onnx"), "DATA": str(folder / "rows.csv")}
    known |= {
        "FOLDER": str(folder / "kept"),
        "ID": "job-000000000000",
        "KEY": "serve.port",
        "WHAT": "trash-0123456789ab",
    }
    return known.get(name, "x")


def _command_line(path: tuple[str, ...], option: str, metavar: str, value: str, folder: Path) -> list[str]:
    line = ["--json", *path]
    if option:
        line += [f"{option}={value}"]
    words = []
    for own, required in _arguments(path):
        if not option and own == metavar:
            words.append(value)
        elif required or (option and own in REFERENCES):
            words.append(_benign(own, folder))
    if path == ("benchmark",):
        quick = ["--duration=50ms", "--runs=1", "--warmup=0s", "--warmup-runs=0"]
        line += [words for words in quick if not words.startswith(f"{option}=")]
    return [*line, "--", *words] if words else line


def _is_clean(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize(
    ("path", "option", "metavar"),
    ENTRIES,
    ids=[f"{'-'.join(path)}{option or '-' + metavar}" for path, option, metavar in ENTRIES],
)
def test_bad_names_and_paths_end_in_one_clear_error_and_change_nothing(
    place: tuple[Cli, Path], path: tuple[str, ...], option: str, metavar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli, folder = place
    monkeypatch.chdir(folder / "a" / "b" / "c")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    registry = cli.home / "registry.json"
    before = registry.read_bytes()
    values = FEW if (path[0] in SLOW and option) or path == ("add",) else BAD
    for value in values:
        if option == "--repository" and os.path.isdir(value):  # noqa: PTH112 - takes any text
            continue  # nothing is wrong with it: the server stays
        line = _command_line(path, option, metavar, value, folder)
        result = cli(*line)
        assert result.code in ENTRY_CODES, (line, result)
        documents = [json.loads(text) for text in result.out.splitlines() if text.strip()]
        assert documents, (line, result)
        error = documents[-1].get("error") if isinstance(documents[-1], dict) else None
        if result.code == 0:
            if registry.read_bytes() != before:  # a value that is fine here, such as a description
                registry.write_bytes(before)
            continue
        if error:
            assert not error["code"].startswith("internal"), (line, result)
            assert error["message"].endswith((".", "?")), (line, error)
            assert _is_clean(error["message"] + error["hint"]), (line, error)
        assert registry.read_bytes() == before, line
    assert cli("--json", "show", "lin").code == 0


def test_the_list_of_entries_is_whole() -> None:
    commands = {path[0] for path, _option, _metavar in ENTRIES}
    assert {
        "add",
        "show",
        "tag",
        "alias",
        "delete",
        "restore",
        "purge",
        "export",
        "import",
        "backup",
        "job",
    } <= commands
    assert len(ENTRIES) > 100
