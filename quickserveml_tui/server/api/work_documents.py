"""Jobs, benchmarks and batches as this interface shows them: no path of the server in any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSpec, BenchmarkSummary, Fingerprint
from quickserveml_tui.core.job_records import JobKind, JobRecord
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.core.predictions import BatchResult, RowFailure
from quickserveml_tui.core.refs import PathRef, looks_like_path, parse_ref
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.job_lane import WAITING
from quickserveml_tui.services.job_outcome import result_id_of


@dataclass(frozen=True, slots=True)
class ErrorDocument:
    """Why something failed."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class JobDocument:
    """A job."""

    id: str
    kind: JobKind
    ref: str
    """`name@version`; the name of the file where it is not registered."""
    subject: str
    origin: str
    state: JobState
    progress: Progress
    fraction: float | None
    """Done share between 0 and 1; null while unknown."""
    created_at: str
    started_at: str | None
    ended_at: str | None
    outcome: str
    error: ErrorDocument | None
    result_id: str
    """Id under which its result is, or will be, found."""
    cancel_asked: bool
    attempt: int


@dataclass(frozen=True, slots=True)
class BenchmarkDocument:
    """A saved benchmark. Times are milliseconds unless a name says otherwise."""

    id: str
    ref: str
    model: str
    """Id of the model; empty for a file that is not registered."""
    version: int | None
    created_at: str
    summary: BenchmarkSummary
    fingerprint: Fingerprint
    spec: BenchmarkSpec
    command: str
    """What repeats it on the command line."""
    metadata: dict[str, str]
    capped: bool


@dataclass(frozen=True, slots=True)
class BatchMetrics:
    """How the predictions compare with the ground truth."""

    accuracy: float
    correct: int
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows by true class, columns by predicted class."""


@dataclass(frozen=True, slots=True)
class BatchDocument:
    """A batch: its figures are null until it has ended."""

    id: str
    ref: str
    state: JobState
    job_id: str | None
    """The job that runs it, while that is known."""
    created_at: str
    rows: int | None = None
    failed: int | None = None
    elapsed_s: float | None = None
    throughput_per_s: float | None = None
    metrics: BatchMetrics | None = None
    failures: tuple[RowFailure, ...] = ()
    """The first 100 rows that were set apart."""
    has_output: bool = False
    """Whether the predictions can be downloaded."""
    outcome: str = ""
    error: ErrorDocument | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """A part of the jobs, newest first."""

    jobs: tuple[JobDocument, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class BenchmarkPage:
    """A part of the benchmarks of a model, newest first."""

    benchmarks: tuple[BenchmarkDocument, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class BatchPage:
    """A part of the batches of a model, newest first."""

    batches: tuple[BatchDocument, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Started:
    """Work that was started: the job to follow and the id of what it will give."""

    job: JobDocument
    result_id: str


def shown_ref(ref: str) -> str:
    """A reference without the folders of a path."""
    return safe_text(Path(ref).name if looks_like_path(ref) else ref, 200)


def model_name(ref: str) -> str:
    """The model that a reference is about, by the name that keys are given; a file's name stands for a path."""
    if looks_like_path(ref):
        return Path(ref).name
    parsed = parse_ref(ref)
    return str(parsed.path.name) if isinstance(parsed, PathRef) else parsed.name


def _error(record: JobRecord) -> ErrorDocument | None:
    return ErrorDocument(record.error_code, record.outcome, record.hint) if record.error_code else None


def shown_progress(progress: Progress) -> Progress:
    """Progress as callers may see it: what a job waits for names the work of others."""
    return replace(progress, note="") if progress.phase == WAITING else progress


def job_document(record: JobRecord) -> JobDocument:
    """A job."""
    return JobDocument(
        id=record.id,
        kind=record.kind,
        ref=shown_ref(record.request.ref),
        subject=record.subject,
        origin=record.request.origin,
        state=record.state,
        progress=shown_progress(record.progress),
        fraction=record.fraction,
        created_at=record.created_at,
        started_at=record.started_at or None,
        ended_at=record.ended_at or None,
        outcome=record.outcome,
        error=_error(record),
        result_id=record.result_id or result_id_of(record),
        cancel_asked=record.cancel_asked,
        attempt=record.attempt,
    )


def benchmark_document(run: BenchmarkRun) -> BenchmarkDocument:
    """A saved benchmark."""
    ref = shown_ref(run.ref)
    return BenchmarkDocument(
        id=run.id,
        ref=ref,
        model=run.model,
        version=run.version,
        created_at=run.created_at,
        summary=run.summary,
        fingerprint=run.fingerprint,
        spec=run.spec,
        command=run.spec.command(ref),
        metadata=dict(run.metadata),
        capped=run.capped,
    )


def batch_document(result: BatchResult, *, has_output: bool, job_id: str | None = None) -> BatchDocument:
    """The result of a batch."""
    metrics = None
    if result.accuracy is not None:
        metrics = BatchMetrics(result.accuracy, result.correct, result.classes, result.confusion)
    return BatchDocument(
        id=result.id,
        ref=shown_ref(result.ref),
        state=JobState.CANCELLED if result.cancelled else JobState.DONE,
        job_id=job_id,
        created_at=result.created_at,
        rows=result.rows,
        failed=result.failed,
        elapsed_s=result.elapsed_s,
        throughput_per_s=result.throughput_per_s,
        metrics=metrics,
        failures=result.failures,
        has_output=has_output,
    )


def batch_of_job(record: JobRecord) -> BatchDocument:
    """A batch that has no result yet, or none at all."""
    return BatchDocument(
        id=result_id_of(record),
        ref=shown_ref(record.request.ref),
        state=record.state,
        job_id=record.id,
        created_at=record.created_at,
        outcome=record.outcome,
        error=_error(record),
    )
