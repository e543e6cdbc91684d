"""What a single run says about itself: dependence, steadiness, outliers, precision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickserveml_tui.core import statistics
from quickserveml_tui.core.benchmarks import OutlierCause
from quickserveml_tui.core.bootstrap import mean_interval
from quickserveml_tui.core.dependence import autocorrelations, correlation_time, first_autocorrelation
from quickserveml_tui.core.outliers import MAX_MARKS, find_outliers, outlier_bound
from quickserveml_tui.core.precision import PrecisionWatch, half_width
from quickserveml_tui.core.runners import Stretch
from quickserveml_tui.core.steadiness import steady_from

LATENCIES = st.lists(st.floats(0.0005, 5_000), min_size=1, max_size=300)


def autoregressive(generator, size, rho):
    """A stationary AR(1) series with variance 1: its integrated autocorrelation time is (1 + rho) / (1 - rho)."""
    steps = generator.normal(0, np.sqrt(1 - rho**2), size)
    series = np.empty(size)
    series[0] = generator.normal()
    for index in range(1, size):
        series[index] = rho * series[index - 1] + steps[index]
    return series


# ---- dependence


def test_independent_samples_are_worth_themselves():
    generator = np.random.default_rng(1)
    worths = [statistics.effective_runs(generator.lognormal(0, 0.1, 2000)) for _ in range(50)]
    for name in ("p50", "p99", "mean"):
        assert sum(worth[name] == 2000 for worth in worths) >= 44


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.95])
def test_the_correlation_time_is_that_of_the_process(rho):
    generator = np.random.default_rng(2)
    times = [correlation_time(autoregressive(generator, 20_000, rho)) for _ in range(5)]
    assert np.mean(times) == pytest.approx((1 + rho) / (1 - rho), rel=0.2)


def test_long_series_are_worth_as_much_when_looked_at_in_blocks():
    series = autoregressive(np.random.default_rng(3), 400_000, 0.9)
    assert correlation_time(series) == pytest.approx(19, rel=0.15)


def test_alternating_samples_are_not_taken_for_more_than_they_are():
    assert correlation_time(np.tile([1.0, 2.0], 500)) == 1.0


@settings(max_examples=100, deadline=None)
@given(LATENCIES)
def test_samples_are_never_worth_more_than_their_number_nor_less_than_one(samples):
    for worth in statistics.effective_runs(samples).values():
        assert 1 <= worth <= len(samples)
    correlation = first_autocorrelation(samples)
    assert correlation is None or -1.01 <= correlation <= 1.01
    assert autocorrelations(np.asarray(samples))[0] == pytest.approx(1)


def test_neighbours_that_resemble_each_other_are_noticed():
    generator = np.random.default_rng(4)
    assert first_autocorrelation(autoregressive(generator, 5000, 0.9)) > 0.5
    assert abs(first_autocorrelation(generator.normal(size=5000))) < 0.06
    assert first_autocorrelation([1.0] * 11) is None
    assert first_autocorrelation([1.0] * 50) == 0.0


def test_percentile_intervals_hold_where_neighbours_resemble_each_other():
    generator = np.random.default_rng(5)
    truth = {"p50": 1.0, "p90": np.exp(0.2 * 1.28155), "mean": np.exp(0.02)}
    held, naive = dict.fromkeys(truth, 0), 0
    for _ in range(150):
        samples = np.exp(0.2 * autoregressive(generator, 2000, 0.8))
        _, intervals = statistics.summarise(samples)
        for name, value in truth.items():
            held[name] += intervals[name].low <= value <= intervals[name].high
        plain = statistics.percentile_interval(samples, 50)
        naive += plain.low <= 1.0 <= plain.high
    assert min(held.values()) >= 132  # 95 % of 150 is 142; five standard deviations less
    assert naive < 110  # as if they were independent


def test_a_percentile_that_dependent_runs_cannot_hold_says_how_many_it_takes():
    samples = np.repeat(np.random.default_rng(6).normal(10, 1, 40), 10)  # 400 runs, worth about 40
    summary, intervals = statistics.summarise(samples)
    assert intervals["p99"] is None
    worth = statistics.effective_runs(samples)
    assert statistics.runs_for_interval("p99", 400, worth) > 400
    assert statistics.runs_for_interval("p99", 100, {}) == 368
    assert statistics.runs_for_interval("mean", 100, {}) == 0
    assert summary.p50 > 0


# ---- the mean


@settings(max_examples=60, deadline=None)
@given(LATENCIES)
def test_the_interval_of_the_mean_encloses_it_and_is_the_same_each_time(samples):
    interval = mean_interval(samples)
    assert (interval is None) == (len(samples) < 20)
    if interval is not None:
        mean = float(np.mean(samples))
        assert interval.low <= mean * (1 + 1e-9)
        assert interval.high >= mean * (1 - 1e-9)
        assert mean_interval(samples) == interval


def test_the_interval_of_a_skewed_mean_reaches_further_up_than_down():
    samples = np.random.default_rng(7).lognormal(0, 1.5, 300)
    interval, mean = mean_interval(samples), float(samples.mean())
    assert interval.high - mean > mean - interval.low > 0


# ---- steadiness


def test_a_run_that_settles_says_where():
    generator = np.random.default_rng(8)
    level = np.concatenate([np.full(800, 14.0), np.full(3200, 10.0)])
    found = steady_from(level + generator.normal(0, 0.1, 4000))
    assert 800 <= found <= 950


def test_a_run_that_was_always_steady_is_so_from_the_start():
    assert steady_from(np.random.default_rng(9).normal(10, 0.5, 3000)) == 0
    assert steady_from([1.0]) == 0


def test_a_run_that_climbs_to_its_end_never_was_steady():
    assert steady_from(np.linspace(10, 14, 3000)) is None


def test_one_slow_spell_in_the_middle_is_no_late_start():
    level = np.full(4000, 10.0)
    level[1500:1600] = 30.0
    assert steady_from(level + np.random.default_rng(10).normal(0, 0.1, 4000)) == 0


@settings(max_examples=100, deadline=None)
@given(LATENCIES)
def test_a_run_becomes_steady_in_its_first_half_or_never(samples):
    found = steady_from(samples)
    assert found is None or 0 <= found <= len(samples) / 2 + 1


# ---- outliers


def test_a_normal_distribution_has_no_outliers():
    samples = np.random.default_rng(11).normal(10, 0.2, 100_000)
    assert find_outliers(samples, np.arange(100_000.0)).count == 0


def test_outliers_are_counted_marked_in_order_of_time_and_bounded():
    samples = np.random.default_rng(12).normal(10, 0.1, 5000)
    slow = np.arange(7, 5000, 20)
    samples[slow] = 50 + np.arange(slow.size)
    found = find_outliers(samples, np.arange(5000) * 0.01)
    assert found.count == slow.size
    assert found.causes == {"unknown": slow.size}
    assert len(found.marks) == MAX_MARKS
    times = [mark.at_s for mark in found.marks]
    assert times == sorted(times)
    assert min(mark.latency_ms for mark in found.marks) >= 50 + slow.size - MAX_MARKS


@settings(max_examples=100, deadline=None)
@given(LATENCIES)
def test_every_outlier_lies_beyond_the_bound_and_has_one_cause(samples):
    stretches = [Stretch(0, len(samples) / 2, 1, 1, 0.002), Stretch(len(samples) / 2, len(samples), 2, 0, 0)]
    found = find_outliers(samples, np.arange(float(len(samples))), stretches)
    assert found.bound_ms == outlier_bound(samples) > np.median(samples)
    assert found.count == sum(value > found.bound_ms for value in samples) == sum(found.causes.values())
    assert all(mark.latency_ms > found.bound_ms for mark in found.marks)


def test_outliers_are_put_down_to_what_was_counted_while_they_ran():
    samples = np.full(1000, 10.0)
    samples[[100, 300, 500, 501, 700]] = [18.0, 40.0, 60.0, 30.0, 25.0]
    stretches = [
        Stretch(50, 150, 1, 0, 0.0),
        Stretch(450, 550, 0, 1, 0.04),  # 40 ms stolen explain the 50 ms; the fault explains the other
        Stretch(650, 660, 9, 9, 9.0),  # nothing slow was in it
        Stretch(690, 710, 0, 1, 0.0),
    ]
    marks = find_outliers(samples, np.arange(1000.0), stretches).marks
    assert {mark.at_s: mark.cause for mark in marks} == {
        100.0: OutlierCause.INTERRUPTED,
        300.0: OutlierCause.UNKNOWN,
        500.0: OutlierCause.STEAL,
        501.0: OutlierCause.PAGE_FAULT,
        700.0: OutlierCause.PAGE_FAULT,
    }


def test_no_more_outliers_are_put_down_to_interruptions_than_there_were():
    samples = np.full(1000, 10.0)
    samples[100:110] = np.arange(20.0, 30.0)
    found = find_outliers(samples, np.arange(1000.0), [Stretch(0, 1000, 3, 0, 0.0)])
    assert found.causes == {"interrupted": 3, "unknown": 7}
    assert {mark.latency_ms for mark in found.marks if mark.cause is OutlierCause.INTERRUPTED} == {27.0, 28.0, 29.0}


# ---- precision


def test_a_figure_without_an_interval_has_no_precision():
    assert half_width(np.full(30, 5.0), "p99") is None
    assert half_width(np.full(30, 5.0), "p50") == 0


def test_a_run_may_end_at_the_second_look_that_is_precise_enough():
    watch = PrecisionWatch("p50", 0.05)
    samples = np.random.default_rng(13).normal(10, 0.2, 1000)
    assert not watch.is_due(99)
    assert watch.is_due(100)
    assert not watch.is_reached(samples[:100])
    assert not watch.is_due(120)
    assert watch.is_reached(samples[:121])
    strict = PrecisionWatch("p50", 0.0001)
    assert not any(strict.is_reached(samples[:count]) for count in (200, 400, 1000))


@pytest.mark.parametrize("figure", ["p50", "p95", "mean"])
def test_runs_that_end_by_precision_still_hold_the_truth(figure):
    truth = {"p50": 1.0, "p95": np.exp(0.1 * 1.64485), "mean": np.exp(0.005)}[figure]
    generator, held, runs = np.random.default_rng(14), 0, 100
    for _ in range(runs):
        samples, watch, count = generator.lognormal(0, 0.1, 20_000), PrecisionWatch(figure, 0.02), 100
        while not watch.is_reached(samples[:count]) and count < 15_000:
            count = int(count * 1.3)
        _, intervals = statistics.summarise(samples[:count], only=(figure,))
        assert half_width(samples[:count], figure) <= 0.02
        held += intervals[figure].low <= truth <= intervals[figure].high
    assert held >= 86
