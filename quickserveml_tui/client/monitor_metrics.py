"""Snapshots from metrics: Triton's names, and those of servers of ours that have no monitor route."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from quickserveml_tui.client.prometheus import Sample, samples
from quickserveml_tui.core.monitoring import Distribution, GpuSnapshot, ModelSnapshot, MonitorSource, WorkerSnapshot
from quickserveml_tui.core.text import safe_text

PREFIXES = ("nv_", "qsml_", "process_")
MAX_COUNT = 2**63

_REASONS = {"REJECTED": "503", "CANCELED": "499"}
"""HTTP status that stands for a reason of Triton's failures; 500 for the others."""
_HISTOGRAMS = {
    "qsml_inference_request_duration_seconds": "latency",
    "qsml_inference_queue_duration_seconds": "queue",
    "qsml_inference_compute_duration_seconds": "compute",
    "qsml_inference_batch_size": "batch",
}
_PARTS = ("bucket", "sum", "count")


@dataclass
class _Model:
    """What the lines said of one version."""

    values: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    codes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    failures: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    buckets: dict[str, dict[float, int]] = field(default_factory=lambda: defaultdict(dict))


@dataclass
class Metrics:
    """What a page of metrics says of a server."""

    source: MonitorSource = MonitorSource.TRITON
    models: tuple[ModelSnapshot, ...] = ()
    workers: tuple[WorkerSnapshot, ...] = ()
    gpus: tuple[GpuSnapshot, ...] = ()
    cpu_percent: float | None = None
    memory_total_bytes: int = 0
    memory_available_bytes: int = 0
    started_at: float = 0.0
    """Unix time; 0 where it is not said."""
    version: str = ""


def read_metrics(text: str) -> Metrics | None:
    """What a page says; None where it has none of the names that are known here.

    Raises `ValueError` for a page that is not in the format, or whose numbers cannot be counts.
    """
    found: dict[tuple[str, str], _Model] = defaultdict(_Model)
    server: dict[str, float] = {}
    gpus: dict[str, dict[str, float]] = defaultdict(dict)
    ours = known = False
    version = ""
    for sample in samples(text, PREFIXES):
        name = sample.name.removesuffix("_total")
        if name.startswith("process_"):
            server[name] = sample.value
            continue
        known = True
        ours = ours or name.startswith("qsml_")
        if name == "qsml_build_info":
            version = sample.labels.get("version", "")
        elif "model" in sample.labels:
            key = sample.labels["model"], sample.labels.get("version", "")
            _take(found[key], name, sample)
        elif "gpu_uuid" in sample.labels:
            gpus[sample.labels["gpu_uuid"]][name] = sample.value
        else:
            server[name] = sample.value
    if not known:
        return None
    source = MonitorSource.OURS if ours else MonitorSource.TRITON
    models = tuple(_model(name, number, said, ours=ours) for (name, number), said in found.items())
    metrics = Metrics(source, models, _workers(server, models), _gpus(gpus), version=safe_text(version, 80))
    _add_machine(metrics, server)
    return metrics


def _take(model: _Model, name: str, sample: Sample) -> None:
    base, _, part = name.rpartition("_")
    if base in _HISTOGRAMS and part in _PARTS:
        kind = _HISTOGRAMS[base]
        if part == "bucket":
            model.buckets[kind][float(sample.labels.get("le", "nan"))] = as_count(sample.value)
        elif part == "sum":
            model.values[kind] = sample.value
        return
    if name == "qsml_inference_requests":
        model.codes[safe_text(sample.labels.get("code", ""), 8)] += as_count(sample.value)
    elif name == "nv_inference_request_failure":
        model.failures[_REASONS.get(sample.labels.get("reason", ""), "500")] += as_count(sample.value)
    else:
        model.values[name] += sample.value


def as_count(value: float) -> int:
    """A counter. Raises `ValueError` for what can be none."""
    if not 0 <= value < MAX_COUNT:
        raise ValueError(f"the count {value}")
    return int(value)


def _model(name: str, version: str, said: _Model, *, ours: bool) -> ModelSnapshot:
    count = _reader(said.values)
    common = {
        "name": safe_text(name, 200),
        "version": safe_text(version, 80),
        "inferences": count("nv_inference_count"),
        "executions": count("nv_inference_exec_count"),
        "pending": count("nv_inference_pending_request_count") or count("qsml_inference_pending_requests"),
        "cache_hits": count("nv_cache_num_hits_per_model"),
        "cache_misses": count("nv_cache_num_misses_per_model"),
    }
    if ours:
        parts = {kind: _histogram(said.buckets[kind], said.values[kind]) for kind in _HISTOGRAMS.values()}
        return ModelSnapshot(**common, codes=dict(said.codes), **parts)  # type: ignore[arg-type]
    return triton_model(common, said.failures, count)


def triton_model(common: dict[str, object], failures: dict[str, int], count: Callable[[str], int]) -> ModelSnapshot:
    """A version by Triton's counters, which have sums of times but no buckets: means, and no percentiles."""
    succeeded = count("nv_inference_request_success")
    executions = count("nv_inference_exec_count")
    codes = {code: number for code, number in failures.items() if number}
    if succeeded:
        codes["200"] = codes.get("200", 0) + succeeded

    def times(name: str) -> Distribution:
        return Distribution((), (succeeded,), count(name) / 1e6)

    return ModelSnapshot(
        **common,  # type: ignore[arg-type]
        codes=codes,
        latency=times("nv_inference_request_duration_us"),
        queue=times("nv_inference_queue_duration_us"),
        compute=times("nv_inference_compute_infer_duration_us"),
        batch=Distribution((), (executions,), float(succeeded)) if executions else Distribution(),
    )


def _reader(values: dict[str, float]) -> Callable[[str], int]:
    return lambda name: as_count(values.get(name, 0.0))


def _histogram(cumulative: dict[float, int], total: float) -> Distribution:
    """A histogram from counts at or below each bound. Raises `ValueError` where they fall or lack the last."""
    if not cumulative:
        return Distribution()
    bounds = sorted(cumulative)
    if any(map(math.isnan, bounds)) or bounds[-1] != math.inf or not math.isfinite(total):
        raise ValueError("a histogram that is not complete")
    steps = [cumulative[bound] for bound in bounds]
    counts = tuple(new - old for old, new in zip([0, *steps], steps, strict=False))
    if min(counts) < 0:
        raise ValueError("a histogram whose counts fall")
    return Distribution(tuple(bounds[:-1]), counts, total)


def _workers(server: dict[str, float], models: Iterable[ModelSnapshot]) -> tuple[WorkerSnapshot, ...]:
    cpu_s, rss = server.get("process_cpu_seconds", -1.0), server.get("process_resident_memory_bytes", 0.0)
    if not (math.isfinite(cpu_s) and cpu_s >= 0):
        return ()
    requests = sum(sum(model.codes.values()) for model in models)
    return (WorkerSnapshot(0, cpu_s=cpu_s, rss_bytes=as_count(rss), requests=requests),)


def _gpus(found: dict[str, dict[str, float]]) -> tuple[GpuSnapshot, ...]:
    return tuple(
        GpuSnapshot(
            index,
            safe_text(name, 80),
            min(max(values.get("nv_gpu_utilization", 0.0), 0.0), 1.0),
            as_count(values.get("nv_gpu_memory_used_bytes", 0.0)),
            as_count(values.get("nv_gpu_memory_total_bytes", 0.0)),
        )
        for index, (name, values) in enumerate(sorted(found.items()))
    )


def _add_machine(metrics: Metrics, server: dict[str, float]) -> None:
    if "nv_cpu_utilization" in server and 0 <= server["nv_cpu_utilization"] <= 1:
        metrics.cpu_percent = server["nv_cpu_utilization"] * 100
    total = server.get("nv_cpu_memory_total_bytes", 0.0)
    used = server.get("nv_cpu_memory_used_bytes", 0.0)
    metrics.memory_total_bytes = as_count(total)
    metrics.memory_available_bytes = as_count(max(total - used, 0.0)) if used else 0
    started = server.get("process_start_time_seconds", 0.0)
    metrics.started_at = started if math.isfinite(started) and started > 0 else 0.0
