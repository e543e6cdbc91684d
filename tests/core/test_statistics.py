"""Statistics that a benchmark can be judged by."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickserveml_tui.core import statistics
from quickserveml_tui.core.bootstrap import mean_interval, t_quantile
from quickserveml_tui.core.statistics import HostNoise
from quickserveml_tui.core.steadiness import drift

LATENCIES = st.lists(st.floats(0.0005, 5_000), min_size=1, max_size=300)


def rng(seed=0):
    return np.random.default_rng(seed)


# ---- percentiles and their intervals


def test_a_percentile_lies_between_order_statistics_as_numpy_computes_it():
    samples = rng().exponential(1.0, 997)
    for percent in (0, 50, 90, 99, 100):
        assert statistics.percentile(samples, percent) == pytest.approx(np.percentile(samples, percent))
    assert statistics.percentile([1.0, 2.0], 50) == 1.5


def test_a_percentile_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="sample"):
        statistics.percentile([], 50)


@pytest.mark.parametrize(("percent", "runs"), [(50, 6), (90, 36), (95, 72), (99, 368), (99.9, 3688), (10, 36)])
def test_the_runs_that_a_percentile_needs_for_a_finite_interval_are_those_of_the_binomial(percent, runs):
    assert statistics.needed_runs(percent) == runs
    samples = np.arange(runs, dtype=float)
    assert statistics.percentile_interval(samples, percent) is not None
    assert statistics.percentile_interval(samples[:-1], percent) is None


@pytest.mark.parametrize("percent", [0, 100, -1, 101])
def test_there_is_no_interval_for_the_extremes(percent):
    with pytest.raises(ValueError, match="between"):
        statistics.needed_runs(percent)


def exact_ranks(n, share):
    """Ranks by summing the binomial's mass with exact integers."""
    mass = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    lower = max(rank for rank in range(n + 1) if sum(mass[:rank]) <= 0.025)
    upper = min(rank for rank in range(n + 2) if sum(mass[rank:]) <= 0.025)
    return lower, upper


@pytest.mark.parametrize("n", [40, 75, 400])
@pytest.mark.parametrize("percent", [50, 90, 95, 99])
def test_interval_bounds_are_the_order_statistics_that_the_binomial_names(n, percent):
    samples = np.arange(1, n + 1, dtype=float)  # a sample is its own rank
    interval = statistics.percentile_interval(rng(1).permutation(samples), percent)
    if n < statistics.needed_runs(percent):
        assert interval is None
    else:
        assert (interval.low, interval.high) == exact_ranks(n, percent / 100)


def test_intervals_hold_the_true_percentile_in_95_of_100_runs():
    generator, truth = rng(2), math.log(10)  # p90 of the exponential distribution
    held = 0
    for _ in range(1000):
        interval = statistics.percentile_interval(generator.exponential(1.0, 150), 90)
        held += interval.low <= truth <= interval.high
    assert 940 <= held <= 995


def test_intervals_of_millions_of_samples_are_quick_and_tight():
    interval = statistics.percentile_interval(rng(3).normal(10, 1, 2_000_000), 50)
    assert 9.99 < interval.low < 10 < interval.high < 10.01


def test_the_mean_interval_holds_the_truth_also_when_neighbours_resemble_each_other():
    generator, held = rng(4), 0
    for _ in range(200):
        steps = generator.normal(0, 1, 2000)
        series = np.empty(2000)
        series[0] = steps[0]
        for index in range(1, 2000):  # AR(1): the plain t interval would hold the truth in 1 of 2 runs only
            series[index] = 0.8 * series[index - 1] + steps[index]
        interval = mean_interval(series + 10)
        held += interval.low <= 10 <= interval.high
    assert held >= 180


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (19, 2.093), (1000, 1.962)]
)
def test_students_quantile_agrees_with_the_tables(freedom, quantile):
    assert t_quantile(freedom) == pytest.approx(quantile, abs=0.03)


def test_one_sample_has_a_summary_without_intervals():
    summary, intervals = statistics.summarise([2.5])
    assert (summary.min, summary.p50, summary.p99, summary.max, summary.mean, summary.stddev) == (2.5,) * 5 + (0.0,)
    assert intervals == {"p50": None, "p90": None, "p95": None, "p99": None, "mean": None}


@settings(max_examples=100, deadline=None)
@given(LATENCIES)
def test_a_summary_is_ordered_and_its_intervals_enclose_their_percentile(samples):
    summary, intervals = statistics.summarise(samples)
    assert summary.min <= summary.p50 <= summary.p90 <= summary.p95 <= summary.p99 <= summary.max
    assert summary.min <= summary.mean * (1 + 1e-12)
    assert summary.mean <= summary.max * (1 + 1e-12)
    for name, percent in statistics.PERCENTILES.items():
        enough = statistics.effective_runs(samples)[name] >= statistics.needed_runs(percent)
        assert (intervals[name] is not None) == enough
        if intervals[name] is not None:
            assert intervals[name].low <= getattr(summary, name) <= intervals[name].high


# ---- histogram


@settings(max_examples=150, deadline=None)
@given(LATENCIES)
def test_a_histogram_counts_every_sample_once_between_rising_edges(samples):
    data = statistics.histogram(samples)
    assert sum(data.counts) == len(samples)
    assert len(data.edges_ms) == len(data.counts) + 1
    assert len(data.counts) <= 40
    assert all(low < high for low, high in zip(data.edges_ms, data.edges_ms[1:], strict=False))
    assert data.edges_ms[0] <= min(samples)
    assert data.edges_ms[-1] >= max(samples)


def test_one_slow_sample_does_not_squeeze_all_others_into_one_bar():
    samples = np.append(rng(5).normal(2.0, 0.05, 5000), 900.0)
    counts = statistics.histogram(samples).counts
    assert max(counts[:-1]) < 0.2 * len(samples)
    assert 1 <= counts[-1] <= 0.06 * len(samples)


def test_equal_samples_make_one_bar():
    assert statistics.histogram([3.0] * 50).counts == (50,)


def test_widely_spread_samples_get_logarithmic_bins():
    edges = statistics.histogram(rng(6).lognormal(0, 2, 5000)).edges_ms[:-1]
    ratios = np.array(edges[1:]) / np.array(edges[:-1])
    assert np.allclose(ratios, ratios[0])


# ---- drift and noise


def test_a_constant_level_is_steady_and_a_slope_is_not():
    noise = rng(7).normal(0, 0.02, 3000)
    assert drift(10 + noise).steady
    rising = drift(np.linspace(10, 12, 3000) + noise)
    assert not rising.steady
    assert 0.08 < rising.change < 0.2


def test_a_step_in_the_middle_is_not_steady_even_if_it_goes_back():
    level = np.concatenate([np.full(100, 10.0), np.full(100, 11.0), np.full(100, 10.0)])
    assert not drift(level).steady


def test_scatter_of_few_samples_is_not_taken_for_drift():
    generator = rng(8)
    alarms = sum(not drift(generator.normal(10, 2, 30)).steady for _ in range(300))
    assert alarms <= 15


def test_fewer_than_twelve_samples_show_no_drift():
    assert drift([1.0, 2.0, 3.0]).steady


QUIET = HostNoise(cores=4, load_before=0.2, other_cpus=0.1, steal=0.0, preemptions_per_s=1.0)


@pytest.mark.parametrize(
    ("host", "word"),
    [
        (HostNoise(cores=4, other_cpus=2.0), "Other processes"),
        (HostNoise(cores=1, other_cpus=0.4), "Other processes"),
        (HostNoise(cores=4, load_before=3.0), "load"),
        (HostNoise(cores=4, steal=0.1), "hypervisor"),
        (HostNoise(cores=4, preemptions_per_s=100), "interrupted"),
    ],
)
def test_a_disturbed_host_makes_a_run_noisy_and_the_reason_names_the_cause(host, word):
    noisy, reason = statistics.noise(rng(9).normal(10, 0.1, 500), host)
    assert noisy
    assert word in reason


def test_scattered_latencies_make_a_run_noisy_on_a_quiet_host():
    noisy, reason = statistics.noise(rng(10).uniform(5, 15, 500), QUIET)
    assert noisy
    assert "middle half" in reason


def test_a_quiet_run_is_not_noisy_and_says_how_quiet():
    noisy, reason = statistics.noise(rng(11).normal(10, 0.1, 500), QUIET)
    assert not noisy
    assert reason.startswith("Quiet host")


def test_what_other_processes_did_during_the_run_counts_more_than_the_load_before_it():
    noisy, _ = statistics.noise([1.0] * 50, HostNoise(cores=2, load_before=9.0, other_cpus=0.0))
    assert not noisy
