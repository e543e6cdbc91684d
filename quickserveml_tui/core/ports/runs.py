"""Measure models, run data sets through them, in the foreground or in jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSpec
from quickserveml_tui.core.job_records import JobEvents, JobRecord, JobRequest
from quickserveml_tui.core.jobs import CancelToken, JobState, ProgressSink, ignore_progress
from quickserveml_tui.core.metric_history import RollUp
from quickserveml_tui.core.predictions import BatchResult, BatchSpec
from quickserveml_tui.core.runners import FrameSink


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

    def delete(self, run_id: str) -> None:
        """Forget a saved run. Raises `NotFoundError`."""
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

    def delete(self, result_id: str) -> None:
        """Forget a saved result; its output stays. Raises `NotFoundError`."""
        ...

    def history(self, limit: int = 100) -> tuple[BatchResult, ...]:
        """Results, newest first."""
        ...


class MetricHistoryPort(Protocol):
    """Figures of served versions over time."""

    def record(self, rollups: Sequence[RollUp]) -> None:
        """Keep figures; what is there for the same minute is added up. `model` is the served name."""
        ...

    def read(
        self, name: str, *, version: str = "", since: int = 0, until: int = 2**62, step_s: int = 60
    ) -> tuple[RollUp, ...]:
        """Figures of a model between two times (Unix), oldest first, in steps of `step_s` or what is kept coarser."""
        ...

    def thin(self, now: float) -> int:
        """Make old figures coarser and forget the oldest; returns how many rows went."""
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
