"""`safe_text` lets nothing through that could move a cursor, hide, reorder or paint over other text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quickserveml_tui.cli.commands import COMMANDS
from quickserveml_tui.core.text import (
    MAX_MARKS,
    at_home,
    cell_width,
    plural,
    safe_lines,
    safe_text,
    truncate,
    truncate_middle,
)

HOSTILE = [
    ("\x1b[2J\x1b[31mred", "[2J[31mred"),
    ("\x1b]0;owned\x07", "]0;owned"),
    ("\x1b]52;c;ZXZpbA==\x1b\\", "]52;c;ZXZpbA==\\"),
    ("\x9b2J\x9d0;x\x9c", "2J0;x"),
    ("a\r\nb\tc\vd\fe\x85f\u2028g\u2029h", "a  b c d e f g h"),
    ("gnp\u202eexe.\u202c", "gnpexe."),
    ("\u2066a\u2069\u200e\u200f\u061c", "a"),
    ("z\u200be\u200cr\u200do\u2060\ufeff", "zero"),
    ("soft\u00adhyphen", "softhyphen"),
    ("\u3164\u115f\u1160\uffa0x", "x"),
    ("a\ufe0f\U000e0100b\U000e0041c", "abc"),
    ("\ud800x\udfff", "x"),
    ("\ue000\uffff\u0378x", "x"),
    ("x[/]y [@click=app.quit] <script>", "x[/]y [@click=app.quit] <script>"),
    ("nul\0del\x7f", "nuldel"),
    ("Größe 模型 😀 é", "Größe 模型 😀 é"),
    ("e" + "\u0301" * 100, "e" + "\u0301" * MAX_MARKS),
]


@pytest.mark.parametrize(("text", "expected"), HOSTILE, ids=ascii)
def test_hostile_text_becomes_one_harmless_line(text, expected):
    assert safe_text(text) == expected


@given(st.text(st.characters(), max_size=200), st.integers(-1, 50))
@example("\x1b" * 100 + "x", 10)
def test_safe_text_is_short_printable_and_final(text, limit):
    result = safe_text(text, limit)
    assert len(result) <= max(limit, 0)
    assert not [char for char in result if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")]
    assert safe_text(result, limit) == result
    result.encode("utf-8")


@given(st.text("abc é模", max_size=50))
def test_plain_text_stays_as_it_is(text):
    assert safe_text(text) == text


def test_what_is_cut_ends_in_an_ellipsis():
    assert safe_text("abcdef", 4) == "abc…"
    assert safe_text("abcd", 4) == "abcd"
    assert safe_text("x" * 10_000_000, 5) == "xxxx…"


def test_other_values_are_shown_too():
    assert safe_text(None) == "None"
    assert safe_text(ValueError("bad \x1b value")) == "bad  value"


def test_lines_are_kept_where_they_are_wanted():
    assert safe_lines("a\x1b[2J\nb\r\nc") == "a[2J\nb\nc"
    assert safe_lines("abc", 2) == "ab…"


@given(st.text(max_size=60), st.integers(-2, 40))
def test_truncated_text_fits_its_cells(text, width):
    text = safe_text(text)
    for shortened in (truncate(text, width), truncate_middle(text, width)):
        assert cell_width(shortened) <= max(width, 0)
        assert shortened == text or cell_width(text) > width


def test_the_middle_is_cut_so_that_both_ends_stay():
    assert truncate_middle("/encoder/layer.0/attention/MatMul", 15) == "/encode…/MatMul"
    assert truncate("/encoder/layer.0", 9) == "/encoder…"


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("模型", 4), ("é", 1), ("e\u0301", 1), ("", 0), ("…│⣿", 3)])
def test_cells_are_counted_as_terminals_do(text, width):
    assert cell_width(text) == width


def test_a_count_takes_its_noun_along():
    assert [plural(count, "model") for count in (0, 1, 2, 1234)] == ["0 models", "1 model", "2 models", "1,234 models"]
    assert plural(2, "alias", "aliases") == "2 aliases"


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("Repair it with quickserveml fsck --repair.", "Repair it with quickserveml --home /h fsck --repair."),
        (
            "`quickserveml list` or quickserveml add PATH",
            "`quickserveml --home /h list` or quickserveml --home /h add PATH",
        ),
        ("quickserveml job list --home /other", "quickserveml job list --home /other"),
        ("Upgrade quickserveml-tui; quickserveml stopped.", "Upgrade quickserveml-tui; quickserveml stopped."),
        ("/usr/bin/quickserveml list", "/usr/bin/quickserveml list"),
    ],
)
def test_commands_in_a_text_name_the_home(text, there):
    assert at_home(text, "/h") == there
    assert at_home(text, "") == text


def test_every_command_of_a_home_is_known_in_a_text():
    for name in {entry.name for entry in COMMANDS.values() if not entry.hidden} - {"demo", "completion"}:
        assert at_home(f"`quickserveml {name} x`", "/h") == f"`quickserveml --home /h {name} x`"


def test_a_home_with_odd_characters_is_quoted_for_the_shell():
    assert at_home("quickserveml list", "/a b'c\\1") == """quickserveml --home '/a b'"'"'c\\1' list"""


@pytest.mark.parametrize("home", ["/a\x1b[31mb", "/a\u202eb", "/a\nb", "/\ud800"])
def test_a_home_that_cannot_be_shown_is_left_out(home):
    assert at_home("quickserveml list", home) == "quickserveml list"


def test_lines_are_kept_whole_up_to_the_limit_of_the_whole_text() -> None:
    line = "0.001," * 2_000
    assert safe_lines(f"{line}\n{line}") == f"{line}\n{line}"
    assert safe_lines(line, 100) == f"{line[:100]}…"
