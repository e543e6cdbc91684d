"""A daily copy of the state database is kept, and gives a repair the rows that the damaged file does not."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing, suppress

import pytest
from storage_samples import make_batch, make_job, make_run

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage import state_copies
from quickserveml_tui.storage.state import SqliteState


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "state.db"


@pytest.fixture
def day(monkeypatch):
    """Sets the day that copies are named after."""

    def set_day(number):
        monkeypatch.setattr(state_copies, "stamp", lambda: f"202601{number:02d}T120000000Z")

    set_day(1)
    return set_day


def copies(path):
    return sorted(item.name for item in (path.parent / "backups").glob("*"))


def held(path):
    state = SqliteState(path, read_only=True)
    assert state.check() == ()
    return [item.id for item in (*state.benchmarks(), *state.batches(), *state.jobs())]


def fill(path):
    """Runs, batch results and jobs of about 100 kB; all but the last job are in today's copy."""
    state = SqliteState(path)
    state.add_benchmarks([make_run(f"m{number}", 1, id=f"bench-{number}", command="x" * 3000) for number in range(20)])
    (path.parent / "backups").mkdir()
    for number in range(11):
        state.add_batch(make_batch(id=f"batch-{number}"))
    state.add_jobs([make_job(id=f"job-{number}") for number in range(3)])
    for item in (path.parent / "backups").iterdir():
        item.unlink()
    late = SqliteState(path)
    late.add_jobs([make_job(id="job-late")])
    return late


def spoil(path, offset, size):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(random.Random(3).randbytes(size))


def test_the_first_write_needs_no_copy_and_the_second_keeps_the_state_before_it(path, day):
    state = SqliteState(path)
    state.add_benchmark(make_run(id="bench-1"))
    assert copies(path) == []
    SqliteState(path).add_benchmark(make_run(id="bench-2"))
    assert copies(path) == ["state-20260101T120000000Z.db"]
    assert held(path.parent / "backups" / copies(path)[0]) == ["bench-1"]
    assert (path.parent / "backups" / copies(path)[0]).stat().st_mode & 0o777 == 0o600


def test_one_copy_a_day_is_made_and_the_newest_three_stay(path, day):
    state = SqliteState(path)
    for number in range(1, 7):
        day(number)
        for again in range(3):
            state.add_benchmark(make_run(id=f"bench-{number}-{again}"))
            SqliteState(path).acquire_lease(f"l{number}-{again}", "a", 5)
    assert copies(path) == [f"state-202601{number:02d}T120000000Z.db" for number in (4, 5, 6)]
    assert len(held(path.parent / "backups" / copies(path)[-1])) == 15


def test_another_write_of_the_day_looks_for_nothing(path, day, monkeypatch):
    state = SqliteState(path)
    state.add_batch(make_batch())
    state.add_batch(make_batch())

    def refuse(_self):
        raise AssertionError("looked for copies again")

    monkeypatch.setattr(state_copies.DailyCopies, "newest_first", refuse)
    state.add_batch(make_batch())


def test_a_large_database_is_not_copied(path, day, monkeypatch):
    monkeypatch.setattr(state_copies, "MAX_BYTES", 1000)
    for _ in range(3):
        SqliteState(path).add_batch(make_batch())
    assert copies(path) == []


def test_a_damaged_database_pushes_out_no_good_copy(path, day):
    fill(path)
    good = copies(path)
    assert len(good) == 1
    size = path.stat().st_size
    spoil(path, size - 8192, 8192)
    for number in range(2, 9):
        day(number)
        with suppress(StoreError):
            SqliteState(path).acquire_lease(f"l{number}", "a", 5)
    assert copies(path) == good


def test_a_folder_that_cannot_be_written_holds_up_no_write(path, day):
    state = SqliteState(path)
    state.add_batch(make_batch(id="batch-1"))
    (path.parent / "backups").write_bytes(b"no folder")
    state.add_batch(make_batch(id="batch-2"))
    assert len(held(path)) == 2


def test_a_repair_takes_lost_rows_from_the_newest_good_copy_and_says_so(path, day):
    state = fill(path)
    before = set(held(path))
    bad = path.parent / "backups" / "state-20260102T120000000Z.db"
    bad.write_bytes(b"half a copy")
    spoil(path, 8192, 40_000)
    report = state.repair()
    assert "came from backups/state-20260101T120000000Z.db as they were then" in report
    assert "it is unknown how many are missing" in report
    assert "0 could not" not in report
    assert before - {"job-late"} <= set(held(path)) <= before
    assert bad.read_bytes() == b"half a copy"
    assert copies(path) == ["state-20260101T120000000Z.db", bad.name]


def test_a_repair_without_a_copy_names_the_kinds_of_rows_that_are_lost(path, day):
    state = fill(path)
    runs = len(state.benchmarks())
    for item in (path.parent / "backups").iterdir():
        item.unlink()
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'batch_runs'").fetchone()
    spoil(path, (root - 1) * 4096, 4096)
    report = state.repair()
    assert f"{runs + 4} rows of the state database were saved; " in report
    assert "batch results were lost altogether, it is unknown how many are missing" in report
    assert "benchmark runs" not in report
    assert "jobs" not in report
    assert len(held(path)) == runs + 4


def test_a_file_that_is_no_database_any_more_is_rebuilt_from_the_copy(path, day):
    state = fill(path)
    before = set(held(path))
    spoil(path, 0, 200)
    report = state.repair()
    assert report.startswith("0 rows of the state database were saved, 34 more came from backups/")
    assert "benchmark runs, batch results and jobs are incomplete" in report
    assert set(held(path)) == before - {"job-late"}


def test_rows_that_were_deleted_come_back_only_where_a_whole_kind_is_in_doubt(path, day):
    state = fill(path)
    state.remove_jobs(["job-1"])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE jobs SET document = x'00' WHERE id = 'job-2'")
    report = state.repair()
    assert "1 could not be read, 1 more came from backups/" in report
    assert [job.id for job in state.jobs()].count("job-1") == 0
    assert {job.id for job in state.jobs()} == {"job-0", "job-2", "job-late"}
