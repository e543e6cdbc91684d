from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickserveml_tui.charts.bars import columns, progress_bar, thin_bar
from quickserveml_tui.charts.cells import Charset, Role
from quickserveml_tui.charts.hero import hero, hero_width
from quickserveml_tui.charts.strips import resample, strip


def text_of(row):
    return "".join(span.text for span in row)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, "    "), (0.001, "╸   "), (0.125, "╸   "), (0.25, "━   "), (0.375, "━╸  "), (1, "━━━━"), (7, "━━━━")],
)
def test_a_bar_grows_by_half_cells_and_anything_above_zero_shows(share, expected):
    assert text_of(thin_bar(share, 4)) == expected


def test_a_progress_bar_has_a_track_and_rests_in_grey():
    row = progress_bar(0.5, 10, live=False)
    assert [span.role for span in row] == [Role.ALT, Role.GRID]
    assert text_of(progress_bar(0.5, 10, charset=Charset.ASCII)) == "=====....."


@given(st.one_of(st.none(), st.floats()), st.integers(0, 60), st.booleans(), st.sampled_from(list(Charset)))
def test_a_bar_has_its_width_for_any_value(share, width, track, charset):
    assert len(text_of(thin_bar(share, width, track=track, charset=charset))) == width


def test_columns_fill_by_eighths_and_leave_gaps_for_missing_values():
    drawing = columns([8, 4, None, math.nan, 0], 1)
    assert text_of(drawing.rows[0]) == "█▄   "


def test_the_hero_is_three_rows_high_with_its_unit_on_the_base_line():
    drawing = hero("21.8", "ms", "p50")
    assert drawing.plain().splitlines() == ["╺━┓╺┓  ┏━┓", "┏━┛ ┃  ┣━┫", "┗━╸╺┻╸.┗━┛ ms p50"]


@pytest.mark.parametrize(
    ("value", "options"), [("21.8", {"charset": Charset.ASCII}), ("n/a", {}), ("1234.5", {"max_width": 9})]
)
def test_the_hero_becomes_one_bold_figure_where_it_must(value, options):
    drawing = hero(value, "ms", **options)
    assert drawing.height == 1
    assert drawing.rows[0][0].bold
    assert drawing.plain() == f"{value} ms"


def test_every_figure_has_three_rows_of_one_width():
    for sign in "0123456789.,−+–":
        rows = hero(sign).rows
        assert len({sum(len(span.text) for span in row) for row in rows}) == 1
        assert hero_width(sign) == len(rows[0][0].text)


def test_a_strip_holds_two_values_a_cell_and_a_gap_where_there_is_none():
    row = strip([0, 3, None, None], low=0, high=3)
    assert text_of(row) == "⡈ "


def test_a_quiet_quantity_is_a_quiet_line():
    assert len(set(text_of(strip([100, 101, 100, 101, 100, 101])))) <= 2


def test_resampling_keeps_means_and_bridges_gaps_but_not_the_ends():
    assert resample([1.5, 1.6, 4.5], [2, 4, 8], 6, 0, 6) == [None, 3, 3, 3, 8, None]
    assert resample([], [], 3, 0, 1) == [None, None, None]


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=40), st.sampled_from(list(Charset)))
def test_a_strip_of_anything_has_its_width(values, charset):
    cells = -(-len(values) // 2) if charset is Charset.BRAILLE else len(values)
    assert len(text_of(strip(values, charset=charset))) == cells
