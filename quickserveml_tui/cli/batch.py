"""`batch`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption, RefArgument, VerifyOption
from quickserveml_tui.core.errors import ExitCode, UsageError
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import significant

if TYPE_CHECKING:
    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.job_records import JobRecord
    from quickserveml_tui.core.jobs import CancelToken
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.core.predictions import BatchResult, BatchSpec

_MOST_CLASSES = 20


def batch(
    ref: RefArgument,
    data: Annotated[str, Argument(metavar="DATA", help="CSV or NPZ file.", show_default=False)],
    *,
    batch_size: Annotated[
        int | None, Option("--batch-size", metavar="N", help="Rows given to the model at once.", show_default="32")
    ] = None,
    target: Annotated[
        str,
        Option("--target", metavar="NAME", help="Ground-truth column; label or target by default.", show_default=False),
    ] = "",
    output_path: Annotated[
        str, Option("--output", metavar="FILE", help="Write the predictions to a JSONL file.", show_default=False)
    ] = "",
    threads: Annotated[int, Option("--threads", metavar="N", help="Intra-op threads.")] = 1,
    detach: Annotated[
        bool, Option("--detach", help="Leave it to the background and print the id of the job.", show_default=False)
    ] = False,
    verify: VerifyOption = True,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run a data set through a model and measure its accuracy.

    Rows that do not fit are set apart with the reason and do not stop the run. It runs as a job of its own, which goes
    on when the terminal is closed; Ctrl-C ends it early, and what was done until then is kept.
    """
    from quickserveml_tui.core.predictions import BatchSpec

    invocation.note(home=home, as_json=as_json)
    size = batch_size if batch_size is not None else invocation.settings.batch.size
    if not 1 <= size <= 1_000_000 or not 1 <= threads <= 1024:
        raise UsageError(
            "The batch settings are out of range.", hint="--batch-size 1 to 1,000,000, --threads 1 to 1024."
        )
    spec = BatchSpec(
        batch_size=size, target_column=target, output_path=output_path, intra_op_threads=threads, verify=verify
    )
    if detach:
        from quickserveml_tui.cli.job_text import print_started
        from quickserveml_tui.cli.work import run_cancellable

        with invocation.workbench() as workbench:
            record = run_cancellable(lambda cancel: _start(workbench, ref, data, spec, cancel))
            print_started(invocation.output, record)
        return
    result = run_batch(ref, data, spec)
    if size == BatchSpec().batch_size != invocation.settings.batch.size:  # the command must repeat it there too
        result = replace(result, command=f"{result.command} --batch-size {size}")
    if invocation.as_json:
        from quickserveml_tui.cli.documents import batch_document

        invocation.output.document(batch_document(result))
    else:
        print_batch(invocation.output, result)
    if result.cancelled:
        raise Exit(int(ExitCode.INTERRUPTED))


def _start(workbench: Workbench, ref: str, data: str, spec: BatchSpec, cancel: CancelToken) -> JobRecord:
    """Start the job of a batch, after a look at what would make it fail at once."""
    from quickserveml_tui.core.job_records import JobKind, JobRequest
    from quickserveml_tui.services.batch import check_data

    source = check_data(data)
    workbench.catalog.resolve(ref, runnable=True, cancel=cancel)
    return workbench.jobs.start(JobRequest(JobKind.BATCH, ref, data=str(source), batch=spec))


def run_batch(ref: str, data: str, spec: BatchSpec) -> BatchResult:
    """Run a batch as a job, saying on stderr how far it is; Ctrl-C stops the job and gives its partial result."""
    from quickserveml_tui.cli.job_follow import check_outcome, follow

    with invocation.workbench() as workbench:
        record = follow(workbench.jobs, lambda cancel: _start(workbench, ref, data, spec, cancel), detaches=False)
        check_outcome(record)
        return workbench.batch.get(record.result_id)


def print_batch(output: Output, result: BatchResult) -> None:
    """Print counts, rate, accuracy, the confusion matrix and the first rows that were set apart."""
    output.heading(f"{result.ref}  {plural(result.rows, 'row')}" + ("  cancelled" if result.cancelled else ""))
    accuracy = ""
    if result.accuracy is not None:
        accuracy = f"{result.accuracy * 100:.2f} %  ({result.correct:,} of {result.rows - result.failed:,})"
    output.pairs(
        [
            ("Accuracy", accuracy),
            ("Throughput", f"{significant(result.throughput_per_s)} rows/s"),
            ("Time", f"{significant(result.elapsed_s)} s"),
            ("Set apart", plural(result.failed, "row") if result.failed else ""),
            ("Output", result.output),
            ("Golden outputs", result.metadata.get("golden", "")),
        ]
    )
    if result.confusion and len(result.classes) <= _MOST_CLASSES:
        output.line()
        _print_confusion(output, result)
    for failure in result.failures[:10]:
        output.line(f"{output.style('!', 'warn')} row {failure.row:,}: {safe_text(failure.reason)}")
    if result.command:
        output.line()
        output.line(output.style(safe_text(result.command), "muted"))


def _print_confusion(output: Output, result: BatchResult) -> None:
    names = [safe_text(name, 12) for name in result.classes]
    width = max([len(name) for name in names] + [len(f"{count:,}") for row in result.confusion for count in row])
    label = max(len(name) for name in names)
    output.line(output.style("true class by row, predicted class by column", "muted"))
    output.line()
    output.line(output.style(" " * label + "".join(f"  {name:>{width}}" for name in names), "muted"))
    for at, (name, row) in enumerate(zip(names, result.confusion, strict=True)):
        cells = []
        for column, count in enumerate(row):
            text = f"{count:>{width},}" if count else f"{'·':>{width}}"
            cells.append(output.style(text, "bold" if at == column else "" if count else "muted"))
        output.line(f"{output.style(name.rjust(label), 'muted')}  " + "  ".join(cells))
