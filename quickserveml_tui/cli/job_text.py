"""Jobs as text and as documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quickserveml_tui.cli.documents import plain
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.output import with_home
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.benchmarks import BenchmarkRun
    from quickserveml_tui.core.job_records import JobRecord
    from quickserveml_tui.core.predictions import BatchResult

_ROLES = {
    JobState.QUEUED: ("○", "muted"),
    JobState.RUNNING: ("●", "accent"),
    JobState.DONE: ("✓", "ok"),
    JobState.CANCELLED: ("–", "muted"),
    JobState.FAILED: ("✕", "error"),
    JobState.LOST: ("✕", "warn"),
}


def job_document(record: JobRecord) -> dict[str, Any]:
    """A job."""
    from quickserveml_tui.cli.job_results import command_of

    request = record.request
    error = None
    if record.error_code:
        error = {"code": record.error_code, "message": record.outcome, "hint": record.hint}
    return {
        "id": record.id,
        "kind": record.kind.value,
        "subject": record.subject,
        "ref": request.ref,
        "asked": request.asked or None,
        "data": request.data or None,
        "output": (request.batch.output_path if request.batch else "") or None,
        "command": with_home(command_of(request)),
        "origin": request.origin,
        "state": record.state.value,
        "progress": plain(record.progress) | {"fraction": record.fraction},
        "created_at": record.created_at,
        "started_at": record.started_at or None,
        "ended_at": record.ended_at or None,
        "outcome": record.outcome,
        "error": error,
        "exit_code": None if record.live else record.exit_code,
        "result_id": record.result_id or None,
        "cancel_asked": record.cancel_asked,
        "attempt": record.attempt,
        "pid": record.pid or None,
    }


def print_jobs(output: Output, records: Sequence[JobRecord]) -> None:
    """Print a table of jobs."""
    from quickserveml_tui.cli.tables import print_table
    from quickserveml_tui.reports.tables import Column, table

    if not records:
        output.line("There are no jobs.")
        return
    columns = [Column(name.lower(), name) for name in ("Id", "State", "Kind", "Subject", "Progress", "Started")]
    rows = [
        (record.id, record.state.value, record.kind.value, record.subject, _how_far(record), _time(record))
        for record in records
    ]
    print_table(output, table(columns, rows))


def _time(record: JobRecord) -> str:
    return (record.started_at or record.created_at)[:19].replace("T", " ")


def _how_far(record: JobRecord) -> str:
    if not record.live:
        return safe_text(record.outcome, 80)
    if record.cancel_asked:
        return "stopping"
    progress = record.progress
    share = progress.fraction
    parts = [progress.phase, "" if share is None else f"{share * 100:.0f} %", progress.note]
    return safe_text(" ".join(filter(None, parts)), 80)


def print_with_result(output: Output, record: JobRecord, result: BenchmarkRun | BatchResult | None) -> None:
    """Print one job and its whole result, where there is one."""
    from quickserveml_tui.cli.job_results import print_result, result_document

    if output.as_json:
        output.document(job_document(record) | {"result": result_document(result)})
        return
    print_answer(output, record)
    if result is not None:
        output.line()
        print_result(output, result)


def print_answer(output: Output, record: JobRecord) -> None:
    """Print one job, as a document with `--json`."""
    from quickserveml_tui.cli.job_results import command_of

    request = record.request
    if output.as_json:
        output.document(job_document(record))
        return
    glyph, role = _ROLES[record.state]
    output.heading(f"{record.id}  {record.subject}")
    output.line(f"{output.style(glyph, role)} {record.state.value}  {_how_far(record)}".rstrip())
    output.line()
    output.pairs(
        [
            ("Kind", record.kind.value),
            ("Model", request.ref),
            ("Asked as", request.asked),
            ("Data", request.data),
            ("Output", request.batch.output_path if request.batch else ""),
            ("Command", command_of(request)),
            ("Result", record.result_id),
            ("Hint", "" if record.live else record.hint),
            ("Attempt", record.attempt if record.attempt > 1 else ""),
            ("Process", record.pid if record.state is JobState.RUNNING else ""),
            ("Created", record.created_at),
            ("Started", record.started_at),
            ("Ended", record.ended_at),
        ]
    )


def print_started(output: Output, record: JobRecord) -> None:
    """Print the id of a job that was started, and how to follow it."""
    if output.as_json:
        output.document(job_document(record))
        return
    home = f" --home {invocation.home_path()}" if invocation.has_home_flag else ""
    output.line(f"{record.id}  {safe_text(record.subject)}")
    output.line(output.style(safe_text(f"quickserveml job watch {record.id}{home}"), "muted"))
