"""Any number of processes write to the state database at once, and are killed, and no acknowledged write is lost."""

from __future__ import annotations

import random
import select
import shutil
import tempfile
import time
from itertools import pairwise
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from storage_kills import Nursery
from storage_samples import make_job
from storage_state_operations import CLOCK, make_template, observe

from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.storage.state import SqliteState

REOPEN_S = 1.0


@pytest.fixture(scope="module")
def nursery():
    with Nursery("storage_state_writers") as nursery:
        yield nursery


@pytest.fixture
def folder():
    """A folder in memory where there is one: what a killed process wrote is there all the same, without the fsyncs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def path(folder):
    path = folder / "home" / "state.db"
    SqliteState(path).add_jobs([make_job(id="counter", state=JobState.RUNNING, attempt=0)])
    return path


def check(path, lines):
    """Every acknowledged write is there, whole, and counted once."""
    state = SqliteState(path)
    assert state.check() == ()
    runs = {run.id for run in state.benchmarks(limit=100_000)}
    batches = {result.id for result in state.batches(limit=100_000)}
    counts = [int(line.split()[1]) for line in lines if line.startswith("count ")]
    assert {f"{line.split()[1]}-{part}" for line in lines if line.startswith("run ") for part in "ab"} <= runs
    assert len([run for run in runs if run.endswith("-a")]) == len([run for run in runs if run.endswith("-b")])
    assert {line.split()[1] for line in lines if line.startswith("batch ")} <= batches
    assert len(set(counts)) == len(counts)
    assert max(counts, default=0) <= state.job("counter").attempt
    return state


def kill_rounds(nursery, path, rounds):
    """Kill two writers at once, at random moments after a write was acknowledged; returns what was acknowledged."""
    chance = random.Random(20261123)
    lines = []
    slowest_s = 0.0
    for number in range(rounds):
        names = [f"{number}-{index}" for index in range(2)]
        children = [nursery.start("storage_state_writers:write_until_killed", str(path), name) for name in names]
        assert wait([child._stream for child in children], timeout=60)
        chance_s = chance.random() * 0.02  # no wait for anything: the moment of the kill is what is drawn by lot
        select.select([], [], [], chance_s)
        for child in children:
            child.kill()
        for child in children:
            lines += child.lines()
        begun = time.perf_counter()
        SqliteState(path).jobs()
        slowest_s = max(slowest_s, time.perf_counter() - begun)
    assert slowest_s < REOPEN_S
    return lines


def test_killed_writers_lose_no_acknowledged_write(nursery, path):
    state = check(path, kill_rounds(nursery, path, 100))
    state.change_job("counter", lambda old: old)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_writers_killed_a_thousand_times_lose_no_acknowledged_write(nursery, path):
    check(path, kill_rounds(nursery, path, 1000))


def test_processes_that_write_at_once_lose_nothing_and_never_hold_one_lease_together(nursery, path):
    children = [nursery.start("storage_state_writers:write_mixed", str(path), f"w{index}", 200) for index in range(8)]
    lines = [line for child in children for line in child.lines()]
    state = check(path, lines)
    counts = sorted(int(line.split()[1]) for line in lines if line.startswith("count "))
    assert counts == list(range(1, len(counts) + 1)), "each change saw the one before"
    assert state.job("counter").attempt == len(counts)
    held = sorted(
        (float(since), float(until), owner)
        for _, since, until, owner in (line.split() for line in lines if line.startswith("held"))
    )
    assert len({owner for _, _, owner in held}) > 1
    for (_, until, one), (since, _, other) in pairwise(held):
        assert until <= since, f"{one} and {other} held it at once"
    assert state.leases() == ()


@pytest.mark.parametrize("rounds", [20])
def test_a_migration_that_is_killed_anywhere_can_be_done_again(nursery, tmp_path, rounds):
    template = tmp_path / "template.db"
    make_template(template, "migrate")
    shutil.copyfile(template, tmp_path / "expected.db")
    before = observe(tmp_path / "expected.db")
    chance = random.Random(7)
    folder = tmp_path / "home"
    for _ in range(rounds):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copyfile(template, folder / "state.db")
        child = nursery.start("storage_state_writers:migrate_and_say", str(folder / "state.db"))
        select.select([], [], [], chance.random() * 0.03)
        child.kill()
        is_done = child.lines() == ["migrated"]
        jobs = SqliteState(folder / "state.db", clock=CLOCK).jobs()
        assert {job.id for job in jobs} <= {"job-first"}
        assert jobs or not is_done
        SqliteState(folder / "state.db", clock=CLOCK).remove_jobs(["job-first"])
        SqliteState(folder / "state.db", clock=CLOCK).release_lease("x", "y")
        assert observe(folder / "state.db")[0] == before[0]
        copies = list((folder / "backups").glob("*.db"))
        assert all(observe(copy)[0] == before[0] for copy in copies)
