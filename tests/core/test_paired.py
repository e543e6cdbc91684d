"""Verdicts of interleaved comparisons: right about true differences, silent about none, honest about too little."""

from __future__ import annotations

import numpy as np
import pytest

from quickserveml_tui.core.benchmarks import Interval
from quickserveml_tui.core.comparing import Verdict
from quickserveml_tui.core.paired import block_length, is_precise, judge, paired


def rounds(rng, count, *, ratio=1.0, processes=4, between=0.0, within=0.02, memory=0.5):
    """Medians of two sides: neighbours resemble each other, and each process has an offset of its own."""
    groups = np.repeat(np.arange(processes), -(-count // processes))[:count]
    noise = rng.standard_t(3, count) * within
    for index in range(1, count):
        noise[index] += memory * noise[index - 1]
    offsets = rng.normal(0, between, processes)
    machine = np.exp(rng.normal(0, 0.3, count))  # what both sides suffer alike
    return 2.0 * machine, 2.0 * machine * ratio * np.exp(noise + offsets[groups]), groups


def verdicts(ratio, *, trials=100, **options):
    rng = np.random.default_rng(7)
    found = [paired(*rounds(rng, 200, ratio=ratio, **options), threshold=0.02, resamples=300) for _ in range(trials)]
    return [item.verdict for item in found]


def test_the_same_thing_twice_is_never_called_faster_or_slower():
    found = verdicts(1.0) + verdicts(1.0, between=0.005) + verdicts(1.0, processes=1)
    assert not {Verdict.FASTER, Verdict.SLOWER} & set(found)
    assert found.count(Verdict.EQUAL) > 0.9 * len(found)


@pytest.mark.parametrize(("ratio", "verdict"), [(1.05, Verdict.SLOWER), (1 / 1.05, Verdict.FASTER)])
def test_a_true_difference_of_five_percent_is_found(ratio, verdict):
    assert verdicts(ratio).count(verdict) >= 98
    assert verdicts(ratio, between=0.005).count(verdict) >= 95


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    found = [paired(*rounds(rng, 200, ratio=1.1), threshold=0.02, resamples=300) for _ in range(200)]
    held = sum(item.interval.low <= 1.1 <= item.interval.high for item in found)
    assert 180 <= held <= 200


def test_one_process_that_is_off_throughout_widens_the_interval():
    rng = np.random.default_rng(5)
    base, other, groups = rounds(rng, 200)
    calm = paired(base, other, groups, threshold=0.02)
    shifted = paired(base, np.where(groups == 0, other * 1.1, other), groups, threshold=0.02)
    width = shifted.interval.high - shifted.interval.low
    assert width > 3 * (calm.interval.high - calm.interval.low)


def test_too_few_rounds_have_no_interval_and_no_verdict():
    found = paired([1.0] * 5, [2.0] * 5, [0] * 5, threshold=0.02)
    assert (found.interval, found.verdict, found.pairs) == (None, Verdict.INCONCLUSIVE, 5)
    assert "5 of the 6 rounds" in found.reason
    assert not is_precise(found, 0.5)
    enough = paired([1.0] * 6, [2.0] * 6, [0] * 6, threshold=0.02)
    assert enough.verdict is Verdict.SLOWER
    assert is_precise(enough, 0.001)


def test_the_same_rounds_give_the_same_answer():
    rounds_of = rounds(np.random.default_rng(1), 60)
    assert paired(*rounds_of, threshold=0.02, seed=4) == paired(*rounds_of, threshold=0.02, seed=4)


@pytest.mark.parametrize(("low", "high", "verdict"), [
    (1.021, 1.5, Verdict.SLOWER), (1.02, 1.5, Verdict.INCONCLUSIVE), (0.5, 0.98, Verdict.FASTER),
    (0.5, 0.981, Verdict.INCONCLUSIVE), (0.981, 1.02, Verdict.EQUAL), (0.9, 1.1, Verdict.INCONCLUSIVE),
])  # fmt: skip
def test_only_a_whole_interval_decides(low, high, verdict):
    assert judge(Interval(low, high), 0.02) is verdict


@pytest.mark.parametrize("wrong", [([], [], []), ([1.0], [1.0, 2.0], [0]), ([1.0, 2.0], [1.0, 2.0], [0])])
def test_rounds_that_do_not_match_are_refused(wrong):
    with pytest.raises(ValueError, match="as many rounds"):
        paired(*wrong, threshold=0.02)


def test_blocks_grow_with_the_cube_root_of_the_rounds():
    assert [block_length(count) for count in (1, 6, 64, 240, 1000)] == [1, 2, 4, 7, 10]
