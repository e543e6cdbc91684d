"""Results of the lab: every state store keeps the promises of `StateStore` about them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from reference_state import MemoryState
from storage_samples import make_run

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.results import LabResult
from quickserveml_tui.storage import state_schema
from quickserveml_tui.storage.state import SqliteState

DIGEST, OTHER = "a" * 64, "b" * 64


@pytest.fixture(params=["memory", "sqlite"])
def state(request, tmp_path):
    store = MemoryState() if request.param == "memory" else SqliteState(tmp_path / "home" / "state.db")
    yield store
    store.close()


def result(name, kind="comparison", at="2026-01-01T00:00:00.000Z", model="m", version=1, digests=(), body=b"{}"):
    return LabResult(name, kind, at, model, version, digests, body)


def test_a_result_comes_back_as_it_was_and_a_second_one_of_its_id_replaces_it(state):
    assert state.result("one") is None
    first = result("one", digests=(DIGEST, OTHER), body=b'{"a": [1, 2.5, null]}', version=None)
    state.add_result(first)
    assert state.result("one") == first
    state.add_result(result("one", kind="profile"))
    assert state.results() == (result("one", kind="profile"),)


def test_results_are_listed_newest_first_by_kind_model_and_version(state):
    for number, (kind, model, version) in enumerate(
        [("comparison", "m", 1), ("profile", "m", 1), ("comparison", "m", 2), ("comparison", "n", 1)]
    ):
        state.add_result(result(str(number), kind, f"2026-01-0{number + 1}T00:00:00.000Z", model, version))
    assert [item.id for item in state.results()] == ["3", "2", "1", "0"]
    assert [item.id for item in state.results("comparison")] == ["3", "2", "0"]
    assert [item.id for item in state.results(model="m", version=1)] == ["1", "0"]
    assert [item.id for item in state.results("comparison", limit=1)] == ["3"]


def test_a_write_changes_the_generation_and_a_vain_removal_does_not(state):
    before = state.generation()
    state.add_result(result("one"))
    after = state.generation()
    assert before != after
    assert not state.remove_result("two")
    assert state.generation() == after
    assert state.remove_result("one")
    assert state.results() == ()


def test_blobs_of_results_are_needed_until_they_are_removed(state):
    state.add_result(result("one", digests=(DIGEST,)))
    state.add_result(result("two", digests=(DIGEST, OTHER)))
    assert state.blobs() == {DIGEST, OTHER}
    state.remove_result("two")
    assert state.blobs() == {DIGEST}


def test_old_results_beyond_the_newest_go_and_notes_stay(state):
    for number in range(4):
        state.add_result(result(f"c{number}", at=f"2020-01-0{number + 1}T00:00:00.000Z"))
        state.add_result(result(f"n{number}", "note", f"2020-01-0{number + 1}T00:00:00.000Z"))
    assert state.prune(keep_runs=2, keep_days=1, dry_run=True) == 2
    assert state.prune(keep_runs=2, keep_days=1) == 2
    assert sorted(item.id for item in state.results()) == ["c2", "c3", "n0", "n1", "n2", "n3"]


def test_a_repair_saves_results_and_a_check_finds_the_damaged_one(tmp_path):
    state = SqliteState(tmp_path / "state.db")
    state.add_result(result("good", digests=(DIGEST,)))
    state.add_result(result("bad"))
    assert "2 rows" in state.repair()
    assert len(state.results()) == 2
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("UPDATE lab_results SET body = x'7b' WHERE id = 'bad'")
        connection.commit()
    assert state.check() == ("The result bad cannot be read.",)
    with pytest.raises(StoreError, match="damaged") as caught:
        state.result("bad")
    assert caught.value.code == "store.corrupt"
    state.repair()
    assert [item.id for item in state.results()] == ["good"]
    state.close()


@pytest.mark.parametrize("found", [1, 2, 3])
def test_a_file_of_an_older_schema_has_no_results_until_one_is_written(tmp_path, found):
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema = 0
        while schema < found:
            schema = state_schema.step_up(connection, schema)
    state = SqliteState(path)
    assert state.results() == ()
    assert state.result("one") is None
    assert state.blobs() == frozenset()
    assert state.prune(keep_runs=1, keep_days=1, dry_run=True) == 0
    assert state.problem() is None
    assert list(state.all_rows()) == []
    state.add_benchmark(make_run())
    state.add_result(result("one"))
    assert state.results() == (result("one"),)
    assert len(list((tmp_path / "backups").glob("state-schema*"))) >= 1
    state.close()
