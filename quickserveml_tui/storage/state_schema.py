"""The tables of the state database, and how each schema becomes the next one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from quickserveml_tui.storage.documents import newer_schema
from quickserveml_tui.storage.state_errors import WHAT, damaged
from quickserveml_tui.storage.state_figures import refresh_all_newest, samples_of

SCHEMA = 4
READABLE_FROM = 2
"""Oldest schema whose programs can read what this one writes; a file says so in `meta`."""

_FIRST = """
CREATE TABLE benchmark_runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    version INTEGER,
    cancelled INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX benchmark_runs_by_version ON benchmark_runs (model, version, seq);
CREATE TABLE batch_runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    document BLOB NOT NULL
);
"""
# Lists go by time and the newest run of a version is looked up at every write: both are reads of an index now.
# `newest_runs` repeats what lists of ten thousand models show, so that these need not decode whole documents.
_SECOND = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
ALTER TABLE benchmark_runs ADD COLUMN samples TEXT NOT NULL DEFAULT '';
DROP INDEX benchmark_runs_by_version;
CREATE INDEX benchmark_runs_by_version ON benchmark_runs (model, version, created_at, seq);
CREATE INDEX benchmark_runs_by_time ON benchmark_runs (created_at, seq);
CREATE INDEX benchmark_runs_by_samples ON benchmark_runs (samples) WHERE samples <> '';
CREATE INDEX batch_runs_by_time ON batch_runs (created_at, seq);
CREATE TABLE newest_runs (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    run TEXT NOT NULL,
    figures BLOB NOT NULL,
    PRIMARY KEY (model, version)
) WITHOUT ROWID;
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    created_at TEXT NOT NULL,
    rev INTEGER NOT NULL,
    progress BLOB NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX jobs_by_time ON jobs (created_at, seq);
CREATE INDEX jobs_by_state ON jobs (state, created_at, seq);
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    ttl_s REAL NOT NULL,
    expires_at REAL NOT NULL,
    boot TEXT NOT NULL,
    boot_expires_s REAL NOT NULL,
    acquired_at TEXT NOT NULL,
    note TEXT NOT NULL,
    digests BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('generation', 0), ('reads', 2);
"""

# Figures of served versions over time. Programs of the second schema can read the rest as it is.
_THIRD = """
CREATE TABLE metric_rollups (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX metric_rollups_by_model ON metric_rollups (model, at, version, step);
CREATE INDEX metric_rollups_by_step ON metric_rollups (step, at);
CREATE INDEX metric_rollups_by_time ON metric_rollups (at, seq);
"""

# What the lab finds beside runs: comparisons, scenarios, profiles, notes. Older programs can read the rest as it is.
_FOURTH = """
CREATE TABLE lab_results (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER,
    created_at TEXT NOT NULL,
    digests BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX lab_results_by_kind ON lab_results (kind, created_at, seq);
CREATE INDEX lab_results_by_version ON lab_results (model, version, kind, created_at, seq);
CREATE INDEX lab_results_by_time ON lab_results (created_at, seq);
"""


def _to_first(connection: sqlite3.Connection) -> None:
    _run(connection, _FIRST)


def _to_second(connection: sqlite3.Connection) -> None:
    _run(connection, _SECOND)
    for seq, document in connection.execute("SELECT seq, document FROM benchmark_runs").fetchall():
        connection.execute("UPDATE benchmark_runs SET samples = ? WHERE seq = ?", (samples_of(document), seq))
    refresh_all_newest(connection)


def _to_third(connection: sqlite3.Connection) -> None:
    _run(connection, _THIRD)


def _to_fourth(connection: sqlite3.Connection) -> None:
    _run(connection, _FOURTH)


STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_to_first, _to_second, _to_third, _to_fourth)
"""Step n leads from schema n to schema n + 1."""


def step_up(connection: sqlite3.Connection, found: int) -> int:
    """Lead the database from schema `found` to the next one, inside the caller's transaction; returns it."""
    STEPS[found](connection)
    connection.execute(f"PRAGMA user_version = {found + 1}")
    return found + 1


def schema_of(connection: sqlite3.Connection, *, to_write: bool) -> int:
    """Schema of the file; 0 when nothing was written yet.

    Raises `StoreError`: `store.newer_schema` for what a newer program wrote, unless it says that this one can read it;
    `store.corrupt` for a database of another program.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA and (to_write or not _says_readable(connection)):
        raise newer_schema(WHAT, found, SCHEMA)
    if found < 0 or (found == 0 and connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()):
        raise damaged("The file is a database of another program.")
    return int(found)


def bump(connection: sqlite3.Connection) -> None:
    """Let the generation differ once the transaction is committed."""
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")


def _says_readable(connection: sqlite3.Connection) -> bool:
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'reads'").fetchone()
    except sqlite3.OperationalError:  # no such table: it says nothing
        return False
    return row is not None and isinstance(row[0], int) and row[0] <= SCHEMA


def _run(connection: sqlite3.Connection, script: str) -> None:
    # Not `executescript`, which commits first.
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement)
