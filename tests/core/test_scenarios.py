"""Load scenarios: schedules, bounds, plans and figures, without a process."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickserveml_tui.core.bounds import parse_bound
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.loads import Load, Pattern, arrivals
from quickserveml_tui.core.scenario_figures import step_figures
from quickserveml_tui.core.scenario_plan import plan
from quickserveml_tui.core.scenario_results import StepFigures
from quickserveml_tui.core.scenarios import ScenarioKind, ScenarioSpec, ScenarioTarget

MODEL = ScenarioTarget("digits@1")
RATES = st.floats(0.5, 5_000)
SECONDS = st.floats(0.2, 20)
OPEN = [Pattern.UNIFORM, Pattern.POISSON, Pattern.BURST]


def rows_of(intended_s, latency_s, sent_s=None):
    """Rows of right answers whose generator was on time."""
    intended = np.asarray(intended_s, dtype=np.float64)
    sent = intended if sent_s is None else np.asarray(sent_s, dtype=np.float64)
    table = np.zeros((len(intended), 5), dtype=np.int64)
    table[:, 0], table[:, 1] = np.rint(intended * 1e9), np.rint(sent * 1e9)
    table[:, 2] = np.rint((intended + latency_s) * 1e9)
    return table


# ---- schedules ------------------------------------------------------------------------------------------------------


@given(st.sampled_from(OPEN), RATES, SECONDS, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_schedule_is_ascending_lies_within_the_duration_and_is_the_same_for_the_same_seed(
    pattern, rate, seconds, seed
):
    load = Load(pattern, seconds, rate, seed=seed, burst_size=7, burst_gap_s=0.3)
    times = arrivals(load)
    assert len(times) == load.planned
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] <= seconds + 0.5 / rate  # the count is rounded
    np.testing.assert_array_equal(times, arrivals(load))


@given(st.sampled_from([Pattern.UNIFORM, Pattern.POISSON]), RATES, st.floats(2, 20), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_schedule_has_the_rate_that_was_asked_for(pattern, rate, seconds, seed):
    count = len(arrivals(Load(pattern, seconds, rate, seed=seed)))
    assert abs(count - rate * seconds) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_gaps_of_a_poisson_schedule_are_exponential(seed):
    rate, count = 200.0, 20_000
    gaps = np.sort(np.diff(arrivals(Load(Pattern.POISSON, count / rate, rate, seed=seed))))
    theory = 1 - np.exp(-gaps * rate)
    distance = np.abs(theory - (np.arange(len(gaps)) + 0.5) / len(gaps)).max()
    assert distance < 1.63 / math.sqrt(len(gaps))  # Kolmogorov and Smirnov at 1 %, conservatively for equal counts
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) <= 1  # defined: no gap is NaN
    unsorted = np.diff(arrivals(Load(Pattern.POISSON, count / rate, rate, seed=seed)))
    assert abs(np.corrcoef(unsorted[:-1], unsorted[1:])[0, 1]) < 0.03


def test_seeds_give_different_poisson_schedules():
    one, two = (arrivals(Load(Pattern.POISSON, 1, 100, seed=seed)) for seed in (1, 2))
    assert not np.array_equal(one, two)


def test_bursts_come_whole_at_their_distance():
    times = arrivals(Load(Pattern.BURST, 1.0, burst_size=3, burst_gap_s=0.4))
    np.testing.assert_allclose(times, [0, 0, 0, 0.4, 0.4, 0.4, 0.8, 0.8, 0.8])


def test_a_closed_loop_has_no_schedule():
    with pytest.raises(ValueError, match="closed"):
        arrivals(Load(Pattern.CLOSED, 1.0))


# ---- bounds and specs -----------------------------------------------------------------------------------------------


def test_a_bound_reads_figures_units_and_shares():
    bound = parse_bound("p99_ms < 0.05s and error_share <= 1%")
    assert str(bound) == "p99_ms < 50 and error_share <= 1%"
    assert bound.broken_by({"p99_ms": 49.9, "error_share": 0.01}) == ""
    assert bound.broken_by({"p99_ms": 50.0, "error_share": 0}) == "p99_ms is 50.0, not < 50"
    assert bound.broken_by({"p99_ms": None, "error_share": 0}) == "p99_ms is unknown, not < 50"


@pytest.mark.parametrize("text", ["", "p99 < 5", "p99_ms > 5", "p99_ms < 5%", "error_share < 2", "p99_ms < 1 or x < 2"])
def test_a_bound_that_makes_no_sense_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_bound(text)
    assert caught.value.code == "usage.bound"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": ScenarioKind.RATE}, "needs a rate"),
        ({"kind": ScenarioKind.RAMP}, "needs its last rate"),
        ({"kind": ScenarioKind.STRESS}, "needs a bound"),
        ({"kind": ScenarioKind.POISSON, "rate_per_s": 1e6, "duration_s": 60}, "more than 5,000,000 requests"),
        ({"target": ScenarioTarget("http://h/v2/models/m", runners=2)}, "one target"),
        ({"kind": ScenarioKind.CONCURRENCY, "concurrency": 0}, "Concurrency"),
        ({"kind": ScenarioKind.STRESS, "bound": "p99_ms < 1", "rate_to": 1.0}, "below the first"),
    ],
)
def test_a_spec_out_of_range_is_refused_with_the_reason(change, said):
    spec = ScenarioSpec(**({"target": MODEL} | change))
    with pytest.raises(UsageError) as caught:
        spec.validate()
    assert said in caught.value.hint


def test_the_command_of_a_scenario_says_what_differs_from_the_defaults():
    spec = ScenarioSpec(MODEL, ScenarioKind.BURST, burst_size=5, burst_gap_s=0.5, concurrency=2)
    assert spec.command() == "quickserveml benchmark digits@1 --scenario burst --concurrency 2 --burst 5 --gap 0.5s"
    stress = ScenarioSpec(MODEL, ScenarioKind.STRESS, duration_s=3, bound="p99_ms < 50")
    assert stress.command() == "quickserveml stress digits@1 --bound 'p99_ms < 50'"


# ---- plans ----------------------------------------------------------------------------------------------------------


def served(capacity: float, load: Load) -> StepFigures:
    """Figures of a target that answers within 1 ms up to its capacity, and queues above."""
    times = arrivals(load)
    begin = np.empty_like(times)
    free = 0.0
    for index, time in enumerate(times):
        begin[index] = max(time, free)
        free = begin[index] + 1 / capacity
    return step_figures(rows_of(times, begin + 1 / capacity - times), load, ("",), elapsed_s=load.duration_s)


def knee_of(spec: ScenarioSpec, capacity: float):
    steps = plan(spec)
    rates = []
    load = next(steps)
    while True:
        rates.append(load.rate_per_s)
        try:
            load = steps.send(served(capacity, load))
        except StopIteration as end:
            return end.value, rates


@given(st.floats(20, 2_000))
@settings(max_examples=25, deadline=None)
def test_stress_finds_the_capacity_of_a_queue(capacity):
    spec = ScenarioSpec(MODEL, ScenarioKind.STRESS, duration_s=2.0, bound="p99_ms < 1000", refine=6)
    knee, rates = knee_of(spec, capacity)
    assert knee.good_per_s < knee.bad_per_s <= knee.good_per_s * 1.05
    assert capacity * 0.9 < knee.good_per_s < capacity * 1.12  # a step of 2 s takes a little more than the capacity
    assert knee.broken
    assert rates[0] == spec.rate_from


def test_stress_that_breaks_at_once_has_no_good_rate():
    knee, rates = knee_of(ScenarioSpec(MODEL, ScenarioKind.STRESS, duration_s=1.0, bound="p99_ms < 1"), 5.0)
    assert (knee.good_per_s, knee.bad_per_s, len(rates)) == (None, 10.0, 1)


def test_stress_ends_at_its_last_rate_where_nothing_breaks():
    spec = ScenarioSpec(MODEL, ScenarioKind.STRESS, duration_s=1.0, bound="p99_ms < 1000", rate_to=30.0)
    knee, rates = knee_of(spec, 1e6)
    assert rates == pytest.approx([10, 15, 22.5, 30])
    assert (knee.good_per_s, knee.bad_per_s) == (30.0, None)


def test_a_ramp_goes_on_after_its_bound_broke_and_names_the_last_step_before():
    spec = ScenarioSpec(
        MODEL, ScenarioKind.RAMP, duration_s=10.0, rate_from=100, rate_to=500, steps=5, bound="p99_ms<50"
    )
    knee, rates = knee_of(spec, 250.0)
    assert rates == pytest.approx([100, 200, 300, 400, 500])
    assert (knee.good_per_s, knee.bad_per_s) == pytest.approx((200.0, 300.0))


# ---- figures --------------------------------------------------------------------------------------------------------


def test_latency_counts_from_the_intended_time_and_service_from_the_actual_one():
    load = Load(Pattern.UNIFORM, 1.0, 100.0)
    times = arrivals(load)
    waited = np.where(times < 0.5, 0.2, 0.0)
    figures = step_figures(rows_of(times, waited + 0.01, times + waited), load, ("",), elapsed_s=1.0)
    assert figures.latency_ms.max == pytest.approx(210)
    assert figures.service_ms.max == pytest.approx(10)
    assert figures.queue_p99_ms == pytest.approx(200)
    assert figures.answered_per_s == pytest.approx(100)


def test_errors_are_counted_by_code_and_kept_out_of_the_latency():
    load = Load(Pattern.UNIFORM, 1.0, 10.0)
    rows = rows_of(arrivals(load), 0.001)
    rows[:3, 4], rows[3, 4] = 1, 2
    rows[:4, 2] += 10**9
    figures = step_figures(rows, load, ("", "503", "timeout"), elapsed_s=1.0)
    assert figures.errors == {"503": 3, "timeout": 1}
    assert figures.error_share == pytest.approx(0.4)
    assert figures.latency_ms.max == pytest.approx(1.0)


def test_a_late_generator_is_flagged_and_its_lag_is_no_queueing():
    load = Load(Pattern.UNIFORM, 1.0, 100.0)
    times = arrivals(load)
    rows = rows_of(times, 0.012, times + 0.002)
    assert step_figures(rows, load, ("",), elapsed_s=1.0).lag_excessive is False
    rows[:, 3] = 2_000_000
    figures = step_figures(rows, load, ("",), elapsed_s=1.0)
    assert figures.send_lag_p99_ms == pytest.approx(2.0)
    assert figures.queue_p99_ms == pytest.approx(0.0)
    assert figures.lag_excessive


def test_figures_of_nothing_are_no_numbers():
    load = Load(Pattern.UNIFORM, 1.0, 100.0)
    figures = step_figures(np.empty((0, 5), np.int64), load, ("",), elapsed_s=0.0, unanswered=3, cancelled=True)
    assert (figures.latency_ms, figures.ok, figures.sent, figures.unanswered) == (None, 0, 3, 3)
    assert figures.error_share == 0.0
