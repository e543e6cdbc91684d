"""Rates and percentiles from two snapshots, against numpy on the values themselves."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickserveml_tui.core.monitor_rates import difference, mean, merge, quantile, rates
from quickserveml_tui.core.monitoring import Distribution, ModelSnapshot, ServerSnapshot, WorkerSnapshot

BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0)
values = st.lists(st.floats(0, 10, allow_nan=False), max_size=60)
bounds = st.lists(st.sampled_from(BOUNDS), unique=True, min_size=1).map(sorted).map(tuple)
shares = st.floats(0, 1)


def histogram(seen, bounds=BOUNDS):
    counts = [0] * (len(bounds) + 1)
    for value in seen:
        counts[bisect_left(bounds, value)] += 1
    return Distribution(bounds, tuple(counts), float(sum(seen)))


def edges(value, bounds):
    """Bounds of the bucket of a value; the open one gives its lower bound alone."""
    index = bisect_left(bounds, value)
    return (0.0, *bounds)[index], (*bounds, bounds[-1])[index]


@given(values.filter(bool), bounds, shares)
def test_a_quantile_lies_in_the_bucket_of_numpys_percentile(seen, bounds, q):
    exact = float(np.quantile(seen, q, method="inverted_cdf"))
    found = quantile(histogram(seen, bounds), q)
    low, high = edges(exact, bounds)
    assert low - 1e-9 <= found <= high + 1e-9


@given(values.filter(bool), bounds, st.lists(shares, min_size=2))
def test_quantiles_rise_with_their_share(seen, bounds, many):
    distribution = histogram(seen, bounds)
    found = [quantile(distribution, q) for q in sorted(many)]
    assert all(low <= high + 1e-12 for low, high in pairwise(found))


def test_a_quantile_is_interpolated_in_its_bucket_and_the_open_one_answers_its_lower_bound():
    distribution = Distribution((1.0, 3.0), (0, 4, 2))
    assert quantile(distribution, 1 / 3) == pytest.approx(2.0)
    assert quantile(distribution, 0.99) == 3.0
    assert quantile(Distribution((1.0,), (0, 0)), 0.5) is None
    assert quantile(Distribution((), (7,), 3.0), 0.5) is None  # sums without buckets
    assert mean(Distribution((), (7,), 3.5)) == 0.5
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile(distribution, 1.5)


@given(values, values)
def test_a_difference_is_the_histogram_of_what_came_between(before, between):
    found = difference(histogram(before), histogram(before + between))
    assert found.counts == histogram(between).counts
    assert found.total == pytest.approx(sum(between), abs=1e-6)


@given(st.lists(st.tuples(values, bounds), max_size=4))
def test_a_merge_counts_every_value_in_the_buckets_that_all_share(parts):
    merged = merge(histogram(seen, some) for seen, some in parts)
    everything = [value for seen, _ in parts for value in seen]
    assert merged.count == len(everything)
    assert merged.total == pytest.approx(sum(everything))
    if everything and merged.bounds:
        assert merged.counts == histogram(everything, merged.bounds).counts


def model(requests, *, name="m", version="1", failed=0, pending=0, seconds=0.002):
    latency = histogram([seconds] * requests)
    codes = {"200": requests} | ({"500": failed} if failed else {})
    batch = Distribution((), (max(requests // 2, 0),), float(requests))
    return ModelSnapshot(
        name, version, codes=codes, latency=latency, batch=batch, inferences=requests * 3, pending=pending
    )


def server(at, *models, uptime_s=0.0, workers=()):
    return ServerSnapshot(taken_at=at, models=models, uptime_s=uptime_s, workers=workers)


def test_rates_are_differences_over_the_time_between():
    before = server(100.0, model(10), model(4, name="other"), workers=(WorkerSnapshot(0, 7, cpu_s=1.0),))
    after = server(
        102.0,
        model(30, failed=4, pending=2),
        model(4, name="other", pending=1),
        workers=(WorkerSnapshot(0, 7, cpu_s=2.0, rss_bytes=5, connections=3), WorkerSnapshot(1, 8, cpu_s=0.5)),
    )
    found = rates(before, after)
    busy, idle = found.models
    assert (found.interval_s, busy.requests_per_s, busy.errors_per_s, busy.inferences_per_s) == (2.0, 12.0, 2.0, 30.0)
    assert busy.batch == 2.0
    assert 1.0 <= busy.p50_ms <= 5.0
    assert sum(busy.heat) == 20
    assert (idle.requests_per_s, idle.p50_ms, idle.mean_ms, idle.batch) == (0.0, None, None, None)
    assert (found.total.requests_per_s, found.total.pending, found.total.name) == (12.0, 3, "")
    assert (found.cpu_cores, found.rss_bytes, found.connections) == (0.75, 5, 3)


counts = st.integers(0, 1000)


@given(counts, counts, counts, counts, st.floats(-5, 5), st.floats(0, 100), st.floats(0, 100))
def test_nothing_is_negative_whatever_starts_anew(first, second, failed_first, failed_second, step, up, up_after):
    before = server(
        50.0, model(first, failed=failed_first), uptime_s=up, workers=(WorkerSnapshot(0, 1, cpu_s=float(first)),)
    )
    after = server(
        50.0 + step,
        model(second, failed=failed_second),
        uptime_s=up_after,
        workers=(WorkerSnapshot(0, 1, cpu_s=float(second)),),
    )
    found = rates(before, after)
    for part in (found.total, *found.models):
        shown = (part.requests_per_s, part.errors_per_s, part.inferences_per_s, *part.heat)
        assert min(shown) >= 0
        assert (part.mean_ms or 0) >= 0
    assert found.cpu_cores >= 0
    assert found.interval_s >= 0


def test_a_restarted_server_counts_from_its_start_also_where_it_has_caught_up():
    before = server(10.0, model(5), uptime_s=1000.0)
    after = server(20.0, model(50), uptime_s=4.0)
    assert rates(before, after).models[0].requests_per_s == 5.0
    assert rates(before, replace(after, uptime_s=1010.0)).models[0].requests_per_s == 4.5


def test_a_version_that_is_loaded_again_does_not_count_its_whole_life_at_once():
    before, after = server(10.0, uptime_s=100.0), server(11.0, model(5000), uptime_s=101.0)
    assert rates(before, after).total.requests_per_s == 0.0
    assert rates(after, server(12.0, model(5003), uptime_s=102.0)).total.requests_per_s == 3.0


def test_a_clock_that_is_set_back_leaves_the_uptime():
    before, after = server(100.0, model(0), uptime_s=10.0), server(40.0, model(8), uptime_s=14.0)
    assert rates(before, after).total.requests_per_s == 2.0
