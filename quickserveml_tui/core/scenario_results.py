"""What a scenario found: figures by step, the whole, and frames on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quickserveml_tui.core.benchmarks import BenchmarkFrame, Fingerprint, HistogramData, Interval, LatencySummary, Phase
from quickserveml_tui.core.errors import QuickServeError, StoreError
from quickserveml_tui.core.scenarios import ScenarioSpec

if TYPE_CHECKING:
    from quickserveml_tui.core.results import LabResult

RESULT_KIND = "scenario"


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What one stretch of load gave."""

    target_per_s: float | None
    """Requests a second that were meant to be sent; None for a closed loop."""
    planned: int
    """Requests that were meant to be sent; of a closed loop, those that were."""
    sent: int
    ok: int
    """Right answers: latency is about these."""
    errors: Mapping[str, int]
    """Answers by error code: an HTTP status, a gRPC status, `timeout`, `connection`, or a code of the runtime."""
    unanswered: int
    """Under way when it was cancelled or its process died; in no other figure."""
    duration_s: float
    """As planned; of a closed loop, as measured."""
    sent_per_s: float
    answered_per_s: float
    """Answers of both kinds, with the time that a backlog took after the end counted in."""
    latency_ms: LatencySummary | None
    """In an open loop from the intended time of sending; None without a right answer."""
    intervals: Mapping[str, Interval | None]
    service_ms: LatencySummary | None
    """From the actual sending."""
    queue_p50_ms: float | None
    """Wait of a request, whose time had come, for a free connection or thread; None for a closed loop."""
    queue_p99_ms: float | None
    queue_max: int
    """Requests that waited at once."""
    in_flight_max: int
    send_lag_p99_ms: float | None
    """How late the generator itself was; None for a closed loop."""
    cpu_percent: float | None = None
    """Of one core; of the runners."""
    broken: str = ""
    """What it did not hold, where a bound was set or a rate not kept."""

    @property
    def error_share(self) -> float:
        """Wrong answers over all answers."""
        wrong = sum(self.errors.values())
        return wrong / (wrong + self.ok) if wrong + self.ok else 0.0

    @property
    def lag_excessive(self) -> bool:
        """Whether the generator was late by over 1 ms or 5 % of the median: then the figures are its own, too."""
        if self.send_lag_p99_ms is None:
            return False
        p50 = self.latency_ms.p50 if self.latency_ms else 0.0
        return self.send_lag_p99_ms > 1.0 or self.send_lag_p99_ms > 0.05 * p50

    def by_name(self) -> dict[str, float | None]:
        """The figures that a bound can be set on."""
        latency = self.latency_ms
        names = ("min", "mean", "p50", "p90", "p95", "p99", "max")
        found: dict[str, float | None] = {f"{name}_ms": getattr(latency, name) if latency else None for name in names}
        return found | {"error_share": self.error_share, "queue_p99_ms": self.queue_p99_ms}


@dataclass(frozen=True, slots=True)
class Knee:
    """Where the bound broke."""

    good_per_s: float | None
    """The highest rate, below the first bad one, that held; None if not even the first did."""
    bad_per_s: float | None
    """The lowest rate that did not hold; None if all did."""
    broken: str = ""
    """What broke there."""


@dataclass(frozen=True, slots=True)
class ScenarioFrame:
    """How far a scenario is."""

    phase: Phase
    elapsed_s: float
    """Since the start of the warm-up."""
    step: int
    """From 0."""
    target_per_s: float | None
    starts_s: tuple[float, ...]
    """Intended time of each new answer's request, seconds since the start of the warm-up."""
    latencies_ms: tuple[float, ...]
    """Of the new right answers; at most 2,000 a frame."""
    sent: int
    """Requests answered in this step so far."""
    errors: int
    """Wrong answers in this step so far."""
    rate_per_s: float
    """Answers a second since the frame before."""
    in_flight: int = 0
    waiting: int = 0
    dropped: int = 0
    """New answers left out of `latencies_ms`."""

    def as_benchmark(self) -> BenchmarkFrame:
        """The frame as charts of a benchmark take it."""
        return BenchmarkFrame(
            self.phase, self.elapsed_s, self.starts_s, self.latencies_ms, self.sent, dropped=self.dropped
        )


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """A finished scenario."""

    id: str
    created_at: str
    spec: ScenarioSpec
    ref: str
    """`name@version`, the path of a file, or the address of a model on a server."""
    model: str
    """Id of a registered model; empty otherwise."""
    version: int | None
    fingerprint: Fingerprint
    """Of this machine: for a server elsewhere it tells about the generator only."""
    figures: StepFigures
    """The whole; of a ramp or stress run, all its steps together."""
    steps: tuple[StepFigures, ...]
    """Of a ramp or stress run, in order."""
    knee: Knee | None
    histogram: HistogramData | None
    """Latency; None without a right answer."""
    warmup: int
    """Requests of the warm-up; in no figure."""
    batch: int
    """Items in one request."""
    elapsed_s: float
    noisy: bool
    noise_reason: str
    connections: int = 0
    """Connections, threads or calls in use at most."""
    peak_rss_bytes: int | None = None
    """Of the runner with most."""
    said: Mapping[str, str] = field(default_factory=dict)
    """The first message by error code."""
    samples_digest: str = ""
    """Blob with what was recorded of each request (NPZ: `intended_s`, `sent_s`, `done_s`, `lag_ms`, `code`, `step`;
    `codes` names the codes)."""
    command: str = ""
    cancelled: bool = False
    lost: str = ""
    """Why the process that sent or ran the requests ended before its time; empty where it did not."""
    note: str = ""

    @property
    def throughput_per_s(self) -> float:
        """Items with a right answer a second."""
        return self.figures.answered_per_s * (1 - self.figures.error_share) * self.batch

    @property
    def lag_excessive(self) -> bool:
        """Whether the generator was too late for its figures to be the target's alone, in the whole or at the knee."""
        return self.figures.lag_excessive


class UnsavedScenarioError(StoreError):
    """A scenario that could not be saved; `result` is all there is of it."""

    default_code = "scenario.unsaved"

    def __init__(self, result: ScenarioResult, cause: QuickServeError) -> None:
        super().__init__(
            f"The scenario could not be saved: {cause.message}",
            hint=cause.hint or "What was measured stands in this output only.",
            code=cause.code,
            detail=cause.detail,
        )
        self.result = result


class LostScenarioError(QuickServeError):
    """The process that sent or ran the requests died; `result` has what was received until then."""

    def __init__(self, result: ScenarioResult, cause: QuickServeError) -> None:
        super().__init__(cause.message, hint=cause.hint, code=cause.code, detail=cause.detail)
        self.exit_code = cause.exit_code  # type: ignore[misc]
        self.http_status = cause.http_status  # type: ignore[misc]
        self.result = result


def as_lab_result(result: ScenarioResult) -> LabResult:
    """The result as the state store keeps it."""
    import msgspec

    from quickserveml_tui.core.results import LabResult

    digests = (result.samples_digest,) if result.samples_digest else ()
    return LabResult(
        result.id, RESULT_KIND, result.created_at, result.model, result.version, digests, msgspec.json.encode(result)
    )


def from_lab_result(kept: LabResult) -> ScenarioResult:
    """The result that the state store kept. Raises `msgspec.ValidationError` for one of another form."""
    import msgspec

    return msgspec.json.decode(kept.body, type=ScenarioResult)
