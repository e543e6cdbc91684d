"""Benchmark and batch runs in the state database."""
# Statements are put together from names of this module only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from quickserveml_tui.core.benchmarks import BenchmarkFigures, BenchmarkRun
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.storage.documents import to_document
from quickserveml_tui.storage.state_errors import damaged
from quickserveml_tui.storage.state_figures import figures_of, refresh_newest
from quickserveml_tui.storage.state_file import StateFile, View
from quickserveml_tui.storage.state_schema import bump

MAX_ROWS = 1_000_000
_CHUNK = 500
T = TypeVar("T")


class StateRuns:
    """The part of `StateStore` about runs."""

    _file: StateFile

    def add_benchmark(self, run: BenchmarkRun) -> None:
        """Keep a run durably; a run with the same id is replaced."""
        self.add_benchmarks((run,))

    def add_benchmarks(self, runs: Sequence[BenchmarkRun]) -> None:
        """Keep several runs in one commit."""
        documents = [(run, dump(run)) for run in runs]
        if not documents:
            return
        with self._file.writing() as connection:
            touched: set[tuple[str, int | None]] = set()
            for run, document in documents:
                touched |= {(run.model, run.version), *_place_of(connection, run.id)}
                put_benchmark(connection, run, document)
            for model, version in touched:
                refresh_newest(connection, model, version)
            bump(connection)

    def remove_benchmark(self, run_id: str) -> bool:
        """Forget a run; whether there was one. Its samples go with the next collection."""
        if self._file.is_absent():
            return False
        with self._file.writing() as connection:
            places = _place_of(connection, run_id)
            connection.execute("DELETE FROM benchmark_runs WHERE id = ?", (run_id,))
            for model, version in places:
                refresh_newest(connection, model, version)
            if places:
                bump(connection)
        return bool(places)

    def benchmark(self, run_id: str) -> BenchmarkRun | None:
        """The run with this id."""
        with self._file.reading() as view:
            rows = view.rows("SELECT document FROM benchmark_runs WHERE id = ?", (run_id,))
        return load(rows[0][0], BenchmarkRun) if rows else None

    def benchmarks(
        self, model: str | None = None, version: int | None = None, limit: int = 100
    ) -> tuple[BenchmarkRun, ...]:
        """Runs, newest first; `model` is a model id. At most a million."""
        wanted = [(column, value) for column, value in (("model", model), ("version", version)) if value is not None]
        where = " AND ".join(f"{column} = ?" for column, _ in wanted) or "1"
        with self._file.reading() as view:
            rows = view.rows(
                f"SELECT document FROM benchmark_runs WHERE {where} ORDER BY created_at DESC, seq DESC LIMIT ?",
                (*(value for _, value in wanted), bounded(limit)),
            )
        return tuple(load(row[0], BenchmarkRun) for row in rows)

    def newest_benchmarks(self, models: Sequence[str] | None = None) -> dict[str, dict[int, BenchmarkRun]]:
        """Newest complete run by model id and version, of these models or of all."""
        with self._file.reading() as view:
            documents = _newest_documents(view, None if models is None else list(dict.fromkeys(models)))
        newest: dict[str, dict[int, BenchmarkRun]] = {}
        for document in documents:
            run = load(document, BenchmarkRun)
            newest.setdefault(run.model, {})[run.version or 0] = run
        return newest

    def figures(self) -> dict[str, dict[int, BenchmarkFigures]]:
        """Figures of the newest complete run by model id and version: about 3 µs a version."""
        with self._file.reading() as view:
            rows = view.rows("SELECT model, version, figures FROM newest_runs", since=2)
            old = view.schema == 1
        if old:
            return {
                model: {version: figures_of(run) for version, run in versions.items()}
                for model, versions in self.newest_benchmarks().items()
            }
        # One decode of all: a third of the time of one by one.
        every = load(b"[%b]" % b",".join(row[2] for row in rows), list[BenchmarkFigures])
        found: dict[str, dict[int, BenchmarkFigures]] = {}
        for (model, version, _), figures in zip(rows, every, strict=True):
            found.setdefault(model, {})[version] = figures
        return found

    def add_batch(self, result: BatchResult) -> None:
        """Keep the result of a batch durably; a result with the same id is replaced."""
        document = dump(result)
        with self._file.writing() as connection:
            put_batch(connection, result, document)
            bump(connection)

    def remove_batch(self, result_id: str) -> bool:
        """Forget the result of a batch; whether there was one."""
        if self._file.is_absent():
            return False
        with self._file.writing() as connection:
            removed = connection.execute("DELETE FROM batch_runs WHERE id = ?", (result_id,)).rowcount > 0
            if removed:
                bump(connection)
        return removed

    def batch(self, result_id: str) -> BatchResult | None:
        """The batch result with this id."""
        with self._file.reading() as view:
            rows = view.rows("SELECT document FROM batch_runs WHERE id = ?", (result_id,))
        return load(rows[0][0], BatchResult) if rows else None

    def batches(self, limit: int = 100) -> tuple[BatchResult, ...]:
        """Batch results, newest first. At most a million."""
        with self._file.reading() as view:
            rows = view.rows(
                "SELECT document FROM batch_runs ORDER BY created_at DESC, seq DESC LIMIT ?", (bounded(limit),)
            )
        return tuple(load(row[0], BatchResult) for row in rows)


def put_benchmark(connection: sqlite3.Connection, run: BenchmarkRun, document: bytes) -> None:
    """Write the row of a run, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO benchmark_runs (id, model, version, cancelled, created_at, samples, document)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET model = excluded.model, version = excluded.version,"
        " cancelled = excluded.cancelled, created_at = excluded.created_at, samples = excluded.samples,"
        " document = excluded.document",
        (run.id, run.model, run.version, run.summary.cancelled, run.created_at, run.samples_digest, document),
    )


def put_batch(connection: sqlite3.Connection, result: BatchResult, document: bytes) -> None:
    """Write the row of a batch result, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO batch_runs (id, created_at, document) VALUES (?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at, document = excluded.document",
        (result.id, result.created_at, document),
    )


def dump(record: Any) -> bytes:
    """The document of a record. Raises `StoreError` (`store.unrepresentable`)."""
    return msgspec.json.encode(to_document(record))


def load(document: bytes, kind: type[T]) -> T:
    """The record of a document. Raises `StoreError` (`store.corrupt`)."""
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, TypeError, RecursionError) as error:
        raise damaged(str(error)) from error


def bounded(limit: int) -> int:
    """A limit that SQLite takes as one: a negative one would mean none."""
    return min(max(limit, 0), MAX_ROWS)


def _place_of(connection: sqlite3.Connection, run_id: str) -> list[tuple[str, int | None]]:
    return connection.execute("SELECT model, version FROM benchmark_runs WHERE id = ?", (run_id,)).fetchall()


def _newest_documents(view: View, models: list[str] | None) -> Iterable[bytes]:
    if view.schema == 1:
        rows = view.rows(
            "SELECT model, document FROM ("
            " SELECT model, document,"
            " row_number() OVER (PARTITION BY model, version ORDER BY created_at DESC, seq DESC) AS n"
            " FROM benchmark_runs WHERE NOT cancelled AND version IS NOT NULL AND model <> '') WHERE n = 1"
        )
        return [document for model, document in rows if models is None or model in models]
    sql = "SELECT document FROM newest_runs JOIN benchmark_runs ON benchmark_runs.id = newest_runs.run"
    if models is None:
        return [row[0] for row in view.rows(sql)]
    found: list[bytes] = []
    for start in range(0, len(models), _CHUNK):
        part = models[start : start + _CHUNK]
        marks = ", ".join("?" * len(part))
        found += [row[0] for row in view.rows(f"{sql} WHERE newest_runs.model IN ({marks})", part)]
    return found
