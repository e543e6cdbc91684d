"""Service ports: what the fronts ask of the services; `Workbench` holds them all.

All calls block and are made from worker threads; those that take a `CancelToken` stop soon after it is cancelled.
Errors are `QuickServeError`s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSpec
from quickserveml_tui.core.care import (
    BackupInfo,
    BundleInfo,
    CheckReport,
    CollectReport,
    HomeHealth,
    HomeOverview,
    StoreProblem,
)
from quickserveml_tui.core.catalog import (
    AddRequest,
    AddResult,
    BulkAction,
    BulkReport,
    CatalogPage,
    CatalogQuery,
    Completion,
    Deletion,
    ModelView,
    Resolved,
    ScanHit,
)
from quickserveml_tui.core.facts import LayerPage, ModelFacts
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.hosts import HostStatus
from quickserveml_tui.core.job_records import JobEvents, JobRecord, JobRequest
from quickserveml_tui.core.jobs import CancelToken, JobState, ProgressSink, ignore_progress
from quickserveml_tui.core.models import MetadataPatch, ModelRecord, TrashEntry, TrialReport
from quickserveml_tui.core.predictions import BatchResult, BatchSpec, Prediction
from quickserveml_tui.core.runners import FrameSink


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

    def remove_alias(self, name: str, alias: str, *, force: bool = False) -> ModelRecord:
        """Take an alias away; a protected one (`ConflictError`) only by force."""
        ...

    def categorise(self, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ModelRecord:
        """Add and remove categories."""
        ...

    def protect_alias(self, name: str, alias: str, *, protected: bool = True) -> ModelRecord:
        """Protect an alias like `prod`, or no longer."""
        ...

    def delete(self, ref: str, *, force: bool = False) -> Deletion:
        """Move a version, or the whole model when the reference names none, to the trash.

        Refused (`ConflictError`) while a protected alias points at it, unless forced.
        """
        ...

    def trash(self) -> tuple[TrashEntry, ...]:
        """What was deleted and can be restored, newest first."""
        ...

    def restore(self, what: str, *, name: str = "") -> ModelRecord:
        """Bring back from the trash: by trash id, or the newest entry titled `name` or `name@version`.

        Raises `NotFoundError` (`trash.not_found`), `ConflictError` (`name.taken`: give another `name`).
        """
        ...

    def purge(
        self, what: Sequence[str] = (), *, older_than_s: float = 0.0, dry_run: bool = False
    ) -> tuple[TrashEntry, ...]:
        """Forget trash entries for good: these (ids or titles), or all that are older; returns them."""
        ...

    def bulk(self, selection: Sequence[str] | str, action: BulkAction, *, dry_run: bool = False) -> BulkReport:
        """Change many models in one transaction: those that references name, or that a filter (a string) finds."""
        ...

    def complete_filter(self, text: str, cursor: int) -> tuple[Completion, ...]:
        """Ways to go on with a filter at the cursor, best first; at most 50."""
        ...

    def check_filter(self, text: str) -> None:
        """Raises `FilterError` with the column when the filter cannot be read."""
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
        run_id: str = "",
    ) -> BenchmarkRun:
        """Measure in a fresh runner and save the run; on cancel the partial run is saved and returned.

        `run_id` is the id to save it under; a fresh one by default. Raises `UnsavedRunError`, which has the run, when
        it was measured and could not be saved.
        """
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
        result_id: str = "",
    ) -> BatchResult:
        """Run a CSV or NPZ file; on cancel the partial result is returned.

        `result_id` is the id to save it under; a fresh one by default.
        """
        ...

    def get(self, result_id: str) -> BatchResult:
        """A saved result. Raises `NotFoundError`."""
        ...

    def history(self, limit: int = 100) -> tuple[BatchResult, ...]:
        """Results, newest first."""
        ...


class JobsPort(Protocol):
    """Work in processes of its own, which goes on when the front that started it ends."""

    def start(self, request: JobRequest) -> JobRecord:
        """Record a job and start a process for it."""
        ...

    def start_all(self, requests: Sequence[JobRequest]) -> tuple[JobRecord, ...]:
        """Record jobs and start one process that runs them in their order."""
        ...

    def list(self, *, states: Sequence[JobState] = (), limit: int = 100) -> tuple[JobRecord, ...]:
        """Jobs, newest first; one whose process is gone is `lost`."""
        ...

    def get(self, job_id: str) -> JobRecord:
        """One job. Raises `NotFoundError` (`job.not_found`)."""
        ...

    def cancel(self, job_id: str) -> JobRecord:
        """Ask a job to stop; what it has is kept. Raises `ConflictError` (`job.ended`) when it has ended."""
        ...

    def resume(self, job_id: str) -> JobRecord:
        """Start a lost, failed or cancelled job again under its id. Raises `ConflictError` for others."""
        ...

    def clean(self, job_ids: Sequence[str] = ()) -> tuple[str, ...]:
        """Forget ended and lost jobs with their logs: these, or all of them; returns the ids."""
        ...

    def events(self, job_id: str, offset: int = 0) -> JobEvents:
        """What a job said since `offset`."""
        ...

    def log(self, job_id: str, offset: int = 0) -> tuple[str, int]:
        """What a job wrote to its log since byte `offset`, and where to go on."""
        ...

    def watch(
        self,
        job_id: str,
        *,
        on_progress: ProgressSink = ignore_progress,
        on_frame: FrameSink | None = None,
        cancel: CancelToken | None = None,
        detach: CancelToken | None = None,
    ) -> JobRecord:
        """Follow a job to its end and return it. `cancel` asks the job to stop; `detach` only ends the watching."""
        ...


class MaintenancePort(Protocol):
    """Look after the stores."""

    def health(self) -> HomeHealth:
        """Whether the home can be written, and what is wrong with its stores; cheap enough for every start."""
        ...

    def overview(self) -> HomeOverview:
        """What the home holds and takes; looks at every blob's size."""
        ...

    def collect(
        self, *, dry_run: bool = False, grace_s: float | None = None, cancel: CancelToken | None = None
    ) -> CollectReport:
        """Remove what nothing needs; `grace_s` None takes the setting."""
        ...

    def check(
        self,
        *,
        full: bool = False,
        repair: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> CheckReport:
        """Check all stores against each other; `full` reads every byte, `repair` mends what can be mended."""
        ...


class BundlePort(Protocol):
    """Carry versions from one home to another."""

    def export(
        self,
        ref: str,
        path: str,
        *,
        overwrite: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> BundleInfo:
        """Write a version to a file: a bundle (`.qsml`) with all that belongs to it, or the plain model (`.onnx`)."""
        ...

    def read(self, path: str) -> BundleInfo:
        """What a bundle holds, every digest checked. Raises `DataError` (`bundle.…`)."""
        ...

    def import_bundle(
        self,
        path: str,
        *,
        name: str = "",
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> AddResult:
        """Add what a bundle holds as the next version; tried in a runner like any other file."""
        ...


class BackupPort(Protocol):
    """Keep generations of the whole home in another folder."""

    def create(
        self,
        folder: str,
        *,
        keep: int | None = None,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> BackupInfo:
        """Add a generation; blobs that are there already are not copied. `keep` removes all but the newest."""
        ...

    def list(self, folder: str) -> tuple[BackupInfo, ...]:
        """Generations, newest first."""
        ...

    def verify(
        self,
        folder: str,
        generation: str = "",
        *,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> tuple[BackupInfo, ...]:
        """Read every byte of one generation, or of all; problems stand in the infos."""
        ...

    def restore(
        self,
        folder: str,
        *,
        at: str = "",
        dry_run: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> BackupInfo:
        """Bring the home to a generation: the newest, that with the id `at`, or the newest at or before a time `at`.

        What the home held before is kept as a generation of its own, so that this can be undone.
        """
        ...

    def content_digest(self) -> str:
        """Canonical digest of what the home holds now."""
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
        """Work in processes of its own."""
        ...

    @property
    def maintenance(self) -> MaintenancePort:
        """Look after the stores."""
        ...

    @property
    def bundles(self) -> BundlePort:
        """Carry versions from one home to another."""
        ...

    @property
    def backups(self) -> BackupPort:
        """Keep generations of the home."""
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

    @property
    def home_to_name(self) -> str:
        """The home as a command has to name it; empty for the one that commands take by themselves."""
        ...

    def holding(self, models: Sequence[Resolved], purpose: str) -> AbstractContextManager[None]:
        """Keep the files of these models from being collected for as long as the block takes, also after `close`."""
        ...

    def problems_met(self) -> tuple[StoreProblem, ...]:
        """What is wrong with the stores that were used so far."""
        ...

    def warm_up(self) -> None:
        """Start a spare runner in the background, so that the first inspection or run need not wait."""
        ...

    def close(self) -> None:
        """End the runners; safe to call twice."""
        ...
