"""What the state database costs, for a home of 10,000 models with three runs each.

Usage: python benchmarks/state.py [--rounds 9] [--models 10000] [--runs 3] [--json FILE]

Each figure is the median of its rounds, in milliseconds of CPU time (user and system, this process) and of wall time.
Every call opens a connection of its own, as it does in the program. A commit waits for the disk: its wall time says
more about that than about us.
"""

import argparse
import json
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from quickserveml_tui.core.benchmarks import (
    BenchmarkRun,
    BenchmarkSpec,
    BenchmarkSummary,
    Fingerprint,
    HistogramData,
    Interval,
    LatencySummary,
)
from quickserveml_tui.core.clock import utc_days_ago, utc_now
from quickserveml_tui.core.job_records import JobKind, JobRecord, JobRequest
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.storage.state import SqliteState
from quickserveml_tui.storage.state_file import JOURNAL

LIMITS_CPU_MS = {"figures": 100.0, "generation": 0.1}


def make_run(number: int, part: int) -> BenchmarkRun:
    """A run with a histogram of 60 bins, about 2.4 kB as JSON."""
    summary = BenchmarkSummary(
        n=4000,
        warmup=100,
        latency_ms=LatencySummary(1.01, 2.02, 3.03, 4.04, 5.05, 6.06, 2.22, 0.4),
        intervals={name: Interval(1.5, 2.5) for name in ("p50", "p90", "p95", "p99")},
        throughput_per_s=412.25,
        elapsed_s=10.0,
        peak_rss_bytes=120_000_000,
        cpu_percent=99.5,
        noisy=False,
        noise_reason="",
        steady=True,
        histogram=HistogramData(tuple(step / 8 for step in range(61)), tuple(range(60))),
    )
    model = f"model-{number:012d}"
    return BenchmarkRun(
        id=f"bench-{number}-{part}",
        ref=f"{model}@1",
        model=model,
        version=1,
        created_at=utc_days_ago(part + 1),
        spec=BenchmarkSpec(),
        summary=summary,
        fingerprint=Fingerprint("0" * 64, "cpu", 2, 8_000_000_000, "linux", "3.11", "ort", "CPUExecutionProvider"),
        samples_digest=f"{number:060d}{part:04d}",
        command=f"quickserveml benchmark {model}@1",
    )


def make_job(number: int) -> JobRecord:
    """A job that waits."""
    request = JobRequest(JobKind.BENCHMARK, "model@1", benchmark=BenchmarkSpec())
    return JobRecord(f"job-{number}", request, "model@1", JobState.QUEUED, Progress("queued"), utc_now())


def measure(work: Callable[[], object], rounds: int, repeat: int = 1) -> dict[str, float]:
    """Median CPU and wall time of one call in ms, over rounds of `repeat` calls."""
    cpu_ms, wall_ms = [], []
    work()
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeat):
            work()
        cpu_ms.append((time.process_time() - cpu) * 1000 / repeat)
        wall_ms.append((time.perf_counter() - wall) * 1000 / repeat)
    return {"cpu_ms": round(statistics.median(cpu_ms), 4), "wall_ms": round(statistics.median(wall_ms), 4)}


def fill(state: SqliteState, models: int, runs: int) -> float:
    """Add all runs, 1,000 to a commit; returns seconds."""
    begun = time.perf_counter()
    every = [(number, part) for number in range(models) for part in range(runs)]
    for start in range(0, len(every), 1000):
        state.add_benchmarks([make_run(number, part) for number, part in every[start : start + 1000]])
    state.add_jobs([make_job(number) for number in range(100)])
    return time.perf_counter() - begun


def operations(state: SqliteState, folder: Path) -> dict[str, tuple[Callable[[], object], int]]:
    """What is measured, with how many calls make a round."""
    ids = iter(range(10**9, 2 * 10**9))
    return {
        "generation": (state.generation, 1000),
        "figures": (state.figures, 1),
        "newest runs of 10 models": (lambda: state.newest_benchmarks([f"model-{n:012d}" for n in range(10)]), 10),
        "newest 100 runs": (state.benchmarks, 1),
        "digests of all samples": (state.blobs, 1),
        "one job": (lambda: state.job("job-50"), 50),
        "open and read": (lambda: SqliteState(folder / "state.db").jobs(), 1),
        "problem": (state.problem, 10),
        "add a run": (lambda: state.add_benchmark(make_run(next(ids), 0)), 5),
        "add 100 runs at once": (lambda: state.add_benchmarks([make_run(next(ids), 0) for _ in range(100)]), 1),
        "change a job": (lambda: state.change_job("job-1", _next), 5),
        "progress of 10 jobs": (lambda: state.set_progress({f"job-{n}": Progress("x", 1.0) for n in range(10)}), 5),
        "acquire a lease": (lambda: state.acquire_lease(f"lease-{next(ids) % 10}", "me", 15), 5),
        "renew a lease": (lambda: state.renew_lease("lease-1", "me", 15), 5),
        "dry run of prune": (lambda: state.prune(keep_runs=1, keep_days=1, dry_run=True), 1),
        "check": (state.check, 1),
        "snapshot": (lambda: state.snapshot(folder / f"copy-{next(ids)}.db"), 1),
    }


def _next(job: JobRecord) -> JobRecord:
    from dataclasses import replace

    return replace(job, attempt=job.attempt + 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3, help="of each model")
    parser.add_argument("--json", metavar="FILE", help="write the results here too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state = SqliteState(folder / "state.db")
        filled_s = fill(state, args.models, args.runs)
        size = (folder / "state.db").stat().st_size
        print(f"{args.models * args.runs:,} runs, {size / 1e6:.0f} MB, filled in {filled_s:.1f} s")
        results = {}
        for title, (work, repeat) in operations(state, folder).items():
            results[title] = measure(work, args.rounds if repeat > 1 or title == "figures" else 3, repeat)
            limit = LIMITS_CPU_MS.get(title)
            judged = "" if limit is None else f"   limit {limit:g} ms CPU"
            print(
                f"{title:28} {results[title]['cpu_ms']:10.3f} CPU ms {results[title]['wall_ms']:10.3f} wall ms{judged}"
            )
        state.close()
    failed = [title for title, limit in LIMITS_CPU_MS.items() if results[title]["cpu_ms"] > limit]
    if args.json:
        document = {
            "benchmark": "state",
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "journal": JOURNAL,
            "models": args.models,
            "runs": args.models * args.runs,
            "size_bytes": size,
            "limits_cpu_ms": LIMITS_CPU_MS,
            "results": results,
        }
        Path(args.json).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
