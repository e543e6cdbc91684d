"""What Prometheus is told: the counters of all workers, summed when it asks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from quickserveml_tui import __version__
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.monitoring import Distribution, ModelSnapshot, ServerSnapshot
from quickserveml_tui.core.ports import Workbench
from quickserveml_tui.core.serving import WorkerCrash
from quickserveml_tui.server.exposition import Exposition, Labels
from quickserveml_tui.services.serving_stats import BATCH_BUCKETS, DURATION_BUCKETS_S

_JOBS_S = 5.0
"""Jobs are counted once in so many seconds: a home may have ten thousand."""
_MOST_JOBS = 10_000


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is told of a served version beside its counters."""

    name: str
    version: str
    digest: str
    batched: bool
    crashes: int = 0
    """Workers that it took down."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """Everything that one scrape tells."""

    server: ServerSnapshot
    facts: Sequence[ModelFacts] = ()
    jobs: dict[tuple[str, str], int] = field(default_factory=dict)
    """Jobs of the home by kind and state."""
    auth_failures: int = 0
    log_drops: int = 0
    started_at: float = 0.0
    worker_crashes: Sequence[WorkerCrash] = ()


class JobCounts:
    """Jobs of a home by kind and state, counted now and then."""

    def __init__(self, workbench: Workbench | None) -> None:
        self._workbench = workbench
        self._counted_s = 0.0
        self._counts: dict[tuple[str, str], int] = {}

    def get(self) -> dict[tuple[str, str], int]:
        """By kind and state; what was counted last where the home cannot be read."""
        if self._workbench is not None and time.monotonic() - self._counted_s > _JOBS_S:
            self._counted_s = time.monotonic()
            try:
                records = self._workbench.jobs.list(limit=_MOST_JOBS)
            except QuickServeError:
                return self._counts
            self._counts = dict(Counter((item.kind.value, item.state.value) for item in records))
        return self._counts


def exposition(scrape: Scrape) -> str:
    """All metrics in Prometheus' text format."""
    out = Exposition()
    _server(out, scrape)
    _models(out, scrape)
    _workers(out, scrape)
    _triton(out, scrape.server)
    return out.text()


def _server(out: Exposition, scrape: Scrape) -> None:
    server = scrape.server
    out.family("qsml_build_info", "gauge", "Version of the server.").add(1, (("version", __version__),))
    out.family("qsml_ready", "gauge", "Whether requests are welcome.").add(int(server.ready))
    out.family("qsml_desired_revision", "gauge", "Revision of what is to be served.").add(server.revision)
    failures = "Requests without a key, or with one that does not hold."
    out.family("qsml_auth_failures_total", "counter", failures).add(scrape.auth_failures)
    drops = "Lines that the access log could not take in time."
    out.family("qsml_access_log_dropped_total", "counter", drops).add(scrape.log_drops)
    if scrape.worker_crashes:
        died = "Workers that died, by what they ran and the signal."
        family = out.family("qsml_worker_crashes_total", "counter", died)
        for crash in scrape.worker_crashes:
            family.add(crash.count, (("model", crash.model), ("version", crash.version), ("signal", crash.signal)))
    if scrape.jobs:
        jobs = out.family("qsml_jobs", "gauge", "Jobs of the home by kind and state.")
        for (kind, state), count in sorted(scrape.jobs.items()):
            jobs.add(count, (("kind", kind), ("state", state)))


def _labels(model: ModelSnapshot | ModelFacts) -> Labels:
    return (("model", model.name), ("version", model.version))


_HISTOGRAMS: tuple[tuple[str, str, Callable[[ModelSnapshot], Distribution], Sequence[float]], ...] = (
    (
        "qsml_inference_request_duration_seconds",
        "Time from a request read to its answer, for requests that succeeded.",
        lambda model: model.latency,
        DURATION_BUCKETS_S,
    ),
    (
        "qsml_inference_queue_duration_seconds",
        "Time that a request waited.",
        lambda model: model.queue,
        DURATION_BUCKETS_S,
    ),
    (
        "qsml_inference_compute_duration_seconds",
        "Time of the run that a request was part of.",
        lambda model: model.compute,
        DURATION_BUCKETS_S,
    ),
    ("qsml_inference_batch_size", "Requests that shared a run.", lambda model: model.batch, BATCH_BUCKETS),
)
_VALUES: tuple[tuple[str, str, str, Callable[[ModelSnapshot], float]], ...] = (
    ("qsml_inference_pending_requests", "gauge", "Requests that wait or run.", lambda model: model.pending),
    ("qsml_inference_rows_total", "counter", "Rows of requests that succeeded.", lambda model: model.inferences),
    ("qsml_inference_runs_total", "counter", "Runs of the model.", lambda model: model.executions),
    (
        "qsml_inference_rejected_total",
        "counter",
        "Requests that the queue did not take.",
        lambda model: model.rejected,
    ),
    ("qsml_cache_hits_total", "counter", "Answers that came from the cache.", lambda model: model.cache_hits),
    ("qsml_cache_misses_total", "counter", "Answers that were not in the cache.", lambda model: model.cache_misses),
)


def _models(out: Exposition, scrape: Scrape) -> None:
    models = scrape.server.models
    if not models:
        return
    info = out.family("qsml_model_info", "gauge", "Versions that are served.")
    crashes = {(item.name, item.version): item.crashes for item in scrape.facts}
    for facts in scrape.facts:
        more = (("batched", str(facts.batched).lower()), ("digest", facts.digest[:12]))
        info.add(1, (*_labels(facts), *more))
    requests = out.family("qsml_inference_requests_total", "counter", "Answers by HTTP status.")
    for model in models:
        for code, count in sorted(model.codes.items()):
            requests.add(count, (*_labels(model), ("code", code)))
    for name, kind, text, value in _VALUES:
        family = out.family(name, kind, text)
        for model in models:
            family.add(value(model), _labels(model))
    crashed = out.family("qsml_model_crashes_total", "counter", "Workers that died while they ran the version.")
    for model in models:
        crashed.add(crashes.get((model.name, model.version), 0), _labels(model))
    for name, text, histogram, bounds in _HISTOGRAMS:
        family = out.family(name, "histogram", text)
        for model in models:
            family.histogram(histogram(model), bounds, _labels(model))


def _workers(out: Exposition, scrape: Scrape) -> None:
    workers = scrape.server.workers
    for name, kind, text, values in (
        ("qsml_worker_ready", "gauge", "Whether the worker takes requests.", [int(item.ready) for item in workers]),
        ("qsml_worker_restarts_total", "counter", "Times it was started again.", [item.restarts for item in workers]),
        ("qsml_worker_cpu_seconds_total", "counter", "CPU time of the worker.", [item.cpu_s for item in workers]),
        (
            "qsml_worker_resident_memory_bytes",
            "gauge",
            "Resident memory of the worker.",
            [item.rss_bytes for item in workers],
        ),
        ("qsml_connections", "gauge", "Open connections.", [item.connections for item in workers]),
        ("qsml_requests_total", "counter", "All requests, those of no model too.", [item.requests for item in workers]),
    ):
        family = out.family(name, kind, text)
        for worker, value in zip(workers, values, strict=True):
            family.add(value, (("worker", str(worker.index)),))
    cpu = "CPU time of all workers, user and system."
    out.family("process_cpu_seconds_total", "counter", cpu).add(sum(item.cpu_s for item in workers))
    memory = "Resident memory of all workers."
    out.family("process_resident_memory_bytes", "gauge", memory).add(sum(item.rss_bytes for item in workers))
    out.family("process_start_time_seconds", "gauge", "Start of the server, Unix time.").add(scrape.started_at)


def _microseconds(distribution: Distribution) -> int:
    return round(distribution.total * 1e6)


# Triton's own names, microseconds as it counts them, so that its dashboards work. They break Prometheus' rules of
# naming (no `_total`, abbreviated units); that is what `promtool check metrics` says of them.
_TRITON: tuple[tuple[str, str, str, Callable[[ModelSnapshot], float]], ...] = (
    ("nv_inference_request_success", "counter", "Requests that succeeded.", lambda model: model.codes.get("200", 0)),
    (
        "nv_inference_request_failure",
        "counter",
        "Requests that failed.",
        lambda model: sum(model.codes.values()) - model.codes.get("200", 0),
    ),
    ("nv_inference_count", "counter", "Inferences: a batch of n counts n times.", lambda model: model.inferences),
    ("nv_inference_exec_count", "counter", "Runs of the model.", lambda model: model.executions),
    (
        "nv_inference_request_duration_us",
        "counter",
        "Request time, summed.",
        lambda model: _microseconds(model.latency),
    ),
    ("nv_inference_queue_duration_us", "counter", "Queue time, summed.", lambda model: _microseconds(model.queue)),
    (
        "nv_inference_compute_infer_duration_us",
        "counter",
        "Run time, summed.",
        lambda model: _microseconds(model.compute),
    ),
    (
        "nv_inference_compute_input_duration_us",
        "counter",
        "Time of putting requests together into runs, summed.",
        lambda model: round(model.compute_input_s * 1e6),
    ),
    (
        "nv_inference_compute_output_duration_us",
        "counter",
        "Time of taking outputs apart and writing answers, summed.",
        lambda model: round(model.compute_output_s * 1e6),
    ),
    ("nv_inference_pending_request_count", "gauge", "Requests that wait or run.", lambda model: model.pending),
    ("nv_cache_num_hits_per_model", "counter", "Answers from the cache.", lambda model: model.cache_hits),
    ("nv_cache_num_misses_per_model", "counter", "Answers not in the cache.", lambda model: model.cache_misses),
)


def _triton(out: Exposition, server: ServerSnapshot) -> None:
    for name, kind, text, value in _TRITON if server.models else ():
        family = out.family(name, kind, text)
        for model in server.models:
            family.add(value(model), _labels(model))
    if server.cpu_percent is not None:
        out.family("nv_cpu_utilization", "gauge", "Load of the machine, 0 to 1.").add(server.cpu_percent / 100)
    if server.memory_total_bytes:
        used = server.memory_total_bytes - server.memory_available_bytes
        out.family("nv_cpu_memory_total_bytes", "gauge", "Memory of the machine.").add(server.memory_total_bytes)
        out.family("nv_cpu_memory_used_bytes", "gauge", "Memory of the machine in use.").add(used)
    if server.gpus:
        for name, text, values in (
            ("nv_gpu_utilization", "Load of the GPU, 0 to 1.", [item.utilisation for item in server.gpus]),
            ("nv_gpu_memory_total_bytes", "Memory of the GPU.", [item.memory_total_bytes for item in server.gpus]),
            ("nv_gpu_memory_used_bytes", "Memory in use.", [item.memory_used_bytes for item in server.gpus]),
        ):
            family = out.family(name, "gauge", text)
            for gpu, number in zip(server.gpus, values, strict=True):
                family.add(number, (("gpu_uuid", str(gpu.index)),))
