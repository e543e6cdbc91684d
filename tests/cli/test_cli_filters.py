"""Filters on command lines: what is found, and the mark under what cannot be read."""

from __future__ import annotations

import pytest
from cli_harness import Cli

from quickserveml_tui.cli.filter_text import pointer_lines
from quickserveml_tui.core.text import cell_width


def test_a_filter_of_comparisons_finds(stocked: Cli) -> None:
    found = stocked.json("list", "list", "--filter", "params < 1k AND versions = 2 AND NOT measured = true")
    assert [item["name"] for item in found["models"]] == ["linear"]
    assert stocked.json("list", "list", "--filter", "versions > 2")["models"] == []


def test_a_filter_that_cannot_be_read_is_shown_with_a_mark(stocked: Cli) -> None:
    result = stocked("list", "--filter", "vision AND prams < 5")
    assert (result.code, result.out) == (2, "")
    lines = result.err.splitlines()
    assert lines[0] == "  vision AND prams < 5"
    assert lines[1].index("^") == lines[0].index("prams")
    assert "prams" in lines[2]
    assert "params" in lines[3]


def test_the_error_document_holds_the_column(stocked: Cli) -> None:
    result = stocked("list", "--filter", "params < vision", "--json")
    assert (result.code, result.error["code"], result.error["column"]) == (2, "usage.filter", 10)
    assert result.err == ""


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000,
        "'; DROP TABLE models",
        "a\x1b[31mb AND",
        "\u202eabc = ",
        "x" * 5000,
        "= {{7*7}}",
        "[/]bold AND (",
        "a\n(",
    ],
)
def test_a_hostile_filter_is_one_clear_error(stocked: Cli, text: str) -> None:
    result = stocked("list", "--filter", text)
    assert result.code == 2
    assert "\x1b[31mb" not in result.err
    assert "\u202e" not in result.err
    assert len(result.err) < 1000
    assert "Traceback" not in result.err


def test_a_forged_page_token_and_an_unknown_order_are_usage_errors(stocked: Cli) -> None:
    assert stocked("list", "--page-token", "x", "--json").error["code"] == "usage.page_token"
    assert "Did you mean size?" in stocked("list", "--sort", "siz", "--json").error["hint"]


@pytest.mark.parametrize("width", [10, 40, 80])
@pytest.mark.parametrize("text", ["params < vision", "日本語" * 60, "x" * 4000, "a\u0301\u202e\x1b\n" * 50])
def test_the_mark_stands_under_its_column(text: str, width: int) -> None:
    for column in (1, 2, len(text) // 2, len(text), len(text) + 1):
        shown, mark = pointer_lines(text, column, width)
        assert mark.strip() == "^"
        assert cell_width(shown) <= max(width, 24)
        assert len(mark) - 1 <= cell_width(shown)


def test_the_mark_stands_under_the_character_itself() -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(500))
    for column in range(1, 501):
        shown, mark = pointer_lines(text, column, 60)
        assert shown[len(mark) - 1] == text[column - 1]
