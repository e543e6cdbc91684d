"""Prometheus' text format, written from the counters when it is asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator

from quickserveml_tui import __version__
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.services.serving_stats import BATCH_BUCKETS, DURATION_BUCKETS_S, Histogram

_STARTED_S = time.time()


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labels(model: ServedModel, *more: tuple[str, str]) -> str:
    pairs = (("model", model.name), ("version", model.version), *more)
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _histogram(name: str, labels: str, histogram: Histogram, bounds: Iterable[float], unit: float) -> Iterator[str]:
    counts = histogram.cumulative()
    for bound, count in zip(bounds, counts, strict=False):
        yield f'{name}_bucket{{{labels},le="{_number(bound)}"}} {count}'
    yield f'{name}_bucket{{{labels},le="+Inf"}} {counts[-1]}'
    yield f"{name}_sum{{{labels}}} {_number(histogram.total * unit)}"
    yield f"{name}_count{{{labels}}} {counts[-1]}"


_DURATIONS: tuple[tuple[str, str, Callable[[ServedModel], Histogram]], ...] = (
    (
        "qsml_inference_request_duration_seconds",
        "Time from a request read to its answer, for requests that succeeded.",
        lambda model: model.stats.request,
    ),
    ("qsml_inference_queue_duration_seconds", "Time a request waited.", lambda model: model.stats.queue),
    (
        "qsml_inference_compute_duration_seconds",
        "Time of the run that a request was part of.",
        lambda model: model.stats.compute,
    ),
)

# Triton's own names, microseconds as it counts them, so that its dashboards work.
_TRITON: tuple[tuple[str, str, Callable[[ServedModel], float]], ...] = (
    ("nv_inference_request_success", "Requests that succeeded.", lambda model: model.stats.succeeded),
    ("nv_inference_request_failure", "Requests that failed.", lambda model: model.stats.failed),
    ("nv_inference_count", "Inferences, a batch of n counts n times.", lambda model: model.stats.items),
    ("nv_inference_exec_count", "Runs of the model.", lambda model: model.stats.batch.count),
    (
        "nv_inference_request_duration_us",
        "Request time, summed.",
        lambda model: model.stats.request.total // 1000,
    ),
    ("nv_inference_queue_duration_us", "Queue time, summed.", lambda model: model.stats.queue.total // 1000),
    (
        "nv_inference_compute_infer_duration_us",
        "Run time, summed.",
        lambda model: model.stats.compute.total // 1000,
    ),
)


def _model_lines(models: tuple[ServedModel, ...]) -> Iterator[str]:
    yield _head("qsml_model_info", "gauge", "Models that are served.")
    for model in models:
        facts = (
            ("batched", str(model.traits.batchable).lower()),
            ("digest", model.digest[:12]),
        )
        yield f"qsml_model_info{{{_labels(model, *facts)}}} 1"
    yield _head("qsml_inference_requests_total", "counter", "Answers by HTTP status.")
    for model in models:
        for code, count in sorted(model.stats.codes.items()):
            yield f"qsml_inference_requests_total{{{_labels(model, ('code', str(code)))}}} {count}"
    yield _head("qsml_inference_pending_requests", "gauge", "Requests that wait or run.")
    for model in models:
        yield f"qsml_inference_pending_requests{{{_labels(model)}}} {model.stats.pending}"
    for name, text, histogram in _DURATIONS:
        yield _head(name, "histogram", text)
        for model in models:
            yield from _histogram(name, _labels(model), histogram(model), DURATION_BUCKETS_S, 1e-9)
    yield _head("qsml_inference_batch_size", "histogram", "Requests that shared a run.")
    for model in models:
        yield from _histogram("qsml_inference_batch_size", _labels(model), model.stats.batch, BATCH_BUCKETS, 1)
    for name, text, value in _TRITON:
        yield _head(name, "counter", text)
        for model in models:
            yield f"{name}{{{_labels(model)}}} {_number(value(model))}"
    yield _head("nv_inference_pending_request_count", "gauge", "Requests that wait or run.")
    for model in models:
        yield f"nv_inference_pending_request_count{{{_labels(model)}}} {model.stats.pending}"


def _process_lines() -> Iterator[str]:
    import psutil

    process = psutil.Process(os.getpid())
    times, memory = process.cpu_times(), process.memory_info()
    values: tuple[tuple[str, str, str, float], ...] = (
        ("process_cpu_seconds_total", "counter", "CPU time, user and system.", times.user + times.system),
        ("process_resident_memory_bytes", "gauge", "Resident memory.", memory.rss),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory.", memory.vms),
        ("process_start_time_seconds", "gauge", "Start, Unix time.", _STARTED_S),
    )
    for name, kind, text, value in values:
        yield _head(name, kind, text)
        yield f"{name} {_number(value)}"


def exposition(serving: ServingService) -> str:
    """All metrics of this process."""
    lines = [
        _head("qsml_build_info", "gauge", "Version of the server."),
        f'qsml_build_info{{version="{__version__}"}} 1',
    ]
    lines += _model_lines(serving.models)
    lines += _process_lines()
    return "\n".join(lines) + "\n"
