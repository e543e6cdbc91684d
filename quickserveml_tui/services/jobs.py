"""Jobs: work in processes of its own, which goes on when the front that started it ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import OPEN_FOR_WRITING, ConflictError, ReadOnlyError, StoreError, UsageError
from quickserveml_tui.core.job_records import JobEvents, JobKind, JobRecord, JobRequest, Lease
from quickserveml_tui.core.jobs import CancelToken, JobState, Progress, ProgressSink, ignore_progress, new_id
from quickserveml_tui.core.refs import ModelRef, PathRef, parse_ref
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.job_folders import (
    check_id,
    job_folder,
    make_job_folder,
    no_such_job,
    note_end,
    read_log,
    remove_job_folder,
    remove_stray_job_folders,
)
from quickserveml_tui.services.paths import user_path

if TYPE_CHECKING:
    from quickserveml_tui.core.ports import CatalogPort
    from quickserveml_tui.core.runners import FrameSink
    from quickserveml_tui.core.stores import StateStore

MAX_JOBS_AT_ONCE = 100
_ALL = 10_000
_LIVE = (JobState.QUEUED, JobState.RUNNING)
_LAST_WORDS_TRIES, _LAST_WORDS_S = 100, 0.03


class DetachedJobs:
    """`JobsPort` on a home of this machine: safe to use from any thread and any number of processes.

    `catalog` gives the catalog once a registered model is named: looking at jobs needs none.
    """

    def __init__(
        self, home: Path, state: StateStore, catalog: Callable[[], CatalogPort], *, read_only: bool = False
    ) -> None:
        self._home = home
        self._state = state
        self._catalog = catalog
        self._read_only = read_only

    # ---- starting -------------------------------------------------------------------------------------------------

    def start(self, request: JobRequest) -> JobRecord:
        """Record a job and start a process for it; see `start_all`."""
        return self.start_all([request])[0]

    def start_all(self, requests: Sequence[JobRequest]) -> tuple[JobRecord, ...]:
        """Record jobs and start one process that runs them in their order; 1 to 100 of them.

        A registered model is recorded by its version: an alias that moves later changes nothing. When it returns, the
        jobs are recorded durably and their process lives. Raises `UsageError` for requests that are not complete,
        `NotFoundError`, `ModelUnrunnableError`, `ReadOnlyError`, `StoreError`, and `UnavailableError` (`job.start`);
        then no job is recorded.
        """
        from quickserveml_tui.services.job_process import start_process

        wanted = [_absolute(request.validate()) for request in requests]
        if not 1 <= len(wanted) <= MAX_JOBS_AT_ONCE:
            raise UsageError(f"Start 1 to {MAX_JOBS_AT_ONCE} jobs at once.", code="usage.jobs")
        self._check_writable()
        wanted = [self._with_version(request) for request in wanted]
        ids = [new_id("job") for _ in wanted]
        try:
            folders = [make_job_folder(self._home, job_id) for job_id in ids]
            process = start_process(self._home, ids, folders[0])
            try:
                name, now = process.name, utc_now()
                records = tuple(
                    JobRecord(
                        job_id, request, subject_of(request), JobState.QUEUED, Progress("queued"), now,
                        pid=name.pid, boot=name.boot, born=name.born,
                    )
                    for job_id, request in zip(ids, wanted, strict=True)
                )  # fmt: skip
                self._state.add_jobs(records)
            finally:
                process.let_go()
        except BaseException:
            for job_id in ids:
                remove_job_folder(self._home, job_id)
            raise
        return records

    def resume(self, job_id: str) -> JobRecord:
        """Start a lost, failed or cancelled job again under its id, from its beginning.

        Raises `ConflictError` for one that is done (`job.done`) or has not ended (`job.running`).
        """
        from quickserveml_tui.services.job_attempt import begun_anew
        from quickserveml_tui.services.job_lane import claim, lease_of
        from quickserveml_tui.services.job_process import is_lost, start_process
        from quickserveml_tui.services.job_spool import SpoolWriter

        record = self.get(job_id)
        _check_resumable(record)
        self._check_writable()
        folder = make_job_folder(self._home, job_id)
        process = start_process(self._home, [job_id], folder)
        try:
            # The lease keeps others from resuming or cleaning it. An earlier attempt may hold it for a last moment.
            held = claim(self._state, lease_of(job_id), process.name)
            if held is not None and record.state is JobState.LOST:
                raise _still_runs(job_id)
            SpoolWriter(folder).close()
            leases = self._leases()

            def change(old: JobRecord) -> JobRecord:
                if not is_lost(old, leases):
                    _check_resumable(old)
                return begun_anew(old, process.name)

            resumed = self._state.change_job(job_id, change)
        except BaseException:
            self._state.release_lease(lease_of(job_id), str(process.name))
            raise
        finally:
            process.let_go()
        if resumed is None:
            raise no_such_job(job_id)
        return resumed

    def _with_version(self, request: JobRequest) -> JobRequest:
        """The request for the version that its reference stands for now."""
        parsed = parse_ref(request.ref)
        if isinstance(parsed, PathRef):
            return request
        resolved = self._catalog().resolve(request.ref, runnable=True)
        ref = f"{resolved.ref}#{parsed.node}" if parsed.node else resolved.ref
        return request if ref == request.ref else replace(request, ref=ref, asked=request.asked or request.ref)

    def _check_writable(self) -> None:
        problem = self._state.problem()
        if problem is not None and problem.code != ReadOnlyError.default_code:
            hint = f"Repair it with {problem.command}." if problem.command else problem.hint
            raise StoreError(problem.message, hint=hint, code=problem.code)
        if self._read_only or problem is not None:
            raise ReadOnlyError(
                problem.message if problem is not None else "The home was opened read-only.",
                hint="Jobs need a home that can be written: quickserveml doctor tells more."
                if problem is not None
                else OPEN_FOR_WRITING,
            )

    # ---- looking --------------------------------------------------------------------------------------------------

    def list(self, *, states: Sequence[JobState] = (), limit: int = 100) -> tuple[JobRecord, ...]:
        """Jobs, newest first; one whose process is gone is `lost`, and recorded as such where that can be."""
        if not states:
            return self._judged_all(self._state.jobs(limit=limit))
        # All live ones, whatever is asked for: one that has ended may still be recorded as one that runs.
        found = self._judged_all(self._state.jobs(states=_LIVE, limit=_ALL))
        if others := [state for state in states if state not in _LIVE]:
            known = {record.id for record in found}  # it may have ended between the two questions
            found += tuple(item for item in self._state.jobs(states=others, limit=limit) if item.id not in known)
        chosen = (record for record in found if record.state in states)
        return tuple(sorted(chosen, key=lambda record: record.created_at, reverse=True)[:limit])

    def get(self, job_id: str) -> JobRecord:
        """One job. Raises `NotFoundError` (`job.not_found`)."""
        record = self._state.job(check_id(job_id))
        if record is None:
            raise no_such_job(job_id)
        return self._judged_all([record])[0]

    def _leases(self) -> Mapping[str, Lease]:
        return {lease.name: lease for lease in self._state.leases()}

    def _judged_all(self, records: Iterable[JobRecord]) -> tuple[JobRecord, ...]:
        from quickserveml_tui.services.job_outcome import judged

        found = tuple(records)
        as_they_are = judged(self._state, found)
        if as_they_are == found or self._read_only or self._state.problem() is not None:
            return as_they_are
        return tuple(
            self._record_end(old, new) if new is not old else old for old, new in zip(found, as_they_are, strict=True)
        )

    def _record_end(self, record: JobRecord, judged: JobRecord) -> JobRecord:
        """Record how a job ended whose process is gone, unless it has said so itself or was begun anew meanwhile."""
        is_same = False

        def change(now: JobRecord) -> JobRecord:
            nonlocal is_same
            is_same = now.live and (now.pid, now.born, now.boot) == (record.pid, record.born, record.boot)
            return replace(judged, progress=now.progress, cancel_asked=now.cancel_asked) if is_same else now

        recorded = self._state.change_job(record.id, change)
        if is_same:
            note_end(job_folder(self._home, record.id), judged)
        return recorded or judged

    # ---- stopping and forgetting ----------------------------------------------------------------------------------

    def cancel(self, job_id: str) -> JobRecord:
        """Ask a job to stop; what it has is kept. One that waits is cancelled at once.

        Raises `ConflictError` (`job.ended`) when it has ended.
        """
        from quickserveml_tui.services.job_process import ProcessName

        record = self.get(job_id)
        if not record.live:
            raise _has_ended(record)
        changed = self._state.change_job(job_id, _cancelled)
        if changed is None:
            raise no_such_job(job_id)
        if changed.state is JobState.RUNNING:
            ProcessName.of(changed).signal(signal.SIGTERM)  # without it, its process would look within a second
        return changed

    def clean(self, job_ids: Sequence[str] = ()) -> tuple[str, ...]:
        """Forget ended and lost jobs with their logs: these, or all of them and stray folders too; returns the ids.

        Their results stay. Raises `ConflictError` (`job.running`) for one that has not ended; then nothing was done.
        """
        self._check_writable()
        chosen = [self.get(job_id) for job_id in dict.fromkeys(job_ids)] if job_ids else self.list(limit=_ALL)
        for record in chosen if job_ids else ():
            if record.live:
                raise _still_runs(record.id)
        cleaned = tuple(record.id for record in chosen if not record.live and self._forget(record.id))
        if not job_ids:
            remove_stray_job_folders(self._home, self._state)
        return cleaned

    def _forget(self, job_id: str) -> bool:
        from quickserveml_tui.services.job_lane import claim, lease_of
        from quickserveml_tui.services.job_process import ProcessName

        me = ProcessName.own()
        pause = threading.Event()
        for _ in range(_LAST_WORDS_TRIES):
            record = self._state.job(job_id)
            if record is None or record.live:
                return False
            held = claim(self._state, lease_of(job_id), me)  # so that nobody resumes it meanwhile
            if held is None:
                break
            if held.owner != str(ProcessName.of(record)):
                return False
            pause.wait(_LAST_WORDS_S)  # its process has recorded the end and is about to let go
        else:
            return False
        try:
            record = self._state.job(job_id)
            if record is None or record.live:
                return False
            self._state.remove_jobs([job_id])
        finally:
            self._state.release_lease(lease_of(job_id), str(me))
        remove_job_folder(self._home, job_id)
        return True

    # ---- following ------------------------------------------------------------------------------------------------

    def events(self, job_id: str, offset: int = 0) -> JobEvents:
        """What a job said since `offset`, at most 1 MiB of it; empty for a job that is not there."""
        from quickserveml_tui.services.job_spool import read_spool

        part = read_spool(job_folder(self._home, job_id), offset)
        return JobEvents(part.offset, part.progress[-1] if part.progress else None, part.frames)

    def log(self, job_id: str, offset: int = 0) -> tuple[str, int]:
        """What a job wrote to its log since byte `offset`, at most 128 KiB of it, and where to go on."""
        return read_log(job_folder(self._home, job_id), offset)

    def watch(
        self,
        job_id: str,
        *,
        on_progress: ProgressSink = ignore_progress,
        on_frame: FrameSink | None = None,
        cancel: CancelToken | None = None,
        detach: CancelToken | None = None,
    ) -> JobRecord:
        """Follow a job to its end and return it. `cancel` asks the job to stop; `detach` only ends the watching.

        Gives each phase and the newest progress about twelve times a second, and frames merged. Raises `NotFoundError`.
        """
        from quickserveml_tui.services.job_watch import JobWatch

        watch = JobWatch(job_folder(self._home, job_id), lambda: self.get(job_id), on_progress, on_frame)
        return watch.follow(self._stopper(job_id), cancel or CancelToken(), detach or CancelToken())

    def _stopper(self, job_id: str) -> Callable[[], None]:
        def stop() -> None:
            try:
                self.cancel(job_id)
            except ConflictError as error:
                if error.code != "job.ended":  # which is what was wanted
                    raise

        return stop


def _cancelled(record: JobRecord) -> JobRecord:
    if record.state is JobState.QUEUED:
        return replace(
            record,
            state=JobState.CANCELLED,
            cancel_asked=True,
            ended_at=utc_now(),
            outcome="Cancelled before it began.",
            error_code="cancelled",
            hint=f"quickserveml job resume {record.id}",
            exit_code=130,
        )
    if not record.live:
        raise _has_ended(record)
    return replace(record, cancel_asked=True)


def _has_ended(record: JobRecord) -> ConflictError:
    return ConflictError(
        f"The job {record.id} has ended already ({record.state.value}).",
        hint=f"quickserveml job show {record.id}",
        code="job.ended",
    )


def _still_runs(job_id: str) -> ConflictError:
    return ConflictError(
        f"The job {job_id} has not ended.",
        hint=f"Cancel it first: quickserveml job cancel {job_id}",
        code="job.running",
    )


def _check_resumable(record: JobRecord) -> None:
    if record.live:
        raise _still_runs(record.id)
    if record.state is JobState.DONE:
        raise ConflictError(f"The job {record.id} is done.", hint="Start a new one to run it again.", code="job.done")


def _absolute(request: JobRequest) -> JobRequest:
    """The request with absolute paths: the job's process does not stand where the front does."""
    if isinstance(parse_ref(request.ref), PathRef):
        request = replace(request, ref=str(user_path(request.ref)))
    if request.kind is JobKind.BATCH and request.batch is not None:
        spec = request.batch
        if spec.output_path:
            spec = replace(spec, output_path=str(user_path(spec.output_path)))
        request = replace(request, data=str(user_path(request.data)), batch=spec)
    return request


def subject_of(request: JobRequest) -> str:
    """What a job works on, for lists: a reference or the name of a file and, for a batch, the name of the data.

    An alias or a label by which the version was asked for stands behind it: `digits@3 (prod)`.
    """
    parsed = parse_ref(request.ref)
    ref = Path(request.ref).name if isinstance(parsed, PathRef) else request.ref
    asked = parse_ref(request.asked) if request.asked else parsed
    if isinstance(asked, ModelRef) and asked.selector and asked.version is None:
        ref = f"{ref} ({asked.selector})"
    data = Path(request.data).name if request.kind is JobKind.BATCH else ""
    return safe_text(f"{ref}  {data}".rstrip(), 200)
