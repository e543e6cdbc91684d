from __future__ import annotations

import pytest

from quickserveml_tui.charts.cells import Charset, Role
from quickserveml_tui.charts.heatmap import heat_legend, heat_map, shade
from quickserveml_tui.charts.lines import Line, ago_labels, line_chart

BOUNDS = tuple(0.1 * 2**step for step in range(12))


def column(bucket: int, count: int = 10) -> tuple[int, ...]:
    return tuple(count if at == bucket else 0 for at in range(len(BOUNDS) + 1))


@pytest.mark.parametrize("charset", [Charset.BRAILLE, Charset.ASCII])
@pytest.mark.parametrize("height", range(3, 20))
def test_every_bucket_with_a_value_is_drawn_at_every_height(charset: Charset, height: int) -> None:
    for bucket in range(len(BOUNDS) + 1):
        drawing, most = heat_map([column(bucket)], BOUNDS, 20, height, charset=charset)
        assert most >= 10
        assert drawing.height == height
        assert any(span.role.value.startswith("heat") for row in drawing.rows for span in row)


def test_heat_rises_with_latency_and_shades_with_counts() -> None:
    drawing, most = heat_map([column(2), column(9, 40)], BOUNDS, 12, 12, charset=Charset.ASCII)
    lines = drawing.plain().splitlines()
    low = [at for at, line in enumerate(lines) if line[7:8].strip()]
    high = [at for at, line in enumerate(lines) if line[8:9].strip()]
    assert max(high) < min(low)
    assert most == 40
    assert [shade(count, 40) for count in (0, 1, 40)] == [0, 2, 7]
    assert "0" in heat_legend(most)[1].text


def test_heat_without_values_is_an_empty_grid() -> None:
    for columns in ([], [None], [column(0, 0)]):
        drawing, most = heat_map(columns, BOUNDS, 30, 8)
        assert most == 0
        assert drawing.height == 8
    assert heat_map([column(1)], (), 30, 8)[1] == 0
    assert heat_map([column(1)], BOUNDS, 5, 2)[0].height == 0


@pytest.mark.parametrize("values", [[], [None], [0.0], [float("nan"), float("inf")], [1.0, None, 5.0], [3.0] * 50])
@pytest.mark.parametrize("charset", [Charset.BRAILLE, Charset.ASCII])
def test_lines_take_none_one_many_and_what_is_no_number(values, charset: Charset) -> None:
    drawing = line_chart([Line(values, name="p50")], 40, 9, window_s=60, unit="/s", charset=charset)
    assert drawing.height == 9
    assert all(sum(len(span.text) for span in row) <= 40 for row in drawing.rows)


def test_a_later_line_has_the_colour_where_two_meet_and_gaps_stay_empty() -> None:
    drawing = line_chart([Line([5.0] * 20, Role.ALT), Line([5.0] * 10)], 30, 8, window_s=60)
    roles = [span.role for row in drawing.rows for span in row if any("⠀" < char <= "⣿" for char in span.text)]
    assert set(roles) == {Role.ACCENT, Role.ALT}


def test_a_wide_range_of_times_is_drawn_on_decades() -> None:
    drawing = line_chart([Line([0.1, 100.0] * 20)], 50, 12, window_s=60, from_zero=False, unit="ms")
    labels = {row[0].text.strip() for row in drawing.rows[1:-1]} - {""}
    assert "100" in labels
    assert labels <= {"100", "10", "1", "0.1"}


@pytest.mark.parametrize("window", [60.0, 300.0, 600.0])
@pytest.mark.parametrize("width", [8, 20, 37, 120])
def test_labels_of_a_window_end_now_and_never_overlap(window: float, width: int) -> None:
    text = "".join(span.text for span in ago_labels(window, width))
    assert len(text) == width
    assert text.endswith("now")
    assert text.startswith("−") or width == 8
