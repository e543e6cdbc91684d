"""A state database that cannot be read costs runs and jobs, and nothing else."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli_harness import Cli

WARNING = "The state database"


@pytest.fixture(params=["damaged", "newer"])
def broken(request, stocked: Cli, tmp_path: Path) -> Cli:
    """A home with a model whose state database is damaged, or of a schema that says nothing about older programs."""
    shutil.copytree(stocked.home, tmp_path / "home")
    state = tmp_path / "home" / "state.db"
    if request.param == "damaged":
        state.write_bytes(b"no database at all" * 1000)
    else:
        with closing(sqlite3.connect(state)) as connection:
            connection.executescript("CREATE TABLE IF NOT EXISTS other (a); PRAGMA user_version = 999;")
    return Cli(tmp_path / "home")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("list", ["list"]),
        ("list", ["list", "--filter", "name:linear"]),
        ("show", ["show", "linear"]),
        ("inspect", ["inspect", "linear"]),
        ("export", ["export", "linear", "out.qsml"]),
        ("export", ["export", "linear", "out.onnx"]),
    ],
)
def test_the_catalog_works_and_says_once_what_is_missing(broken: Cli, name: str, command: list[str]) -> None:
    result = broken(*command, "--json")
    assert result.code == 0, result
    assert result.document
    assert result.err.count(WARNING) == 1, result.err


def test_models_can_be_changed(broken: Cli) -> None:
    for command in (["tag", "linear", "mine"], ["delete", "linear@1"]):
        result = broken(*command, "--json")
        assert result.code == 0, result
    assert broken("list", "--json").document


@pytest.mark.parametrize(
    "command",
    [
        ["list", "--filter", "bench.p50<10"],
        ["list", "--sort", "p50"],
        ["job", "list"],
        ["benchmark", "linear", "--detach"],
    ],
)
def test_what_needs_runs_or_jobs_says_what_is_wrong(broken: Cli, command: list[str]) -> None:
    result = broken(*command, "--json")
    assert result.code == 4, result
    assert result.error["code"] in ("store.corrupt", "store.newer_schema")
    assert "state database" in result.error["message"]
    wanted = "fsck --repair" if result.error["code"] == "store.corrupt" else "Upgrade"
    assert wanted in result.error["hint"]


def test_doctor_says_it_once_and_shows_no_part_of_it_as_well(broken: Cli) -> None:
    document = broken("doctor", "--json").document
    found = [item for item in document["findings"] if item["area"] == "Stores"]
    assert [(item["name"], item["status"]) for item in found if item["status"] == "error"] == [("state", "error")]
    names = [item["name"] for item in found]
    assert names.count("state") == 1
    assert "jobs" not in names
    assert {"registry", "artifacts", "catalog"} <= set(names)


def test_fsck_counts_one_damage_once(broken: Cli) -> None:
    document = broken("fsck", "--json").document
    assert [item["store"] for item in document["findings"] if item["severity"] == "error"] == ["state"]
