"""What is kept beside the documents of benchmark runs, so that lists need not decode them."""

from __future__ import annotations

import sqlite3

import msgspec

from quickserveml_tui.core.benchmarks import BenchmarkFigures, BenchmarkRun

_NEWEST = (
    "SELECT id, document FROM benchmark_runs WHERE model = ? AND version = ? AND NOT cancelled"
    " ORDER BY created_at DESC, seq DESC"
)


def figures_of(run: BenchmarkRun) -> BenchmarkFigures:
    """The figures of a run that lists, filters and sorts look at."""
    summary, latency = run.summary, run.summary.latency_ms
    return BenchmarkFigures(
        run_id=run.id,
        created_at=run.created_at,
        n=summary.n,
        min_ms=latency.min,
        p50_ms=latency.p50,
        p90_ms=latency.p90,
        p95_ms=latency.p95,
        p99_ms=latency.p99,
        max_ms=latency.max,
        mean_ms=latency.mean,
        throughput_per_s=summary.throughput_per_s,
        peak_rss_bytes=summary.peak_rss_bytes,
        cpu_percent=summary.cpu_percent,
        noisy=summary.noisy,
    )


def samples_of(document: bytes) -> str:
    """Digest of the samples that a run's document names; empty where it names none or is damaged."""
    try:
        digest = msgspec.json.decode(document).get("samples_digest", "")
    except (msgspec.DecodeError, AttributeError, RecursionError):
        return ""
    return digest if isinstance(digest, str) else ""


def refresh_newest(connection: sqlite3.Connection, model: str, version: int | None) -> None:
    """Bring `newest_runs` in line with the runs of one version, inside the caller's transaction.

    A damaged document counts as no run: it must not keep others from being written. Nor do runs count that were
    measured elsewhere and came with a bundle.
    """
    if not model or version is None:
        return
    for run_id, document in connection.execute(_NEWEST, (model, version)):
        try:
            run = msgspec.json.decode(document, type=BenchmarkRun)
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
            continue
        if run.origin:  # measured elsewhere: no figure of this machine
            continue
        connection.execute(
            "INSERT OR REPLACE INTO newest_runs (model, version, run, figures) VALUES (?, ?, ?, ?)",
            (model, version, run_id, msgspec.json.encode(figures_of(run))),
        )
        return
    connection.execute("DELETE FROM newest_runs WHERE model = ? AND version = ?", (model, version))


def refresh_all_newest(connection: sqlite3.Connection) -> None:
    """Fill `newest_runs` anew from all runs, inside the caller's transaction."""
    connection.execute("DELETE FROM newest_runs")
    versions = connection.execute(
        "SELECT DISTINCT model, version FROM benchmark_runs WHERE model <> '' AND version IS NOT NULL AND NOT cancelled"
    ).fetchall()
    for model, version in versions:
        refresh_newest(connection, model, version)
