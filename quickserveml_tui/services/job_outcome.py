"""How the work of a job ended: as its process says it, or as others find out once that process is gone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quickserveml_tui.core.benchmarks import CAPPED
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ExitCode, QuickServeError, RunnerError
from quickserveml_tui.core.job_records import JobKind, JobRecord, Lease
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import significant
from quickserveml_tui.services.job_process import is_lost

if TYPE_CHECKING:
    from quickserveml_tui.core.benchmarks import BenchmarkRun
    from quickserveml_tui.core.predictions import BatchResult
    from quickserveml_tui.core.stores import StateStore

_EXIT_CODES = {
    JobState.DONE: ExitCode.DONE,
    JobState.CANCELLED: ExitCode.INTERRUPTED,
    JobState.FAILED: ExitCode.GATE_FAILED,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the work of a job ended."""

    state: JobState
    sentence: str
    result_id: str = ""
    error: QuickServeError | None = None


def ended(record: JobRecord, outcome: Outcome, progress: Progress | None = None) -> JobRecord:
    """The record of a job that has ended so."""
    error = outcome.error
    return replace(
        record,
        state=outcome.state,
        progress=progress or record.progress,
        ended_at=utc_now(),
        outcome=safe_text(outcome.sentence, 500),
        result_id=outcome.result_id,
        error_code=error.code if error else "",
        hint=safe_text(error.hint, 500) if error else "",
        exit_code=int(error.exit_code if error else _EXIT_CODES[outcome.state]),
    )


# ---- results --------------------------------------------------------------------------------------------------------


def result_id_of(record: JobRecord) -> str:
    """Id under which this attempt at the job saves its result.

    It follows from the record, so that a result is recognised when the process was killed before it could name it.
    """
    prefix = "bench" if record.kind is JobKind.BENCHMARK else "batch"
    return f"{prefix}-{hashlib.sha256(f'{record.id}/{record.attempt}'.encode()).hexdigest()[:12]}"


def benchmark_outcome(run: BenchmarkRun) -> Outcome:
    """The outcome of a job that saved this run."""
    summary = run.summary
    text = f"p50 {significant(summary.latency_ms.p50)} ms, {plural(summary.n, 'inference')}"
    text = f"{'Cancelled: ' if summary.cancelled else ''}{text}{', noisy' if summary.noisy else ''}"
    text = f"{text}; {CAPPED}." if run.capped else f"{text}."
    return Outcome(_state(cancelled=summary.cancelled), text, run.id)


def batch_outcome(result: BatchResult) -> Outcome:
    """The outcome of a job that saved this result."""
    parts = [plural(result.rows, "row")]
    if result.accuracy is not None:
        parts.append(f"accuracy {result.accuracy * 100:.2f} %")
    if result.failed:
        parts.append(f"{plural(result.failed, 'row')} set apart")
    text = f"{'Cancelled: ' if result.cancelled else ''}{', '.join(parts)}."
    return Outcome(_state(cancelled=result.cancelled), text, result.id)


def _state(*, cancelled: bool) -> JobState:
    return JobState.CANCELLED if cancelled else JobState.DONE


# ---- jobs whose process is gone -------------------------------------------------------------------------------------


def fate_of(state: StateStore, record: JobRecord) -> Outcome:
    """What became of a job whose process is gone: it ended with the result that it saved, else it is lost.

    Ask only after the process was seen to be gone, or it may save its result in between. Raises `StoreError`.
    """
    if record.kind is JobKind.BENCHMARK:
        run = state.benchmark(result_id_of(record))
        found = None if run is None else benchmark_outcome(run)
    else:
        result = state.batch(result_id_of(record))
        found = None if result is None else batch_outcome(result)
    if found is not None:
        return found
    sentence = "Its process ended without a word."
    error = RunnerError(sentence, hint=f"quickserveml job resume {record.id}", code="job.lost")
    return Outcome(JobState.LOST, sentence, error=error)


def leases_by_name(state: StateStore, records: Iterable[JobRecord]) -> Mapping[str, Lease]:
    """The leases, where they are needed to tell whether one of the jobs is lost."""
    return {lease.name: lease for lease in state.leases()} if any(record.live for record in records) else {}


def judged(state: StateStore, records: Iterable[JobRecord]) -> tuple[JobRecord, ...]:
    """The jobs, with those that ended whose process is gone; nothing is written. Raises `StoreError`."""
    found = tuple(records)
    leases = leases_by_name(state, found)
    return tuple(ended(item, fate_of(state, item)) if is_lost(item, leases) else item for item in found)
