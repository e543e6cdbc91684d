"""`trash`, `restore` and `purge`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from quickserveml_tui.cli.confirm import confirm
from quickserveml_tui.cli.diagnostics import warn
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import FormatOption, HomeOption, JsonOption
from quickserveml_tui.core.errors import QuickServeError, UsageError
from quickserveml_tui.core.text import plural, safe_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.core.models import ModelRecord, TrashEntry
    from quickserveml_tui.core.ports import CatalogPort

_WHAT = "Trash id, or what was deleted: name or name@version."


def trash(format_name: FormatOption = "text", home: HomeOption = "", as_json: JsonOption = False) -> None:
    """List what was deleted and can be restored."""
    from quickserveml_tui.cli.reporting import check_format, print_report
    from quickserveml_tui.reports.models import trash_table

    output = invocation.note(home=home, as_json=as_json).output
    check_format(format_name)
    with invocation.workbench() as workbench:
        entries = workbench.catalog.trash()
    if output.as_json:
        from quickserveml_tui.cli.documents import trash_document

        output.document({"entries": [trash_document(entry) for entry in entries], "total": len(entries)})
    elif format_name != "text":
        print_report(trash_table(entries), format_name)
    elif not entries:
        output.line("The trash is empty.")
    else:
        from quickserveml_tui.cli.tables import print_table

        print_table(output, trash_table(entries))
        output.line()
        output.line(output.style("quickserveml restore ID brings one back; quickserveml purge ID forgets it.", "muted"))


def restore(
    what: Annotated[list[str], Argument(metavar="WHAT...", help=_WHAT, show_default=False)],
    *,
    name: Annotated[
        str, Option("--name", metavar="NEW", help="Another name for the model, where its own is taken.")
    ] = "",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Bring deleted models or versions back.

    A model comes back as it was. A version goes back into its model; with --name it becomes a model of its own. Of
    several, those that can come back do, in the order given.
    """
    output = invocation.note(home=home, as_json=as_json).output
    wanted = list(dict.fromkeys(what))
    if name and len(wanted) > 1:
        raise UsageError("--name is for one model.", hint="Restore one at a time to rename it.")
    with invocation.workbench() as workbench:
        if len(wanted) > 1:
            _restore_many(workbench.catalog, wanted)
            return
        entry, model = _restore_one(workbench.catalog, wanted[0], name)
    if output.as_json:
        output.document(_restored_document(entry, model))
    else:
        _print_restored(entry, model)


def _restore_one(catalog: CatalogPort, what: str, name: str = "") -> tuple[TrashEntry, ModelRecord]:
    from quickserveml_tui.services.catalog_trash import find_entry

    entry = find_entry(catalog.trash(), what)
    return entry, catalog.restore(entry.id, name=name)


def _restore_many(catalog: CatalogPort, wanted: Sequence[str]) -> None:
    """Restore what can be; ends with the exit code of the first failure."""
    from quickserveml_tui.cli.documents import error_entry

    restored: list[dict[str, Any]] = []
    failed: list[tuple[str, QuickServeError]] = []
    for what in wanted:
        try:
            entry, model = _restore_one(catalog, what)
        except QuickServeError as error:
            failed.append((what, error))
            if not invocation.as_json:
                warn(f"{what}: {error.message}{' ' if error.hint else ''}{error.hint}")
        else:
            if invocation.as_json:
                restored.append(_restored_document(entry, model))
            else:
                _print_restored(entry, model)
    if invocation.as_json:
        refused = [{"what": safe_text(what, 400), "error": error_entry(error)} for what, error in failed]
        invocation.output.document({"restored": restored, "failed": refused})
    if failed:
        raise Exit(int(failed[0][1].exit_code))


def _restored_document(entry: TrashEntry, model: ModelRecord) -> dict[str, Any]:
    from quickserveml_tui.cli.documents import show_document
    from quickserveml_tui.core.catalog import ModelView
    from quickserveml_tui.services.catalog_trash import lost_on_return

    shown = show_document(ModelView(model), entry.version.version if entry.version else None)
    return shown | {"restored": entry.title, "trash_id": entry.id, "lost": list(lost_on_return(entry, model))}


def _print_restored(entry: TrashEntry, model: ModelRecord) -> None:
    from quickserveml_tui.services.catalog_trash import lost_on_return

    output = invocation.output
    where = f" as {model.name}" if model.name != entry.name else ""
    output.line(f"{output.style('✓', 'ok')} Restored {entry.title}{where}.")
    for sentence in lost_on_return(entry, model):
        warn(sentence)


def purge(
    what: Annotated[list[str] | None, Argument(metavar="[WHAT]...", help=_WHAT, show_default=False)] = None,
    *,
    older_than: Annotated[
        str, Option("--older-than", metavar="AGE", help="Only what was deleted longer ago, such as 30d or 12h.")
    ] = "",
    everything: Annotated[bool, Option("--all", help="All that is in the trash.", show_default=False)] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only say what would go.", show_default=False)] = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.", show_default=False)] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Forget what is in the trash for good.

    The files of what was purged go with the next collection (gc), unless something else needs them.
    """
    from quickserveml_tui.core.units import parse_age

    invocation.note(home=home, as_json=as_json)
    if everything and (what or older_than):
        raise UsageError("--all excludes names and --older-than.", hint="Give one of them.")
    if not (everything or what or older_than):
        raise UsageError("There is nothing to purge.", hint="Name what to purge, or give --older-than 30d or --all.")
    older_than_s = parse_age(older_than) if older_than else 0.0
    with invocation.workbench() as workbench:
        found = workbench.catalog.purge(what or (), older_than_s=older_than_s, dry_run=True)
        if found and not dry_run:
            if not yes:
                _ask(found)
            # By id: what came into the trash since was not asked about.
            found = workbench.catalog.purge([entry.id for entry in found])
    _print_purged(found, dry_run=dry_run)


def _size_bytes(entries: Sequence[TrashEntry]) -> int:
    artifacts = {item.artifact.digest: item.artifact.size_bytes for entry in entries for item in entry.versions}
    return sum(artifacts.values())


def _ask(entries: Sequence[TrashEntry]) -> None:
    subject = entries[0].title if len(entries) == 1 else f"{len(entries):,} entries"
    confirm(f"Purge {subject} for good?", as_json=invocation.as_json, otherwise="Nothing was purged.")


def _print_purged(entries: Sequence[TrashEntry], *, dry_run: bool) -> None:
    from quickserveml_tui.core.units import format_bytes

    output = invocation.output
    if output.as_json:
        from quickserveml_tui.cli.documents import trash_document

        output.document(
            {
                "dry_run": dry_run,
                "purged": [trash_document(entry) for entry in entries],
                "size_bytes": _size_bytes(entries),
            }
        )
        return
    if not entries:
        output.line("There is nothing to purge.")
        return
    if dry_run:
        output.lines(f"{entry.title}  {entry.id}  {entry.deleted_at}" for entry in entries)
    verb = "would be purged" if dry_run else "purged"
    output.line(f"{plural(len(entries), 'entry', 'entries')} {verb}; {format_bytes(_size_bytes(entries))} in files.")
