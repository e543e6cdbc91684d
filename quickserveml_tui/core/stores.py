"""Store ports: what services ask of the registry, the artifacts and the state database.

All calls block and are made from worker threads. Errors are `QuickServeError`s; a call that raised has changed nothing
unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from quickserveml_tui.core.benchmarks import BenchmarkFigures, BenchmarkRun
from quickserveml_tui.core.care import BlobInfo, CollectReport, StoreProblem
from quickserveml_tui.core.heads import ModelHead
from quickserveml_tui.core.job_records import JobRecord, Lease
from quickserveml_tui.core.jobs import CancelToken, JobState, Progress, ProgressSink, ignore_progress
from quickserveml_tui.core.metric_history import RollUp
from quickserveml_tui.core.models import ArtifactManifest, ModelRecord, TrashEntry
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.core.results import LabResult

T = TypeVar("T")


class RegistryEdit(Protocol):
    """One transaction on the registry: its writes become visible together, or not at all."""

    def find(self, name: str) -> ModelRecord | None:
        """The model with this name or id, as it is in this transaction."""
        ...

    def put(self, record: ModelRecord) -> ModelRecord:
        """Write a model by its id; sets `rev` and `updated_at` unless nothing changed, and returns what was written.

        Raises `ConflictError` (`name.taken`), `StoreError` (`registry.full`, `store.unrepresentable`).
        """
        ...

    def remove(self, model_id: str) -> None:
        """Take a model away; nothing happens when there is none."""
        ...

    def trash(self) -> tuple[TrashEntry, ...]:
        """Deleted models and versions, newest first."""
        ...

    def put_trash(self, entry: TrashEntry) -> None:
        """Keep a deleted model or version."""
        ...

    def remove_trash(self, entry_id: str) -> None:
        """Forget a deleted model or version for good."""
        ...


class RegistryStore(Protocol):
    """Models under one lock; readers see whole transactions only and never wait for a writer."""

    def generation(self) -> str:
        """A token that changes with every write, by this process or another."""
        ...

    def problem(self) -> StoreProblem | None:
        """Why the registry can only be read, or not even that; None when all is well.

        A damaged file is read from the newest kept generation, a newer schema where it says that it can be read.
        """
        ...

    def heads(self) -> tuple[ModelHead, ...]:
        """All models, by name: what lists and filters look at. Cheap; nothing else may be read for 10,000 models."""
        ...

    def models(self) -> tuple[ModelRecord, ...]:
        """All models, by name, in full: costs about 0.1 ms a model on the first call after a change."""
        ...

    def find(self, name: str) -> ModelRecord | None:
        """The model with this name or id."""
        ...

    def trash(self) -> tuple[TrashEntry, ...]:
        """Deleted models and versions, newest first."""
        ...

    def blobs(self) -> frozenset[str]:
        """Digests of all blobs that models, and what is in the trash, need."""
        ...

    def put(
        self,
        name: str,
        change: Callable[[ModelRecord | None], ModelRecord | None],
        *,
        expected_rev: int | None = None,
    ) -> ModelRecord | None:
        """Read, change and write one model in one transaction; returns what was written.

        `change` gets the model now (None if there is none) and returns the new one (None removes it for good). The
        store sets `rev` and `updated_at`. It may rename. When `change` raises, nothing is written. Raises
        `ConflictError` when `expected_rev` is not the model's rev or a new name is taken, `StoreError` when the store
        cannot be written.
        """
        ...

    def edit(self, work: Callable[[RegistryEdit], T]) -> T:
        """Run `work` in one transaction and return its result; when it raises, nothing is written."""
        ...

    def capacity(self) -> tuple[int, int, int]:
        """Documents now, the number from which to warn, and the number from which adding is refused."""
        ...

    def trash_room(self) -> int:
        """How many more deleted models and versions the trash takes."""
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
        beneath: Path | None = None,
        folder: int | None = None,
        descriptor: int | None = None,
        cancel: CancelToken | None = None,
        on_progress: ProgressSink = ignore_progress,
    ) -> Path:
        """Copy a regular file while hashing it; `name` is a relative path. The first file added is the model.

        With `beneath`, a folder that holds the file, no link below that folder is followed, and the file may have no
        other name; `folder` is that folder where it is open already. With `descriptor` that open file is copied, and
        `source` only names it; it stays open. Raises `ModelError` (`model.not_a_file`, `model.missing`) for anything
        but a readable regular file, and for a name that leaves the folder.
        """
        ...

    def link(
        self,
        source: Path,
        name: str,
        *,
        cancel: CancelToken | None = None,
        on_progress: ProgressSink = ignore_progress,
    ) -> Path:
        """Hash a regular file and reference it where it lies; returns its absolute path. Errors as in `add`."""
        ...

    def commit(self) -> ArtifactManifest:
        """Make the files durable in the store; call it inside `ArtifactStore.publishing`."""
        ...


class ArtifactStore(Protocol):
    """Content-addressed, read-only files."""

    def stage(self) -> AbstractContextManager[Staging]:
        """Begin to bring in the files of one model."""
        ...

    def publishing(self) -> AbstractContextManager[None]:
        """Hold collection off between writing blobs and naming them in another store; keep the block short.

        May be entered again by the thread that is in it. Raises `StoreError` (`store.locked`).
        """
        ...

    def open_path(self, manifest: ArtifactManifest) -> Path:
        """A path at which the model can be opened, with its external data beside it.

        Raises `StoreError`: `artifact.missing` when a blob or linked file is gone, `artifact.changed` when a linked
        file is no longer the one that was added.
        """
        ...

    def put_bytes(self, data: bytes) -> str:
        """Keep a blob durably; returns its sha256. Call it inside `publishing` when something will refer to it."""
        ...

    def put_file(self, source: Path, *, cancel: CancelToken | None = None) -> tuple[str, int]:
        """Keep a regular file as a blob without reading it whole; returns sha256 and size. As `put_bytes` else."""
        ...

    def read_bytes(self, digest: str) -> bytes:
        """A blob's content. Raises `StoreError` (`artifact.missing`, `artifact.corrupt`)."""
        ...

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies, to be read only. Raises `StoreError` (`artifact.missing`)."""
        ...

    def has(self, digest: str) -> bool:
        """Whether the blob is there; its content is not read."""
        ...

    def blobs(self) -> Iterator[BlobInfo]:
        """All blobs there are."""
        ...

    def check(self, digest: str, *, full: bool = True, cancel: CancelToken | None = None) -> str:
        """`""` when a blob is whole, else `missing` or `damaged`; without `full` its content is not read."""
        ...

    def verify(self, manifest: ArtifactManifest) -> tuple[str, ...]:
        """Paths of the manifest whose blob or linked file is missing or changed; empty when all is well."""
        ...

    def collect(
        self,
        needed: Callable[[], frozenset[str]],
        *,
        grace_s: float,
        cache_budget_bytes: int | None,
        pinned: frozenset[str] = frozenset(),
        dry_run: bool = False,
        cancel: CancelToken | None = None,
    ) -> CollectReport:
        """Remove blobs older than `grace_s` that are not in `needed()`, expired uploads, and cache over its budget.

        `needed` is asked while nothing can be published, so a blob that is referenced in that moment stays. `pinned`
        names artifacts (digests of manifests) whose cache entry must stay. Raises `StoreError` (`store.locked`) while
        a backup or another collection runs.
        """
        ...

    def guard(self, purpose: str) -> AbstractContextManager[None]:
        """Keep collection away for as long as the block takes: for backups and checks. Raises `store.locked`."""
        ...


class StateStore(Protocol):
    """Rows that are written often: benchmark and batch runs, jobs, leases."""

    def generation(self) -> str:
        """A token that changes with every write, by this process or another; only compared within one process.

        Heartbeats, progress and leases do not change it.
        """
        ...

    def problem(self) -> StoreProblem | None:
        """Why the database can only be read, or not even that; None when all is well."""
        ...

    # ---- runs

    def add_benchmark(self, run: BenchmarkRun) -> None:
        """Keep a run durably; a run with the same id is replaced."""
        ...

    def add_benchmarks(self, runs: Sequence[BenchmarkRun]) -> None:
        """Keep several runs in one commit."""
        ...

    def remove_benchmark(self, run_id: str) -> bool:
        """Forget a run; whether there was one."""
        ...

    def benchmark(self, run_id: str) -> BenchmarkRun | None:
        """The run with this id."""
        ...

    def benchmarks(
        self, model: str | None = None, version: int | None = None, limit: int = 100
    ) -> tuple[BenchmarkRun, ...]:
        """Runs, newest first; `model` is a model id."""
        ...

    def newest_benchmarks(self, models: Sequence[str] | None = None) -> dict[str, dict[int, BenchmarkRun]]:
        """Newest complete run by model id and version, of these models or of all; none that was measured elsewhere."""
        ...

    def figures(self) -> dict[str, dict[int, BenchmarkFigures]]:
        """Figures of those runs by model id and version; cheap for ten thousand models."""
        ...

    def add_batch(self, result: BatchResult) -> None:
        """Keep the result of a batch durably; a result with the same id is replaced."""
        ...

    def remove_batch(self, result_id: str) -> bool:
        """Forget the result of a batch; whether there was one."""
        ...

    def batch(self, result_id: str) -> BatchResult | None:
        """The batch result with this id."""
        ...

    def batches(self, limit: int = 100) -> tuple[BatchResult, ...]:
        """Batch results, newest first."""
        ...

    def add_result(self, result: LabResult) -> None:
        """Keep a result of the lab durably; one with the same id is replaced."""
        ...

    def remove_result(self, result_id: str) -> bool:
        """Forget a result of the lab; whether there was one."""
        ...

    def result(self, result_id: str) -> LabResult | None:
        """The result of the lab with this id."""
        ...

    def results(
        self, kind: str | None = None, model: str | None = None, version: int | None = None, limit: int = 100
    ) -> tuple[LabResult, ...]:
        """Results of the lab, newest first; `model` is a model id."""
        ...

    def blobs(self) -> frozenset[str]:
        """Digests of all blobs that runs, results of the lab and live leases need."""
        ...

    # ---- jobs

    def add_jobs(self, records: Sequence[JobRecord]) -> None:
        """Keep new jobs in one commit."""
        ...

    def job(self, job_id: str) -> JobRecord | None:
        """The job with this id."""
        ...

    def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> tuple[JobRecord, ...]:
        """Jobs, newest first; of these states, or of all."""
        ...

    def change_job(self, job_id: str, change: Callable[[JobRecord], JobRecord]) -> JobRecord | None:
        """Read, change and write one job in one transaction; None when there is none. Sets `rev`."""
        ...

    def set_progress(self, progress: Mapping[str, Progress]) -> int:
        """Write the progress of live jobs by id in one commit; jobs that ended or are gone are left alone.

        Returns how many were written. Sets `rev`, but leaves the generation as it is.
        """
        ...

    def remove_jobs(self, job_ids: Sequence[str]) -> int:
        """Forget jobs; returns how many there were."""
        ...

    # ---- leases

    def acquire_lease(
        self, name: str, owner: str, ttl_s: float, *, note: str = "", digests: Sequence[str] = ()
    ) -> Lease | None:
        """Claim `name` for `ttl_s` seconds.

        Returns None when it is ours now, else the live lease of another owner. An owner may claim its own again.
        """
        ...

    def renew_lease(self, name: str, owner: str, ttl_s: float) -> bool:
        """Prolong a claim; False when it was lost to somebody else or removed."""
        ...

    def release_lease(self, name: str, owner: str) -> None:
        """Give a claim back; nothing happens when it is not ours."""
        ...

    def leases(self) -> tuple[Lease, ...]:
        """All leases, also those that ran out and were not taken away yet."""
        ...

    # ---- figures over time

    def add_rollups(self, rollups: Sequence[RollUp]) -> None:
        """Keep roll-ups in one commit; one whose key is there is added to it."""
        ...

    def rollups(
        self, model: str, *, version: str = "", since: int = 0, until: int = 2**62, limit: int = 100_000
    ) -> tuple[RollUp, ...]:
        """Roll-ups of a model that begin in [`since`, `until`), oldest first."""
        ...

    def thin_rollups(self, now: float, *, most: int = 500_000) -> int:
        """Make old roll-ups coarser, forget the oldest and those beyond `most`; returns how many rows went."""
        ...

    # ---- keeping

    def prune(self, *, keep_runs: int, keep_days: float, dry_run: bool = False) -> int:
        """Remove runs beyond the newest `keep_runs` of each version that are older than `keep_days`, batch results and
        ended jobs alike, and leases that ran out. The newest complete run of each version always stays. Returns rows.
        """
        ...

    def snapshot(self, target: Path) -> None:
        """Write a consistent copy of the whole database to a new file, durably."""
        ...

    def check(self) -> tuple[str, ...]:
        """What SQLite's integrity check and a decode of every row find; empty when all is well."""
        ...
