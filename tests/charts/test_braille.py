from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickserveml_tui.charts.braille import dots_to_cells, latency_trace, trace_of
from quickserveml_tui.charts.cells import Charset, Role
from quickserveml_tui.charts.series import LatencySeries
from quickserveml_tui.core.text import cell_width


def widths(drawing):
    return [sum(cell_width(span.text) for span in row) for row in drawing.rows]


def test_dots_become_the_braille_signs_of_the_standard():
    dots = np.zeros((4, 4), dtype=bool)
    dots[0, 0] = dots[3, 1] = True
    dots[:, 2:] = True
    assert [chr(code) for code in dots_to_cells(dots)[0]] == ["⢁", "⣿"]


def test_a_trace_reads_as_text_with_roles():
    times = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0]
    drawing = latency_trace(times, [9, 6, 4, 4, 8, 4], 24, 7, warmup_until_s=1.0)
    assert drawing.roles().splitlines() == [
        "muted:'ms'",
        "muted:'12 ' grid:'┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈'",
        "muted:'10 ' alt:'⡀' grid:'┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈'",
        "muted:' 8 ' grid:'┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈' accent:'⠐' grid:'┈┈┈┈┈'",
        "muted:' 6 ' grid:'┈┈' alt:'⠐' grid:'┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈'",
        "muted:' 4 ' grid:'┈┈┈┈┈' accent:'⠂' grid:'┈┈┈┈' accent:'⠐' grid:'┈┈┈┈┈┈┈┈┈' accent:'⠐'",
        "muted:'warm-up   2       4 s'",
    ]


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.floats(), max_size=50),
    width=st.integers(0, 100),
    height=st.integers(0, 30),
    charset=st.sampled_from(list(Charset)),
    scatter=st.booleans(),
)
def test_any_samples_at_any_size_give_a_picture_of_that_size(values, width, height, charset, scatter):
    drawing = latency_trace(range(len(values)), values, width, height, charset=charset, scatter=scatter)
    assert drawing.height in (0, height)
    assert all(size <= width for size in widths(drawing))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_samples_are_drawn_as_they_are(count):
    drawing = latency_trace([1.0, 2.0, 3.0][:count], [5.0] * count, 40, 8, window_s=(0, 10))
    dots = sum((ord(sign) - 0x2800).bit_count() for sign in drawing.plain() if 0x2800 <= ord(sign) < 0x2900)
    assert dots == count


def test_one_outlier_does_not_flatten_the_rest_and_is_told():
    values = [20 + index % 5 for index in range(400)]
    values[200] = 900
    drawing = latency_trace(np.arange(400) / 20, values, 60, 12)
    text = drawing.plain()
    assert "▲ up to 900" in text
    assert "20" in text
    assert "500" not in text


def test_a_scale_of_decades_keeps_microseconds_visible_below_milliseconds():
    times = np.arange(20_000) / 2_000
    values = np.where(np.arange(20_000) % 50 == 0, 4.0, 0.01)
    drawing = latency_trace(times, values, 60, 13, marks={"p50": 0.01})
    labels = [row[0].text.strip() for row in drawing.rows[1:-1] if row[0].text.strip()]
    assert labels == ["1", "0.1"]
    assert "logarithmic" in drawing.plain()


def test_a_spike_of_a_single_sample_reaches_its_height():
    values = [10.0] * 5_000
    values[2_500] = 12.0
    flat = latency_trace(range(5_000), [10.0, *values[1:2_500], 10.0, *values[2_501:]], 80, 12)
    spiked = latency_trace(range(5_000), values, 80, 12)
    assert spiked.plain() != flat.plain()


def test_ascii_traces_hold_ascii_only():
    drawing = latency_trace([0, 1, 2], [1, 3, 2], 40, 9, charset=Charset.ASCII, warmup_until_s=1, marks={"p50": 2})
    assert drawing.plain().isascii()


def test_percentile_marks_stand_at_the_right_edge_on_their_row():
    drawing = latency_trace(range(100), np.linspace(10, 20, 100), 50, 12, marks={"p50": 15.0, "p99": float("nan")})
    marked = [row for row in drawing.rows if row and row[-1].text.strip() == "p50"]
    assert len(marked) == 1
    assert marked[0][-1].role is Role.MUTED
    assert "p99" not in drawing.plain()


def test_a_hundred_thousand_samples_stay_in_few_slots():
    series = LatencySeries()
    for start in range(0, 100_000, 2_000):
        series.extend(np.arange(start, start + 2_000) / 1_000, np.full(2_000, 1.5))
    assert len(series) <= 32_768
    assert trace_of(series, 120, 24).height == 24
