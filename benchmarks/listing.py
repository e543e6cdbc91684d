"""What it costs to list, filter, sort, page and complete a catalog of ten thousand models.

    python benchmarks/listing.py [--models 10000] [--repeats 7] [--json]

CPU time of this process in ms, median of the repeats. The catalog is a registry file and a state database on disk:
every model has one to three versions, a tag or two, a dozen operators, metadata; every second one a saved benchmark.
`cold` figures are those of the first question of a process: they include reading the stores. `after a write` is the
first question after this process changed one model. All others are warm: the second question of a session. The promise
is 100 ms a question; 40 ms for the filter itself.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMIT_MS = 100.0
OPS = ("Conv", "Relu", "Gemm", "MatMul", "Add", "Mul", "Softmax", "Reshape", "Transpose", "Concat", "Gather", "Sigmoid",
       "BatchNormalization", "GlobalAveragePool", "MaxPool", "LayerNormalization", "Cast", "Slice",
       "com.microsoft:Gelu")  # fmt: skip
EVERYTHING = (
    "(tag IN (vision, text) OR category = vision) AND NOT state = archived AND params < 50M AND op != Softmax "
    "AND name ILIKE 'model%' AND created >= 2020-01-01 AND meta.accuracy > 0.5 AND bench.p99_ms < 50"
)
QUESTIONS = {
    "list": ("", "name"),
    "sort by size": ("", "-size"),
    "sort by p99": ("", "p99"),
    "a word that is rare": ("model-4711", "name"),
    "a word that is missing": ("nowhere", "name"),
    "tag = vision": ("tag = vision", "name"),
    "op = Gelu": ("op = Gelu", "name"),
    "params and size": ("params < 10M AND size >= 1MB", "-params"),
    "bench.p99_ms < 5": ("bench.p99_ms < 5", "p99"),
    "everything": (EVERYTHING, "-throughput"),
    "200 terms": (" OR ".join(f"name:x{number}" for number in range(200)), "name"),
}
COMPLETIONS = {"complete a field": "par", "complete a value": "tag = v", "complete a word": "model-47"}


def fill(home: Path, count: int) -> None:
    """Write the stores."""
    from quickserveml_tui.core import benchmarks as b
    from quickserveml_tui.core.facts import ModelFacts
    from quickserveml_tui.core.models import (
        ArtifactManifest,
        FileEntry,
        ModelRecord,
        TrialOutcome,
        TrialReport,
        VersionRecord,
        VersionState,
    )
    from quickserveml_tui.core.tensors import TensorSpec
    from quickserveml_tui.services.home import open_workbench

    pick = random.Random(0)
    stamp = "2026-01-31T12:00:00.000Z"
    workbench = open_workbench(home)

    def version(number: int) -> VersionRecord:
        ops = {op: pick.randint(1, 40) for op in pick.sample(OPS, 12)}
        digest = f"{pick.getrandbits(256):064x}"
        size = pick.randint(10_000, 500_000_000)
        facts = ModelFacts(
            8, {"ai.onnx": pick.randint(11, 21)}, "pytorch 2.3", "main",
            (TensorSpec("image", "float32", ("n", 3, 224, 224)),), (TensorSpec("scores", "float32", ("n", 1000)),),
            sum(ops.values()), size // 4, size * 10, size, {"float32": size // 4}, ops,
        )  # fmt: skip
        state = pick.choice(list(VersionState))
        return VersionRecord(
            number, ArtifactManifest(digest, (FileEntry("model.onnx", digest, size),)), facts,
            TrialReport(TrialOutcome.READY), stamp, state=state,
        )  # fmt: skip

    def model(index: int) -> ModelRecord:
        count = pick.randint(1, 3)
        tags = sorted(pick.sample(("vision", "text", "audio", "demo"), pick.randint(1, 2)))
        return ModelRecord(
            f"model-{index:012x}", f"model-{index}", stamp, stamp, framework="pytorch", tags=tuple(tags),
            task=pick.choice(("classification", "embedding", "")), author=pick.choice(("Ada Lovelace", "")),
            description="A sentence about what this model is good for.", metadata={"accuracy": f"{pick.random():.3f}"},
            categories=(pick.choice(("vision/classification", "vision/detection", "language")),),
            versions=tuple(version(number + 1) for number in range(count)),
            next_version=count + 1,
        )  # fmt: skip

    models = [model(index) for index in range(count)]
    workbench.registry.edit(lambda edit: [edit.put(record) for record in models])
    prints = b.Fingerprint("d", "cpu", 2, 1, "linux", "3.11", "onnxruntime", "CPUExecutionProvider")
    runs = []
    for index, record in enumerate(models[::2]):
        p50 = pick.lognormvariate(1, 1)
        latency = b.LatencySummary(p50 * 0.9, p50, p50 * 1.1, p50 * 1.2, p50 * 1.5, p50 * 3, p50, 0.1)
        intervals = {name: b.Interval(p50, p50 * 1.1) for name in ("p50", "p90", "p95", "p99")}
        bars = b.HistogramData(tuple(p50 * (1 + step / 40) for step in range(41)), (10,) * 40)
        summary = b.BenchmarkSummary(500, 10, latency, intervals, 1000 / p50, 1.0, 10**8, 99.0, False, "", True, bars)
        number = record.versions[-1].version
        run = b.BenchmarkRun(
            f"bench-{index}", f"{record.name}@{number}", record.id, number, stamp, b.BenchmarkSpec(), summary, prints
        )
        runs.append(run)
    workbench.state.add_benchmarks(runs)
    workbench.close()


def cpu_ms(work: Callable[[], Any], repeats: int) -> float:
    """Median CPU time of `work` after one run that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        gc.collect()
        start = time.process_time()
        work()
        times.append((time.process_time() - start) * 1000)
    return statistics.median(times)


def measure(home: Path, repeats: int) -> dict[str, float]:
    from quickserveml_tui.core.catalog import CatalogQuery
    from quickserveml_tui.services.catalog_listing import CatalogListing
    from quickserveml_tui.services.home import open_workbench

    def cold(query: CatalogQuery) -> None:
        workbench = open_workbench(home)
        workbench.catalog.list_models(query)
        workbench.close()

    results = {
        "cold: list": cpu_ms(lambda: cold(CatalogQuery(limit=100)), repeats),
        "cold: bench.p99_ms < 5": cpu_ms(lambda: cold(CatalogQuery("bench.p99_ms < 5", limit=100)), repeats),
    }
    workbench = open_workbench(home)
    listing = CatalogListing(workbench.registry, workbench.state)
    for name, (text, sort) in QUESTIONS.items():
        query = CatalogQuery(text, sort, limit=100)
        results[name] = cpu_ms(lambda query=query: listing.list_models(query), repeats)
    results["filter alone"] = cpu_ms(lambda: listing.match(EVERYTHING), repeats)
    page = listing.list_models(CatalogQuery(sort="-size", limit=100))
    following = CatalogQuery(sort="-size", limit=100, page_token=page.next_page_token)
    results["the next page"] = cpu_ms(lambda: listing.list_models(following), repeats)
    results["a page of 1,000"] = cpu_ms(lambda: listing.list_models(CatalogQuery()), repeats)
    for name, text in COMPLETIONS.items():
        results[name] = cpu_ms(lambda text=text: listing.complete(text, len(text)), repeats)

    def after_write() -> None:
        name = f"model-{time.process_time_ns() % 100}"
        workbench.registry.put(name, lambda old: replace(old, author=str(time.process_time_ns())))
        start = time.process_time()
        listing.list_models(CatalogQuery("nowhere", limit=100))
        times.append((time.process_time() - start) * 1000)

    times: list[float] = []
    for _ in range(repeats + 1):
        after_write()
    results["after a write"] = statistics.median(times[1:])
    workbench.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), arguments.models)
        results = measure(Path(folder), arguments.repeats)
    if arguments.json:
        print(json.dumps({"models": arguments.models, "limit_ms": LIMIT_MS, "cpu_ms": results}))
        return
    print(f"CPU ms at {arguments.models:,} models")
    for name, value in results.items():
        print(f"{name:<24} {value:>8.1f}")


if __name__ == "__main__":
    main()
