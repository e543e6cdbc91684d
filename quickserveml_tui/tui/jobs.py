"""The lane of jobs: one at a time, so that nothing disturbs a measurement."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quickserveml_tui.core.errors import CancelledError, QuickServeError
from quickserveml_tui.core.jobs import CancelToken, JobState, Progress, new_id

MAX_ENDED = 200
MAX_QUEUED = 1_000


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

    @property
    def jobs(self) -> tuple[UiJob, ...]:
        """All jobs: the running one, those that wait in their order, then ended ones, newest first."""
        running = [job for job in self._jobs if job.state is JobState.RUNNING]
        waiting = [job for job in self._jobs if job.state is JobState.QUEUED]
        ended = [job for job in self._jobs if not job.live]
        return (*running, *waiting, *sorted(ended, key=lambda job: job.ended or 0.0, reverse=True))

    @property
    def running(self) -> UiJob | None:
        """The job under way."""
        return next((job for job in self._jobs if job.state is JobState.RUNNING), None)

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return sum(job.state is JobState.QUEUED for job in self._jobs)

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return any(job.live for job in self._jobs)

    def submit(self, job: UiJob) -> None:
        """Put a job at the end of the lane. Raises `QuickServeError` when too many wait."""
        if self.waiting >= MAX_QUEUED:
            raise QuickServeError(
                "Too many jobs wait already.", hint="Cancel some with x in pane 4.", code="jobs.too_many"
            )
        self._jobs.append(job)

    def start_next(self) -> UiJob | None:
        """Mark the next job as running and return it; None while one runs or none waits."""
        if self.running is not None:
            return None
        job = next((job for job in self._jobs if job.state is JobState.QUEUED), None)
        if job is not None:
            job.state, job.started = JobState.RUNNING, time.monotonic()
            job.progress = Progress("starting")
        return job

    def finish(self, job: UiJob, result: Any, error: QuickServeError | None, clock: str) -> None:
        """Record the end of a job."""
        job.ended, job.ended_clock, job.result = time.monotonic(), clock, result
        if job.cancel.cancelled or isinstance(error, CancelledError):
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
        """Ask every live job to stop."""
        for job in self.jobs:
            if job.live:
                self.cancel(job, clock)

    def hold_reason(self, job: UiJob) -> str:
        """Why a waiting job waits: `held` while something is measured, else `queued`."""
        running = self.running
        if job.state is not JobState.QUEUED or running is None:
            return ""
        return "held" if running.kind == "benchmark" else "queued"
