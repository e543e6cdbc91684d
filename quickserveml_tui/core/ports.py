"""Ports: what the layers ask of each other. Fronts see `Workbench`; services see stores and runners.

All calls block and are made from worker threads; those that take a `CancelToken` stop soon after it is cancelled.
Errors are `QuickServeError`s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from quickserveml_tui.core.benchmarks import BenchmarkFrame, BenchmarkRun, BenchmarkSpec
from quickserveml_tui.core.catalog import (
    AddRequest,
    AddResult,
    CatalogPage,
    CatalogQuery,
    ModelView,
    Resolved,
    ScanHit,
)
from quickserveml_tui.core.facts import LayerPage, ModelFacts
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.hosts import HostStatus
from quickserveml_tui.core.jobs import CancelToken, JobRecord, Progress, ProgressSink, ignore_progress
from quickserveml_tui.core.models import ArtifactManifest, MetadataPatch, ModelRecord, TrialReport
from quickserveml_tui.core.predictions import BatchResult, BatchSpec, Prediction

# ---- stores -------------------------------------------------------------------------------------------------------


class RegistryStore(Protocol):
    """Models under one lock; readers see whole transactions only."""

    def generation(self) -> str:
        """A token that changes with every write, by this process or another."""
        ...

    def models(self) -> tuple[ModelRecord, ...]:
        """All models, by name."""
        ...

    def find(self, name: str) -> ModelRecord | None:
        """The model with this name or id."""
        ...

    def put(
        self,
        name: str,
        change: Callable[[ModelRecord | None], ModelRecord | None],
        *,
        expected_rev: int | None = None,
    ) -> ModelRecord | None:
        """Read, change and write one model in one transaction; returns what was written.

        `change` gets the model now (None if there is none) and returns the new one (None deletes it). The store sets
        `rev` and `updated_at`. It may rename. When `change` raises, nothing is written. Raises `ConflictError` when
        `expected_rev` is not the model's rev or a new name is taken, `StoreError` when the store cannot be written.
        """
        ...


class Staging(Protocol):
    """Files of a model on their way into the artifact store; nothing is kept unless committed."""

    @property
    def folder(self) -> Path:
        """Private folder with the files under their own names: a runner can open the model here."""
        ...

    def add(
        self,
        source: Path,
        name: str,
        *,
        cancel: CancelToken | None = None,
        on_progress: ProgressSink = ignore_progress,
    ) -> Path:
        """Copy a regular file while hashing it; `name` is a relative path. The first file added is the model.

        Raises `ModelError` (`model.not_a_file`, `model.missing`) for anything but a readable regular file, and for a
        name that leaves the folder.
        """
        ...

    def commit(self) -> ArtifactManifest:
        """Make the files durable in the store."""
        ...


class ArtifactStore(Protocol):
    """Content-addressed, read-only files."""

    def stage(self) -> AbstractContextManager[Staging]:
        """Begin to bring in the files of one model."""
        ...

    def open_path(self, manifest: ArtifactManifest) -> Path:
        """A path at which the model can be opened, with its external data beside it.

        Raises `StoreError` (`artifact.missing`) when a blob is gone.
        """
        ...

    def put_bytes(self, data: bytes) -> str:
        """Keep a blob durably; returns its sha256."""
        ...

    def read_bytes(self, digest: str) -> bytes:
        """A blob's content. Raises `StoreError` (`artifact.missing`, `artifact.corrupt`)."""
        ...

    def verify(self, manifest: ArtifactManifest) -> tuple[str, ...]:
        """Paths of the manifest whose blob is missing or changed; empty when all is well."""
        ...


class StateStore(Protocol):
    """Rows that are written often: benchmark and batch runs."""

    def generation(self) -> str:
        """A token that changes with every write, by this process or another; only compared within one process."""
        ...

    def add_benchmark(self, run: BenchmarkRun) -> None:
        """Keep a run durably."""
        ...

    def benchmark(self, run_id: str) -> BenchmarkRun | None:
        """The run with this id."""
        ...

    def benchmarks(
        self, model: str | None = None, version: int | None = None, limit: int = 100
    ) -> tuple[BenchmarkRun, ...]:
        """Runs, newest first; `model` is a model id."""
        ...

    def newest_benchmarks(self) -> dict[str, dict[int, BenchmarkRun]]:
        """Newest complete run by model id and version."""
        ...

    def add_batch(self, result: BatchResult) -> None:
        """Keep the result of a batch durably."""
        ...

    def batches(self, limit: int = 100) -> tuple[BatchResult, ...]:
        """Batch results, newest first."""
        ...


# ---- runners ------------------------------------------------------------------------------------------------------

FrameSink: TypeAlias = Callable[[BenchmarkFrame], None]


@dataclass(frozen=True, slots=True)
class RawBenchmark:
    """Samples of a closed-loop benchmark as the runner measured them."""

    warmup_starts_s: Sequence[float]
    warmup_latencies_ms: Sequence[float]
    starts_s: Sequence[float]
    """Seconds since the start of the warm-up, by `time.perf_counter_ns` (float64 arrays)."""
    latencies_ms: Sequence[float]
    cpu_s: float
    """CPU time, user and system, of the runner while it measured."""
    peak_rss_bytes: int | None
    batch: int
    pinned_cpus: tuple[int, ...]
    cancelled: bool
    paused_s: float = 0.0
    """Time between two inferences that the harness took to send frames; in no latency and no throughput."""
    preemptions: int | None = None
    """Involuntary context switches of the measuring thread; None where the system does not count them."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shape of each input as it was measured; empty when the runner was killed before it could tell."""


class ModelRunner(Protocol):
    """A child process that opens models. One call at a time; `close` may come from another thread.

    Every call raises `RunnerCrashedError` when the process dies (`signal` names the signal), `RunnerTimeoutError` when
    it exceeds its limit, `CancelledError` on cancel (a benchmark or batch returns its partial result instead), and
    `ModelError` or `DataError` for what the runtime refuses.
    """

    @property
    def pid(self) -> int:
        """Process id of the child."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the child can take another call."""
        ...

    def external_files(self, path: Path) -> tuple[str, ...]:
        """Relative paths of the external data that the model refers to; raises `ModelError` for one that escapes."""
        ...

    def read_facts(self, path: Path) -> ModelFacts:
        """Facts of the model file."""
        ...

    def read_layers(self, path: Path, offset: int = 0, limit: int = 10_000) -> LayerPage:
        """A part of the layer table."""
        ...

    def trial(self, path: Path, feed: FeedSpec, *, cancel: CancelToken | None = None) -> TrialReport:
        """Load the model and run it once on synthetic inputs; never raises for what the model does."""
        ...

    def predict(
        self,
        path: Path,
        *,
        inputs: Path | Mapping[str, Any] | None,
        feed: FeedSpec,
        cancel: CancelToken | None = None,
    ) -> Prediction:
        """One inference on an NPZ or JSON file, on arrays by name, or on synthetic inputs."""
        ...

    def benchmark(self, path: Path, spec: BenchmarkSpec, *, on_frame: FrameSink, cancel: CancelToken) -> RawBenchmark:
        """Warm up and measure, pushing frames; on cancel the partial result comes back."""
        ...

    def batch(
        self, path: Path, data: Path, spec: BatchSpec, *, on_progress: ProgressSink, cancel: CancelToken
    ) -> BatchResult:
        """Run a data set (CSV or NPZ) through the model; on cancel the partial result comes back."""
        ...

    def close(self) -> None:
        """End the process."""
        ...


class RunnerPool(Protocol):
    """Where runners come from."""

    def borrow(self) -> AbstractContextManager[ModelRunner]:
        """A warm runner that is used again after, unless it crashed: for trials, facts, layers, predictions."""
        ...

    def fresh(self) -> AbstractContextManager[ModelRunner]:
        """A runner of one's own with its own cores, ended after: for measured runs."""
        ...

    def close(self) -> None:
        """End all runners."""
        ...


# ---- services, as the fronts see them -----------------------------------------------------------------------------


class CatalogPort(Protocol):
    """Find, add and change models."""

    def generation(self) -> str:
        """A token that changes when the catalog or a saved benchmark does."""
        ...

    def list_models(self, query: CatalogQuery = ...) -> CatalogPage:
        """Models that match, sorted."""
        ...

    def show(self, ref: str) -> ModelView:
        """One model by name or reference. Raises `NotFoundError` with the nearest names as hint."""
        ...

    def resolve(self, ref: str, *, runnable: bool = False) -> Resolved:
        """What a reference or path stands for.

        With `runnable`, raises `ModelUnrunnableError` for a registered version whose trial failed. A path is not tried:
        ask `InspectPort.trial` before it is opened outside a runner.
        """
        ...

    def add(
        self, request: AddRequest, *, on_progress: ProgressSink = ignore_progress, cancel: CancelToken | None = None
    ) -> AddResult:
        """Add a file as a new model or as the next version. Raises `ModelError` when it is rejected."""
        ...

    def scan(self, folder: str, *, cancel: CancelToken | None = None) -> Iterator[ScanHit]:
        """Model files below a folder, without following links."""
        ...

    def update(self, ref: str, patch: MetadataPatch) -> ModelRecord:
        """Change metadata; label, state and notes go to the version that the reference names."""
        ...

    def tag(self, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ModelRecord:
        """Add and remove tags."""
        ...

    def set_alias(self, ref: str, alias: str) -> ModelRecord:
        """Point an alias at the version that the reference names."""
        ...

    def remove_alias(self, name: str, alias: str) -> ModelRecord:
        """Take an alias away."""
        ...

    def delete(self, ref: str, *, force: bool = False) -> ModelRecord | None:
        """Delete a version, or the whole model when the reference names none.

        Refused (`ConflictError`) while a protected alias points at it, unless forced. Returns what is left.
        """
        ...


class InspectPort(Protocol):
    """Understand a model."""

    def facts(self, ref: str) -> ModelFacts:
        """Facts of a model."""
        ...

    def schema(self, ref: str) -> dict[str, Any]:
        """JSON Schema of `request` and `response`, and an `example` request."""
        ...

    def layers(self, ref: str, offset: int = 0, limit: int = 10_000) -> LayerPage:
        """A part of the layer table."""
        ...

    def trial(self, ref: str, *, cancel: CancelToken | None = None) -> TrialReport:
        """Whether the model runs: a registered version's report, or a trial of a file, made now in a runner."""
        ...


class PredictPort(Protocol):
    """Run one inference."""

    def predict(
        self,
        ref: str,
        *,
        inputs: Path | Mapping[str, Any] | None = None,
        feed: FeedSpec = ...,
        cancel: CancelToken | None = None,
    ) -> Prediction:
        """Outputs for given or synthetic inputs."""
        ...


class BenchmarkPort(Protocol):
    """Measure a model."""

    def run(
        self,
        ref: str,
        spec: BenchmarkSpec,
        *,
        on_frame: FrameSink | None = None,
        cancel: CancelToken | None = None,
        save: bool = True,
    ) -> BenchmarkRun:
        """Measure in a fresh runner and save the run; on cancel the partial run is saved and returned."""
        ...

    def get(self, run_id: str) -> BenchmarkRun:
        """A saved run. Raises `NotFoundError`."""
        ...

    def history(self, ref: str | None = None, limit: int = 100) -> tuple[BenchmarkRun, ...]:
        """Saved runs, newest first."""
        ...


class BatchPort(Protocol):
    """Run data sets through a model."""

    def run(
        self,
        ref: str,
        data: str,
        spec: BatchSpec = ...,
        *,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> BatchResult:
        """Run a CSV or NPZ file; on cancel the partial result is returned."""
        ...

    def history(self, limit: int = 100) -> tuple[BatchResult, ...]:
        """Results, newest first."""
        ...


class JobHandle(Protocol):
    """The worker's side of a job."""

    @property
    def id(self) -> str:
        """Job id."""
        ...

    @property
    def cancel(self) -> CancelToken:
        """Cancelled by whoever watches the job."""
        ...

    def report(self, progress: Progress) -> None:
        """Say how far it is."""
        ...


class JobsPort(Protocol):
    """Work under way in this process and what became of it."""

    def run(self, kind: str, subject: str) -> AbstractContextManager[JobHandle]:
        """Keep a job on the board while the block runs; its end decides the state."""
        ...

    def list(self) -> tuple[JobRecord, ...]:
        """Jobs, newest first; the 200 last."""
        ...

    def cancel(self, job_id: str) -> bool:
        """Ask a job to stop; False when it is not running."""
        ...

    @property
    def running(self) -> int:
        """Jobs under way."""
        ...


class DemoPort(Protocol):
    """The models and data that come with the program."""

    def install(self, *, on_progress: ProgressSink = ignore_progress, cancel: CancelToken | None = None) -> int:
        """Register the demo models that are not there yet; returns how many versions were added."""
        ...

    def data_path(self, model: str) -> Path | None:
        """The test data that fits a demo model, if there is any."""
        ...


class HostPort(Protocol):
    """Watch the machine."""

    def status(self) -> HostStatus:
        """Load of the machine now."""
        ...


class Workbench(Protocol):
    """Everything a front can do, on a local home or, later, on a remote server."""

    @property
    def catalog(self) -> CatalogPort:
        """Find, add and change models."""
        ...

    @property
    def inspect(self) -> InspectPort:
        """Understand a model."""
        ...

    @property
    def predict(self) -> PredictPort:
        """Run one inference."""
        ...

    @property
    def benchmark(self) -> BenchmarkPort:
        """Measure a model."""
        ...

    @property
    def batch(self) -> BatchPort:
        """Run data sets through a model."""
        ...

    @property
    def jobs(self) -> JobsPort:
        """Work under way."""
        ...

    @property
    def demo(self) -> DemoPort:
        """The models and data that come with the program."""
        ...

    @property
    def host(self) -> HostPort:
        """The machine."""
        ...

    @property
    def home(self) -> Path:
        """The folder that holds everything this front writes."""
        ...

    def warm_up(self) -> None:
        """Start a spare runner in the background, so that the first inspection or run need not wait."""
        ...

    def close(self) -> None:
        """End the runners; safe to call twice."""
        ...
