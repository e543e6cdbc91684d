"""What a job gave, and the command line that would repeat it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.core.errors import NotFoundError
from quickserveml_tui.core.job_records import JobKind

if TYPE_CHECKING:
    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.benchmarks import BenchmarkRun
    from quickserveml_tui.core.job_records import JobRecord, JobRequest
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.core.predictions import BatchResult


def result_of(workbench: Workbench, record: JobRecord) -> BenchmarkRun | BatchResult | None:
    """The saved result of a job; None while there is none, and when it was removed since."""
    if not record.result_id:
        return None
    try:
        if record.kind is JobKind.BENCHMARK:
            return workbench.benchmark.get(record.result_id)
        return workbench.batch.get(record.result_id)
    except NotFoundError:
        return None


def result_document(result: BenchmarkRun | BatchResult | None) -> dict[str, Any] | None:
    """The document that the command in the foreground prints."""
    from quickserveml_tui.cli.documents import batch_document, benchmark_document
    from quickserveml_tui.core.predictions import BatchResult

    if result is None:
        return None
    shown = _repeatable(result)
    return batch_document(shown) if isinstance(shown, BatchResult) else benchmark_document(shown)


def print_result(output: Output, result: BenchmarkRun | BatchResult) -> None:
    """Print what the command in the foreground prints."""
    from quickserveml_tui.cli.batch import print_batch
    from quickserveml_tui.cli.benchmark_text import print_run
    from quickserveml_tui.core.predictions import BatchResult

    shown = _repeatable(result)
    if isinstance(shown, BatchResult):
        print_batch(output, shown)
    else:
        print_run(output, shown)


def _repeatable(result: BenchmarkRun | BatchResult) -> BenchmarkRun | BatchResult:
    """The result with a command that repeats it also where the settings changed a default."""
    from quickserveml_tui.cli.benchmark import repeatable
    from quickserveml_tui.core.predictions import BatchResult, BatchSpec

    if not isinstance(result, BatchResult):
        return repeatable(result, invocation.settings.benchmark)
    default = BatchSpec().batch_size
    if "--batch-size" in result.command or default == invocation.settings.batch.size:
        return result
    return replace(result, command=f"{result.command} --batch-size {default}")


def command_of(request: JobRequest) -> str:
    """The command line that would repeat a job: the version, the data and every option that is not the default."""
    from quickserveml_tui.cli.benchmark import more_options
    from quickserveml_tui.services.batch import command_of as batch_command

    if request.benchmark is not None:
        extra = more_options(request.benchmark, invocation.settings.benchmark)
        return request.benchmark.command(request.ref) + extra
    assert request.batch is not None
    command = batch_command(request.ref, request.data, request.batch)
    size = request.batch.batch_size
    is_hidden = "--batch-size" not in command and size != invocation.settings.batch.size
    return f"{command} --batch-size {size}" if is_hidden else command
