"""Values of a filter: numbers with units, dates, patterns."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickserveml_tui.core.filters import values
from quickserveml_tui.core.filters.like import like_test

NOW = datetime(2026, 3, 10, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "units", "number"),
    [
        ("5", values.COUNT_UNITS, 5),
        ("10M", values.COUNT_UNITS, 10_000_000),
        ("10 m", values.COUNT_UNITS, 10_000_000),
        ("4.35M", values.COUNT_UNITS, 4_350_000),
        ("1.5k", values.COUNT_UNITS, 1500),
        ("7B", values.COUNT_UNITS, 7_000_000_000),
        ("1e6", values.COUNT_UNITS, 1_000_000),
        ("2.5e-1", values.COUNT_UNITS, 0.25),
        (".5", values.COUNT_UNITS, 0.5),
        ("5.", values.COUNT_UNITS, 5),
        ("-3", values.COUNT_UNITS, -3),
        ("+3", values.COUNT_UNITS, 3),
        ("10,000", values.COUNT_UNITS, 10_000),
        ("10_000", values.COUNT_UNITS, 10_000),
        ("9007199254740993", values.COUNT_UNITS, 9007199254740993),
        ("25MB", values.SIZE_UNITS, 25_000_000),
        ("25MiB", values.SIZE_UNITS, 25 * 2**20),
        ("25M", values.SIZE_UNITS, 25_000_000),
        ("0.5KiB", values.SIZE_UNITS, 512),
        ("3B", values.SIZE_UNITS, 3),
        ("5", values.MS_UNITS, 5),
        ("5ms", values.MS_UNITS, 5),
        ("1.5s", values.MS_UNITS, 1500),
        ("250us", values.MS_UNITS, 0.25),
        ("250µs", values.MS_UNITS, 0.25),
        ("2min", values.MS_UNITS, 120_000),
        ("1k/s", values.RATE_UNITS, 1000),
        ("80%", values.PERCENT_UNITS, 80),
        ("80", values.PERCENT_UNITS, 80),
    ],
)
def test_a_number_is_read_in_its_unit(text, units, number):
    found = values.parse_number(text, units)
    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "M",
        ".",
        "-",
        "1.2.3",
        "5ms",
        "1e999",
        "1e",
        "nan",
        "inf",
        "٣",
        "0x10",
        "1,00",
        "5%",
        "9" * 41,
        "1 2",
        "--1",
        "1e-999",
    ],
)
def test_what_is_no_count_is_refused(text):
    assert values.parse_number(text, values.COUNT_UNITS) is None


@given(st.text(max_size=100))
def test_reading_a_value_never_raises(text):
    values.parse_number(text, values.SIZE_UNITS)
    values.parse_date(text, NOW)
    values.parse_flag(text)
    values.plain_number(text)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-01-31", "2026-01-31T00:00:00.000Z", "2026-02-01T00:00:00.000Z"),
        ("2026-02", "2026-02-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z"),
        ("2026-12", "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
        ("2026-01-31T10:20", "2026-01-31T10:20:00.000Z", "2026-01-31T10:21:00.000Z"),
        ("2026-01-31 10:20:30", "2026-01-31T10:20:30.000Z", "2026-01-31T10:20:31.000Z"),
        ("2026-01-31t10:20:30.5z", "2026-01-31T10:20:30.500Z", "2026-01-31T10:20:30.501Z"),
        ("2026-01-31T00:20+02:00", "2026-01-30T22:20:00.000Z", "2026-01-30T22:21:00.000Z"),
        ("2026-01-31T00:20-0130", "2026-01-31T01:50:00.000Z", "2026-01-31T01:51:00.000Z"),
        ("7d", "2026-03-03T12:00:00.000Z", "2026-03-03T12:00:00.000Z"),
        ("12h ago", "2026-03-10T00:00:00.000Z", "2026-03-10T00:00:00.000Z"),
        ("1.5d", "2026-03-09T00:00:00.000Z", "2026-03-09T00:00:00.000Z"),
        ("2w", "2026-02-24T12:00:00.000Z", "2026-02-24T12:00:00.000Z"),
    ],
)
def test_a_date_is_as_long_as_it_is_exact(text, start, end):
    assert values.parse_date(text, NOW) == (start, end)


@pytest.mark.parametrize(
    "text",
    ["2026", "2026-13", "2026-02-30", "0000-01-01", "9999-12-31", "9999-12", "2026-01-31T25:00", "2026-01-31T10", "7", "7x", "999999d", "yesterday", "2026-01-31T10:00+99:00", "٢٠٢٦-٠١-٣١"],
)  # fmt: skip
def test_what_is_no_date_is_refused(text):
    assert values.parse_date(text, NOW) is None


@pytest.mark.parametrize(("text", "number"), [("0.9", 0.9), (" 5 ", 5), ("1e3", 1000), ("-.5", -0.5), ("nan", None), ("inf", None), ("5x", None), ("", None), ("1_0", None)])  # fmt: skip
def test_a_text_from_outside_is_a_number_only_if_it_looks_like_one(text, number):
    assert values.plain_number(text) == number


# ---- LIKE -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("abc", "abc", True),
        ("abc", "abcd", False),
        ("%", "", True),
        ("", "", True),
        ("", "a", False),
        ("a%", "abc", True),
        ("%c", "abc", True),
        ("%b%", "abc", True),
        ("a_c", "abc", True),
        ("a_c", "ac", False),
        ("_", "", False),
        ("%_", "", False),
        ("ab%ba", "aba", False),
        ("%aab%", "aaab", True),
        ("%a_b%c_", "xxaab--cc", True),
        (r"50\%", "50%", True),
        (r"50\%", "50x", False),
        (r"a\_b", "a_b", True),
        (r"a\_b", "axb", False),
        (r"a\\b", r"a\b", True),
        ("a\\", "a\\", True),
        ("%\n%", "a\nb", True),
        ("%b%a%", "ab", False),
        ("%aa%aa%", "aaa", False),
        ("%a_%_b%", "aab", False),
        ("%a_%_b%", "axxb", True),
    ],
)
def test_a_pattern_fits_the_whole_text(pattern, text, fits):
    assert like_test(pattern)(text) is fits


def as_regex(pattern):
    out, escaped = [], False
    for char in pattern:
        if escaped:
            out.append(re.escape(char))
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            out.append({"%": ".*", "_": "."}.get(char, re.escape(char)))
    return re.compile("".join(out) + (r"\\" if escaped else ""), re.DOTALL)


@given(st.text("ab%_\\", max_size=10), st.text("ab%_\\", max_size=14))
def test_a_pattern_means_what_the_regular_expression_means(pattern, text):
    assert like_test(pattern)(text) == (as_regex(pattern).fullmatch(text) is not None)


def test_a_pattern_made_to_backtrack_is_answered():
    text = "a" * 10_000
    assert not like_test("%a" * 100 + "%b")(text)
    assert not like_test("%" + "_a" * 100 + "b%")(text)
    assert not like_test("%a_a%" * 50 + "b")(text)
