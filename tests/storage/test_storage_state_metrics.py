"""Figures over time: every state store keeps the promises of `StateStore` about them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from reference_state import MemoryState
from storage_samples import make_batch, make_job, make_run

from quickserveml_tui.core.metric_history import RollUp
from quickserveml_tui.storage.state import SqliteState

DAY = 86_400
NOW = 1_800_000_000 - 1_800_000_000 % 3600


@pytest.fixture(params=["memory", "sqlite"])
def state(request, tmp_path):
    store = MemoryState() if request.param == "memory" else SqliteState(tmp_path / "home" / "state.db")
    yield store
    store.close()


def minute(at, model="m", version="1", count=1):
    return RollUp(model, version, at, 60, {"200": count}, {"3": count}, 0.25 * count, pending=count)


def total(rollups):
    return sum(item.requests for item in rollups)


def test_a_minute_that_is_kept_twice_is_added_up(state):
    state.add_rollups([minute(NOW), minute(NOW, version="2")])
    state.add_rollups([minute(NOW, count=4), minute(NOW, "other")])
    first, second = state.rollups("m")
    assert (first.version, first.codes, first.latency, first.latency_s, first.pending) == (
        "1",
        {"200": 5},
        {"3": 5},
        1.25,
        4,
    )
    assert (second.version, second.requests) == ("2", 1)
    assert total(state.rollups("m", version="2")) == 1


def test_a_range_has_its_beginning_and_not_its_end(state):
    state.add_rollups([minute(NOW + 60 * index) for index in range(5)])
    assert [item.at - NOW for item in state.rollups("m", since=NOW + 60, until=NOW + 180)] == [60, 120]
    assert len(state.rollups("m", limit=2)) == 2


def test_old_minutes_become_ten_minutes_and_hours_and_lose_no_request(state):
    old = [minute(NOW - 8 * DAY + 60 * index) for index in range(120)]
    middle = [minute(NOW - 2 * DAY + 60 * index) for index in range(60)]
    state.add_rollups([*old, *middle, minute(NOW - 60)])
    assert state.thin_rollups(NOW) > 0
    kept = state.rollups("m")
    assert [item.step_s for item in kept] == [3600, 3600, *[600] * 6, 60]
    assert [item.requests for item in kept] == [60, 60, *[10] * 6, 1]
    assert state.thin_rollups(NOW) == 0
    assert state.rollups("m") == kept


def test_what_is_older_than_it_is_kept_and_what_is_too_much_goes_oldest_first(state):
    state.add_rollups([minute(NOW - 500 * DAY), *(minute(NOW - 60 * index) for index in range(1, 6))])
    state.thin_rollups(NOW, most=3)
    assert [NOW - item.at for item in state.rollups("m")] == [180, 120, 60]


def test_figures_over_time_change_no_list(state):
    state.add_batch(make_batch())
    before = state.generation()
    state.add_rollups([minute(NOW)])
    assert state.generation() == before


def test_a_repair_keeps_figures_over_time(tmp_path):
    state = SqliteState(tmp_path / "state.db")
    state.add_rollups([minute(NOW), minute(NOW + 60)])
    state.add_jobs([make_job()])
    assert state.repair().startswith("3 rows")
    assert total(state.rollups("m")) == 2
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("UPDATE metric_rollups SET document = x'7b' WHERE at = ?", (NOW,))
        connection.commit()
    assert any("metric roll-up" in finding for finding in state.check())
    state.close()


def test_a_run_that_is_removed_is_gone_and_the_one_before_it_counts_again(state):
    older, newer = (make_run(model="m", version=1, created_at=f"2026-01-0{day}T00:00:00.000Z") for day in (1, 2))
    state.add_benchmarks([older, newer])
    assert state.remove_benchmark(newer.id)
    assert not state.remove_benchmark(newer.id)
    assert state.benchmark(newer.id) is None
    assert state.newest_benchmarks()["m"][1].id == older.id
    batch = make_batch()
    state.add_batch(batch)
    assert state.remove_batch(batch.id)
    assert not state.remove_batch(batch.id)
    assert state.batches() == ()
