"""The lane of jobs: one at a time, so that nothing disturbs a measurement; beside it the jobs of other fronts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import CancelledError, QuickServeError
from quickserveml_tui.core.jobs import CancelToken, JobState, Progress, new_id
from quickserveml_tui.tui.times import epoch_of, local_clock

if TYPE_CHECKING:
    from quickserveml_tui.core.job_records import JobRecord, JobRequest

MAX_ENDED = 200
MAX_ENDED_ELSEWHERE = 20
MAX_QUEUED = 1_000
RESUMABLE = (JobState.LOST, JobState.FAILED, JobState.CANCELLED)


@dataclass(eq=False)
class UiJob:
    """A job as the workbench shows it; `progress` is written by its worker, everything else by handlers."""

    kind: str
    """`benchmark`, `batch`, `add`, `demo`."""
    subject: str
    work: Callable[[UiJob], Any]
    """Blocking call, made in a worker thread."""
    id: str = field(default_factory=lambda: new_id("ui"))
    state: JobState = JobState.QUEUED
    progress: Progress = field(default_factory=lambda: Progress("waiting"))
    cancel: CancelToken = field(default_factory=CancelToken)
    started: float | None = None
    """Monotonic time of its start."""
    ended: float | None = None
    ended_clock: str = ""
    outcome: str = ""
    """One sentence once it has ended."""
    detail: Any = None
    """What the job's own pane needs to know of it, such as the benchmark's settings."""
    result: Any = None
    error: QuickServeError | None = None
    """Why it failed."""
    party: list[UiJob] = field(default_factory=list)
    """All jobs that were asked for together, itself among them: their ends are told once, in one sentence."""
    request: JobRequest | None = None
    """What a process of its own is asked for; None for work that ends with this one."""
    record_id: str = ""
    """Id of the detached job, once it is recorded."""
    record: JobRecord | None = None
    """The job as the home keeps it, where it is not on this lane."""
    detach: CancelToken = field(default_factory=CancelToken)
    """Ends the watching, not the job."""
    ended_at: float = 0.0
    """When it ended, in seconds since the epoch."""

    @property
    def elsewhere(self) -> bool:
        """Whether it runs without this lane: started by another front, or before this one."""
        return self.record is not None

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop."""
        return self.cancel.cancelled or (self.record is not None and self.record.cancel_asked)

    @property
    def live(self) -> bool:
        """Whether it still waits or runs."""
        return self.state in (JobState.QUEUED, JobState.RUNNING)

    @property
    def elapsed_s(self) -> float:
        """Seconds it has run."""
        return 0.0 if self.started is None else (self.ended or time.monotonic()) - self.started


class JobLane:
    """Jobs in the order they were asked for; bounded on both ends."""

    def __init__(self) -> None:
        self._jobs: list[UiJob] = []
        self._elsewhere: dict[str, UiJob] = {}
        self.closed = False
        """Whether the window is about to close: nothing starts any more, and nobody is told."""

    @property
    def jobs(self) -> tuple[UiJob, ...]:
        """All jobs: what runs, what waits in its order, what was lost, then ended ones, newest first."""
        jobs = [*self._jobs, *self._elsewhere.values()]
        running = [job for job in jobs if job.state is JobState.RUNNING]
        waiting = [job for job in jobs if job.state is JobState.QUEUED]
        lost = [job for job in jobs if job.state is JobState.LOST]
        ended = [job for job in jobs if not job.live and job.state is not JobState.LOST]
        return (*running, *waiting, *lost, *sorted(ended, key=lambda job: job.ended_at, reverse=True))

    @property
    def own(self) -> tuple[UiJob, ...]:
        """Live jobs of this lane, the running one first."""
        return tuple(sorted((job for job in self._jobs if job.live), key=lambda job: job.state is JobState.QUEUED))

    @property
    def elsewhere(self) -> tuple[UiJob, ...]:
        """Jobs of other fronts."""
        return tuple(self._elsewhere.values())

    @property
    def follows_any(self) -> bool:
        """Whether a job of another front still runs or waits."""
        return any(job.live for job in self._elsewhere.values())

    @property
    def running(self) -> UiJob | None:
        """The job under way."""
        return next((job for job in self._jobs if job.state is JobState.RUNNING), None)

    @property
    def waiting(self) -> int:
        """Jobs that wait, wherever they do."""
        return sum(job.state is JobState.QUEUED for job in self.jobs)

    @property
    def busy(self) -> bool:
        """Whether anything of this lane runs or waits."""
        return any(job.live for job in self._jobs)

    def submit(self, job: UiJob) -> None:
        """Put a job at the end of the lane. Raises `QuickServeError` when too many wait."""
        if self.waiting >= MAX_QUEUED:
            raise QuickServeError(
                "Too many jobs wait already.", hint="Cancel some with x in pane 4.", code="jobs.too_many"
            )
        self._jobs.append(job)

    def start_next(self) -> UiJob | None:
        """Mark the next job as running and return it; None while one is in its way, or none waits."""
        if self.running is not None or self.closed:
            return None
        job = next((job for job in self._jobs if job.state is JobState.QUEUED), None)
        if job is not None and self.in_the_way(job) is not None:
            return None
        if job is not None:
            job.state, job.started = JobState.RUNNING, time.monotonic()
            job.progress = Progress("starting")
        return job

    def finish(self, job: UiJob, result: Any, error: QuickServeError | None, clock: str) -> None:
        """Record the end of a job."""
        job.error = error
        job.ended, job.ended_clock, job.result, job.ended_at = time.monotonic(), clock, result, time.time()
        partial = bool(getattr(getattr(result, "summary", result), "cancelled", False))
        if job.cancel.cancelled or partial or isinstance(error, CancelledError):
            job.state = JobState.CANCELLED
        else:
            job.state = JobState.FAILED if error else JobState.DONE
        ended = [item for item in self._jobs if not item.live]
        for old in ended[:-MAX_ENDED]:
            self._jobs.remove(old)

    def cancel(self, job: UiJob, clock: str) -> None:
        """Ask a job to stop; one that waits ends at once."""
        job.cancel.cancel()
        if job.state is JobState.QUEUED:
            self.finish(job, None, CancelledError("Cancelled before it began."), clock)
            job.outcome = "cancelled before it began"

    def cancel_all(self, clock: str) -> None:
        """Ask every live job of this lane to stop."""
        for job in self.own:
            self.cancel(job, clock)

    def close(self) -> None:
        """Start nothing more, and stop watching what goes on without this process."""
        self.closed = True
        for job in self.jobs:
            job.detach.cancel()

    def in_the_way(self, job: UiJob) -> UiJob | None:
        """The running job that `job` waits for: a measurement wants the machine for itself, whoever started it."""
        if self.running is not None:
            return self.running
        others = [other for other in self._elsewhere.values() if other.state is JobState.RUNNING]
        measuring = next((other for other in others if other.kind == "benchmark"), None)
        return measuring or (others[0] if others and job.kind == "benchmark" else None)

    def hold_reason(self, job: UiJob) -> str:
        """Why a waiting job waits: `held` while something is measured, else `queued`."""
        if job.state is not JobState.QUEUED or job.elsewhere:
            return ""
        blocker = self.in_the_way(job)
        return "" if blocker is None else "held" if blocker.kind == "benchmark" else "queued"

    def forget(self, job: UiJob) -> None:
        """Take an ended job off the list."""
        if job in self._jobs and not job.live:
            self._jobs.remove(job)
        self._elsewhere.pop(job.record_id, None)

    # ---- jobs of other fronts

    def take_records(self, records: Sequence[JobRecord]) -> tuple[UiJob, ...]:
        """Bring the jobs of other fronts in line with what the home keeps; returns those that ended since."""
        watched = {job.record_id: job for job in self._jobs if job.record_id}
        kept: dict[str, UiJob] = {}
        ended: list[UiJob] = []
        shown = 0
        for record in records:
            mine = watched.get(record.id)
            if mine is not None and (mine.live or not record.live):
                continue
            if mine is not None:  # it was resumed: from now on it is the home's
                self._jobs.remove(mine)
            shown += not record.live
            if not record.live and shown > MAX_ENDED_ELSEWHERE:
                continue
            job = self._elsewhere.get(record.id) or UiJob(record.kind.value, record.subject, _nothing, id=record.id)
            if job.live and job.record is not None and not record.live:
                ended.append(job)
            _follow_record(job, record)
            kept[record.id] = job
        self._elsewhere = kept
        return tuple(ended)


def _nothing(_job: UiJob) -> None:
    """Work of another front is not done here."""


def _follow_record(job: UiJob, record: JobRecord) -> None:
    job.record, job.record_id, job.state, job.progress = record, record.id, record.state, record.progress
    job.outcome = record.outcome or ("its process died" if record.state is JobState.LOST else "")
    job.request = record.request
    job.ended_at = epoch_of(record.ended_at or record.created_at)
    job.ended_clock = local_clock(record.ended_at)
    if record.live:
        job.result = None
