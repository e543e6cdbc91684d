"""What a server tells of itself at one moment, and what two such moments say together.

Counters grow from the start of a server; rates and percentiles come from the difference of two snapshots. A snapshot of
ours is the JSON document of `GET /api/v1/monitor`, field for field; those of other servers are read from their metrics
and leave empty what they do not tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class MonitorSource(StrEnum):
    """Where a snapshot came from."""

    OURS = "quickserveml"
    TRITON = "triton"
    """Prometheus metrics with Triton's names."""
    PROTOCOL = "protocol"
    """Statistics of the inference protocol only."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram since the start of the server."""

    bounds: tuple[float, ...] = ()
    """Upper bounds, ascending: seconds for times, rows for batches."""
    counts: tuple[int, ...] = ()
    """Values in each bucket (not cumulative), one more than bounds: the last is open."""
    total: float = 0.0
    """Sum of all values."""

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """Counters of one version of a model, over all workers."""

    name: str
    version: str
    state: str = "READY"
    codes: dict[str, int] = field(default_factory=dict)
    """Answers by HTTP status."""
    latency: Distribution = field(default_factory=Distribution)
    """From the whole request read to its answer, requests that succeeded, in fine buckets."""
    queue: Distribution = field(default_factory=Distribution)
    compute: Distribution = field(default_factory=Distribution)
    batch: Distribution = field(default_factory=Distribution)
    """Requests that shared a run."""
    inferences: int = 0
    """Rows of requests that succeeded."""
    executions: int = 0
    pending: int = 0
    """Requests that wait or run now."""
    rejected: int = 0
    """Requests that the queue did not take."""
    cache_hits: int = 0
    cache_misses: int = 0
    compute_input_s: float = 0.0
    """Putting the requests of shared runs together, summed over requests."""
    compute_output_s: float = 0.0
    """Taking outputs apart and writing answers, summed over requests."""


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """One worker process."""

    index: int
    pid: int = 0
    ready: bool = True
    restarts: int = 0
    cpu_s: float = 0.0
    """User and system time since it started."""
    rss_bytes: int = 0
    connections: int = 0
    requests: int = 0
    """All requests, those of no model included."""


@dataclass(frozen=True, slots=True)
class SlowRequest:
    """One of the slowest requests of the last minutes."""

    at: float
    """Unix time of the answer."""
    model: str
    version: str
    elapsed_s: float
    queue_s: float = 0.0
    compute_s: float = 0.0
    status: int = 200
    rows: int = 0
    batch: int = 0
    """Requests in its run."""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class GpuSnapshot:
    """One GPU."""

    index: int
    name: str = ""
    utilisation: float = 0.0
    """0 to 1."""
    memory_used_bytes: int = 0
    memory_total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ServerSnapshot:
    """A server at one moment."""

    taken_at: float
    """Unix time."""
    source: MonitorSource = MonitorSource.OURS
    name: str = ""
    """What the server calls itself."""
    version: str = ""
    url: str = ""
    uptime_s: float = 0.0
    ready: bool = True
    cores: int = 0
    cpu_percent: float | None = None
    """Load of the whole machine, 0 to 100."""
    memory_total_bytes: int = 0
    memory_available_bytes: int = 0
    models: tuple[ModelSnapshot, ...] = ()
    workers: tuple[WorkerSnapshot, ...] = ()
    slow: tuple[SlowRequest, ...] = ()
    gpus: tuple[GpuSnapshot, ...] = ()
    revision: int = 0
    """Of the desired state."""


@dataclass(frozen=True, slots=True)
class ModelRates:
    """One version between two snapshots."""

    name: str
    version: str
    state: str = "READY"
    requests_per_s: float = 0.0
    inferences_per_s: float = 0.0
    errors_per_s: float = 0.0
    """4xx and 5xx."""
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    mean_ms: float | None = None
    queue_ms: float | None = None
    """Mean wait."""
    compute_ms: float | None = None
    """Mean run."""
    batch: float | None = None
    """Mean requests of a run."""
    pending: int = 0
    heat: tuple[int, ...] = ()
    """Requests by bucket of `latency` in this interval."""
    bounds: tuple[float, ...] = ()
    """Upper bounds of `heat`, seconds."""


@dataclass(frozen=True, slots=True)
class ServerRates:
    """A server between two snapshots."""

    at: float
    """Unix time of the later one."""
    interval_s: float
    total: ModelRates
    """All models together; `name` and `version` are empty."""
    models: tuple[ModelRates, ...] = ()
    cpu_cores: float | None = None
    """Cores that the workers used."""
    rss_bytes: int = 0
    connections: int = 0
    restarts: int = 0
