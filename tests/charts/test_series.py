from __future__ import annotations

import numpy as np
import pytest

from quickserveml_tui.charts.series import LatencySeries, decimate


def test_no_spike_is_lost_however_many_samples_merge():
    rng = np.random.default_rng(7)
    series = LatencySeries(capacity=64)
    times = np.arange(20_000) * 0.001
    values = rng.uniform(1, 2, len(times))
    values[12_345], values[777] = 99.0, 0.01
    for start in range(0, len(times), 333):
        series.extend(times[start : start + 333], values[start : start + 333])
    _, low, high = series.points()
    assert len(series) <= 64
    assert series.count == 20_000
    assert high.max() == 99.0
    assert low.min() == 0.01


def test_columns_equal_the_extremes_of_a_plain_loop():
    rng = np.random.default_rng(3)
    times, values = rng.uniform(0, 10, 5_000), rng.gamma(2, 1, 5_000)
    columns = decimate(times, values, values, 37, start_s=0, end_s=10)
    place = np.minimum((times / 10 * 37).astype(int), 36)
    for index in range(37):
        assert columns.low[index] == values[place == index].min()
        assert columns.high[index] == values[place == index].max()


def test_values_that_are_not_finite_are_counted_and_left_out():
    series = LatencySeries.of([0, 1, 2, 3], [1.0, float("nan"), float("inf"), 2.0])
    assert (series.count, series.not_finite) == (2, 2)


def test_an_empty_series_has_empty_columns():
    assert LatencySeries().columns(10, 0, 1).empty


def test_times_and_values_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one length"):
        LatencySeries().extend([1, 2], [1])


def test_single_samples_fed_one_by_one_stay_bounded_and_exact():
    series = LatencySeries(capacity=8)
    for index in range(1_000):
        series.extend([index], [float(index % 97)])
    _, low, high = series.points()
    assert len(series) <= 8
    assert (low.min(), high.max()) == (0.0, 96.0)
