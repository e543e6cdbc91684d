"""A catalog of different models in memory, as lists see it, and benchmarks of some."""

from __future__ import annotations

import msgspec
from catalog_builders import READY, UNRUNNABLE, make_facts, make_model, make_version

from quickserveml_tui.core import benchmarks as b
from quickserveml_tui.core.benchmarks import BenchmarkFigures
from quickserveml_tui.core.heads import ModelHead
from quickserveml_tui.core.models import GoldenOutput, VersionState
from quickserveml_tui.core.tensors import TensorSpec

GOLDEN = GoldenOutput("ones", "1" * 64, "2" * 64, "2026-02-03T00:00:00.000Z")


def head_of(model):
    """The head of a record."""
    return msgspec.convert(msgspec.to_builtins(model), ModelHead)


class Registry:
    """The part of `RegistryStore` that lists use; counts what is read in full."""

    def __init__(self, models=()):
        self.records = {model.id: model for model in models}
        self.found = 0
        self._heads = None

    def put(self, model):
        self.records[model.id] = model
        self._heads = None

    def remove(self, name):
        self.records = {key: model for key, model in self.records.items() if model.name != name}
        self._heads = None

    def generation(self):
        return "1"

    def heads(self):
        if self._heads is None:
            by_name = sorted(self.records.values(), key=lambda model: model.name)
            self._heads = tuple(head_of(model) for model in by_name)
        return self._heads

    def find(self, name):
        self.found += 1
        return self.records.get(name)


class State:
    """The part of `StateStore` that lists use; counts how often figures are read."""

    def __init__(self):
        self.runs = {}
        self.reads = 0
        self.writes = 0

    def add(self, model, version=1, **figures):
        self.runs.setdefault(model, {})[version] = make_figures(**figures)
        self.writes += 1

    def generation(self):
        return str(self.writes)

    def figures(self):
        self.reads += 1
        return self.runs

    def newest_benchmarks(self, models=None):
        return {}


def make_figures(**changes):
    fields = {
        "run_id": "bench-1", "created_at": "2026-02-03T10:00:00.000Z", "n": 500, "min_ms": 1.0, "p50_ms": 2.0,
        "p90_ms": 3.0, "p95_ms": 4.0, "p99_ms": 5.0, "max_ms": 9.0, "mean_ms": 2.5, "throughput_per_s": 400.0,
        "peak_rss_bytes": 120_000_000, "cpu_percent": 99.0, "noisy": False,
    }  # fmt: skip
    return BenchmarkFigures(**(fields | changes))


def make_run(model, p50=2.5, run_id="bench-1", version=1, created_at="2026-01-01T00:00:00.000Z"):
    """A saved benchmark of a model record."""
    latency = b.LatencySummary(1, p50, 3, 4, 5, 6, 2, 1)
    summary = b.BenchmarkSummary(9, 1, latency, {}, 1.0, 1.0, None, None, False, "", True, b.HistogramData((), ()))
    prints = b.Fingerprint("d", "cpu", 2, 1, "linux", "3.11", "ort", "CPU")
    ref = f"{model.name}@{version}"
    return b.BenchmarkRun(run_id, ref, model.id, version, created_at, b.BenchmarkSpec(), summary, prints)


def zoo():
    """Six models: a measured image net, a text encoder, an archived one, a broken one, an empty one, one of three."""
    resnet = make_facts(
        op_types={"Conv": 5, "com.microsoft:Gelu": 1}, params=25_000_000, macs=4_100_000_000, nodes=120,
        weight_dtypes={"float32": 25_000_000}, opsets={"ai.onnx": 17, "com.microsoft": 1},
        inputs=(TensorSpec("image", "uint8", (1, 3, 224, 224)),), outputs=(TensorSpec("scores", "float32", (1, 10)),),
    )  # fmt: skip
    bert = make_facts(
        op_types={"MatMul": 9, "Softmax": 2}, params=110_000_000, macs=None, nodes=300, ir_version=10,
        weight_dtypes={"float16": 110_000_000}, opsets={"ai.onnx": 21},
        inputs=(TensorSpec("ids", "int64", ("b", "n")),), outputs=(TensorSpec("text", "string", ("b",)),),
    )  # fmt: skip
    facts = make_facts()
    return [
        make_model(
            "resnet50", id="model-1", task="classification", tags=("vision", "cnn"), framework="PyTorch",
            categories=("vision/classification",), license="Apache-2.0", aliases={"prod": 1},
            created_at="2026-01-10T08:00:00.000Z", updated_at="2026-02-01T00:00:00.000Z",
            versions=(make_version(1, b"x" * 5000, facts=resnet, state=VersionState.VALIDATED, label="1.0.0"),),
            metadata={"accuracy": "0.76", "my key": "v"},
        ),
        make_model(
            "bert", id="model-2", task="embedding", tags=("text",), author="Ada Lovelace",
            description="Bidirectional\nencoder 50% smaller", categories=("language", "visionary"),
            created_at="2026-01-31T23:59:59.999Z", updated_at="2026-03-01T00:00:00.000Z",
            versions=(make_version(1, b"y" * 9000, facts=bert),), metadata={"accuracy": "0.9", "team": "NLP"},
        ),
        make_model(
            "old-net", id="model-3", tags=("vision", "legacy"), author="ada lovelace",
            created_at="2026-02-01T00:00:00.000Z", updated_at="2026-02-01T00:00:00.000Z",
            versions=(make_version(1, facts=facts, state=VersionState.ARCHIVED),),
        ),
        make_model(
            "broken", id="model-4", created_at="2026-02-02T00:00:00.000Z", updated_at="2026-02-02T00:00:00.000Z",
            versions=(make_version(1, trial=UNRUNNABLE),), metadata={"accuracy": "unknown"},
        ),
        make_model(
            "empty", id="model-5", versions=(), created_at="2026-02-02T00:00:00.000Z",
            updated_at="2026-02-02T00:00:00.000Z",
        ),
        make_model(
            "many", id="model-6", aliases={"prod": 2, "canary": 3}, created_at="2026-02-03T00:00:00.000Z",
            updated_at="2026-02-03T00:00:00.000Z",
            versions=(make_version(1), make_version(2, label="1.2.0"), make_version(3, label="1.3.0", trial=READY, golden=(GOLDEN,))),
        ),
    ]  # fmt: skip


def measured_zoo():
    """The zoo with benchmarks of two models; the newest of `many` is of a version that is not the latest."""
    state = State()
    state.add("model-1")
    state.add("model-6", version=2, p99_ms=1.0)
    state.add("model-2", p50_ms=20.0, p99_ms=55.0, noisy=True, peak_rss_bytes=None, cpu_percent=None, n=12)
    return Registry(zoo()), state
