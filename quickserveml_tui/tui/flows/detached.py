"""Jobs in processes of their own, as a worker thread drives them: start, watch, fetch what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import CancelledError, QuickServeError
from quickserveml_tui.core.jobs import JobState

if TYPE_CHECKING:
    from quickserveml_tui.core.job_records import JobRecord
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.tui.jobs import UiJob
    from quickserveml_tui.tui.reporting import Reporter


def run_detached(workbench: Workbench, job: UiJob, reporter: Reporter) -> Any:
    """Start the job's process and watch it to its end; returns its result, or None when it was only left alone.

    Raises what ended the job.
    """
    assert job.request is not None
    record = workbench.jobs.start(job.request)
    job.record_id = record.id
    try:
        record = workbench.jobs.watch(
            record.id, on_progress=reporter.progress, on_frame=reporter.frame, cancel=job.cancel, detach=job.detach
        )
    finally:
        reporter.flush()
    return None if record.live else result_of(workbench, record)


def result_of(workbench: Workbench, record: JobRecord) -> Any:
    """What an ended job gave, also a partial result. Raises what ended a job that gave nothing."""
    if record.result_id:
        from quickserveml_tui.core.job_records import JobKind

        port = workbench.benchmark if record.kind is JobKind.BENCHMARK else workbench.batch
        return port.get(record.result_id)
    if record.state is JobState.CANCELLED:
        raise CancelledError(record.outcome or "Cancelled.", hint="What was finished before is kept.")
    if record.state is JobState.LOST:
        raise QuickServeError(
            f"The process of {record.kind.value} {record.subject} ended without a word.",
            hint="Resume it with R in pane 4, or look at its log: quickserveml job logs " + record.id,
            code="job.lost",
        )
    if record.state is JobState.FAILED:
        raise QuickServeError(
            record.outcome or "The job failed.", hint=f"Its log: quickserveml job logs {record.id}",
            code=record.error_code,
        )  # fmt: skip
    return None
