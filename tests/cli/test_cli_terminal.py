"""Behaviour in a real terminal: colour, live lines, questions, Ctrl-C, and the workbench."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pexpect
import pytest
from cli_harness import Cli, environment

TIMEOUT_S = 30


def spawn(cli: Cli, *arguments: str, columns: int = 100, **extra: str) -> pexpect.spawn:
    """A command line on a home in a pseudo-terminal."""
    return spawn_words(["--home", str(cli.home), *arguments], columns=columns, **extra)


def spawn_words(words: list[str], *, columns: int = 100, **extra: str) -> pexpect.spawn:
    """A command line in a pseudo-terminal."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "quickserveml_tui", *words],
        env={**environment(), "TERM": "xterm-256color", **extra},
        dimensions=(30, columns),
        encoding="utf-8",
        timeout=TIMEOUT_S,
        # Whoever runs the tests may ignore it, as under nohup; a terminal's programs do not.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


def finish(child: pexpect.spawn) -> tuple[int, str]:
    """Exit code and everything printed since the last expectation."""
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, child.before


def test_colour_is_used_on_a_terminal_and_not_when_unwanted(stocked: Cli) -> None:
    assert "\x1b[2m" in finish(spawn(stocked, "list"))[1]
    for unwanted in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        code, text = finish(spawn(stocked, "list", **unwanted))
        assert (code, "\x1b" in text) == (0, False)


def test_tables_fit_the_terminal(stocked: Cli) -> None:
    _, text = finish(spawn(stocked, "inspect", "linear", columns=60, NO_COLOR="1"))
    _, table = finish(spawn(stocked, "list", columns=60, NO_COLOR="1"))
    assert "linear@2" in text
    assert max(len(line) for line in table.splitlines()) <= 60


def test_a_benchmark_paints_one_line_in_place_and_takes_it_away(stocked: Cli) -> None:
    child = spawn(stocked, "benchmark", "linear", "--duration", "1s")
    child.expect(r"\r[^\n]*measuring[^\n]*median now")
    code, rest = finish(child)
    assert code == 0
    last_live = rest.rindex("\r\x1b[K")
    assert "p50" in rest[last_live:]


def test_ctrl_c_in_a_terminal_prints_what_was_measured(stocked: Cli) -> None:
    child = spawn(stocked, "benchmark", "linear", "--duration", "60s")
    child.expect("measuring")
    child.sendintr()
    child.expect("cancelled: a partial result")
    code, rest = finish(child)
    assert code == 130
    assert "p50" in rest


@pytest.mark.parametrize("words", [("delete", "--filter", "lin"), ("purge", "lin")], ids=" ".join)
def test_what_hits_more_or_cannot_be_undone_asks_and_takes_no_for_an_answer(
    cli: Cli, model: Path, words: tuple[str, ...]
) -> None:
    assert cli("add", str(model), "--name", "lin").code == 0
    if words[0] == "purge":
        assert cli("delete", "lin").code == 0
    for answer, code in (("", 130), ("n", 130), ("y", 0)):
        child = spawn(cli, *words, NO_COLOR="1")
        child.expect(re.escape("[y/N] "))
        child.sendline(answer)
        assert finish(child)[0] == code
    assert cli("show", "lin").code == 3
    assert cli.json("trash", "trash")["total"] == (1 if words[0] == "delete" else 0)


@pytest.mark.parametrize("arguments", [("--home", "HOME", "open", "linear"), ("open",), ()], ids=" ".join)
def test_the_workbench_opens_on_the_home_and_leaves_the_terminal_as_it_was(
    stocked: Cli, arguments: tuple[str, ...]
) -> None:
    home = str(stocked.home)
    words = [home if word == "HOME" else word for word in arguments]
    child = spawn_words(words, columns=120, COLORTERM="truecolor", QSML_HOME=home)
    child.expect("linear")
    child.sendcontrol("q")
    code, rest = finish(child)
    assert code == 0
    assert "\x1b[?1049l" in rest  # the alternate screen is left
