"""The table of commands, the help texts and the page of commands say the same."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_harness import ROOT, environment

from quickserveml_tui.cli.app import load_command
from quickserveml_tui.cli.commands import COMMANDS, SECTIONS


def test_every_command_stands_in_one_section() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(name for name, entry in COMMANDS.items() if not entry.hidden)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_summary_is_the_first_sentence_of_the_commands_own_help(name: str) -> None:
    entry = COMMANDS[name]
    command = load_command(entry)
    assert command.name == name
    assert command.help.splitlines()[0] == entry.summary


@pytest.mark.parametrize("name", [name for name, entry in COMMANDS.items() if not entry.hidden])
def test_every_option_says_what_it_does(name: str) -> None:
    command = load_command(COMMANDS[name])
    for child in getattr(command, "commands", {name: command}).values():
        assert {"home", "as_json"} <= {parameter.name for parameter in child.params}
        assert all(parameter.help for parameter in child.params), child.name


def test_the_page_of_commands_is_not_stale() -> None:
    script = ROOT / "scripts" / "make_command_docs.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
