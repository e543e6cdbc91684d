"""State databases that others made or use meanwhile: what they may hold, and what a repair does beside a writer."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from storage_samples import make_model, make_run

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage import state_repair
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState
from quickserveml_tui.storage.state_schema import step_up


def test_no_database_of_this_program_has_foreign_parts(tmp_path):
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        step_up(old, 0)
    state = SqliteState(path)
    assert state.foreign_parts() == ()  # of schema 1
    state.add_benchmark(make_run("model-1", 1))
    assert state.foreign_parts() == ()  # led to the newest schema
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ANALYZE")
        connection.execute("VACUUM")
    assert state.foreign_parts() == ()
    state.repair()
    state.snapshot(tmp_path / "copy.db")
    assert (state.foreign_parts(), SqliteState(tmp_path / "copy.db").foreign_parts()) == ((), ())
    assert SqliteState(tmp_path / "none.db").foreign_parts() == ()


def test_a_registry_that_is_written_during_a_repair_takes_no_file_of_it(tmp_path, monkeypatch):
    state, registry = SqliteState(tmp_path / "state.db"), TinyDbRegistry(tmp_path / "registry.json")
    state.add_benchmark(make_run("model-1", 1))
    save = state_repair._save

    def save_slowly(damaged, temp, copies):
        saved = save(damaged, temp, copies)
        registry.put("a", lambda _old: make_model("a"))  # takes away what killed writers left
        return saved

    monkeypatch.setattr(state_repair, "_save", save_slowly)
    assert "1 row" in state.repair()
    assert len(state.benchmarks()) == 1


def test_a_document_that_is_nested_too_deep_is_damage_and_no_crash(tmp_path):
    state = SqliteState(tmp_path / "state.db")
    state.add_benchmarks([make_run("model-1", 1), make_run("model-1", 1)])
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as connection:
        deep = b"[" * 100_000 + b"]" * 100_000
        connection.execute(
            "UPDATE benchmark_runs SET document = substr(document, 1, length(document) - 1) || ? WHERE seq = 1",
            (b',"more":' + deep + b"}",),
        )
    with pytest.raises(StoreError) as caught:
        state.benchmarks()
    assert caught.value.code == "store.corrupt"
    assert len(state.check()) == 1
    assert "1 row" in state.repair()
    assert len(state.benchmarks()) == 1
