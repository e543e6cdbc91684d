"""A damaged state database costs runs and jobs: models stay in use, and the damage is told once and repaired."""

from __future__ import annotations

import sqlite3

import pytest
from maintenance_homes import add_model, add_run, damage

from quickserveml_tui.core.care import Severity
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.services.home import LocalWorkbench


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def workbench(home):
    workbench = LocalWorkbench(home)
    yield workbench
    workbench.close()


@pytest.fixture
def models(workbench, tmp_path):
    """Two models, one of them with a run."""
    single = add_model(workbench, tmp_path, "single", {"model.onnx": b"single"})
    add_run(workbench, single)
    return single, add_model(workbench, tmp_path, "other", {"model.onnx": b"other"})


def codes(report):
    return [item.code for item in report.findings if item.severity is Severity.ERROR and not item.repaired]


def test_a_damaged_state_database_leaves_the_catalog_writable(workbench, home, models):
    workbench.close()
    damage(home / "state.db", b"no database" * 1000)
    again = LocalWorkbench(home)
    health = again.maintenance.health()
    assert not health.read_only
    assert [problem.store for problem in health.problems] == ["state"]
    assert again.catalog.list_models().total == 2
    assert again.catalog.show("single").benchmarks == {}
    assert again.catalog.tag("single", ["mine"]).tags == ("mine",)
    assert again.catalog.generation() == again.catalog.generation()
    assert [problem.store for problem in again.problems_met()] == ["state"]
    with pytest.raises(StoreError, match="damaged"):
        again.benchmark.history()
    assert not again.maintenance.overview().jobs_known
    again.close()


def test_damage_further_on_in_the_state_database_is_told_once_and_repaired(workbench, home, models):
    with sqlite3.connect(home / "state.db") as connection:
        connection.execute("UPDATE benchmark_runs SET document = x'7b7d'")
    seen = workbench.catalog.generation()
    assert workbench.catalog.show("single").benchmarks == {}
    assert [problem.code for problem in workbench.problems_met()] == ["store.corrupt"]
    assert codes(workbench.maintenance.check()) == ["state.damaged"]
    mended = workbench.maintenance.check(repair=True)
    assert mended.clean
    assert [(item.store, item.repaired) for item in mended.findings if item.severity is Severity.ERROR] == [
        ("state", True)
    ]
    assert workbench.maintenance.check().findings[0].severity is not Severity.ERROR
    workbench.catalog.show("single")
    assert workbench.problems_met() == ()
    assert workbench.catalog.generation() != seen
