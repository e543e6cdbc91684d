"""Following jobs under Ctrl-C, and running them in this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.core.errors import (
    CancelledError,
    DataError,
    NotPermittedError,
    QuickServeError,
    RunnerError,
    UnavailableError,
    UsageError,
)
from quickserveml_tui.core.job_records import JobKind
from quickserveml_tui.core.jobs import CancelToken, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.job_records import JobRecord
    from quickserveml_tui.core.jobs import Progress
    from quickserveml_tui.core.ports import JobsPort

_LOG_POLL_S = 0.25
_ERRORS: dict[int, type[QuickServeError]] = {
    int(kind.exit_code): kind
    for kind in (
        QuickServeError,
        UsageError,
        DataError,
        UnavailableError,
        NotPermittedError,
        RunnerError,
        CancelledError,
    )
}


def follow(jobs: JobsPort, first: Callable[[CancelToken], JobRecord], *, detaches: bool) -> JobRecord:
    """Follow the job that `first` finds or starts, saying on stderr how far it is; returns its record.

    `first` takes the token that Ctrl-C cancels. The first Ctrl-C, also one while `first` is at work, asks the job to
    stop, or with `detaches` ends only the watching; a second one raises `KeyboardInterrupt`.
    """
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    narrator = Narrator(quiet=invocation.as_json)

    def watch(token: CancelToken) -> JobRecord:
        job = first(token)
        is_measured = job.kind is JobKind.BENCHMARK
        is_told = detaches  # whoever watches has given the id

        def on_progress(progress: Progress) -> None:
            nonlocal is_told
            if progress.phase == "waiting" and not is_told:
                is_told = True
                narrator.say(f"{job.id} waits {progress.note}")
                narrator.say(f"To follow it elsewhere: quickserveml job watch {job.id}")
                narrator.say(f"To stop it: quickserveml job cancel {job.id}")
            if not is_measured or progress.phase == "waiting":  # what a benchmark does, its frames tell better
                narrator.on_progress(progress)

        asks: dict[str, Any] = {"detach" if detaches else "cancel": token}
        return jobs.watch(job.id, on_progress=on_progress, on_frame=narrator.on_frame, **asks)

    try:
        return run_cancellable(watch)
    finally:
        narrator.close()


def check_outcome(record: JobRecord) -> JobRecord:
    """The record, unless the job ended without a result: then the error that ended it is raised."""
    if record.result_id or record.state is JobState.DONE:
        return record
    kind = _ERRORS.get(record.exit_code, QuickServeError)
    raise kind(
        record.outcome or f"The job {record.id} has no result.",
        hint=record.hint or f"quickserveml job logs {record.id}",
        code=record.error_code,
    )


def run_here(job_ids: Sequence[str]) -> tuple[JobRecord, ...]:
    """Run recorded jobs in this process, saying on stderr how far they are."""
    from quickserveml_tui.cli.work import Narrator
    from quickserveml_tui.services.home import open_workbench
    from quickserveml_tui.services.job_attempt import JobSinks
    from quickserveml_tui.services.job_run import JobProcess

    narrator = Narrator(quiet=invocation.as_json)
    bench = open_workbench(
        invocation.home_path(), read_only=invocation.settings.read_only, trial=invocation.trial_policy()
    )
    try:
        return JobProcess(bench, job_ids, sinks=JobSinks(narrator.on_progress, narrator.on_frame)).run()
    finally:
        narrator.close()
        bench.close()


def print_log(output: Output, jobs: JobsPort, job_id: str, *, follow: bool) -> None:
    """Print a job's log; with `follow`, until the job ends. Raises `UsageError` for a document that has no end."""
    if follow and output.as_json:
        raise UsageError(
            "--json and --follow exclude each other.", hint="A document ends; a log that is followed grows."
        )
    record, offset, parts = jobs.get(job_id), 0, []
    pause = threading.Event()
    while True:
        text, offset = jobs.log(job_id, offset)
        if text and output.as_json:
            parts.append(text)
        elif text:
            output.raw(text)
            output.stream.flush()
        else:
            if not follow or not record.live:
                break
            pause.wait(_LOG_POLL_S)
            record = jobs.get(job_id)
    if output.as_json:
        output.document({"id": record.id, "log": "".join(parts)})
