"""What our harness adds to a latency: our closed loop in a runner beside a bare loop, in interleaved pairs.

Usage: python benchmarks/overhead.py [--pairs 10] [--seconds 1.5] [--json FILE]
"""

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path

import bench_models
import numpy as np
import pairs

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.runtime.pool import LocalRunnerPool

WARMUP_S = 0.5


def ours(pool: LocalRunnerPool, model: Path, seconds: float) -> dict:
    """p50 and p99 in ms of our closed loop in a fresh runner, and its cores."""
    spec = BenchmarkSpec(duration_s=seconds, warmup_s=WARMUP_S)
    with pool.fresh() as runner:
        raw = runner.benchmark(model, spec, on_frame=lambda _frame: None, cancel=CancelToken())
    p50, p99 = np.percentile(raw.latencies_ms, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "n": len(raw.latencies_ms), "cpus": raw.pinned_cpus}


def compare(pool: LocalRunnerPool, model: Path, count: int, seconds: float) -> dict:
    """Medians and ratios for one model."""
    cpus = tuple(ours(pool, model, 0.2)["cpus"])
    sides = {
        "ours": lambda: ours(pool, model, seconds),
        "bare": lambda: pairs.bare(model, seconds, WARMUP_S, cpus),
        "again": lambda: pairs.bare(model, seconds, WARMUP_S, cpus),
    }
    results = pairs.interleave(sides, count)
    document = {"model": model.stem, "pairs": count, "cpus": list(cpus)}
    for key in ("p50", "p99"):
        document[key] = {
            "ours_ms": pairs.median([result[key] for result in results["ours"]]),
            "bare_ms": pairs.median([result[key] for result in results["bare"]]),
            "ratio": pairs.median(pairs.ratios(results, "ours", "bare", key)),
            "bare_ratio": pairs.median(pairs.ratios(results, "again", "bare", key)),
            "bare_spread": pairs.spread(pairs.ratios(results, "again", "bare", key)),
        }
    return document


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", metavar="FILE", help="write the results here too")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = [
            bench_models.trivial(folder),
            bench_models.convolutions(folder, "conv-0.2ms", layers=7, channels=16),
            bench_models.convolutions(folder, "conv-2ms", layers=26),
        ]
        pool = LocalRunnerPool(folder / "logs")
        print(
            f"{'model':<12} {'':>4} {'bare ms':>10} {'ours ms':>10} {'ours/bare':>10} {'bare/bare':>10} {'spread':>8}"
        )
        try:
            for model in models:
                row = compare(pool, model, args.pairs, args.seconds)
                rows.append(row)
                for key in ("p50", "p99"):
                    one = row[key]
                    print(
                        f"{row['model']:<12} {key:>4} {one['bare_ms']:>10.4f} {one['ours_ms']:>10.4f} "
                        f"{one['ratio']:>10.3f} {one['bare_ratio']:>10.3f} {one['bare_spread']:>8.1%}",
                        flush=True,
                    )
        finally:
            pool.close()
    if args.json:
        document = {"benchmark": "overhead", "python": platform.python_version(), "models": rows}
        Path(args.json).write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
