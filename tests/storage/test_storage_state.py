"""Every state store keeps the promises of `StateStore`; the one in SQLite some more."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from reference_state import MemoryState
from storage_samples import make_batch, make_job, make_run

from quickserveml_tui.core.clock import utc_days_ago
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.storage.state import SqliteState


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "state.db"


@pytest.fixture(params=["memory", "sqlite"])
def state(request, path):
    store = MemoryState() if request.param == "memory" else SqliteState(path)
    yield store
    if request.param == "sqlite":
        store.close()


def test_what_was_never_written_is_empty(state):
    assert state.benchmark("bench-1") is None
    assert state.benchmarks() == ()
    assert state.newest_benchmarks() == {}
    assert state.batches() == ()


def test_a_run_comes_back_as_it_was_kept(state):
    run = make_run()
    state.add_benchmark(run)
    assert state.benchmark(run.id) == run
    assert state.benchmarks() == (run,)


def test_a_batch_comes_back_as_it_was_kept(state):
    result = make_batch()
    state.add_batch(result)
    assert state.batches() == (result,)


def test_a_run_of_an_unregistered_file_is_kept_too(state):
    run = make_run(model="", version=None)
    state.add_benchmark(run)
    assert state.benchmark(run.id) == run
    assert state.newest_benchmarks() == {}


def test_runs_come_newest_first(state):
    runs = [make_run(created_at=f"2026-01-0{day}T00:00:00.000Z") for day in (2, 1, 3)]
    runs += [make_run(created_at="2026-01-03T00:00:00.000Z")]
    for run in runs:
        state.add_benchmark(run)
    assert state.benchmarks() == (runs[3], runs[2], runs[0], runs[1])
    assert state.benchmarks(limit=2) == (runs[3], runs[2])
    assert state.benchmarks(limit=0) == ()


def test_batches_come_newest_first(state):
    results = [make_batch(created_at=f"2026-01-0{day}T00:00:00.000Z") for day in (2, 1, 3)]
    for result in results:
        state.add_batch(result)
    assert state.batches(limit=2) == (results[2], results[0])


def test_runs_are_found_by_model_and_version(state):
    runs = {(model, version): make_run(model, version) for model in ("m1", "m2") for version in (1, 2)}
    for run in runs.values():
        state.add_benchmark(run)
    assert {item.id for item in state.benchmarks("m1")} == {runs["m1", 1].id, runs["m1", 2].id}
    assert state.benchmarks("m2", 2) == (runs["m2", 2],)
    assert state.benchmarks("m3") == ()
    assert state.benchmarks("' OR 1=1 --") == ()


def test_the_newest_complete_run_of_each_version_counts(state):
    old = make_run("m", 1, created_at="2026-01-01T00:00:00.000Z")
    new = make_run("m", 1, created_at="2026-01-02T00:00:00.000Z")
    partial = make_run("m", 1, created_at="2026-01-03T00:00:00.000Z", cancelled=True)
    other = make_run("m", 2, created_at="2026-01-01T00:00:00.000Z")
    for run in (new, old, partial, other):
        state.add_benchmark(run)
    assert state.newest_benchmarks() == {"m": {1: new, 2: other}}


def test_runs_are_kept_together(state):
    runs = [make_run("m", number, samples_digest=f"d{number % 2}") for number in range(1, 6)]
    state.add_benchmarks([])
    assert state.generation() == "0"
    state.add_benchmarks(runs)
    assert state.benchmarks("m") != ()
    assert {run.id for run in state.benchmarks()} == {run.id for run in runs}
    assert state.blobs() == {"d0", "d1"}


def test_a_batch_result_is_found_by_id(state):
    result = make_batch()
    state.add_batch(result)
    assert state.batch(result.id) == result
    assert state.batch("batch-none") is None


def test_figures_are_those_of_the_newest_complete_runs(state):
    runs = [
        make_run("m", 1, created_at="2026-01-02T00:00:00.000Z", p50=7.5),
        make_run("m", 1, created_at="2026-01-01T00:00:00.000Z"),
        make_run("m", 1, created_at="2026-01-03T00:00:00.000Z", cancelled=True),
        make_run("n", 3),
        make_run("", None),
    ]
    state.add_benchmarks(runs)
    figures = state.figures()
    assert {model: set(versions) for model, versions in figures.items()} == {"m": {1}, "n": {3}}
    found = figures["m"][1]
    assert (found.run_id, found.p50_ms, found.n, found.throughput_per_s) == (runs[0].id, 7.5, 400, 400.0)
    assert state.newest_benchmarks(["n", "unknown"]) == {"n": {3: runs[3]}}
    assert state.newest_benchmarks([]) == {}


def test_figures_follow_a_run_that_moves_or_turns_partial(state):
    old, new = (make_run("m", 1, created_at=f"2026-01-0{day}T00:00:00.000Z") for day in (1, 2))
    state.add_benchmarks([old, new])
    state.add_benchmark(make_run("m", 2, id=new.id))
    assert {version: run.run_id for version, run in state.figures()["m"].items()} == {1: old.id, 2: new.id}
    state.add_benchmark(make_run("m", 1, id=old.id, cancelled=True))
    assert set(state.figures()["m"]) == {2}


def aged(make, *days, **fields):
    """Records of so many days ago."""
    return [make(created_at=utc_days_ago(day), **fields) for day in days]


def test_what_is_old_and_beyond_the_number_to_keep_is_removed(state):
    runs = aged(make_run, 500, 400, 300, 2, 1)
    others = aged(make_run, 600, 500, version=2)
    unregistered = aged(make_run, 700, 600, 1, model="", version=None)
    state.add_benchmarks([*runs, *others, *unregistered])
    batches = aged(make_batch, 500, 400, 1)
    for result in batches:
        state.add_batch(result)
    ended = aged(make_job, 500, 400, 1, state=JobState.DONE)
    live = aged(make_job, 900, state=JobState.RUNNING) + aged(make_job, 900)
    state.add_jobs([*ended, *live])
    rows = 2 + 1 + 2 + 2 + 2
    before = state.generation()
    assert state.prune(keep_runs=1, keep_days=350, dry_run=True) == rows
    assert len(state.benchmarks()) == 10
    assert state.generation() == before
    assert state.prune(keep_runs=1, keep_days=350) == rows
    assert state.generation() != before
    assert {run.id for run in state.benchmarks()} == {run.id for run in [*runs[2:], others[1], unregistered[2]]}
    assert state.batches() == (batches[2],)
    assert {job.id for job in state.jobs()} == {job.id for job in [ended[2], *live]}
    assert state.prune(keep_runs=1, keep_days=350) == 0


def test_the_newest_complete_run_of_each_version_is_never_removed(state):
    complete = aged(make_run, 900, 800)
    partial = aged(make_run, 700, 600, cancelled=True)
    state.add_benchmarks([*complete, *partial])
    assert state.prune(keep_runs=0, keep_days=0) == 3
    assert state.benchmarks() == (complete[1],)
    assert state.figures()["model-1"][1].run_id == complete[1].id


def test_pruning_keeps_what_the_number_or_the_age_protects(state):
    state.add_benchmarks(aged(make_run, 900, 800, 700))
    assert state.prune(keep_runs=3, keep_days=1) == 0
    assert state.prune(keep_runs=0, keep_days=1e9) == 0


def test_a_run_that_is_kept_again_takes_its_own_place(state):
    run = make_run()
    state.add_benchmark(run)
    changed = make_run(id=run.id, p50=9.0)
    state.add_benchmark(changed)
    assert state.benchmarks() == (changed,)


def test_every_write_changes_the_generation(state):
    seen = [state.generation()]
    assert state.generation() == seen[0]
    for number in range(10):
        state.add_benchmark(make_run()) if number % 2 else state.add_batch(make_batch())
        seen.append(state.generation())
        state.benchmarks()
        assert state.generation() == seen[-1]
    assert len(set(seen)) == len(seen)


# ---- in SQLite ------------------------------------------------------------------------------------------------------


def test_reading_an_absent_database_creates_nothing(path):
    state = SqliteState(path)
    assert state.benchmarks() == ()
    assert state.generation() == "0"
    assert not path.parent.exists()


def test_another_store_sees_what_one_wrote(path):
    one, other = SqliteState(path), SqliteState(path)
    assert other.generation() == "0"
    one.add_benchmark(make_run("m", 1))
    before = other.generation()
    assert len(other.benchmarks()) == 1
    one.add_batch(make_batch())
    assert other.generation() != before
    one.close()
    other.close()


def test_a_backup_put_in_its_place_is_seen_and_so_are_the_writes_after(path, tmp_path):
    store, backup = SqliteState(path), SqliteState(tmp_path / "backup.db")
    store.add_benchmark(make_run())
    backup.add_benchmark(make_run(id="bench-restored"))
    seen = [store.generation()]
    (tmp_path / "backup.db").replace(path)
    seen.append(store.generation())
    SqliteState(path).add_benchmark(make_run(id="bench-later"))
    seen.append(store.generation())
    assert len(set(seen)) == 3
    store.close()


def test_a_path_that_cannot_be_looked_at_is_reported(tmp_path):
    store = SqliteState(tmp_path / ("x" * 300) / "state.db")
    for ask in (store.generation, store.benchmarks, lambda: store.add_benchmark(make_run())):
        with pytest.raises(StoreError) as caught:
            ask()
        assert str(tmp_path) not in caught.value.message


def test_what_json_would_change_is_refused(path):
    state = SqliteState(path)
    with pytest.raises(StoreError) as caught:
        state.add_benchmark(make_run(p50=float("nan")))
    assert caught.value.code == "store.unrepresentable"
    assert state.benchmarks() == ()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"no database at all, but text", "store.corrupt"),
        (b"SQLite format 3\0" + b"x" * 5000, "store.corrupt"),
    ],
)
def test_a_file_that_is_no_database_is_reported_and_left_alone(path, content, code):
    path.parent.mkdir()
    path.write_bytes(content)
    state = SqliteState(path)
    for operation in (state.benchmarks, state.newest_benchmarks, lambda: state.add_benchmark(make_run())):
        with pytest.raises(StoreError) as caught:
            operation()
        assert caught.value.code == code
        assert caught.value.hint
    assert path.read_bytes() == content


def write_sql(path, *statements):
    path.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        (["PRAGMA user_version = 5"], "store.newer_schema"),
        (["CREATE TABLE foreign_table (x)"], "store.corrupt"),
        (["PRAGMA user_version = 1"], "store.corrupt"),
    ],
)
def test_a_newer_or_foreign_database_is_reported_and_left_alone(path, statements, code):
    write_sql(path, *statements)
    before = path.read_bytes()
    state = SqliteState(path)
    for operation in (state.batches, lambda: state.add_batch(make_batch())):
        with pytest.raises(StoreError) as caught:
            operation()
        assert caught.value.code == code
    assert path.read_bytes() == before


def test_a_damaged_document_is_reported(path):
    state = SqliteState(path)
    state.add_benchmark(make_run())
    write_sql(path, "UPDATE benchmark_runs SET document = x'7b7d'")
    with pytest.raises(StoreError) as caught:
        state.benchmarks()
    assert caught.value.code == "store.corrupt"


def test_a_database_that_stays_locked_is_reported(path):
    state = SqliteState(path, busy_timeout_s=0.05)
    state.add_batch(make_batch())
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError) as caught:
        state.add_batch(make_batch())
    assert caught.value.code == "store.locked"
    blocker.execute("ROLLBACK")
    blocker.close()
    state.add_batch(make_batch())
    assert len(state.batches()) == 2


def test_threads_write_and_read_at_once(path):
    state = SqliteState(path)
    failures = []

    def work():
        try:
            for _ in range(10):
                state.add_benchmark(make_run())
                state.benchmarks(limit=3)
                state.generation()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert len(state.benchmarks()) == 40
    state.close()


WRITER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from storage_samples import make_batch
from quickserveml_tui.storage.state import SqliteState
state = SqliteState(Path(sys.argv[1]))
while True:
    result = make_batch()
    state.add_batch(result)
    os.write(1, f"{result.id}\\n".encode())
"""


def test_killed_writers_lose_no_acknowledged_run(path):
    acknowledged = set()
    for _round in range(2):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)],
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
            for _ in range(2)
        ]
        for writer in writers:
            acknowledged |= {writer.stdout.readline().strip() for _ in range(5)}
        for writer in writers:
            writer.kill()
            acknowledged |= {line.strip() for line in writer.stdout if line.endswith("\n")}
            writer.stdout.close()
            writer.wait(60)
    assert acknowledged <= {result.id for result in SqliteState(path).batches(limit=10_000)}


def test_a_database_that_the_kernel_lets_grow_no_further_keeps_its_rows(path):
    state = SqliteState(path)
    state.add_batch(make_batch())
    script = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from storage_samples import make_batch
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.storage.state import SqliteState
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = Path(sys.argv[1]).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    SqliteState(Path(sys.argv[1])).add_batch(make_batch(data="x" * 100_000))
except StoreError as error:
    print(error.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert done.stdout.strip() in ("store.full", "store.unavailable")
    assert len(state.batches()) == 1
    state.add_batch(make_batch())
    assert len(state.batches()) == 2


def test_a_run_that_was_measured_elsewhere_is_in_the_history_but_in_no_figure(state):
    state.add_benchmark(make_run("m", 1, p50=5.0, created_at="2026-01-01T00:00:00.000Z", id="bench-own"))
    state.add_benchmark(
        make_run("m", 1, p50=1.0, created_at="2026-02-01T00:00:00.000Z", id="bench-other", origin="bundle m@1")
    )
    state.add_benchmark(make_run("n", 1, id="bench-alone", origin="bundle n@1"))
    assert [run.id for run in state.benchmarks("m")] == ["bench-other", "bench-own"]
    assert {model: versions[1].id for model, versions in state.newest_benchmarks().items()} == {"m": "bench-own"}
    assert {model: versions[1].p50_ms for model, versions in state.figures().items()} == {"m": 5.0}
    assert state.check() == ()
