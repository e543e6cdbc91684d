"""The process of jobs: runs them in their order and heeds signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import ConflictError, NotFoundError, QuickServeError
from quickserveml_tui.services.job_attempt import JobAttempt, JobSinks
from quickserveml_tui.services.job_process import ProcessName

if TYPE_CHECKING:
    from quickserveml_tui.core.job_records import JobRecord
    from quickserveml_tui.services.home import LocalWorkbench

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DONE = 0


class JobProcess:
    """Runs jobs one after another; call `run` from the main thread.

    A signal stops the job under way if somebody asked to cancel it; a signal from elsewhere, such as Ctrl-C or the end
    of the system, stops that job and those after it. With `is_detached`, jobs that were cancelled or given to another
    process meanwhile are passed over.
    """

    def __init__(
        self, bench: LocalWorkbench, job_ids: Sequence[str], *, sinks: JobSinks | None = None, is_detached: bool = False
    ) -> None:
        self._bench = bench
        self._ids = tuple(dict.fromkeys(job_ids))
        self._sinks = sinks or JobSinks()
        self._is_detached = is_detached
        self._me = ProcessName.own()
        self._inbox: SimpleQueue[int] = SimpleQueue()  # the one queue that a signal handler may put into
        self._attempt: JobAttempt | None = None
        self._is_stopping = False
        self._was_asked = False
        """Whether the job before was cancelled by name: its signal may come late."""
        self._records: list[JobRecord] = []
        self._error: BaseException | None = None

    def run(self) -> tuple[JobRecord, ...]:
        """Run the jobs; returns their records. Raises what keeps a job from being run at all."""
        thread = threading.Thread(target=self._run_all, name="jobs", daemon=True)
        with self._handling_signals():
            thread.start()
            while self._inbox.get() != _DONE:
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
        is_asked = self._was_asked
        if attempt is not None:
            try:
                record = self._bench.state.job(attempt.id)
            except QuickServeError:  # whoever sent the signal wants something to end
                record = None
            is_for_this = record is None or record.cancel_asked
            if is_for_this or not is_asked:
                is_asked = record is not None and record.cancel_asked
                attempt.token.cancel()
        if not is_asked:
            self._is_stopping = True

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
        self._attempt = attempt
        if self._is_stopping:
            attempt.token.cancel()
        try:
            record = attempt.run()
        except (ConflictError, NotFoundError):
            if not self._is_detached:
                raise
            return
        finally:
            self._attempt = None
        self._was_asked = record.cancel_asked
        self._records.append(record)
