"""`golden` and `verify`: inputs with the outputs that a version must give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
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
    WordOption,
)
from quickserveml_tui.core.errors import ExitCode, NotFoundError, QuickServeError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quickserveml_tui.core.golden import GoldenReport
    from quickserveml_tui.core.jobs import CancelToken, ProgressSink
    from quickserveml_tui.core.ports import Workbench

application = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Keep inputs with the outputs that a version must give.",
)
_VersionArgument = Annotated[
    str, Argument(metavar="REF", help="The version: name[@version|@label|@alias].", show_default=False)
]
_NameArgument = Annotated[str, Argument(metavar="NAME", help="Name of the golden output.", show_default=False)]
_FILES = (".npz", ".json")
_PAGE = 1000
_Wanted: TypeAlias = "tuple[str, Sequence[str]]"
"""A reference and the names of its golden outputs; without names all of them."""


@application.command("record")
def record(
    ref: _VersionArgument,
    name: Annotated[
        str, Argument(metavar="[NAME]", help="What to call it; default, default-2, … else.", show_default=False)
    ] = "",
    *,
    inputs: Annotated[
        str, Option("--inputs", metavar="FILE", help="NPZ or JSON file with the inputs by name.", show_default=False)
    ] = "",
    outputs: Annotated[
        str,
        Option("--outputs", metavar="FILE", help="NPZ or JSON file with the outputs to expect.", show_default=False),
    ] = "",
    rtol: Annotated[float, Option("--rtol", metavar="X", help="Largest relative difference.")] = 1e-4,
    atol: Annotated[float, Option("--atol", metavar="X", help="Largest absolute difference beside it.")] = 1e-5,
    notes: Annotated[str, Option("--notes", metavar="TEXT", help="Notes on it.", show_default=False)] = "",
    overwrite: Annotated[bool, Option("--overwrite", help="Replace one of that name.", show_default=False)] = False,
    dim: DimOption = None,
    shape: ShapeOption = None,
    value_range: RangeOption = None,
    length: LengthOption = None,
    word: WordOption = None,
    absent: AbsentOption = None,
    batch: BatchOption = None,
    seed: SeedOption = 0,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run a version and keep its inputs and outputs as what it must give.

    Without --inputs the inputs are made up by the seed, laid over the feed that is saved with the version. It runs
    twice; outputs that do not repeat within the tolerance are refused.
    """
    from quickserveml_tui.cli.golden_text import content_lines, golden_document
    from quickserveml_tui.cli.work import run_cancellable

    output = invocation.note(home=home, as_json=as_json).output
    feed = feed_spec(dim, shape, value_range, batch, seed, lengths=length, words=word, absent=absent)
    for option, path in (("--inputs", inputs), ("--outputs", outputs)):
        if path and Path(path).suffix.lower() not in _FILES:
            raise UsageError(f"{option} takes an NPZ or a JSON file.", hint="Its name must end in .npz or .json.")
    if inputs and feed != FeedSpec():
        raise UsageError("--inputs gives the inputs.", hint="Leave out the options that make inputs up, or --inputs.")
    with invocation.workbench() as workbench:
        golden = run_cancellable(
            lambda cancel: workbench.golden.record(
                ref,
                name,
                inputs=Path(inputs) if inputs else None,
                outputs=Path(outputs) if outputs else None,
                feed=feed,
                rtol=rtol,
                atol=atol,
                notes=notes,
                overwrite=overwrite,
                cancel=cancel,
            )
        )
        shown, content = _numbered(workbench, ref), workbench.golden.content(ref, golden.name)
    if output.as_json:
        output.document({"ref": safe_text(ref), **golden_document(golden)})
    else:
        output.line(f"{output.style('✓', 'ok')} Recorded {output.style(golden.name, 'bold')} of {shown}.")
        output.lines(f"  {line}" for line in content_lines(content))
        output.line(output.style(f"quickserveml verify {shown}", "muted"))


def _numbered(workbench: Workbench, ref: str) -> str:
    """The version that a reference names, by its number."""
    from quickserveml_tui.core.refs import ModelRef, parse_ref
    from quickserveml_tui.services.catalog_lookup import select_version

    model, parsed = workbench.catalog.show(ref).model, parse_ref(ref)
    selector = parsed.selector if isinstance(parsed, ModelRef) else ""
    return f"{model.name}@{select_version(model, selector).version}"


@application.command("list")
def list_command(ref: _VersionArgument, *, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """List the golden outputs of a version."""
    from quickserveml_tui.cli.golden_text import golden_document, print_golden_list

    output = invocation.note(home=home, as_json=as_json).output
    with invocation.workbench() as workbench:
        found = workbench.golden.list(ref)
    if output.as_json:
        output.document({"ref": safe_text(ref), "golden": [golden_document(item) for item in found]})
    else:
        print_golden_list(output, ref, found)


@application.command("show")
def show(
    ref: _VersionArgument,
    name: _NameArgument,
    *,
    output_dir: Annotated[
        str,
        Option("--output-dir", metavar="FOLDER", help="Write inputs and outputs to NPZ files.", show_default=False),
    ] = "",
    overwrite: Annotated[bool, Option("--overwrite", help="Replace files of that name.", show_default=False)] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show what goes in and what must come out; with --output-dir, write both."""
    from quickserveml_tui.cli.golden_text import content_document, print_content

    output = invocation.note(home=home, as_json=as_json).output
    if overwrite and not output_dir:
        raise UsageError("--overwrite goes with --output-dir.", hint="Name the folder to write to.")
    with invocation.workbench() as workbench:
        content = workbench.golden.content(ref, name)
        files = workbench.golden.export(ref, name, output_dir, overwrite=overwrite) if output_dir else ()
    if output.as_json:
        written = {"files": [safe_text(path) for path in files]} if files else {}
        output.document({"ref": safe_text(ref), **content_document(content), **written})
        return
    print_content(output, ref, content)
    output.lines(f"Wrote {safe_text(path)}." for path in files)


@application.command("remove")
def remove(ref: _VersionArgument, name: _NameArgument, *, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Take a golden output away."""
    output = invocation.note(home=home, as_json=as_json).output
    with invocation.workbench() as workbench:
        workbench.golden.remove(ref, name)
        left = len(workbench.golden.list(ref))
    if output.as_json:
        output.document({"ref": safe_text(ref), "removed": safe_text(name), "left": left})
    else:
        output.line(f"Removed {safe_text(name)} of {safe_text(ref)}.")


def verify(
    refs: Annotated[
        list[str] | None,
        Argument(metavar="[REF...]", help="Versions: name[@version|@label|@alias].", show_default=False),
    ] = None,
    *,
    every: Annotated[
        bool,
        Option(
            "--all",
            help="Every version of the catalog that has golden outputs; with --require every one that runs.",
            show_default=False,
        ),
    ] = False,
    name: Annotated[
        list[str] | None,
        Option("--name", metavar="NAME", help="Only this golden output; may be repeated.", show_default=False),
    ] = None,
    require: Annotated[
        bool, Option("--require", help="Fail for a version without golden outputs.", show_default=False)
    ] = False,
    against: Annotated[
        str, Option("--against", metavar="REF", help="Run the golden outputs of another version.", show_default=False)
    ] = "",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run the golden outputs of versions again.

    With --against, those of another version are run on these, such as those of the model before it was trained again;
    nothing is recorded. The exit code is 1 when one differs or could not be run, 3 when a version cannot be found or
    read.
    """
    from quickserveml_tui.cli.golden_text import print_reports, reports_document
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    output = invocation.note(home=home, as_json=as_json).output
    if bool(refs) == every:
        raise UsageError("Nothing was named to verify.", hint="Name versions, or give --all and none.")
    if every and against:
        raise UsageError("--against goes with versions that are named.", hint="Name them instead of --all.")
    narrator = Narrator(quiet=True)
    with invocation.workbench() as workbench:
        names = tuple(name or ())
        wanted = (
            list(_all_versions(workbench, names, require=require))
            if every
            else [(ref, names) for ref in dict.fromkeys(refs or ())]
        )
        if names and not wanted:
            raise NotFoundError(
                f"No version has a golden output “{safe_text(', '.join(names), 200)}”.",
                hint="`quickserveml golden list REF` names those of a version.",
                code="golden.not_found",
            )
        try:
            reports, failures = run_cancellable(
                lambda cancel: _verify_all(workbench, wanted, against, narrator.on_progress, cancel)
            )
        finally:
            narrator.close()
    if len(wanted) == 1 and failures:
        raise failures[0][1]
    if output.as_json:
        output.document(reports_document(reports, failures))
    else:
        print_reports(output, reports, failures)
    code = _exit_code(reports, [error for _ref, error in failures], require=require)
    if code:
        output.stream.flush()
        raise Exit(code)


def _verify_all(
    workbench: Workbench, wanted: Sequence[_Wanted], against: str, on_progress: ProgressSink, cancel: CancelToken
) -> tuple[list[GoldenReport], list[tuple[str, QuickServeError]]]:
    """A report for each version, and the errors of those that have none; one does not keep the next from its turn."""
    reports: list[GoldenReport] = []
    failures: list[tuple[str, QuickServeError]] = []
    for ref, names in wanted:
        cancel.raise_if_cancelled()
        try:
            report = workbench.golden.verify(ref, names, against=against, on_progress=on_progress, cancel=cancel)
            reports.append(report)
        except QuickServeError as error:
            if error.exit_code is ExitCode.INTERRUPTED:
                raise
            failures.append((ref, error))
    return reports, failures


def _all_versions(workbench: Workbench, names: Sequence[str], *, require: bool) -> Iterator[_Wanted]:
    """Every version that has golden outputs, or those of these names; with `require` every one that runs."""
    from quickserveml_tui.core.catalog import CatalogQuery

    token = ""
    while True:
        page = workbench.catalog.list_models(CatalogQuery(limit=_PAGE, page_token=token))
        for view in page.models:
            for item in view.model.versions:
                found = [golden.name for golden in item.golden if not names or golden.name in names]
                if found or (require and item.runnable):
                    yield f"{view.model.name}@{item.version}", found or names
        token = page.next_page_token
        if not token:
            return


def _exit_code(reports: Sequence[GoldenReport], errors: Sequence[QuickServeError], *, require: bool) -> int:
    if any(not report.ok or (require and not report.checks) for report in reports):
        return int(ExitCode.GATE_FAILED)
    if require and not reports and not errors:
        return int(ExitCode.GATE_FAILED)
    if any(isinstance(error, NotFoundError) for error in errors):
        return int(ExitCode.BAD_INPUT)
    return int(errors[0].exit_code) if errors else 0
