"""Records that the storage tests write."""

from __future__ import annotations

import hashlib

from quickserveml_tui.core.benchmarks import (
    BenchmarkRun,
    BenchmarkSpec,
    BenchmarkSummary,
    Fingerprint,
    HistogramData,
    Interval,
    LatencySummary,
)
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.facts import ModelFacts
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.job_records import JobKind, JobRecord, JobRequest
from quickserveml_tui.core.jobs import JobState, Progress, new_id
from quickserveml_tui.core.models import (
    AliasEvent,
    ArtifactManifest,
    FileEntry,
    ModelRecord,
    TrialOutcome,
    TrialReport,
    VersionRecord,
    VersionState,
)
from quickserveml_tui.core.predictions import BatchResult, RowFailure
from quickserveml_tui.core.tensors import TensorSpec


def make_facts(**changes):
    fields = {
        "ir_version": 8,
        "opsets": {"ai.onnx": 17},
        "producer": "tests 1.0",
        "graph_name": "graph [/] \u202e name",
        "inputs": (TensorSpec("x", "float32", ("batch", None, 4)), TensorSpec("any", "int64", None)),
        "outputs": (TensorSpec("y", "float32", ()),),
        "nodes": 3,
        "params": 25_610_000,
        "macs": None,
        "size_bytes": 1234,
        "weight_dtypes": {"float32": 12},
        "op_types": {"Gemm": 2, "com.microsoft:Gelu": 1},
        "metadata": {"key": "wert ü"},
        "warnings": ("one", "two"),
    }
    return ModelFacts(**(fields | changes))


def make_version(number=1, content=b"model", **changes):
    digest = hashlib.sha256(content).hexdigest()
    fields = {
        "version": number,
        "artifact": ArtifactManifest(digest, (FileEntry("model.onnx", digest, len(content)),)),
        "facts": make_facts(),
        "trial": TrialReport(TrialOutcome.READY, load_ms=1.5, run_ms=0.25, runtime="onnxruntime 1.32.0"),
        "created_at": utc_now(),
        "label": f"1.{number}.0",
        "state": VersionState.VALIDATED,
        "source": "model.onnx",
    }
    return VersionRecord(**(fields | changes))


def make_model(name="resnet50", **changes):
    now = utc_now()
    fields = {
        "id": new_id("model"),
        "name": name,
        "created_at": now,
        "updated_at": now,
        "task": "classification",
        "tags": ("vision",),
        "metadata": {"a": "b"},
        "versions": (make_version(1), make_version(2, b"other")),
        "aliases": {"prod": 2},
        "alias_history": (AliasEvent("prod", 2, 0, now),),
        "next_version": 3,
    }
    return ModelRecord(**(fields | changes))


def make_run(model="model-1", version: int | None = 1, p50=2.5, created_at="", **changes):
    latency = LatencySummary(1.0, p50, 3.0, 4.0, 5.0, 6.0, 2.7, 0.4)
    summary = BenchmarkSummary(
        n=400,
        warmup=10,
        latency_ms=latency,
        intervals={"p50": Interval(2.4, 2.6), "p99": None},
        throughput_per_s=400.0,
        elapsed_s=1.0,
        peak_rss_bytes=10_000_000,
        cpu_percent=99.5,
        noisy=False,
        noise_reason="",
        steady=True,
        histogram=HistogramData((0.0, 1.0, 2.0), (3, 4)),
        cancelled=changes.pop("cancelled", False),
    )
    fields = {
        "id": new_id("bench"),
        "ref": f"{model}@{version}",
        "model": model,
        "version": version,
        "created_at": created_at or utc_now(),
        "spec": BenchmarkSpec(feed=FeedSpec(dims={"batch": 2}, shapes={"x": (1, 2)}, ranges={"x": (0.0, 1.0)})),
        "summary": summary,
        "fingerprint": Fingerprint("d", "cpu", 2, 8_000_000_000, "linux", "3.11", "ort", "CPUExecutionProvider"),
        "command": "quickserveml benchmark x",
    }
    return BenchmarkRun(**(fields | changes))


def make_batch(created_at="", **changes):
    fields = {
        "id": new_id("batch"),
        "ref": "digits@1",
        "data": "digits.csv",
        "rows": 360,
        "failed": 1,
        "elapsed_s": 0.5,
        "throughput_per_s": 720.0,
        "accuracy": 0.97,
        "correct": 350,
        "confusion": ((1, 0), (0, 1)),
        "classes": ("0", "1"),
        "failures": (RowFailure(3, "bad [/] row"),),
        "created_at": created_at or utc_now(),
    }
    return BatchResult(**(fields | changes))


def make_job(created_at="", **changes):
    fields = {
        "id": new_id("job"),
        "request": JobRequest(JobKind.BENCHMARK, "digits@1", benchmark=BenchmarkSpec(duration_s=2.0)),
        "subject": "digits@1",
        "state": JobState.QUEUED,
        "progress": Progress("queued"),
        "created_at": created_at or utc_now(),
    }
    return JobRecord(**(fields | changes))
