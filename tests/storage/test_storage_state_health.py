"""What the state database does when its file is old, new, damaged, or may not be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from storage_samples import make_batch, make_job, make_run

from quickserveml_tui.core.errors import ReadOnlyError, StoreError
from quickserveml_tui.storage import state_file, state_schema
from quickserveml_tui.storage.documents import to_document
from quickserveml_tui.storage.state import SqliteState


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "state.db"


def sql(path, *statements):
    """Run statements on the file; returns the rows of the last."""
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [
            connection.execute(*(statement if isinstance(statement, tuple) else (statement,))).fetchall()
            for statement in statements
        ][-1]


def write_first_schema(path, runs=(), batches=()):
    """A database as version 1 of the schema wrote it."""
    statements = [line for line in state_schema._FIRST.split(";") if line.strip()]
    for run in runs:
        values = (run.id, run.model, run.version, run.summary.cancelled, run.created_at, document(run))
        statements.append(
            (
                "INSERT INTO benchmark_runs (id, model, version, cancelled, created_at, document) VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        )
    statements += [
        (
            "INSERT INTO batch_runs (id, created_at, document) VALUES (?, ?, ?)",
            (item.id, item.created_at, document(item)),
        )
        for item in batches
    ]
    sql(path, *statements, "PRAGMA user_version = 1")


def document(record):
    return msgspec.json.encode(to_document(record))


def files(folder):
    return {item.relative_to(folder).as_posix(): item.read_bytes() for item in folder.rglob("*") if item.is_file()}


def fill(path, count=200):
    """A store with runs over many pages; returns it and the runs."""
    state = SqliteState(path)
    runs = [make_run(f"m{number % 7}", number % 3 + 1, command="x" * 1500) for number in range(count)]
    state.add_benchmarks(runs)
    state.add_batch(make_batch())
    state.add_jobs([make_job()])
    return state, runs


# ---- an older schema ------------------------------------------------------------------------------------------------


@pytest.fixture
def old(path):
    """Runs in a database of the first schema."""
    runs = [
        make_run("m", 1, created_at="2026-01-01T00:00:00.000Z"),
        make_run("m", 1, samples_digest="d1"),
        make_run("", None),
        make_run("n", 2),
    ]
    batch = make_batch()
    write_first_schema(path, runs, [batch])
    return runs, batch


@pytest.mark.parametrize("read_only", [False, True])
def test_the_first_schema_is_read_as_it_is(path, old, read_only):
    runs, batch = old
    before = files(path.parent)
    state = SqliteState(path, read_only=read_only)
    assert state.problem() is None
    assert {run.id for run in state.benchmarks()} == {run.id for run in runs}
    assert state.newest_benchmarks(["m"]) == {"m": {1: runs[1]}}
    assert {
        model: {version: found.run_id for version, found in versions.items()}
        for model, versions in state.figures().items()
    } == {"m": {1: runs[1].id}, "n": {2: runs[3].id}}
    assert state.batch(batch.id) == batch
    assert state.blobs() == {"d1"}
    assert state.jobs() == state.leases() == state.check() == ()
    assert state.generation() == state.generation()
    assert files(path.parent) == before
    state.close()


def test_the_first_write_leads_an_old_database_to_the_new_schema_and_keeps_a_copy(path, old):
    runs, batch = old
    before = files(path.parent)["state.db"]
    state = SqliteState(path)
    state.add_jobs([make_job()])
    assert {run.id for run in state.benchmarks()} == {run.id for run in runs}
    assert state.figures()["m"][1].run_id == runs[1].id
    assert state.blobs() == {"d1"}
    assert state.batch(batch.id) == batch
    assert state.check() == ()
    assert sql(path, "PRAGMA user_version") == [(4,)]
    copy, *between = sorted((path.parent / "backups").iterdir())
    assert copy.name.startswith("state-schema1-20")
    assert [item.name[:16] for item in between] == ["state-schema2-20", "state-schema3-20"]
    assert copy.suffix == ".db"
    assert {run.id for run in SqliteState(copy).benchmarks()} == {run.id for run in runs}
    assert sql(copy, "PRAGMA user_version") == [(1,)]
    assert len(copy.read_bytes()) == len(before)


def test_a_new_database_is_the_same_as_one_that_was_led_there(path, old, tmp_path):
    led, fresh = SqliteState(path), SqliteState(tmp_path / "fresh.db")
    for state in (led, fresh):
        state.release_lease("x", "y")
        state.acquire_lease("x", "y", 1)
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
    assert sql(path, query) == sql(tmp_path / "fresh.db", query)
    assert not (tmp_path / "backups").exists()


def test_a_damaged_row_does_not_hold_up_a_migration(path, old):
    runs, _batch = old
    sql(path, ("UPDATE benchmark_runs SET document = x'7b7d' WHERE id = ?", (runs[1].id,)))
    state = SqliteState(path)
    state.add_jobs([make_job()])
    assert state.figures()["m"][1].run_id == runs[0].id
    assert any(runs[1].id in finding for finding in state.check())


def test_the_generation_changes_with_the_migration_and_after(path, old):
    state = SqliteState(path)
    seen = [state.generation()]
    for _ in range(3):
        SqliteState(path).add_batch(make_batch())
        seen.append(state.generation())
    assert len(set(seen)) == 4
    state.close()


# ---- a newer schema -------------------------------------------------------------------------------------------------


def test_a_newer_schema_that_says_nothing_can_neither_be_read_nor_written(path):
    state, _ = fill(path, 3)
    sql(path, "PRAGMA user_version = 7", "UPDATE meta SET value = 5 WHERE key = 'reads'")
    before = path.read_bytes()
    assert state.problem().code == "store.newer_schema"
    assert "Upgrade" in state.problem().hint
    for call in (
        state.benchmarks,
        state.jobs,
        state.figures,
        state.leases,
        state.blobs,
        state.check,
        lambda: state.add_batch(make_batch()),
    ):
        with pytest.raises(StoreError) as caught:
            call()
        assert caught.value.code == "store.newer_schema"
    assert path.read_bytes() == before


def test_a_newer_schema_that_says_so_can_be_read(path):
    state, runs = fill(path, 3)
    sql(path, "PRAGMA user_version = 7")
    assert state.problem().code == "store.newer_schema"
    assert len(state.benchmarks()) == len(runs)
    assert state.generation() == state.generation()
    for write in (
        lambda: state.add_batch(make_batch()),
        lambda: state.acquire_lease("x", "a", 5),
        lambda: state.prune(keep_runs=1, keep_days=1),
    ):
        with pytest.raises(StoreError) as caught:
            write()
        assert caught.value.code == "store.newer_schema"
    state.close()


# ---- read-only ------------------------------------------------------------------------------------------------------


def writes(state):
    job = make_job()
    return [
        lambda: state.add_benchmark(make_run()),
        lambda: state.add_batch(make_batch()),
        lambda: state.add_jobs([job]),
        lambda: state.acquire_lease("x", "a", 5),
        lambda: state.prune(keep_runs=1, keep_days=1),
        lambda: state.change_job("x", lambda old: old),
        state.repair,
    ]


def test_a_store_for_reading_refuses_writes_and_touches_nothing(path):
    _, runs = fill(path, 5)
    before = files(path.parent)
    state = SqliteState(path, read_only=True)
    assert len(state.benchmarks()) == len(runs)
    assert state.problem() is None
    assert state.check() == ()
    assert state.generation() == state.generation()
    for write in writes(state):
        with pytest.raises(ReadOnlyError) as caught:
            write()
        assert caught.value.code == "store.read_only"
    state.close()
    assert files(path.parent) == before


def test_a_store_for_reading_creates_nothing(path):
    state = SqliteState(path, read_only=True)
    assert state.benchmarks() == state.jobs() == state.leases() == ()
    assert state.problem() is None
    assert state.generation() == "0"
    for write in (lambda: state.add_benchmark(make_run()), lambda: state.acquire_lease("x", "a", 5)):
        with pytest.raises(ReadOnlyError):
            write()
    assert not path.parent.exists()


CRASH_IN_COMMIT = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE benchmark_runs SET document = zeroblob(5000)")
connection.execute("UPDATE batch_runs SET document = zeroblob(100000)")
os.kill(os.getpid(), 9)
"""


def leave_a_hot_journal(path):
    """End a process in the midst of a write whose pages are in the file already."""
    subprocess.run([sys.executable, "-c", CRASH_IN_COMMIT, str(path)], check=False)
    assert path.with_name("state.db-journal").stat().st_size > 0


def test_an_unfinished_write_is_not_undone_by_a_reader_that_may_not_write(path):
    _, runs = fill(path, 50)
    leave_a_hot_journal(path)
    before = files(path.parent)
    state = SqliteState(path, read_only=True)
    with pytest.raises(ReadOnlyError, match="unfinished write"):
        state.benchmarks()
    assert state.problem().code == "store.read_only"
    assert files(path.parent) == before
    assert {run.id for run in SqliteState(path).benchmarks(limit=1000)} == {run.id for run in runs}
    assert {run.id for run in state.benchmarks(limit=1000)} == {run.id for run in runs}


def test_a_write_ahead_log_is_read_without_creating_files(path):
    _, runs = fill(path, 5)
    sql(path, "PRAGMA journal_mode = WAL")
    before = files(path.parent)
    assert {name for name in before if not name.startswith("backups/")} == {"state.db"}
    state = SqliteState(path, read_only=True)
    assert len(state.benchmarks()) == len(runs)
    state.generation()
    state.close()
    assert files(path.parent) == before


NOT_ALLOWED = """
import ctypes, json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from storage_samples import make_batch
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage.state import SqliteState
if os.getuid() == 0:  # without its capabilities, root is asked for permission like anybody
    head, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(head, none) == 0
state = SqliteState(Path(sys.argv[1]))
codes = []
try:
    state.add_batch(make_batch())
except StoreError as error:
    codes = [error.code, type(error).__name__]
print(json.dumps([state.problem().code, len(state.batches()), *codes]))
"""


def test_a_home_that_may_not_be_written_can_be_read(path):
    fill(path, 1)
    path.parent.chmod(0o555)
    path.chmod(0o444)
    try:
        done = subprocess.run(
            [sys.executable, "-c", NOT_ALLOWED, str(path), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
    finally:
        path.parent.chmod(0o700)
    assert msgspec.json.decode(done.stdout) == ["store.read_only", 1, "store.read_only", "ReadOnlyError"]


# ---- damage ---------------------------------------------------------------------------------------------------------


def spoil(path, page, count=1):
    """Overwrite whole pages, the first is number 1."""
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096 * count)


def pages(path):
    return path.stat().st_size // 4096


def test_a_file_that_is_no_database_is_a_problem_with_a_command(path):
    path.parent.mkdir()
    path.write_bytes(b"no database at all, but text")
    problem = SqliteState(path).problem()
    assert (problem.store, problem.code, problem.command) == ("state", "store.corrupt", "quickserveml fsck --repair")
    assert "quickserveml fsck --repair" in problem.hint
    assert SqliteState(path).check() != ()


def test_a_whole_database_is_found_whole(path):
    state, _ = fill(path)
    assert state.check() == ()
    assert state.problem() is None


def test_a_damaged_page_is_found(path):
    state, _ = fill(path)
    spoil(path, pages(path) // 2, 3)
    findings = state.check()
    assert findings
    assert all(isinstance(finding, str) and finding for finding in findings)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE benchmark_runs SET document = x'7b7d' WHERE seq = 3",
        "UPDATE benchmark_runs SET document = NULL || 'text' || x'00' WHERE seq = 0",
        "UPDATE batch_runs SET id = 'batch-other'",
        "UPDATE jobs SET progress = x'5b'",
        "UPDATE jobs SET state = 'done'",
        "UPDATE benchmark_runs SET created_at = '2020-01-01T00:00:00.000Z' WHERE seq = 4",
        "DELETE FROM newest_runs WHERE version = 1",
        "UPDATE newest_runs SET figures = x'7b7d' WHERE version = 1",
    ],
)
def test_rows_that_are_not_as_they_were_written_are_found(path, statement):
    state, _ = fill(path, 20)
    if "seq = 0" in statement:
        assert state.check() == ()
        return
    sql(path, statement)
    assert len(state.check()) >= 1


def test_a_repair_saves_the_rows_that_can_be_read(path):
    state, runs = fill(path)
    sql(path, ("UPDATE benchmark_runs SET document = x'00ff' WHERE id = ?", (runs[7].id,)))
    shutil.rmtree(path.parent / "backups")
    report = state.repair()
    assert "201 rows" in report
    assert "1 could not be read" in report
    assert state.check() == ()
    assert {run.id for run in state.benchmarks(limit=1000)} == {run.id for run in runs} - {runs[7].id}
    assert len(state.batches()) == len(state.jobs()) == 1
    (aside,) = path.parent.glob("state.db.damaged-*")
    assert len(sql(aside, "SELECT id FROM benchmark_runs")) == 200
    state.add_benchmark(make_run())


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8])
def test_a_repair_goes_around_damaged_pages(path, position):
    state, runs = fill(path, 400)
    kept = {run.id: run for run in runs}
    spoil(path, int(pages(path) * position), 2)
    with pytest.raises(StoreError):
        state.benchmarks(limit=1000)
    shutil.rmtree(path.parent / "backups")
    report = state.repair()
    assert "benchmark runs are incomplete, it is unknown how many are missing" in report
    assert "0 could" not in report
    assert state.check() == ()
    saved = state.benchmarks(limit=1000)
    assert all(kept[run.id] == run for run in saved)
    assert len(saved) > 200
    assert len(saved) < 400
    state.add_benchmark(make_run())


def test_a_repair_of_what_is_no_database_starts_an_empty_one_and_keeps_the_file(path):
    path.parent.mkdir()
    path.write_bytes(b"no database at all, but text")
    path.with_name("state.db-journal").write_bytes(b"leftover")
    state = SqliteState(path)
    report = state.repair()
    assert "0 rows" in report
    assert (
        "benchmark runs, batch results, jobs, results of the lab and metric roll-ups were lost altogether, it is unknown how many"
        in report
    )
    assert state.benchmarks() == state.check() == ()
    state.add_batch(make_batch())
    kept = {item.name.split("Z", 1)[-1]: item.read_bytes() for item in path.parent.glob("state.db.damaged-*")}
    assert kept == {"": b"no database at all, but text", "-journal": b"leftover"}


def test_a_repair_first_undoes_what_was_left_unfinished(path):
    state, runs = fill(path, 50)
    leave_a_hot_journal(path)
    state.repair()
    assert {run.id for run in state.benchmarks(limit=1000)} == {run.id for run in runs}
    assert state.check() == ()


def test_a_repair_without_need_changes_no_row_and_one_without_a_file_nothing(path):
    state = SqliteState(path)
    assert "no state database" in state.repair()
    assert not path.parent.exists()
    state, _runs = fill(path, 10)
    before = state.benchmarks(), state.batches(), state.jobs(), state.figures()
    generation = state.generation()
    state.repair()
    assert (state.benchmarks(), state.batches(), state.jobs(), state.figures()) == before
    assert state.generation() != generation
    state.close()


def test_a_writer_that_waited_for_a_repair_writes_to_the_new_file(path, monkeypatch):
    state, _ = fill(path, 5)
    real = state_file.StateFile.connect
    has_repaired = []

    def connect(self, mode, **options):
        connection = real(self, mode, **options)
        if not has_repaired and mode == "rw":
            has_repaired.append(True)
            state.repair()
        return connection

    monkeypatch.setattr(state_file.StateFile, "connect", connect)
    result = make_batch()
    SqliteState(path).add_batch(result)
    assert has_repaired
    assert SqliteState(path).batch(result.id) == result


def test_a_database_in_use_is_not_repaired(path):
    fill(path, 5)
    with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:
            SqliteState(path, busy_timeout_s=0.05).repair()
        assert caught.value.code == "store.locked"
    assert {item.name for item in path.parent.iterdir()} == {"state.db", "backups"}


# ---- copies ---------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_a_whole_database_of_its_own(path, tmp_path):
    state, runs = fill(path, 30)
    state.acquire_lease("x", "a", 5)
    state.snapshot(tmp_path / "copy.db")
    state.add_batch(make_batch())
    copy = SqliteState(tmp_path / "copy.db")
    assert {run.id for run in copy.benchmarks()} == {run.id for run in runs}
    assert len(copy.batches()) == 1
    assert copy.check() == ()
    assert {item.name for item in tmp_path.iterdir()} == {"home", "copy.db"}


def test_a_snapshot_of_nothing_is_an_empty_database(path, tmp_path):
    SqliteState(path, read_only=True).snapshot(tmp_path / "copy.db")
    copy = SqliteState(tmp_path / "copy.db")
    assert copy.benchmarks() == copy.check() == ()
    assert not path.parent.exists()


def test_a_snapshot_replaces_nothing(path, tmp_path):
    state, _ = fill(path, 1)
    (tmp_path / "copy.db").write_bytes(b"mine")
    with pytest.raises(StoreError) as caught:
        state.snapshot(tmp_path / "copy.db")
    assert caught.value.code == "store.exists"
    assert (tmp_path / "copy.db").read_bytes() == b"mine"
    with pytest.raises(StoreError):
        state.snapshot(tmp_path / "no" / "folder.db")


def test_a_snapshot_of_a_database_in_use_waits_and_reports(path, tmp_path):
    fill(path, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError) as caught:
            SqliteState(path, busy_timeout_s=0.05).snapshot(tmp_path / "copy.db")
        assert caught.value.code == "store.locked"
    assert {item.name for item in tmp_path.iterdir()} == {"home"}


def test_a_fork_leaves_the_watch_of_its_parent_alone(path):
    state, _ = fill(path, 1)
    before = state.generation()
    pid = os.fork()
    if pid == 0:
        is_same = state.generation().split("-")[1] == before.split("-")[1]
        state.close()
        os._exit(0 if is_same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    state.add_batch(make_batch())
    assert state.generation() != before
    state.close()


def test_a_new_database_is_private_whatever_the_umask(tmp_path):
    tmp_path.chmod(0o755)
    before = os.umask(0)
    try:
        SqliteState(tmp_path / "state.db").acquire_lease("a", "b", 10.0)
    finally:
        os.umask(before)
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
