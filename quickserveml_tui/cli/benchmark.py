"""`benchmark`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from quickserveml_tui.cli.feeds import feed_spec
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import (
    AbsentOption,
    BatchOption,
    DimOption,
    FormatOption,
    HomeOption,
    JsonOption,
    LengthOption,
    RangeOption,
    RefArgument,
    SeedOption,
    ShapeOption,
    VerifyOption,
    WordOption,
)
from quickserveml_tui.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from quickserveml_tui.config.settings import BenchmarkSettings
    from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSpec, UnsavedRunError


def benchmark(
    ref: RefArgument,
    *,
    duration: Annotated[
        str,
        Option(
            "--duration",
            metavar="TIME",
            help="How long to measure: 500ms, 30s, 2m; at most 5,000,000 runs.",
            show_default="10s",
        ),
    ] = "",
    runs: Annotated[
        int | None, Option("--runs", metavar="N", help="End after so many inferences.", show_default=False)
    ] = None,
    precision: Annotated[
        str,
        Option(
            "--precision",
            metavar="PERCENT",
            help="End once p50, or another figure as in p99=2%, is known to within this.",
            show_default=False,
        ),
    ] = "",
    warmup: Annotated[str, Option("--warmup", metavar="TIME", help="Longest time to warm up.", show_default="1s")] = "",
    warmup_runs: Annotated[int, Option("--warmup-runs", metavar="N", help="Fewest warm-up inferences.")] = 10,
    threads: Annotated[int | None, Option("--threads", metavar="N", help="Intra-op threads.", show_default="1")] = None,
    inter_op_threads: Annotated[int, Option("--inter-op-threads", metavar="N", help="Inter-op threads.")] = 1,
    provider: Annotated[str, Option("--provider", metavar="NAME", help="Execution provider.")] = "CPUExecutionProvider",
    optimization: Annotated[
        str, Option("--optimization", metavar="LEVEL", help="Graph optimisation: disable, basic, extended or all.")
    ] = "all",
    spinning: Annotated[bool, Option("--spinning", help="Let idle threads spin.", show_default=False)] = False,
    save: Annotated[bool, Option("--save/--no-save", help="Keep the result.")] = True,
    detach: Annotated[
        bool, Option("--detach", help="Leave it to the background and print the id of the job.", show_default=False)
    ] = False,
    verify: VerifyOption = True,
    dim: DimOption = None,
    shape: ShapeOption = None,
    value_range: RangeOption = None,
    batch: BatchOption = None,
    seed: SeedOption = 0,
    length: LengthOption = None,
    word: WordOption = None,
    absent: AbsentOption = None,
    format_name: FormatOption = "text",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Measure latency, throughput, CPU and memory of a model.

    A closed loop with one client in a process of its own. Ctrl-C ends it early; what was measured until then is printed
    and kept, and the exit code is 130.
    """
    from quickserveml_tui.cli.diagnostics import report
    from quickserveml_tui.cli.reporting import check_format
    from quickserveml_tui.core.benchmarks import BenchmarkSpec, UnsavedRunError

    invocation.note(home=home, as_json=as_json)
    check_format(format_name)
    defaults = invocation.settings.benchmark
    precision_of, wanted = parse_precision(precision)
    spec = BenchmarkSpec(
        duration_s=_seconds(duration, defaults.duration_s),
        max_runs=runs,
        warmup_s=_seconds(warmup, defaults.warmup_s),
        warmup_runs=warmup_runs,
        intra_op_threads=threads if threads is not None else defaults.threads,
        inter_op_threads=inter_op_threads,
        provider=provider,
        optimization=optimization,
        spinning=spinning,
        feed=feed_spec(dim, shape, value_range, batch, seed, lengths=length, words=word, absent=absent),
        verify=verify,
        precision=wanted,
        precision_of=precision_of,
    ).validate()
    if detach:
        _detach(ref, spec, save=save, format_name=format_name)
        return
    problem: UnsavedRunError | None = None
    try:
        run = measure(ref, spec, save=save)
    except UnsavedRunError as error:
        run, problem = error.run, error
    run = repeatable(run, defaults)
    _print_run(run, format_name, problem)
    if problem is not None:
        invocation.output.stream.flush()
        raise Exit(report(problem, as_json=False))
    if run.summary.cancelled:
        raise Exit(int(ExitCode.INTERRUPTED))


def repeatable(run: BenchmarkRun, configured: BenchmarkSettings) -> BenchmarkRun:
    """The run with a command that also repeats it where the settings changed a default that it used."""
    return replace(run, command=run.command + more_options(run.spec, configured))


def more_options(spec: BenchmarkSpec, configured: BenchmarkSettings) -> str:
    """Options that a command needs where the settings changed a default that `spec` has."""
    from quickserveml_tui.core.benchmarks import BenchmarkSpec

    own = BenchmarkSpec()
    extra = ""
    if spec.intra_op_threads == own.intra_op_threads != configured.threads:
        extra += f" --threads {spec.intra_op_threads}"
    if spec.warmup_s == own.warmup_s != configured.warmup_s:
        extra += f" --warmup {spec.warmup_s:g}s"
    return extra


def parse_precision(text: str) -> tuple[str, float | None]:
    """Figure and share of `1%` and `p99=2%`; no share for an empty text. Raises `UsageError`."""
    from quickserveml_tui.core.units import parse_share

    if not text:
        return "p50", None
    figure, equals, share = text.rpartition("=")
    return figure.strip() if equals else "p50", parse_share(share, "--precision")


def _seconds(text: str, default: float) -> float:
    from quickserveml_tui.core.units import parse_duration

    if not text:
        return default
    return 0.0 if re.fullmatch(r"0+(\.0+)?(ms|s|m|h)?", text.strip()) else parse_duration(text)


def _detach(ref: str, spec: BenchmarkSpec, *, save: bool, format_name: str) -> None:
    from quickserveml_tui.cli.job_text import print_started
    from quickserveml_tui.cli.work import run_cancellable
    from quickserveml_tui.core.job_records import JobKind, JobRequest

    if not save or format_name != "text":
        raise UsageError(
            "--detach leaves a job behind: it cannot be combined with --no-save or --format.",
            hint="quickserveml job watch ID follows it; its run is saved.",
        )
    with invocation.workbench() as workbench:
        run_cancellable(lambda cancel: workbench.catalog.resolve(ref, runnable=True, cancel=cancel))
        print_started(invocation.output, workbench.jobs.start(JobRequest(JobKind.BENCHMARK, ref, benchmark=spec)))


def measure(ref: str, spec: BenchmarkSpec, *, save: bool) -> BenchmarkRun:
    """Run a benchmark under Ctrl-C, saying on stderr how far it is."""
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    narrator = Narrator(quiet=invocation.as_json)
    with invocation.workbench() as workbench:
        try:
            return run_cancellable(
                lambda cancel: workbench.benchmark.run(ref, spec, on_frame=narrator.on_frame, cancel=cancel, save=save)
            )
        finally:
            narrator.close()


def _print_run(run: BenchmarkRun, format_name: str, problem: UnsavedRunError | None) -> None:
    output = invocation.output
    if output.as_json:
        from quickserveml_tui.cli.documents import benchmark_document

        output.document(benchmark_document(run, problem))
    elif format_name != "text":
        from quickserveml_tui.cli.reporting import print_report
        from quickserveml_tui.reports.models import benchmarks_table

        print_report(benchmarks_table([run]), format_name)
    else:
        from quickserveml_tui.cli.benchmark_text import print_run

        print_run(output, run)
