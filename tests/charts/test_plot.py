from __future__ import annotations

import math
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from quickserveml_tui.charts.cells import Charset, Role
from quickserveml_tui.charts.plot import bars, box, histogram, resample_counts
from quickserveml_tui.core.benchmarks import HistogramData
from quickserveml_tui.core.text import cell_width

DATA = HistogramData((20.0, 21.0, 22.0, 23.0, 24.0), (10, 40, 20, 0))


def test_a_histogram_has_counts_milliseconds_and_marks():
    text = histogram(DATA, 50, 10, marks={"p50": 21.6}).plain()
    first, *_, last = text.splitlines()
    assert first.strip() == "runs"
    assert last.rstrip().endswith("ms")
    assert "▲ p50" in text
    assert "█" in text


def test_the_tallest_column_stands_where_the_most_runs_are():
    rows = histogram(DATA, 53, 12).plain().splitlines()
    top = next(row for row in rows if "█" in row or "▄" in row)
    middle = sum(at for at, sign in enumerate(top) if sign in "█▄▌▐") / max(sum(sign in "█▄▌▐" for sign in top), 1)
    share = (middle - 5) / 48
    assert 0.25 <= share <= 0.5


def test_resampling_keeps_the_number_of_runs():
    assert math.isclose(sum(resample_counts(DATA, 33, 20, 24)), 70)
    assert math.isclose(sum(resample_counts(HistogramData((5.0, 5.0), (3,)), 10, 4, 6)), 3)


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=40),
    low=st.floats(0, 1e3),
    width=st.integers(0, 90),
    height=st.integers(0, 20),
    charset=st.sampled_from(list(Charset)),
)
def test_a_histogram_of_anything_fits_its_place(counts, low, width, height, charset):
    data = HistogramData(tuple(low + 0.5 * index for index in range(len(counts) + 1)), tuple(counts))
    drawing = histogram(data, width, height, charset=charset, marks={"p50": low, "nan": math.nan})
    assert drawing.height in (0, height)
    assert all(sum(cell_width(span.text) for span in row) <= width for row in drawing.rows)


def test_no_data_gives_no_picture():
    assert histogram(HistogramData((), ()), 40, 10).height == 0
    assert histogram(HistogramData((1.0, 2.0), (0,)), 40, 10).height == 0


def test_two_threads_do_not_spoil_each_others_pictures():
    other = HistogramData((1.0, 2.0, 3.0), (1, 99))
    expected = [histogram(DATA, 41, 9).plain(), histogram(other, 47, 11).plain()]
    spoiled = []

    def draw(data, size, wanted):
        for shift in range(6):
            # A mark of its own each time keeps the cache from answering.
            fresh = HistogramData(data.edges_ms, tuple(count * (shift + 1) for count in data.counts))
            histogram(fresh, *size)
            if histogram(data, *size).plain() != wanted:
                spoiled.append(size)

    threads = [
        threading.Thread(target=draw, args=(DATA, (41, 9), expected[0])),
        threading.Thread(target=draw, args=(other, (47, 11), expected[1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not spoiled


def test_bars_name_each_column_and_leave_missing_ones_empty():
    drawing = bars({"mlp": 3.0, "x[/]y\x1b[31m": 1.5, "none": math.nan}, 40, 8, unit="ms")
    assert drawing.rows[0][0].text == "ms"
    assert "x[/]y" in drawing.plain()
    assert "\x1b" not in drawing.plain()
    assert drawing.plain().splitlines()[-1].split() == ["3.00", "1.50", "–"]


def test_a_box_plot_spans_the_extremes():
    drawing = box({"A": [1, 2, 3, 4, 100], "empty": []}, 50)
    assert drawing.height == 4
    assert drawing.plain().splitlines()[-1].rstrip().endswith("ms")
    assert box({}, 50).height == 0


def test_ascii_plots_hold_ascii_only():
    text = histogram(DATA, 40, 9, charset=Charset.ASCII, marks={"p99": 23.0}).plain()
    assert text.isascii()
    assert "#" in text


def test_a_drawing_becomes_text_with_and_without_colour():
    drawing = histogram(DATA, 40, 9)
    assert drawing.to_text().plain == "\n".join("".join(span.text for span in row) for row in drawing.rows)
    styled = drawing.to_text({Role.ACCENT: "red"})
    assert any("red" in str(span.style) for span in styled.spans)
