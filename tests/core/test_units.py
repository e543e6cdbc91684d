"""Numbers as people read and write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickserveml_tui.core import units
from quickserveml_tui.core.errors import UsageError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (21.84, "21.8"), (4.157, "4.16"), (0.0412, "0.041"), (12_345.4, "12,345"), (0, "0"), (-4.157, "−4.16"),
        (999.96, "1,000"), (9.996, "10.0"), (0.00154, "0.002"), (0.000154, "0.000154"), (None, "–"),
        (math.nan, "–"), (math.inf, "–"), (100, "100"), (1, "1.00"), (0.9996, "1.00"),
    ],
)  # fmt: skip
def test_significant_keeps_three_digits(value, text):
    assert units.significant(value) == text


@given(st.floats(1e-6, 1e12))
def test_significant_is_never_further_off_than_its_last_digit(value):
    shown = float(units.significant(value).replace(",", ""))
    assert shown == pytest.approx(value, rel=0.0051, abs=0.00051 if value >= 0.001 else 5.1e-7)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (102_500_000, "102.5 MB"), (25_610_000, "25.61 MB"),
        (1e18, "1,000.0 PB"), (None, "–"), (999_999, "1.00 MB"), (-2_000_000, "−2.00 MB"), (999.7, "1.00 kB"),
    ],
)  # fmt: skip
def test_bytes_have_decimal_units(value, text):
    assert units.format_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (42, "42"), (25_610_000, "25.61 M"), (999_996, "1.00 M"), (None, "–")]
)
def test_counts_have_metric_prefixes(value, text):
    assert units.format_count(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12, "0:12"), (532, "8:52"), (3723, "1:02:03"), (0.4, "0:00"), (59.6, "1:00"), (-3, "0:00"), (None, "–")],
)
def test_spans_read_like_a_clock(seconds, text):
    assert units.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("7", 7), (" 1.5 s ", 1.5), ("0.25", 0.25)],
)
def test_durations_are_parsed_with_and_without_unit(text, seconds):
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0s", "-1s", "1e3", "1d", "٣s", "nan", "inf", "1s2", "s", "1 000s", "999999999h", "1.s", ".5s", "\n"],
)
def test_what_is_no_duration_is_a_usage_error_with_an_example(text):
    with pytest.raises(UsageError) as error:
        units.parse_duration(text)
    assert error.value.code == "usage.duration"
    assert "30s" in error.value.hint


@given(st.floats(0.001, 86_400))
def test_a_duration_written_plainly_parses_back_to_itself(seconds):
    assert units.parse_duration(f"{units.plain_number(seconds)}s") == seconds


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_plain_number_parses_back_to_itself(value):
    assert float(units.plain_number(value)) == value


def test_what_is_no_duration_is_quoted_without_its_escape_sequences():
    with pytest.raises(UsageError) as caught:
        units.parse_duration("\x1b]52;c;aGk=\x07")
    assert caught.value.message.isprintable()


def test_the_largest_number_has_a_form():
    assert units.significant(1.797e308).startswith("179,")
    assert units.significant(-1.797e308).startswith("−")
