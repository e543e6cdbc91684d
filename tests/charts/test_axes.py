from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickserveml_tui.charts.axes import log_axis, number_labels, time_labels, value_axis


@settings(max_examples=300, deadline=None)
@given(
    low=st.floats(0, 1e6, allow_nan=False),
    extent=st.floats(0, 1e6, allow_nan=False),
    rows=st.integers(1, 40),
)
def test_an_axis_shows_the_whole_range_with_at_most_five_ticks(low, extent, rows):
    axis = value_axis(low, low + extent, rows)
    slack = axis.per_row * 1e-6
    assert axis.low <= low + slack
    assert axis.high >= low + extent - slack
    assert min(3, rows) <= len(axis.ticks()) <= 5


def test_ticks_are_round_and_fall_on_whole_rows():
    axis = value_axis(20.3, 34.9, 9)
    assert axis.ticks() == {0: "20", 2: "24", 4: "28", 6: "32", 8: "36"}


def test_equal_values_get_an_axis_around_them():
    axis = value_axis(5.0, 5.0, 7)
    assert axis.low < 5.0 < axis.high


def test_an_axis_from_zero_starts_there():
    assert value_axis(30, 90, 8, from_zero=True).ticks()[0] == "0"


def test_the_last_time_label_carries_the_unit_and_warm_up_is_named():
    (span,) = time_labels(0, 18, 60, warmup_until_s=3)
    assert span.text.startswith("warm-up")
    assert span.text.endswith("18 s")
    assert len(span.text) == 60


@pytest.mark.parametrize(("end", "unit"), [(0.05, "ms"), (30, "s"), (1800, "min"), (36_000, "h")])
def test_a_time_axis_speaks_in_the_fitting_unit(end, unit):
    assert time_labels(0, end, 60)[0].text.endswith(f" {unit}")


@given(width=st.integers(0, 120), end=st.floats(1e-3, 1e6), warm=st.floats(0, 1e6))
def test_time_labels_never_leave_their_width(width, end, warm):
    row = time_labels(0, end, width, warmup_until_s=warm)
    assert sum(len(span.text) for span in row) in (0, width)


@given(low=st.floats(-1e6, 1e6), extent=st.floats(1e-6, 1e6), width=st.integers(12, 120))
def test_number_labels_never_leave_their_width(low, extent, width):
    row = number_labels(low, low + extent, width, "ms")
    assert sum(len(span.text) for span in row) in (0, width)


@given(low=st.floats(1e-9, 1e3), factor=st.floats(1.5, 1e9), rows=st.integers(3, 40))
def test_a_logarithmic_axis_shows_the_whole_range_with_a_power_of_ten_at_each_tick(low, factor, rows):
    axis = log_axis(low, low * factor, rows)
    if axis is not None:
        assert axis.height_of(low) >= -1e-6
        assert axis.height_of(low * factor) <= rows + 1e-6
        assert all(float(label.replace(",", "")) > 0 for label in axis.ticks().values())
        assert 2 <= len(axis.ticks()) <= 6


def test_zero_has_no_place_on_a_logarithmic_axis():
    assert log_axis(0.0, 5.0, 10) is None
