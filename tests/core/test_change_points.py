"""Changes of level are found where there are some, and not made up where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickserveml_tui.core.change_points import find_changes, is_suspect


def series(rng, count, *, noise=0.02, steps=()):
    levels = np.ones(count)
    for index, factor in steps:
        levels[index:] *= factor
    return 3.0 * levels * np.exp(rng.normal(0, noise, count))


@pytest.mark.parametrize("count", [8, 20, 60, 200])
def test_noise_alone_is_no_change(count):
    rng = np.random.default_rng(count)
    trials = 40 if count == 200 else 100
    assert sum(bool(find_changes(series(rng, count, noise=0.04))) for _ in range(trials)) <= 2


def test_a_step_of_ten_percent_is_found_where_it_is():
    rng = np.random.default_rng(1)
    found = [find_changes(series(rng, 20, steps=[(place, 1.1)])) for place in range(5, 16) for _ in range(10)]
    hits = [
        len(changes) == 1 and abs(changes[0].index - place) <= 1 and 1.07 < changes[0].ratio < 1.13
        for changes, place in zip(found, np.repeat(np.arange(5, 16), 10), strict=True)
    ]
    assert sum(hits) >= 0.95 * len(hits)


def test_two_steps_are_two_changes():
    rng = np.random.default_rng(2)
    changes = find_changes(series(rng, 60, steps=[(20, 1.2), (40, 0.75)]))
    assert [change.index for change in changes] == [20, 40]
    assert changes[0].ratio > 1.15
    assert changes[1].ratio < 0.8


def test_a_single_wild_figure_is_no_level():
    rng = np.random.default_rng(4)
    for _ in range(30):
        values = series(rng, 20)
        values[int(rng.integers(0, 20))] *= 3
        assert find_changes(values) == ()


def test_small_changes_are_not_told():
    values = np.concatenate((np.full(10, 1.0), np.full(10, 1.02)))
    assert find_changes(values) == ()
    assert [change.index for change in find_changes(values, min_change=0.01)] == [10]


def test_a_last_run_that_stands_out_is_suspected_before_it_is_proven():
    rng = np.random.default_rng(5)
    values = series(rng, 12)
    assert not is_suspect(values)
    assert is_suspect([*values, 3.6])
    assert find_changes([*values, 3.6]) == ()
    assert not is_suspect([*values, 2.0]), "a gain is nothing to suspect"
    assert not is_suspect([1.0, 9.0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-6, 1e6), max_size=40))
def test_any_figures_are_taken_and_levels_differ(values):
    changes = find_changes(values)
    indexes = [change.index for change in changes]
    assert indexes == sorted(set(indexes))
    assert all(3 <= index <= len(values) - 3 for index in indexes)
    assert changes == find_changes(values)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_figures_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="positive"):
        find_changes([1.0, wrong, 1.0])
