"""Every write of the state database, from a known state to a known state; run in forked children with faults.

The children print a line for each promise that was broken, and how many faults they tried.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
from storage_clocks import SetClock
from storage_samples import make_batch, make_job, make_run
from storage_sqlite import make_faults

from quickserveml_tui.core.clock import utc_days_ago
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.storage import state_file, state_schema
from quickserveml_tui.storage.documents import to_document
from quickserveml_tui.storage.state import SqliteState
from quickserveml_tui.storage.state_migrate import stamp

CLOCK = SetClock()
RUNS = [
    make_run(f"m{number % 3}", number % 2 + 1, id=f"bench-{number}", created_at=utc_days_ago(900 - number))
    for number in range(12)
]
NEW_RUNS = [make_run("m1", 1, id=f"bench-new-{number}", command="x" * 9000) for number in range(3)]
JOB = make_job(id="job-1", state=JobState.RUNNING)
BATCH = make_batch(id="batch-1")
NEW_BATCH = make_batch(id="batch-2")

OPERATIONS = {
    "runs": lambda state: state.add_benchmarks(NEW_RUNS),
    "batch": lambda state: state.add_batch(NEW_BATCH),
    "jobs": lambda state: state.add_jobs([make_job("2026-01-01T00:00:00.000Z", id=f"job-{number}") for number in range(2, 4)]),
    "change": lambda state: state.change_job("job-1", lambda old: replace(old, state=JobState.DONE, result_id="bench-1")),
    "progress": lambda state: state.set_progress({"job-1": Progress("measuring", 5.0)}),
    "remove": lambda state: state.remove_jobs(["job-1"]),
    "acquire": lambda state: state.acquire_lease("other", "b", 60, digests=["d2"]),
    "renew": lambda state: state.renew_lease("held", "a", 600),
    "release": lambda state: state.release_lease("held", "a"),
    "prune": lambda state: state.prune(keep_runs=1, keep_days=10),
    "repair": lambda state: state.repair(),
    "daily": lambda state: state.add_benchmarks(NEW_RUNS),
    "read": lambda state: (state.benchmarks(), state.figures(), state.jobs(), state.leases(), state.blobs()),
}  # fmt: skip
"""Each on the database of `make_template`; before `daily` there is no copy of today; `create` and `migrate` are the first write to none and to an old one."""


def make_template(path, kind=""):
    """A database as the operations find it; none for `create`, one of the first schema for `migrate`."""
    if kind == "create":
        return
    if kind == "migrate":
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in [*state_schema._FIRST.split(";"), "PRAGMA user_version = 1"]:
                connection.execute(statement)
            for run in RUNS:
                connection.execute(
                    "INSERT INTO benchmark_runs (id, model, version, cancelled, created_at, document) VALUES (?, ?, ?, ?, ?, ?)",
                    (run.id, run.model, run.version, False, run.created_at, msgspec.json.encode(to_document(run))),
                )
        return
    state = SqliteState(path, clock=CLOCK)
    state.add_benchmarks(RUNS)
    state.add_batch(BATCH)
    state.add_jobs([JOB])
    state.acquire_lease("held", "a", 60, digests=["d1"])


def operate(path, kind):
    """Run an operation."""
    operation = OPERATIONS["runs" if kind in ("create", "migrate") else kind]
    return operation(SqliteState(path, clock=CLOCK))


def observe(path):
    """Everything that the database holds."""
    state = SqliteState(path, clock=CLOCK)
    assert state.check() == (), state.check()
    leases = [replace(lease, acquired_at="") for lease in state.leases()]
    return state.benchmarks(limit=1000), state.batches(), state.jobs(), leases, state.figures(), state.blobs()


class Bench:
    """One operation, tried again and again from the same state."""

    def __init__(self, folder, kind):
        self.folder, self.kind = Path(folder), kind
        self.home = self.folder / "home"
        self.template = self.folder / "template.db"
        make_template(self.template, kind)
        self.path = self.home / "state.db"
        self.reset()
        self.old = observe(self.path)
        operate(self.path, kind)
        self.new = observe(self.path)

    def reset(self):
        """Put the state before the operation in place."""
        shutil.rmtree(self.home, ignore_errors=True)
        if self.template.exists():
            self.home.mkdir()
            shutil.copyfile(self.template, self.path)
        if self.kind not in ("create", "migrate", "daily"):
            backups = self.home / "backups"
            backups.mkdir(parents=True)
            shutil.copyfile(self.template, backups / f"state-{stamp()}.db")

    def judge(self, *, is_acknowledged):
        """What is wrong after the operation, or nothing."""
        try:
            found = observe(self.path)
        except (AssertionError, StoreError) as error:
            return f"cannot be read: {error!r} {getattr(error, 'detail', '')}"
        if found != self.new and (is_acknowledged or found != self.old):
            return "an acknowledged write is lost" if is_acknowledged else "a third state"
        for copy in (self.home / "backups").glob("state-2*.db") if self.kind == "daily" else ():
            if observe(copy) != self.old:
                return "half a copy counts"
        try:
            SqliteState(self.path, clock=CLOCK).add_batch(make_batch(id="batch-after"))
            assert SqliteState(self.path, clock=CLOCK).batch("batch-after") is not None
        except (AssertionError, StoreError) as error:
            return f"the next write fails: {error!r} {getattr(error, 'detail', '')}"
        return ""


def break_every_call(say, folder, kind, error, stays, journal=""):
    """Break the first, second, … file call that SQLite makes in the operation; in every state it is old or new."""
    if journal:
        state_file.JOURNAL = journal
    bench, faults = Bench(folder, kind), make_faults()
    tried = refused = 0
    for fail_at in range(1, 2000):
        bench.reset()
        faults.arm(fail_at, error, stays=stays)
        is_acknowledged = False
        try:
            operate(bench.path, kind)
            is_acknowledged = True
        except StoreError:
            refused += 1
        except BaseException as problem:
            say(f"broken at {fail_at}: raises {problem!r}")
        finally:
            faults.disarm()
        if not faults.has_fired:
            break
        tried += 1
        last = faults.calls[faults.fail_at - 1] if faults.calls else ""
        wrong = bench.judge(is_acknowledged=is_acknowledged)
        if wrong:
            say(f"broken at {fail_at} ({last}): {wrong}")
    say(f"tried {tried} {refused}")


def kill_at_every_call(say, folder, kind):
    """Kill a process before the first, second, … file call that SQLite makes in the operation."""
    bench, faults = Bench(folder, kind), make_faults()
    for fail_at in range(1, 2000):
        bench.reset()
        pid = os.fork()
        if pid == 0:
            faults.arm(fail_at, "kill")
            operate(bench.path, kind)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        wrong = bench.judge(is_acknowledged=code == 0)
        if wrong:
            say(f"broken at {fail_at}: {wrong}")
        if code == 0:
            break
    say(f"tried {fail_at - 1} {fail_at - 1}")


def trace(say, folder, kind):
    """Say which file calls SQLite made."""
    bench, faults = Bench(folder, kind), make_faults()
    bench.reset()
    faults.arm(0, 0)
    operate(bench.path, kind)
    faults.disarm()
    for name, path in faults.calls:
        say(f"{name} {path}")
