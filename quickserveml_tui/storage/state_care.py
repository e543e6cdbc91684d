"""Looking after the state database: retention, copies, checks."""
# Statements are put together from names of this module only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.care import StoreProblem
from quickserveml_tui.core.clock import utc_days_ago
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.job_records import JobRecord
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.core.metric_history import RollUp
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.state_errors import REPAIR_COMMAND, WHAT, errors, translate
from quickserveml_tui.storage.state_figures import figures_of, refresh_newest, samples_of
from quickserveml_tui.storage.state_file import StateFile, View
from quickserveml_tui.storage.state_leases import Clock, StateLeases, live_digests
from quickserveml_tui.storage.state_migrate import copy_database
from quickserveml_tui.storage.state_results import COLUMNS, result_of
from quickserveml_tui.storage.state_runs import load
from quickserveml_tui.storage.state_schema import SCHEMA, bump, schema_of, step_up

T = TypeVar("T")
MAX_FINDINGS = 1_000
_ENDED = ", ".join(f"'{state}'" for state in JobState if state not in (JobState.QUEUED, JobState.RUNNING))
_OLD_RUNS = """
SELECT seq, model, version FROM (
    SELECT seq, id, model, version, created_at,
        row_number() OVER (PARTITION BY model, version ORDER BY created_at DESC, seq DESC) AS place
    FROM benchmark_runs)
WHERE place > ?1 AND created_at < ?2 AND id NOT IN (SELECT run FROM newest_runs)
"""
_OLD_BATCHES = """
SELECT seq FROM (
    SELECT seq, created_at, row_number() OVER (ORDER BY created_at DESC, seq DESC) AS place FROM batch_runs)
WHERE place > ?1 AND created_at < ?2
"""
_OLD_RESULTS = """
SELECT seq FROM (
    SELECT seq, created_at, row_number() OVER (PARTITION BY kind, model, version ORDER BY created_at DESC, seq DESC)
        AS place
    FROM lab_results WHERE kind <> 'note')
WHERE place > ?1 AND created_at < ?2
"""
_OLD_JOBS = f"""
SELECT seq FROM (
    SELECT seq, created_at, row_number() OVER (ORDER BY created_at DESC, seq DESC) AS place
    FROM jobs WHERE state IN ({_ENDED}))
WHERE place > ?1 AND created_at < ?2
"""


class StateCare(StateLeases):
    """The part of `StateStore` that keeps it healthy."""

    _file: StateFile
    _clock: Clock

    def problem(self) -> StoreProblem | None:
        """Why the database can only be read, or not even that; None when all is well.

        Looks at the head of the file only: a damaged page further on is found by `check`, or by whoever reads it.
        """
        try:
            with self._file.reading() as view:
                if view.schema > SCHEMA:
                    return _problem("store.newer_schema", *_newer(view.schema))
                for table in ("benchmark_runs", "batch_runs"):
                    view.rows(f"SELECT id FROM {table} ORDER BY seq DESC LIMIT 1")
                for table in ("jobs", "newest_runs", "leases", "meta"):
                    view.rows(f"SELECT 1 FROM {table} LIMIT 1", since=2)
                view.rows("SELECT 1 FROM metric_rollups LIMIT 1", since=3)
                view.rows("SELECT 1 FROM lab_results LIMIT 1", since=4)
        except StoreError as error:
            return _problem(error.code, error.message, error.hint)
        return (
            None
            if self._may_write()
            else _problem(
                "store.read_only",
                f"The {WHAT} cannot be written: permission was denied.",
                "Check who owns the home folder, or choose another with --home.",
            )
        )

    def _may_write(self) -> bool:
        if self._file.read_only:
            return True  # nobody asks it to be written
        folder = self._file.path.parent
        while not os.path.lexists(folder) and folder != folder.parent:
            folder = folder.parent
        with errors("read"):
            return os.access(folder, os.W_OK | os.X_OK) and (
                self._file.identity() is None or os.access(self._file.path, os.W_OK)
            )

    def blobs(self) -> frozenset[str]:
        """Digests of all blobs that runs and live leases need."""
        with self._file.reading() as view:
            rows = view.rows("SELECT DISTINCT samples FROM benchmark_runs WHERE samples <> ''", since=2)
            if view.schema == 1:
                rows = [(samples_of(row[0]),) for row in view.rows("SELECT document FROM benchmark_runs")]
            named = view.rows("SELECT DISTINCT digests FROM lab_results WHERE digests <> x'5b5d'", since=4)
            leased = live_digests(view, self._clock)
        wanted = {digest for row in named for digest in load(row[0], tuple[str, ...])}
        return frozenset(row[0] for row in rows if row[0]) | wanted | leased

    def prune(self, *, keep_runs: int, keep_days: float, dry_run: bool = False) -> int:
        """Remove runs beyond the newest `keep_runs` of each version that are older than `keep_days`, results of the
        lab, batch results and ended jobs alike, and leases that ran out. Notes and the newest complete run of each
        version always stay. Returns rows.

        Runs of files that are not registered count as those of one version.
        """
        if self._file.is_absent():
            return 0
        limits = max(keep_runs, 0), utc_days_ago(keep_days)
        if dry_run:
            with self._file.reading() as view:
                if view.connection is None or view.schema < 2:
                    return 0  # nothing is removed before the first write has led it to this schema
                return sum(len(rows) for rows in self._beyond(view.connection, limits, view.schema))
        with self._file.writing() as connection:
            runs, results, batches, jobs, leases = self._beyond(connection, limits)
            tables = ("benchmark_runs", "lab_results", "batch_runs", "jobs")
            for table, rows in zip(tables, (runs, results, batches, jobs), strict=True):
                connection.executemany(f"DELETE FROM {table} WHERE seq = ?", ((row[0],) for row in rows))
            connection.executemany("DELETE FROM leases WHERE name = ?", leases)
            for model, version in {(row[1], row[2]) for row in runs}:
                refresh_newest(connection, model, version)
            if runs or results or batches or jobs:
                bump(connection)
        return len(runs) + len(results) + len(batches) + len(jobs) + len(leases)

    def _beyond(
        self, connection: sqlite3.Connection, limits: tuple[int, str], schema: int = SCHEMA
    ) -> tuple[list[tuple[Any, ...]], ...]:
        runs, batches, jobs = (
            connection.execute(sql, limits).fetchall() for sql in (_OLD_RUNS, _OLD_BATCHES, _OLD_JOBS)
        )
        results = connection.execute(_OLD_RESULTS, limits).fetchall() if schema >= 4 else []
        return runs, results, batches, jobs, [(name,) for name in self._ended_leases(connection)]

    def snapshot(self, target: Path) -> None:
        """Write a consistent copy of the whole database to a new file, durably.

        Writers wait no longer than for any reader. Where nothing was written yet the copy is an empty database. Raises
        `StoreError` (`store.exists` when something is at `target`).
        """
        try:
            with self._file.reading() as view:
                # The first read takes the lock under which the copy is of one state.
                view.rows("SELECT 1 FROM sqlite_schema LIMIT 1")
                if view.connection is not None and view.schema > 0:
                    copy_database(view.connection, target)
                    return
            _copy_empty(target)
        except sqlite3.Error as error:
            raise translate(error, "copied") from error
        except StoreError as error:
            if isinstance(error.__cause__, FileExistsError):
                raise _exists() from error
            raise
        except FileExistsError as error:
            raise _exists() from error
        except OSError as error:
            raise fs.store_error(error, f"copy of the {WHAT}") from error

    def check(self) -> tuple[str, ...]:
        """What SQLite's integrity check and a decode of every row find; empty when all is well. At most 1,000.

        Raises `StoreError` only for what is no damage: a lock, a newer schema, a disk that fails.
        """
        found: list[str] = []
        try:
            with self._file.reading() as view:
                for finding in _findings(view):
                    found.append(finding)
                    if len(found) >= MAX_FINDINGS:
                        break
        except StoreError as error:
            if error.code != "store.corrupt":
                raise
            found.append(f"{error.message} ({error.detail})" if error.detail else error.message)
        return tuple(found)


def _problem(code: str, message: str, hint: str) -> StoreProblem:
    return StoreProblem("state", code, message, hint, REPAIR_COMMAND if code == "store.corrupt" else "")


def _newer(found: int) -> tuple[str, str]:
    message = (
        f"The {WHAT} was written by a newer version of this program (schema {found}, this one knows {SCHEMA});"
        " it can be read, but not written."
    )
    return message, "Upgrade quickserveml-tui; nothing was changed."


def _exists() -> StoreError:
    return StoreError(
        f"The copy of the {WHAT} was not written: something has that name already.",
        hint="Choose another name.",
        code="store.exists",
    )


def _copy_empty(target: Path) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
        found = schema_of(empty, to_write=True)
        while found < SCHEMA:
            found = step_up(empty, found)
        copy_database(empty, target)


def _findings(view: View) -> Iterator[str]:
    if view.connection is None:
        return
    for (line,) in view.connection.execute(f"PRAGMA integrity_check({MAX_FINDINGS})").fetchall():
        if line != "ok":
            yield f"SQLite: {line}"
    yield from _run_findings(view)
    for row in view.each("SELECT id, created_at, document FROM batch_runs"):
        result = _decoded(row[2], BatchResult)
        if result is None or (result.id, result.created_at) != tuple(row[:2]):
            yield f"The batch result {row[0]} cannot be read."
    for row in view.each("SELECT id, state, created_at, progress, document FROM jobs", since=2):
        job = _decoded(row[4], JobRecord)
        if job is None or (job.id, job.state, job.created_at) != tuple(row[:3]) or _decoded(row[3], Progress) is None:
            yield f"The job {row[0]} cannot be read."
    for row_id, document in view.each("SELECT id, document FROM metric_rollups", since=3):
        if _decoded(document, RollUp) is None:
            yield f"The metric roll-up {row_id} cannot be read."
    for row in view.each(f"SELECT {COLUMNS} FROM lab_results", since=4):
        try:
            result_of(row)
        except StoreError:
            yield f"The result {row[0]} cannot be read."
    for name, digests in view.each("SELECT name, digests FROM leases", since=2):
        if _decoded(digests, tuple[str, ...]) is None:
            yield f"The lease {name} cannot be read."


def _run_findings(view: View) -> Iterator[str]:
    newest: dict[tuple[str, int], tuple[str, int, bytes]] = {}
    for seq, row_id, created_at, document in view.each("SELECT seq, id, created_at, document FROM benchmark_runs"):
        run = _decoded(document, BenchmarkRun)
        if run is None or (run.id, run.created_at) != (row_id, created_at):
            yield f"The benchmark run {row_id} cannot be read."
        elif run.model and run.version is not None and not run.summary.cancelled and not run.origin:
            mine = (created_at, seq, msgspec.json.encode(figures_of(run)))
            newest[run.model, run.version] = max(newest.get((run.model, run.version), mine), mine)
    if view.schema < 2:
        return
    kept = {(row[0], row[1]): row[2] for row in view.each("SELECT model, version, figures FROM newest_runs")}
    if kept != {key: value[2] for key, value in newest.items()}:
        yield "The figures kept for lists differ from the runs."


def _decoded(document: bytes, kind: type[T]) -> T | None:
    try:
        return load(document, kind)
    except StoreError:
        return None
