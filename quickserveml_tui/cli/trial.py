"""`trial` and `feed`: try versions again, and keep what inputs they are tried with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from quickserveml_tui.cli.diagnostics import note, warn
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
from quickserveml_tui.core.errors import CancelledError, QuickServeError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.text import plural, safe_text

if TYPE_CHECKING:
    from quickserveml_tui.core.models import ModelRecord, TrialReport, VersionRecord
    from quickserveml_tui.core.ports import CatalogPort, Workbench

_PAGE = 1000
_WIDE = 100
"""Cells that the table of trials takes with the runtime."""
_VersionArgument = Annotated[
    str, Argument(metavar="REF", help="The version: name[@version|@label|@alias].", show_default=False)
]


def trial(
    refs: Annotated[
        list[str] | None,
        Argument(metavar="REF", help="Versions: name[@version|@label|@alias].", show_default=False),
    ] = None,
    *,
    all_models: Annotated[bool, Option("--all", help="Every version of every model.", show_default=False)] = False,
    filter_text: Annotated[
        str,
        Option(
            "--filter",
            metavar="FILTER",
            help="The latest version of each model that matches, such as 'status = quarantined'.",
            show_default=False,
        ),
    ] = "",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Try versions again, in a process of their own.

    Each version is loaded and run once on synthetic inputs, made by what `feed` keeps for it; the report replaces the
    one before. What it finds is no failure of the command: it fails when a version could not be tried.
    """
    invocation.note(home=home, as_json=as_json)
    if sum(map(bool, (refs, all_models, filter_text))) != 1:
        raise UsageError("What is to be tried?", hint="Give references, --all or --filter: one of them.")
    with invocation.workbench() as workbench:
        wanted = list(refs or ()) or _found(workbench.catalog, filter_text, every_version=all_models)
        tried, failed, stopped = _try_all(workbench, wanted)
    if invocation.as_json:
        from quickserveml_tui.cli.documents import error_entry

        invocation.output.document(
            {
                "trials": [_trial_document(*item) for item in tried],
                "failed": [{"ref": safe_text(ref), "error": error_entry(error)} for ref, error in failed],
            }
        )
    else:
        _print_trials(tried)
    if stopped is not None:
        note(f"{plural(len(tried), 'version')} of {len(wanted):,} tried before it was cancelled.")
        raise Exit(int(stopped.exit_code))
    if failed:
        raise Exit(int(failed[0][1].exit_code))


_Tried = tuple["ModelRecord", "VersionRecord", "TrialReport"]


def _found(catalog: CatalogPort, filter_text: str, *, every_version: bool) -> list[str]:
    from quickserveml_tui.core.catalog import CatalogQuery

    refs: list[str] = []
    token = ""
    while True:
        page = catalog.list_models(CatalogQuery(text=filter_text, limit=_PAGE, page_token=token))
        for view in page.models:
            versions = view.model.versions if every_version else view.model.versions[-1:]
            refs += [f"{view.model.name}@{version.version}" for version in versions]
        token = page.next_page_token
        if not token:
            return refs


def _try_all(
    workbench: Workbench, refs: list[str]
) -> tuple[list[_Tried], list[tuple[str, QuickServeError]], CancelledError | None]:
    """What was tried, what could not be, and what stopped it before the end."""
    from quickserveml_tui.cli.work import Narrator
    from quickserveml_tui.core.jobs import Progress

    tried: list[_Tried] = []
    failed: list[tuple[str, QuickServeError]] = []
    narrator = Narrator(quiet=True)
    try:
        for done, ref in enumerate(refs):
            narrator.on_progress(Progress("trying", done, len(refs), "versions", failed=0, note=ref))
            try:
                tried.append(_try_one(workbench.catalog, ref))
            except CancelledError as error:
                if not tried:
                    raise
                return tried, failed, error
            except QuickServeError as error:
                if len(refs) == 1:
                    raise
                failed.append((ref, error))
                narrator.close()
                if not invocation.as_json:
                    warn(f"{safe_text(ref, 200)}: {error.message}")
    finally:
        narrator.close()
    return tried, failed, None


def _try_one(catalog: CatalogPort, ref: str) -> _Tried:
    from quickserveml_tui.cli.work import run_cancellable

    _, before = _version_of(catalog, ref)
    view = run_cancellable(lambda cancel: catalog.retry(ref, cancel=cancel))
    after = view.model.version(before.version)
    return view.model, after if after is not None else before, before.trial


def _version_of(catalog: CatalogPort, ref: str) -> tuple[ModelRecord, VersionRecord]:
    from quickserveml_tui.services.catalog_lookup import registered, select_version

    parsed = registered(ref)
    model = catalog.show(ref).model
    return model, select_version(model, parsed.selector)


def _trial_document(model: ModelRecord, version: VersionRecord, before: TrialReport) -> dict[str, Any]:
    from quickserveml_tui.cli.documents import plain, trial_document

    return {
        "ref": f"{model.name}@{version.version}",
        "status": version.status,
        "runnable": version.runnable,
        "trial": trial_document(version.trial),
        "before": trial_document(before),
        "feed": plain(version.feed),
    }


def _print_trials(tried: list[_Tried]) -> None:
    import shutil

    from quickserveml_tui.cli.tables import print_table
    from quickserveml_tui.core.units import significant
    from quickserveml_tui.reports.tables import Column, table

    output = invocation.output
    if not tried:
        output.line("There is nothing to try.")
        return
    columns = (
        Column("ref", "Version"),
        Column("before", "Before"),
        Column("after", "Now"),
        Column("load_ms", "Load", "ms", align="decimal", show=significant),
        Column("run_ms", "Run", "ms", align="decimal", show=significant),
        Column("runtime", "Runtime"),
    )
    is_narrow = output.stream.isatty() and shutil.get_terminal_size().columns < _WIDE
    rows = [
        (
            f"{model.name}@{version.version}",
            _verdict(before),
            _verdict(version.trial),
            version.trial.load_ms,
            version.trial.run_ms,
            version.trial.runtime,
        )[: len(columns) - is_narrow]
        for model, version, before in tried
    ]
    print_table(output, table(columns[:-1] if is_narrow else columns, rows))
    reasons = [
        (row[0], version.trial.reason or version.trial.warning)
        for row, (_, version, _) in zip(rows, tried, strict=True)
    ]
    if any(reason for _, reason in reasons):
        output.line()
        output.lines(f"{ref}: {safe_text(reason, 1000)}" for ref, reason in reasons if reason)
    changed = sum(row[1] != row[2] for row in rows)
    output.line()
    output.line(output.style(f"{plural(len(rows), 'version')} tried, {changed:,} changed.", "muted"))


def _verdict(report: TrialReport) -> str:
    return "quarantined" if report.quarantined else report.outcome.value


def feed(
    ref: _VersionArgument,
    *,
    dim: DimOption = None,
    shape: ShapeOption = None,
    value_range: RangeOption = None,
    batch: BatchOption = None,
    seed: SeedOption = 0,
    length: LengthOption = None,
    word: WordOption = None,
    absent: AbsentOption = None,
    clear: Annotated[bool, Option("--clear", help="Take away what is kept.", show_default=False)] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show or keep what a version's synthetic inputs are made by.

    Without an option it shows what is kept. Options are laid over it: the version is tried with them, and they hold
    wherever it runs without given inputs. A version that runs is left as it is when it fails on them.
    """
    from quickserveml_tui.cli.work import run_cancellable

    invocation.note(home=home, as_json=as_json)
    given = feed_spec(dim, shape, value_range, batch, seed, lengths=length, words=word, absent=absent)
    if clear and given != FeedSpec():
        raise UsageError("--clear takes everything away.", hint="Leave the other options out, or set them after.")
    with invocation.workbench() as workbench:
        catalog = workbench.catalog
        model, version = _version_of(catalog, ref)
        if clear or given != FeedSpec():
            wanted = FeedSpec() if clear else given.over(version.feed)
            number = version.version
            model = run_cancellable(lambda cancel: catalog.set_feed(f"{model.name}@{number}", wanted, cancel=cancel))
            version = model.version(number) or version
    _print_feed(model, version, changed=clear or given != FeedSpec())


def _print_feed(model: ModelRecord, version: VersionRecord, *, changed: bool) -> None:
    import shlex

    from quickserveml_tui.cli.documents import plain, trial_document

    ref = f"{model.name}@{version.version}"
    output = invocation.output
    args = version.feed.to_args()
    if output.as_json:
        output.document(
            {
                "ref": ref,
                "feed": plain(version.feed),
                "args": args,
                "status": version.status,
                "runnable": version.runnable,
                "trial": trial_document(version.trial),
            }
        )
        return
    kept = safe_text(shlex.join(args))
    if kept:
        output.line(f"{output.style(ref, 'bold')}  {kept}")
    else:
        output.line(f"{output.style(ref, 'bold')} keeps no overrides: its inputs follow from its shapes and types.")
    if changed and not version.runnable:
        warn(f"{ref} cannot be run: {version.trial.reason}")
    elif changed:
        note(f"{ref} runs on such inputs.")
