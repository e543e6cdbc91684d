"""What a change of many models did, as text and as a document, and the options that such commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Exit, Option

from quickserveml_tui.cli.diagnostics import warn
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.core.errors import ExitCode, UsageError
from quickserveml_tui.core.text import plural, safe_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.core.catalog import BulkReport

FilterOption: TypeAlias = Annotated[
    str | None,
    Option("--filter", metavar="FILTER", help="All models that a filter finds, as in list.", show_default=False),
]
DryRunOption: TypeAlias = Annotated[bool, Option("--dry-run", help="Only say what would change.", show_default=False)]


def selection(refs: Sequence[str] | None, filter_text: str | None) -> Sequence[str] | str:
    """What to change: the references, or a filter. Raises `UsageError` unless there is exactly one of both."""
    if filter_text is None:
        if not refs:
            raise UsageError("No model is named.", hint="Name models or versions, or find them with --filter.")
        return refs
    if refs:
        raise UsageError("--filter excludes names.", hint="Give names or a filter.")
    if not filter_text.strip():
        raise UsageError("The filter is empty.", hint="Say which models, such as --filter 'tag = old'.")
    return filter_text


def print_report(report: BulkReport) -> None:
    """Print what was done, or would be; ends with exit code 3 where something was refused."""
    output = invocation.output
    if output.as_json:
        from quickserveml_tui.cli.documents import bulk_document

        output.document(bulk_document(report))
    else:
        for item in report.items:
            if item.refused:
                warn(f"{item.ref}: {item.refused}")
            elif item.change:
                undo = f"  ({item.trash_id})" if item.trash_id else ""
                output.line(f"{safe_text(item.ref)}: {safe_text(item.change, 300)}{undo}")
        output.line(_summary(report))
        # A model that went after one of its versions has to be there before that comes back.
        deleted = [item.trash_id for item in reversed(report.items) if item.trash_id]
        if deleted:
            output.line(output.style(f"Undo: quickserveml restore {' '.join(deleted)}", "muted"))
    if report.refused:
        raise Exit(int(ExitCode.BAD_INPUT))


def _summary(report: BulkReport) -> str:
    if not report.items:
        return "No model matches."
    same = len(report.items) - report.changed - report.refused
    parts = [f"{plural(report.changed, 'change')}"]
    if same:
        parts.append(f"{same:,} as before")
    if report.refused:
        parts.append(f"{report.refused:,} refused")
    return f"{'Dry run, nothing was changed' if report.dry_run else 'Done'}: {', '.join(parts)}."
