"""What the registry costs at 1,000 and 10,000 models, beside TinyDB's own JSON storage.

Usage: python benchmarks/registry.py [--rounds 5] [--sizes 1000 10000] [--json FILE]

Each figure is the median of its rounds, in milliseconds of CPU time (user and system, this process) and of wall time.
"open" is a fresh store that finds one model; "list" and "filter" are on a store that was just opened; "list after a
write" is a store that lists again after another one has changed a model; "reopen after kill" is opening and checking
after a writer was killed in the middle of its work.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tinydb import TinyDB

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.facts import ModelFacts
from quickserveml_tui.core.models import (
    ArtifactManifest,
    FileEntry,
    ModelRecord,
    TrialOutcome,
    TrialReport,
    VersionRecord,
)
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.storage.documents import to_document
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.registry_edit import RegistryLimits

LIMITS = RegistryLimits(max_models=20_000)
BULK = 1_000
KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from quickserveml_tui.storage.registry import TinyDbRegistry
registry = TinyDbRegistry(Path(sys.argv[1]))
while True:
    registry.put("model-00007", lambda old: replace(old, author=old.author + "x"))
    print("written", flush=True)
"""


def make_model(number: int) -> ModelRecord:
    """A model of about 2.5 kB as JSON: two versions of a small image classifier."""
    name, now = f"model-{number:05d}", utc_now()
    versions = tuple(make_version(f"{name}-{version}", version, now) for version in (1, 2))
    return ModelRecord(
        id=f"model-id-{number:05d}",
        name=name,
        created_at=now,
        updated_at=now,
        task="classification",
        author="the vision group",
        description="A classifier of street scenes, trained on the second release of the data set.",
        framework="pytorch",
        tags=("vision", f"group-{number % 17}"),
        categories=("vision/classification",),
        metadata={"dataset": "streets 2", "seed": str(number)},
        versions=versions,
        aliases={"prod": 2},
        next_version=3,
    )


def make_version(content: str, number: int, now: str) -> VersionRecord:
    """A version whose digest comes from `content`."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    facts = ModelFacts(
        ir_version=8,
        opsets={"ai.onnx": 17},
        producer="pytorch 2.5",
        graph_name="main_graph",
        inputs=(TensorSpec("input", "float32", ("batch", 3, 224, 224)),),
        outputs=(TensorSpec("logits", "float32", ("batch", 1000)),),
        nodes=122,
        params=25_610_000,
        macs=4_100_000_000,
        size_bytes=102_000_000,
        weight_dtypes={"float32": 25_610_000},
        op_types={"Conv": 53, "Relu": 49, "Add": 16, "MaxPool": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1},
    )
    return VersionRecord(
        version=number,
        artifact=ArtifactManifest(digest, (FileEntry("model.onnx", digest, 102_000_000),)),
        facts=facts,
        trial=TrialReport(TrialOutcome.READY, load_ms=210.5, run_ms=24.25, runtime="onnxruntime 1.22.0"),
        created_at=now,
        label=f"{number}.0.0",
        source="classifier.onnx",
    )


def measure(rounds: int, work: Callable[[int], object], prepare: Callable[[int], object] | None = None) -> dict:
    """Median CPU and wall time of `work` in ms; `prepare` is not measured."""
    cpu, wall = [], []
    for number in range(rounds):
        if prepare is not None:
            prepare(number)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        work(number)
        cpu.append(time.process_time() - cpu_s)
        wall.append(time.perf_counter() - wall_s)
    return {"cpu_ms": round(statistics.median(cpu) * 1e3, 2), "wall_ms": round(statistics.median(wall) * 1e3, 2)}


class Bench:
    """All operations on one registry of `count` models."""

    def __init__(self, folder: Path, count: int, rounds: int) -> None:
        self.path = folder / "registry.json"
        self.count = count
        self.rounds = rounds
        self.fresh = self.open()
        self.warm = self.open()
        self.warm.edit(lambda edit: [edit.put(make_model(number)) for number in range(count)])
        self.other = self.open()

    def open(self) -> TinyDbRegistry:
        """A store as a new process has it."""
        return TinyDbRegistry(self.path, limits=LIMITS)

    def renew(self, _number: int) -> None:
        """Take a store that has read nothing yet."""
        self.fresh = self.open()

    def renew_and_list(self, _number: int) -> None:
        """Take a store that has listed, and let another one change a model."""
        self.fresh = self.open()
        self.fresh.heads()
        self.touch(self.other, "other")

    def touch(self, store: TinyDbRegistry, author: str) -> None:
        """Change one model."""
        store.put("model-00005", lambda old: replace(old, author=f"{author} {old.rev}"))

    def insert(self, store: TinyDbRegistry, number: int) -> None:
        """Add one model and take note to remove it."""
        record = make_model(90_000 + number)
        assert store.put(record.name, lambda old: old or record)

    def remove(self, number: int) -> None:
        """Take the added model away again."""
        self.warm.put(f"model-{90_000 + number - 1:05d}", lambda _old: None)

    def bulk(self, store: TinyDbRegistry, number: int) -> None:
        """Tag a thousand models in one transaction."""

        def work(edit) -> None:
            for index in range(BULK):
                old = edit.find(f"model-{index:05d}")
                edit.put(replace(old, tags=(*old.tags[:2], f"bulk-{number}")))

        store.edit(work)

    def filter(self, store: TinyDbRegistry) -> None:
        """Look at several fields of every head."""
        found = [
            head
            for head in store.heads()
            if "group-3" in head.tags and head.latest and head.latest.facts.params > 10**6 and "model-" in head.name
        ]
        assert found

    def run(self) -> dict:
        """All figures."""
        rounds = self.rounds
        rows = {
            "open": measure(rounds, lambda n: self.fresh.find(f"model-{n:05d}"), self.renew),
            "open and check": measure(rounds, lambda _n: self.fresh.problem(), self.renew),
            "list": measure(rounds, lambda _n: self.fresh.heads(), self.renew),
            "filter": measure(rounds, lambda _n: self.filter(self.fresh), self.renew),
            "list again": measure(rounds, lambda _n: self.fresh.heads()),
            "filter again": measure(rounds, lambda _n: self.filter(self.fresh)),
            "find again": measure(rounds, lambda n: self.fresh.find(f"model-{n + 100:05d}")),
            "list after a write": measure(rounds, lambda _n: self.fresh.heads(), self.renew_and_list),
            "insert": measure(rounds, lambda n: self.insert(self.fresh, n), self._renew_without),
            "insert again": measure(rounds, lambda n: self.insert(self.warm, 5_000 + n)),
            "update": measure(rounds, lambda _n: self.touch(self.fresh, "me"), self.renew),
            "update again": measure(rounds, lambda _n: self.touch(self.warm, "me")),
            f"bulk of {BULK}": measure(rounds, lambda n: self.bulk(self.fresh, n), self.renew),
            "blobs": measure(rounds, lambda _n: self.fresh.blobs(), self.renew),
            "all models in full": measure(1, lambda _n: self.fresh.models(), self.renew),
            "reopen after kill": measure(rounds, lambda _n: self.fresh.problem(), self._kill_a_writer),
            "TinyDB's own storage: insert": self._stock(),
        }
        return {"models": self.count, "file_mb": round(self.path.stat().st_size / 1e6, 1), "operations": rows}

    def _renew_without(self, number: int) -> None:
        if number:
            self.remove(number)
        self.renew(number)

    def _kill_a_writer(self, number: int) -> None:
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(self.path)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        writer.stdout.readline()
        writer.kill()
        writer.communicate()
        self.renew(number)

    def _stock(self) -> dict:
        path = self.path.with_name("stock.json")
        path.write_text(
            json.dumps({"_default": {str(n + 1): to_document(make_model(n)) for n in range(self.count)}}),
            encoding="utf-8",
        )
        with TinyDB(path) as db:
            return measure(min(self.rounds, 3), lambda n: db.insert(to_document(make_model(90_000 + n))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--json", metavar="FILE", help="write the results here too")
    args = parser.parse_args()
    results = []
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as name:
            result = Bench(Path(name), size, args.rounds).run()
        results.append(result)
        print(f"\n{size:,} models, {result['file_mb']} MB{'':>14} {'CPU ms':>10} {'wall ms':>10}")
        for operation, figures in result["operations"].items():
            print(f"  {operation:<36} {figures['cpu_ms']:>10.2f} {figures['wall_ms']:>10.2f}", flush=True)
    if args.json:
        document = {"benchmark": "registry", "python": platform.python_version(), "sizes": results}
        Path(args.json).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
