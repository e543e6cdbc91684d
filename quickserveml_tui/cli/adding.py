"""Adds one model file or many, and says what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer import Exit

from quickserveml_tui.cli.diagnostics import detail, note, warn
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.core.errors import ExitCode, QuickServeError
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import AddRequest, AddResult
    from quickserveml_tui.core.models import AliasEvent, VersionRecord
    from quickserveml_tui.core.ports import CatalogPort


def add_one(catalog: CatalogPort, request: AddRequest) -> AddResult:
    """Add a file; Ctrl-C cancels it, and a terminal shows how far it is. Raises as `CatalogPort.add`."""
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    narrator = Narrator(quiet=True)
    try:
        return run_cancellable(lambda cancel: catalog.add(request, on_progress=narrator.on_progress, cancel=cancel))
    finally:
        narrator.close()


def add_many(catalog: CatalogPort, requests: list[AddRequest]) -> None:
    """Add file after file, and say what became of each and of all. Ends with the exit code of the first failure."""
    from quickserveml_tui.cli.documents import error_entry

    added: list[AddResult] = []
    failed: list[tuple[str, QuickServeError]] = []
    for request in requests:
        try:
            result = add_one(catalog, request)
        except QuickServeError as error:
            if error.exit_code is ExitCode.INTERRUPTED:
                raise
            failed.append((request.path, error))
            if not invocation.as_json:
                _print_failed(request.path, error)
        else:
            added.append(result)
            if not invocation.as_json:
                print_added(result, path=request.path)
    if invocation.as_json:
        invocation.output.document(
            {
                "models": [_document(result) for result in added],
                "failed": [{"path": safe_text(path), "error": error_entry(error)} for path, error in failed],
            }
        )
    else:
        invocation.output.line(summary(added, len(failed)))
    if failed:
        raise Exit(int(failed[0][1].exit_code))


def summary(added: list[AddResult], failed: int) -> str:
    """How many came to what, such as `27 added (13 cannot run), 1 was there already, 23 rejected.`"""
    new = [result for result in added if not result.existed]
    stuck = sum(not result.version.runnable for result in new)
    known = len(added) - len(new)
    parts = [f"{len(new):,} added" + (f" ({stuck:,} cannot run)" if stuck else "")]
    if known:
        parts.append(f"{known:,} {'was' if known == 1 else 'were'} there already")
    if failed:
        parts.append(f"{failed:,} rejected")
    return f"{', '.join(parts)}."


def _print_failed(path: str, error: QuickServeError) -> None:
    shown = safe_text(path, 300)
    warn(f"{shown}: {error.message}")
    if error.hint:
        note(f"  {error.hint}")
    if invocation.verbose:
        detail(error.detail)


def _document(result: AddResult) -> dict[str, Any]:
    from quickserveml_tui.cli.documents import plain, trial_document, version_document

    return version_document(result.model, result.version) | {
        "existed": result.existed,
        "trial": trial_document(result.trial),
        "lineage": plain(result.version.lineage),
        "warning": result.warning,
        "moved": plain(result.moved) if result.moved else None,
    }


def print_added(result: AddResult, *, path: str = "") -> None:
    """Print what became of a file, after its `path` where it is one of many."""
    output = invocation.output
    if output.as_json:
        output.document(_document(result))
        return
    version = result.version
    ref = f"{result.model.name}@{version.version}"
    shown = output.style(ref, "bold")
    where = ", which stays where it is" if version.artifact.is_linked else ""
    what = f"{safe_text(path, 300)} → {shown}" if path else f"Added {shown}"
    if not result.existed:
        output.line(f"{output.style('✓', 'ok')} {what}{where}.")
    elif path:
        output.line(f"{what}, which is this very file already.")
    else:
        output.line(f"{ref} is this very file already; its copy in the store was renewed.")
    if result.moved is not None:
        output.line(moved_line(result.moved))
    if result.warning:
        warn(result.warning)
    if version.runnable and version.trial.warning:
        warn(version.trial.warning)
    if not version.runnable:
        _print_stuck(ref, version)


def moved_line(event: AliasEvent) -> str:
    """Where an alias pointed and points: `prod: @2 → @5`."""
    before, now = (f"@{number}" if number else "none" for number in (event.previous, event.version))
    return f"{safe_text(event.alias)}: {before} → {now}"


def _print_stuck(ref: str, version: VersionRecord) -> None:
    from quickserveml_tui.cli.trial_text import remedy

    trial = version.trial
    warn(f"{ref} cannot be run: {trial.reason}")
    if trial.quarantined:
        note(f"It is in quarantine: `quickserveml trial {ref}` tries it again.")
    if hint := remedy(trial):
        note(hint)
    if not trial.quarantined:
        note("It can be inspected, but not measured or served.")
    if invocation.verbose:
        detail(trial.detail)
