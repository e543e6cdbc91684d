"""`job`: work in processes of its own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Exit, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import plural, safe_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.core.jobs import JobState

application = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Run, follow and stop jobs in the background.",
)
_IdArgument = Annotated[str, Argument(metavar="ID", help="Id of a job.", show_default=False)]
_IdsArgument = Annotated[list[str], Argument(metavar="ID...", help="Ids of jobs.", show_default=False)]
_AnyIdsArgument = Annotated[
    list[str] | None, Argument(metavar="[ID...]", help="Ids of jobs; without, all that have ended.", show_default=False)
]


@application.command("list")
def list_command(
    *,
    state: Annotated[
        list[str] | None,
        Option("--state", metavar="STATE", help="Only queued, running, done, cancelled, failed or lost jobs."),
    ] = None,
    limit: Annotated[int, Option("--limit", metavar="N", help="At most so many.")] = 100,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    invocation.note(home=home, as_json=as_json)
    if not 1 <= limit <= 10_000:
        raise UsageError("The limit is out of range.", hint="--limit 1 to 10,000.")
    states = _states(state or ())
    with invocation.workbench() as workbench:
        records = workbench.jobs.list(states=states, limit=limit)
    if invocation.as_json:
        from quickserveml_tui.cli.job_text import job_document

        invocation.output.document({"jobs": [job_document(record) for record in records]})
        return
    from quickserveml_tui.cli.job_text import print_jobs

    print_jobs(invocation.output, records)


def _states(names: Sequence[str]) -> list[JobState]:
    from quickserveml_tui.core.jobs import JobState

    known = [state.value for state in JobState]
    for name in names:
        if name not in known:
            raise UsageError(f"“{safe_text(name, 40)}” is not a state of a job.", hint=f"States: {', '.join(known)}.")
    return [JobState(name) for name in names]


@application.command("show")
def show(job_id: _IdArgument, *, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Show a job, how it ended and its result."""
    from quickserveml_tui.cli.job_results import result_of
    from quickserveml_tui.cli.job_text import print_with_result

    invocation.note(home=home, as_json=as_json)
    with invocation.workbench() as workbench:
        record = workbench.jobs.get(job_id)
        result = result_of(workbench, record)
    print_with_result(invocation.output, record, result)


@application.command("logs")
def logs(
    job_id: _IdArgument,
    *,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on until the job ends.", show_default=False)] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print the log of a job."""
    from quickserveml_tui.cli.job_follow import print_log

    invocation.note(home=home, as_json=as_json)
    with invocation.workbench() as workbench:
        print_log(invocation.output, workbench.jobs, job_id, follow=follow)


@application.command("watch")
def watch(job_id: _IdArgument, *, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Follow a job to its end and print its result; Ctrl-C ends only the watching."""
    from quickserveml_tui.cli.diagnostics import note
    from quickserveml_tui.cli.job_follow import follow
    from quickserveml_tui.cli.job_results import result_of
    from quickserveml_tui.cli.job_text import print_with_result

    invocation.note(home=home, as_json=as_json)
    with invocation.workbench() as workbench:
        record = follow(workbench.jobs, lambda _cancel: workbench.jobs.get(job_id), detaches=True)
        result = result_of(workbench, record)
    if record.live:  # said first: a Ctrl-C has ended whoever reads the rest in a pipe as well
        note(f"The job goes on. To stop it: quickserveml job cancel {record.id}")
    print_with_result(invocation.output, record, result)
    if not record.live and record.exit_code:
        raise Exit(record.exit_code)


@application.command("cancel")
def cancel(job_id: _IdArgument, *, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Ask a job to stop; what it has is kept."""
    from quickserveml_tui.cli.job_text import print_answer

    invocation.note(home=home, as_json=as_json)
    with invocation.workbench() as workbench:
        print_answer(invocation.output, workbench.jobs.cancel(job_id))


@application.command("resume")
def resume(job_id: _IdArgument, *, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Run a lost, failed or cancelled job again, from its beginning."""
    from quickserveml_tui.cli.job_text import print_started

    invocation.note(home=home, as_json=as_json)
    with invocation.workbench() as workbench:
        print_started(invocation.output, workbench.jobs.resume(job_id))


@application.command("clean")
def clean(job_ids: _AnyIdsArgument = None, *, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Forget ended and lost jobs with their logs; their results stay."""
    invocation.note(home=home, as_json=as_json)
    with invocation.workbench() as workbench:
        cleaned = workbench.jobs.clean(job_ids or ())
    if invocation.as_json:
        invocation.output.document({"cleaned": list(cleaned)})
    else:
        invocation.output.line(f"Forgot {plural(len(cleaned), 'job')}." if cleaned else "There was nothing to forget.")


@application.command("run")
def run(
    job_ids: _IdsArgument,
    *,
    wait_for_starter: Annotated[
        bool, Option("--wait-for-starter", hidden=True, help="Begin when standard input ends; say nothing.")
    ] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run recorded jobs in this process, one after another.

    This is what starts in the background for every job; call it to run lost jobs under a supervisor of your own.
    """
    from quickserveml_tui.cli.job_text import job_document, print_answer

    invocation.note(home=home, as_json=as_json)
    if wait_for_starter:
        _run_detached(job_ids)
        return
    from quickserveml_tui.cli.job_follow import run_here

    records = run_here(job_ids)
    if invocation.as_json:
        invocation.output.document({"jobs": [job_document(record) for record in records]})
    else:
        for record in records:
            print_answer(invocation.output, record)
    code = next((record.exit_code for record in records if record.exit_code), 0)
    if code:
        raise Exit(code)


def _run_detached(job_ids: Sequence[str]) -> None:
    from quickserveml_tui.services.home import open_workbench
    from quickserveml_tui.services.job_process import wait_for_starter
    from quickserveml_tui.services.job_run import JobProcess

    bench = open_workbench(invocation.home_path(), trial=invocation.trial_policy())
    process = JobProcess(bench, job_ids, is_detached=True)
    try:
        with suppress(OSError):
            wait_for_starter()
        process.run()
    finally:
        bench.close()
