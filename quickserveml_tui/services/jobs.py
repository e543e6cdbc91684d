"""The board of jobs under way in this process and what became of them."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import CancelledError, QuickServeError, UnavailableError
from quickserveml_tui.core.jobs import CancelToken, JobRecord, JobState, Progress, new_id
from quickserveml_tui.core.text import safe_text

MAX_JOBS = 200


class _Handle:
    """`JobHandle` of one job."""

    def __init__(self, job_id: str, report: Callable[[str, Progress], None]) -> None:
        self._id = job_id
        self._cancel = CancelToken()
        self._report = report

    @property
    def id(self) -> str:
        """Job id."""
        return self._id

    @property
    def cancel(self) -> CancelToken:
        """Cancelled by whoever watches the job."""
        return self._cancel

    def report(self, progress: Progress) -> None:
        """Say how far it is; a report after the end is dropped."""
        self._report(self._id, progress)


class JobBoard:
    """`JobsPort`: safe to use from any thread; keeps the 200 newest jobs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, JobRecord] = {}
        self._running: dict[str, _Handle] = {}

    @contextmanager
    def run(self, kind: str, subject: str) -> Iterator[_Handle]:
        """Keep a job on the board while the block runs; its end decides the state.

        Raises `UnavailableError` (`jobs.full`) while 200 jobs are under way.
        """
        handle = self._begin(kind, subject)
        try:
            yield handle
        except CancelledError as error:
            self._end(handle.id, JobState.CANCELLED, error.message)
            raise
        except BaseException as error:
            self._end(handle.id, JobState.FAILED, _sentence(error))
            raise
        if handle.cancel.cancelled:
            self._end(handle.id, JobState.CANCELLED, "Cancelled; what was finished before is kept.")
        else:
            self._end(handle.id, JobState.DONE, "")

    def list(self) -> tuple[JobRecord, ...]:
        """Jobs, newest first; the 200 last."""
        with self._lock:
            return tuple(reversed(self._records.values()))

    def cancel(self, job_id: str) -> bool:
        """Ask a job to stop; False when it is not running."""
        with self._lock:
            handle = self._running.get(job_id)
        if handle is None:
            return False
        handle.cancel.cancel()  # outside the lock: its callbacks may look at the board
        return True

    @property
    def running(self) -> int:
        """Jobs under way."""
        with self._lock:
            return len(self._running)

    def _begin(self, kind: str, subject: str) -> _Handle:
        record = JobRecord(new_id("job"), kind, subject, JobState.RUNNING, Progress("starting"), utc_now())
        handle = _Handle(record.id, self._report)
        with self._lock:
            if len(self._running) >= MAX_JOBS:
                raise UnavailableError(
                    f"{MAX_JOBS} jobs are under way.", hint="Wait until one has ended, or cancel one.", code="jobs.full"
                )
            for old in self._ended()[: max(len(self._records) + 1 - MAX_JOBS, 0)]:
                del self._records[old]
            self._records[record.id] = record
            self._running[record.id] = handle
        return handle

    def _ended(self) -> builtins.list[str]:
        return [job_id for job_id in self._records if job_id not in self._running]

    def _report(self, job_id: str, progress: Progress) -> None:
        with self._lock:
            if job_id in self._running:
                self._records[job_id] = replace(self._records[job_id], progress=progress)

    def _end(self, job_id: str, state: JobState, outcome: str) -> None:
        with self._lock:
            del self._running[job_id]
            record = self._records[job_id]
            self._records[job_id] = replace(
                record, state=state, ended_at=utc_now(), outcome=outcome or record.progress.note or "Done."
            )


def _sentence(error: BaseException) -> str:
    if isinstance(error, QuickServeError):
        return error.message
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return "Interrupted."
    text = safe_text(error, 200)
    return f"{type(error).__name__}: {text}" if text else f"{type(error).__name__}."
