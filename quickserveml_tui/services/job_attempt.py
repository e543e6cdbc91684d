"""One attempt at a job, in the process that runs it: claim it, wait for the lane, work, say how it ended."""

from __future__ import annotations

import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from quickserveml_tui.core.benchmarks import UnsavedRunError
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import CancelledError, ConflictError, QuickServeError
from quickserveml_tui.core.job_records import JobKind, JobRecord, Lease
from quickserveml_tui.core.jobs import CancelToken, JobState, Progress, ProgressSink, ignore_progress
from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.services.job_folders import JobLog, make_job_folder, no_such_job
from quickserveml_tui.services.job_lane import LANE, LEASE_TTL_S, Lane, claim, lease_of, waiting_for
from quickserveml_tui.services.job_outcome import (
    Outcome,
    batch_outcome,
    benchmark_outcome,
    ended,
    fate_of,
    result_id_of,
)
from quickserveml_tui.services.job_process import ProcessName, is_lost
from quickserveml_tui.services.job_spool import SpoolWriter
from quickserveml_tui.services.job_telemetry import JobTelemetry
from quickserveml_tui.services.leases import LeaseKeeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from quickserveml_tui.core.benchmarks import BenchmarkFrame
    from quickserveml_tui.core.runners import FrameSink
    from quickserveml_tui.services.home import LocalWorkbench

    _Change: TypeAlias = Callable[[JobRecord], JobRecord]

LANE_POLL_S = 0.2
_OLD_HOLDER_S = 20.0
"""How long to wait for the lease of an attempt that is about to end."""
_RECORD_TRIES = 5


@dataclass(frozen=True, slots=True)
class JobSinks:
    """Who listens in the process itself."""

    on_progress: ProgressSink = ignore_progress
    on_frame: FrameSink | None = None


class JobAttempt:
    """Runs one job once. `token` stops it; with `takes_over` also a job that another process lost."""

    def __init__(
        self, bench: LocalWorkbench, job_id: str, me: ProcessName, sinks: JobSinks, *, takes_over: bool
    ) -> None:
        self.id = job_id
        self.token = CancelToken()
        self._bench = bench
        self._state = bench.state
        self._me = me
        self._sinks = sinks
        self._takes_over = takes_over

    def run(self) -> JobRecord:
        """Run the job to its end and return its record.

        Raises `NotFoundError`, and `ConflictError` when the job has ended (`job.ended`) or another process runs it
        (`job.running`); everything that happens after is an outcome of the job.
        """
        self._current()
        self._claim()  # first: where nothing may be written, this says so
        folder = make_job_folder(self._bench.home, self.id)
        with ExitStack() as stack:
            self._log = JobLog(folder)
            stack.callback(self._log.close)
            keeper = stack.enter_context(LeaseKeeper(self._state, lease_of(self.id), str(self._me), LEASE_TTL_S))
            record = self._take()
            spool = SpoolWriter(folder)
            stack.callback(spool.close)
            self._say(f"Attempt {record.attempt} of {self.id}, {record.subject}, in process {self._me.pid}.")
            if self._wait_for_lane(spool) and not keeper.lost.is_set():
                stack.enter_context(LeaseKeeper(self._state, LANE, str(self._me), LEASE_TTL_S, note=self.id))
                self._work(spool)
            record = self._current()
            spool.end()
            return record

    # ---- claiming -------------------------------------------------------------------------------------------------

    def _current(self) -> JobRecord:
        record = self._state.job(self.id)
        if record is None:
            raise no_such_job(self.id)
        return record

    def _is_mine(self, record: JobRecord) -> bool:
        return ProcessName.of(record) == self._me

    def _claim(self) -> None:
        deadline = time.monotonic() + _OLD_HOLDER_S
        while (held := claim(self._state, lease_of(self.id), self._me)) is not None:
            if not self._is_mine(self._current()) or time.monotonic() > deadline:
                raise _runs_elsewhere(self.id, ProcessName.parse(held.owner))
            time.sleep(LANE_POLL_S)  # not on the token: once it is cancelled, that would not wait

    def _take(self) -> JobRecord:
        record = self._current()
        if self._is_mine(record) and record.state is JobState.QUEUED:
            return record
        leases = {lease.name: lease for lease in self._state.leases()}
        # Asked before, as nothing may be read within the change.
        fate = fate_of(self._state, record) if is_lost(record, leases) else None
        taken = self._state.change_job(self.id, lambda record: self._taken(record, leases, fate))
        if taken is None:
            raise no_such_job(self.id)
        return taken

    def _taken(self, record: JobRecord, leases: dict[str, Lease], fate: Outcome | None) -> JobRecord:
        if self._is_mine(record) and record.state is JobState.LOST:  # judged by somebody who cannot see us
            return replace(record, state=JobState.QUEUED)
        if record.state is not JobState.LOST and not record.live:
            raise ConflictError(
                f"The job {self.id} has ended.", hint=f"quickserveml job resume {self.id}", code="job.ended"
            )
        if not self._takes_over or (record.live and not is_lost(record, leases)):
            raise _runs_elsewhere(self.id, ProcessName.of(record))
        if record.live and fate is not None and fate.result_id:  # all that is left to do is to say so
            return ended(record, fate)
        return begun_anew(record, self._me)

    # ---- the lane -------------------------------------------------------------------------------------------------

    def _wait_for_lane(self, spool: SpoolWriter) -> bool:
        """Whether the lane is ours; False when the job was cancelled or taken away before."""
        lane = Lane(self._state, self._me)
        announced = ""
        while True:
            record = self._current()
            if not self._is_mine(record) or record.state is not JobState.QUEUED:
                return False
            if self.token.cancelled:
                self._end(Outcome(JobState.CANCELLED, "Cancelled before it began."))
                return False
            before = lane.try_enter(record)
            if not before:
                return True
            if before != announced:
                announced = before
                self._announce(waiting_for(before, self._subject_of), spool)
            self.token.wait(LANE_POLL_S)

    def _announce(self, waiting: Progress, spool: SpoolWriter) -> None:
        self._change(lambda record: replace(record, progress=waiting) if record.live else record)
        spool.progress(waiting)
        self._sinks.on_progress(waiting)
        self._say(f"Waiting {waiting.note}.")

    def _subject_of(self, job_id: str) -> str:
        record = self._state.job(job_id)
        return record.subject if record else ""

    # ---- work -----------------------------------------------------------------------------------------------------

    def _work(self, spool: SpoolWriter) -> None:
        begun = self._change(_begun)
        if begun is None or not self._is_mine(begun) or begun.state is not JobState.RUNNING:
            return
        telemetry = JobTelemetry(spool, self._publish, begun.request.benchmark)
        with telemetry:
            outcome = self._outcome(begun, telemetry)
        self._end(outcome, telemetry.newest)

    def _publish(self, progress: Progress | None) -> None:
        """Write the newest progress and see what others want."""
        self._log.trim()
        try:
            if progress is None:
                record = self._state.job(self.id)
            else:
                record = self._change(lambda old: replace(old, progress=progress) if old.live else old)
        except QuickServeError as error:
            self._say(f"The progress could not be written: {error.message}")
            return
        if record is None or not self._is_mine(record) or record.cancel_asked:
            self.token.cancel()

    def _outcome(self, record: JobRecord, telemetry: JobTelemetry) -> Outcome:
        try:
            model = self._bench.catalog.resolve(record.request.ref, runnable=True, cancel=self.token)
            with self._bench.holding([model], "job"):
                return self._run_request(record, telemetry)
        except CancelledError as error:
            return Outcome(JobState.CANCELLED, error.message, error=error)
        except UnsavedRunError as error:
            figures = benchmark_outcome(error.run).sentence
            self._say(f"Measured: {figures}")
            return Outcome(JobState.FAILED, f"{error.message} It was: {figures}", error=error)
        except QuickServeError as error:
            if error.detail:
                self._say(error.detail)
            return Outcome(JobState.FAILED, error.message, error=error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job has failed and must say so
            self._say(traceback.format_exc())
            sentence = f"The program failed: {type(error).__name__}: {safe_text(error, 200)}."
            return Outcome(
                JobState.FAILED, sentence, error=QuickServeError(sentence, hint="The log of the job has it.")
            )

    def _run_request(self, record: JobRecord, telemetry: JobTelemetry) -> Outcome:
        request = record.request.validate()

        def on_progress(progress: Progress) -> None:
            telemetry.on_progress(progress)
            self._sinks.on_progress(progress)

        def on_frame(frame: BenchmarkFrame) -> None:
            telemetry.on_frame(frame)
            if self._sinks.on_frame is not None:
                self._sinks.on_frame(frame)

        if request.kind is JobKind.BENCHMARK:
            assert request.benchmark is not None
            run = self._bench.benchmark.run(
                request.ref, request.benchmark, on_frame=on_frame, cancel=self.token, run_id=result_id_of(record)
            )
            return benchmark_outcome(run)
        assert request.batch is not None
        result = self._bench.batch.run(
            request.ref,
            request.data,
            request.batch,
            on_progress=on_progress,
            cancel=self.token,
            result_id=result_id_of(record),
        )
        return batch_outcome(result)

    # ---- records --------------------------------------------------------------------------------------------------

    def _change(self, change: _Change) -> JobRecord | None:
        """Change the record as long as the job is ours."""
        return self._state.change_job(self.id, lambda record: change(record) if self._is_mine(record) else record)

    def _end(self, outcome: Outcome, progress: Progress | None = None) -> None:
        self._say(f"Ended, {outcome.state.value}. {outcome.sentence}")
        for attempt in range(_RECORD_TRIES):
            try:
                self._change(lambda record: ended(record, outcome, progress))
                return
            except QuickServeError as problem:
                self._say(f"The end of the job could not be recorded: {problem.message}")
                if attempt == _RECORD_TRIES - 1:
                    raise
                time.sleep(0.2 * 2**attempt)

    def _say(self, text: str) -> None:
        self._log.write(safe_lines(text, 20_000))


def begun_anew(record: JobRecord, process: ProcessName) -> JobRecord:
    """The record of a job that `process` is to run again, or for the first time if it had not begun."""
    return replace(
        record,
        state=JobState.QUEUED,
        progress=Progress("queued"),
        started_at="",
        ended_at="",
        outcome="",
        error_code="",
        hint="",
        exit_code=0,
        result_id="",
        cancel_asked=False,
        attempt=record.attempt + (1 if record.started_at else 0),
        pid=process.pid,
        boot=process.boot,
        born=process.born,
    )


def _begun(record: JobRecord) -> JobRecord:
    if record.state is not JobState.QUEUED:
        return record
    return replace(record, state=JobState.RUNNING, started_at=utc_now(), progress=Progress("starting"))


def _runs_elsewhere(job_id: str, process: ProcessName | None) -> ConflictError:
    where = f"by process {process.pid}" if process is not None and process.can_be_seen else "elsewhere"
    return ConflictError(
        f"The job {job_id} is run {where} already.", hint=f"quickserveml job watch {job_id}", code="job.running"
    )
