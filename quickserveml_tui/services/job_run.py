"""The process of jobs: runs them in their order and heeds signals."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import ConflictError, NotFoundError, QuickServeError
from quickserveml_tui.services.job_attempt import JobAttempt, JobSinks
from quickserveml_tui.services.job_folders import check_id
from quickserveml_tui.services.job_process import ProcessName

if TYPE_CHECKING:
    from quickserveml_tui.core.job_records import JobRecord
    from quickserveml_tui.services.home import LocalWorkbench

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DONE = 0
_LATE_S = 5.0
"""How long after its job the signal of a cancel may still come."""


class JobProcess:
    """Runs jobs one after another; call `run` from the main thread.

    A signal stops the job under way if somebody asked to cancel it; a signal from elsewhere, such as Ctrl-C or the end
    of the system, stops that job and those after it; a second Ctrl-C waits for nothing. With `is_detached`, jobs that
    were cancelled or given to another process meanwhile are passed over, and no Ctrl-C hurries anything.
    """

    def __init__(
        self, bench: LocalWorkbench, job_ids: Sequence[str], *, sinks: JobSinks | None = None, is_detached: bool = False
    ) -> None:
        self._bench = bench
        self._ids = tuple(check_id(job_id) for job_id in dict.fromkeys(job_ids))
        self._sinks = sinks or JobSinks()
        self._is_detached = is_detached
        self._me = ProcessName.own()
        self._inbox: SimpleQueue[int] = SimpleQueue()  # the one queue that a signal handler may put into
        self._attempt: JobAttempt | None = None
        self._is_stopping = False
        self._has_heard = False
        """Whether the signal of whoever cancelled the job under way has come."""
        self._late_until_s = 0.0
        """Until when the signal for the job before may still come, once."""
        self._records: list[JobRecord] = []
        self._error: BaseException | None = None

    def run(self) -> tuple[JobRecord, ...]:
        """Run the jobs; returns their records.

        Raises what keeps a job from being run at all, and `KeyboardInterrupt` for a second Ctrl-C.
        """
        thread = threading.Thread(target=self._run_all, name="jobs", daemon=True)
        with self._handling_signals():
            thread.start()
            while (received := self._inbox.get()) != _DONE:
                if received == signal.SIGINT and self._is_stopping and not self._is_detached:
                    raise KeyboardInterrupt
                self._heed()
        if self._error is not None:
            raise self._error
        return tuple(self._records)

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        before: dict[int, Any] = {}
        for number in map(int, _SIGNALS):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                before[number] = signal.signal(number, lambda received, _frame: self._inbox.put(received))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heed(self) -> None:
        attempt = self._attempt
        if attempt is not None and self._is_cancelled(attempt.id):
            self._has_heard = True
            attempt.token.cancel()
            return
        was_late = time.monotonic() < self._late_until_s
        self._late_until_s = 0.0
        if was_late:
            return
        self._is_stopping = True
        if attempt is not None:
            attempt.token.cancel()

    def _is_cancelled(self, job_id: str) -> bool:
        """Whether somebody asked this job to stop."""
        try:
            record = self._bench.state.job(job_id)
        except QuickServeError:  # whoever sent the signal wants something to end
            return False
        return record is not None and record.cancel_asked

    def _run_all(self) -> None:
        try:
            for job_id in self._ids:
                self._run_one(job_id)
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self._error = error
        finally:
            self._inbox.put(_DONE)

    def _run_one(self, job_id: str) -> None:
        attempt = JobAttempt(self._bench, job_id, self._me, self._sinks, takes_over=not self._is_detached)
        self._has_heard = False
        self._attempt = attempt
        if self._is_stopping:
            attempt.token.cancel()
        try:
            record = attempt.run()
            if record.cancel_asked and not self._has_heard:
                self._late_until_s = time.monotonic() + _LATE_S
        except (ConflictError, NotFoundError):
            if not self._is_detached:
                raise
            return
        finally:
            self._attempt = None
        self._records.append(record)
