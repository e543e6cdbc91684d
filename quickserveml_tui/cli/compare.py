"""`compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from quickserveml_tui.cli.feeds import feed_spec
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import (
    AbsentOption,
    BatchOption,
    DimOption,
    HomeOption,
    JsonOption,
    LengthOption,
    RangeOption,
    SeedOption,
    ShapeOption,
    VerifyOption,
    WordOption,
)
from quickserveml_tui.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from quickserveml_tui.core.benchmarks import BenchmarkSpec
    from quickserveml_tui.core.comparing import Comparison, ComparisonSpec, Side, UnsavedComparisonError


def compare(
    refs: Annotated[
        list[str],
        Argument(
            metavar="BASELINE [CANDIDATE]…", help="Model files or name[@version|@label|@alias].", show_default=False
        ),
    ],
    *,
    settings: Annotated[
        list[str] | None,
        Option(
            "--with",
            metavar="SETTINGS",
            help="The baseline once more with other settings, such as threads=2,spinning=true; repeat it for more.",
            show_default=False,
        ),
    ] = None,
    duration: Annotated[str, Option("--duration", metavar="TIME", help="Measured time of all sides together.")] = "10s",
    threshold: Annotated[
        str, Option("--threshold", metavar="PERCENT", help="Difference from which on sides are not equal.")
    ] = "2%",
    precision: Annotated[
        str,
        Option(
            "--precision",
            metavar="PERCENT",
            help="End once every interval reaches no further than this from its ratio.",
            show_default=False,
        ),
    ] = "",
    processes: Annotated[
        int | None,
        Option("--processes", metavar="N", help="New processes for each side.", show_default="one for each 2.5 s, ≤ 4"),
    ] = None,
    block: Annotated[
        str, Option("--block", metavar="TIME", help="Least time for which a side runs in a round.")
    ] = "20ms",
    order_seed: Annotated[int, Option("--order-seed", metavar="N", help="Seed of the order within rounds.")] = 0,
    threads: Annotated[int, Option("--threads", metavar="N", help="Intra-op threads of every side.")] = 1,
    provider: Annotated[str, Option("--provider", metavar="NAME", help="Execution provider.")] = "CPUExecutionProvider",
    save: Annotated[bool, Option("--save/--no-save", help="Keep the result.")] = True,
    verify: VerifyOption = True,
    dim: DimOption = None,
    shape: ShapeOption = None,
    value_range: RangeOption = None,
    batch: BatchOption = None,
    seed: SeedOption = 0,
    length: LengthOption = None,
    word: WordOption = None,
    absent: AbsentOption = None,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say whether models or settings are faster, slower or equal.

    They take turns in random order in processes of their own, so that what disturbs the machine disturbs all of them. A
    verdict is given only where the whole 95 % interval of the ratio of the medians lies beyond the threshold, or within
    it. Ctrl-C ends it early; the rounds until then are judged and kept, and the exit code is 130.
    """
    from quickserveml_tui.cli.diagnostics import report
    from quickserveml_tui.core.benchmarks import BenchmarkSpec
    from quickserveml_tui.core.comparing import ComparisonSpec, UnsavedComparisonError
    from quickserveml_tui.core.units import parse_duration

    invocation.note(home=home, as_json=as_json)
    spec = ComparisonSpec(
        duration_s=parse_duration(duration),
        block_s=parse_duration(block),
        generations=_at_least_one(processes),
        threshold=_share(threshold, "--threshold"),
        precision=_share(precision, "--precision") if precision else None,
        seed=order_seed,
    ).validate()
    base = BenchmarkSpec(
        intra_op_threads=threads,
        provider=provider,
        feed=feed_spec(dim, shape, value_range, batch, seed, lengths=length, words=word, absent=absent),
        verify=verify,
    ).validate()
    sides, options = _sides(refs, settings or [], base)
    problem: UnsavedComparisonError | None = None
    try:
        found = _measure(sides, spec, options=options, save=save)
    except UnsavedComparisonError as error:
        found, problem = error.comparison, error
    _print(found, problem)
    if problem is not None:
        invocation.output.stream.flush()
        raise Exit(report(problem, as_json=False))
    if found.cancelled:
        raise Exit(int(ExitCode.INTERRUPTED))


def _at_least_one(processes: int | None) -> int:
    if processes is not None and processes < 1:
        raise UsageError("Each side needs a process.", hint="--processes takes 1 to 100.", code="usage.compare")
    return processes or 0


def _share(text: str, option: str) -> float:
    """A percentage as a share: `2%`, `2` and `0.5 %`."""
    try:
        return float(text.strip().removesuffix("%")) / 100
    except ValueError as error:
        raise UsageError(
            f"{option} takes a percentage.", hint=f"Write it like {option} 2%.", code="usage.compare"
        ) from error


def _sides(refs: list[str], settings: list[str], base: BenchmarkSpec) -> tuple[list[Side], tuple[str, ...]]:
    """Baseline and candidates, and the options that say the same in a command beside references and comparison."""
    from quickserveml_tui.core.benchmarks import BenchmarkSpec
    from quickserveml_tui.core.comparing import Side
    from quickserveml_tui.core.side_settings import describe_settings, with_settings

    default = BenchmarkSpec()
    sides = [Side(ref, base) for ref in refs]
    for text in settings:
        spec = with_settings(base, text)
        sides.append(Side(refs[0], spec, f"{refs[0]} {describe_settings(base, spec)}"))
    options = [item for text in settings for item in ("--with", text)]
    if base.intra_op_threads != default.intra_op_threads:
        options += ["--threads", str(base.intra_op_threads)]
    if base.provider != default.provider:
        options += ["--provider", base.provider]
    if not base.verify:
        options.append("--no-verify")
    return sides, (*options, *base.feed.to_args())


def _measure(sides: list[Side], spec: ComparisonSpec, *, options: tuple[str, ...], save: bool) -> Comparison:
    from quickserveml_tui.cli.compare_text import ComparisonNarrator
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    narrator = Narrator(quiet=invocation.as_json)
    teller = ComparisonNarrator(narrator, sides, spec)
    with invocation.workbench() as workbench:
        try:
            return run_cancellable(
                lambda cancel: workbench.compare.run(
                    sides, spec, on_frame=teller.on_frame, cancel=cancel, save=save, options=options
                )
            )
        finally:
            narrator.close()


def _print(found: Comparison, problem: UnsavedComparisonError | None) -> None:
    output = invocation.output
    if output.as_json:
        from quickserveml_tui.cli.compare_text import comparison_document

        output.document(comparison_document(found, problem))
        return
    from quickserveml_tui.cli.compare_text import print_comparison

    print_comparison(output, found)
