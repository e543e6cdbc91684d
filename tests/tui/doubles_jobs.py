"""Detached jobs in memory: threads stand in for processes, so that a test decides when one ends."""

from __future__ import annotations

import threading
from dataclasses import replace

from quickserveml_tui.core.errors import ConflictError, NotFoundError, QuickServeError
from quickserveml_tui.core.job_records import JobEvents, JobKind, JobRecord, JobRequest
from quickserveml_tui.core.jobs import CancelToken, JobState, Progress, ignore_progress

STAMP = "2024-05-01T10:00:00.000Z"


def make_job(
    ref: str = "digits@3", kind: JobKind = JobKind.BATCH, state: JobState = JobState.DONE, **changes
) -> JobRecord:
    """A job as another front would have left it."""
    from quickserveml_tui.core.benchmarks import BenchmarkSpec
    from quickserveml_tui.core.predictions import BatchSpec

    benchmark = kind is JobKind.BENCHMARK
    request = JobRequest(
        kind,
        ref,
        data="" if benchmark else "/data/rows.csv",
        benchmark=BenchmarkSpec() if benchmark else None,
        batch=None if benchmark else BatchSpec(),
    )
    record = JobRecord(
        id=f"job-{ref}-{kind.value}-{state.value}",
        request=request,
        subject=ref if benchmark else f"{ref}  rows.csv",
        state=state,
        progress=Progress("predicting", 10, 40, "rows"),
        created_at=STAMP,
        started_at=STAMP,
    )
    return replace(record, **changes)


class Jobs:
    """Keeps the promises of `JobsPort` over the doubles of benchmark and batch."""

    def __init__(self, world) -> None:
        self.world = world
        self.records: dict[str, JobRecord] = {}
        self.frames: dict[str, list] = {}
        self.tokens: dict[str, CancelToken] = {}
        self.changed = threading.Condition()
        self.refuse: QuickServeError | None = None
        self.watching = 0
        self.logs: dict[str, str] = {}

    # ---- life of a job

    def add(self, record: JobRecord) -> JobRecord:
        with self.changed:
            self.records[record.id] = record
            self.frames.setdefault(record.id, [])
            self.tokens[record.id] = CancelToken()
            self.changed.notify_all()
        return record

    def put(self, job_id: str, **changes) -> JobRecord:
        with self.changed:
            self.records[job_id] = replace(self.records[job_id], **changes)
            self.changed.notify_all()
            return self.records[job_id]

    def start(self, request: JobRequest) -> JobRecord:
        return self.start_all((request,))[0]

    def start_all(self, requests) -> tuple[JobRecord, ...]:
        if self.refuse is not None:
            raise self.refuse
        added = []
        for request in requests:
            request.validate()
            count = len(self.records)
            subject = request.ref if not request.data else f"{request.ref}  {request.data.rpartition('/')[2]}"
            record = JobRecord(
                f"job-{count}", request, subject, JobState.QUEUED, Progress("waiting"), f"2024-06-01T10:{count:02}:00Z"
            )
            added.append(self.add(record))
        threading.Thread(target=self._run_all, args=(added,), daemon=True).start()
        return tuple(added)

    def _run_all(self, records) -> None:
        for record in records:
            self._run(record)

    def _run(self, record: JobRecord) -> None:
        job_id, request, token = record.id, record.request, self.tokens[record.id]
        if token.cancelled:
            self.put(job_id, state=JobState.CANCELLED, outcome="Cancelled before it began.")
            return
        self.put(job_id, state=JobState.RUNNING, progress=Progress("starting"), started_at=STAMP)
        try:
            if request.kind is JobKind.BENCHMARK:
                result = self.world.benchmark.run(
                    request.ref, request.benchmark, on_frame=lambda frame: self._frame(job_id, frame), cancel=token
                )
                cancelled = result.summary.cancelled
            else:
                result = self.world.batch.run(
                    request.ref, request.data, request.batch, cancel=token,
                    on_progress=lambda progress: self.put(job_id, progress=progress),
                )  # fmt: skip
                cancelled = result.cancelled
        except QuickServeError as error:
            self.put(job_id, state=JobState.FAILED, outcome=error.message, error_code=error.code)
            return
        state = JobState.CANCELLED if cancelled else JobState.DONE
        self.put(job_id, state=state, result_id=result.id, ended_at="2024-05-01T10:01:00.000Z", outcome="Done.")

    def _frame(self, job_id: str, frame) -> None:
        with self.changed:
            self.frames[job_id].append(frame)
            self.changed.notify_all()

    # ---- the port

    def list(self, *, states=(), limit: int = 100) -> tuple[JobRecord, ...]:
        found = [item for item in self.records.values() if not states or item.state in states]
        return tuple(sorted(found, key=lambda item: item.created_at, reverse=True)[:limit])

    def get(self, job_id: str) -> JobRecord:
        if job_id not in self.records:
            raise NotFoundError(f"No job is called {job_id}.", code="job.not_found")
        return self.records[job_id]

    def cancel(self, job_id: str) -> JobRecord:
        record = self.get(job_id)
        if not record.live:
            raise ConflictError("The job has ended.", code="job.ended")
        self.tokens[job_id].cancel()
        return self.put(job_id, cancel_asked=True)

    def resume(self, job_id: str) -> JobRecord:
        record = self.get(job_id)
        if record.live or record.state is JobState.DONE:
            raise ConflictError("The job cannot be resumed.", code="job.not_resumable")
        self.add(replace(record, state=JobState.QUEUED, attempt=record.attempt + 1, outcome="", ended_at=""))
        threading.Thread(target=self._run, args=(self.records[job_id],), daemon=True).start()
        return self.records[job_id]

    def clean(self, job_ids=()) -> tuple[str, ...]:
        gone = [key for key, item in self.records.items() if not item.live and (not job_ids or key in job_ids)]
        for key in gone:
            del self.records[key]
        return tuple(gone)

    def events(self, job_id: str, offset: int = 0) -> JobEvents:
        frames = self.frames[job_id]
        return JobEvents(len(frames), self.get(job_id).progress, tuple(frames[offset:]))

    def log(self, job_id: str, offset: int = 0) -> tuple[str, int]:
        text = self.logs.get(job_id, "")
        return text[offset : offset + 50], min(offset + 50, len(text))

    def watch(self, job_id, *, on_progress=ignore_progress, on_frame=None, cancel=None, detach=None) -> JobRecord:
        if cancel is not None:
            cancel.on_cancel(lambda: self.cancel(job_id))
        if detach is not None:
            detach.on_cancel(self._wake)
        offset, told = 0, None
        self.watching += 1
        try:
            while True:
                with self.changed:
                    self.changed.wait(0.05)
                    record = self.get(job_id)
                    frames = self.frames[job_id][offset:]
                offset += len(frames)
                for frame in frames if on_frame else ():
                    on_frame(frame)
                if record.progress is not told:
                    told = record.progress
                    on_progress(told)
                if not record.live or (detach is not None and detach.cancelled) or self.world.over:
                    return record
        finally:
            self.watching -= 1

    def _wake(self) -> None:
        with self.changed:
            self.changed.notify_all()
