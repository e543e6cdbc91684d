"""`gc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import format_bytes, parse_age

if TYPE_CHECKING:
    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.care import CollectReport


def gc(
    *,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Say what would go, and change nothing.", show_default=False)
    ] = False,
    grace: Annotated[
        str,
        Option(
            "--grace",
            metavar="TIME",
            help="Age from which unneeded files go, such as 12h or 7d; 0 takes all.",
            show_default="24h",
        ),
    ] = "",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Remove what nothing needs: files, uploads, old trash, cache.

    What a version, the trash, a saved run or a running job needs always stays.
    """
    from quickserveml_tui.cli.work import run_cancellable

    output = invocation.note(home=home, as_json=as_json).output
    grace_s = None if not grace else parse_grace(grace)
    with invocation.workbench() as workbench:
        report = run_cancellable(
            lambda cancel: workbench.maintenance.collect(dry_run=dry_run, grace_s=grace_s, cancel=cancel)
        )
    if output.as_json:
        output.document(collect_document(report))
    else:
        print_collected(output, report)


def parse_grace(text: str) -> float:
    """Seconds of a grace: an age, or `0` or `0s` for none. Raises `UsageError` (`usage.age`)."""
    return 0.0 if text.strip().rstrip("smhdw").strip() == "0" else parse_age(text)


def collect_document(report: CollectReport) -> dict[str, Any]:
    """The document of a collection."""
    from quickserveml_tui.cli.documents import plain

    document: dict[str, Any] = plain(report)
    return document


def print_collected(output: Output, report: CollectReport) -> None:
    """Print what went, or would go, with its size, then what stays."""
    from quickserveml_tui.cli.tables import print_table
    from quickserveml_tui.reports.tables import Column, table

    rows = [
        ("Files that nothing needs", report.blobs, report.blob_bytes),
        ("Uploads left unfinished", report.uploads, report.upload_bytes),
        ("Models put together in the cache", report.cache_entries, report.cache_bytes),
        ("Deleted models and versions", report.trash, None),
        ("Old results, jobs and leases", report.rows, None),
    ]
    went = [row for row in rows if row[1]]
    if went:
        columns = [
            Column("what", "Would go" if report.dry_run else "Removed"),
            Column("number", "Number", align="right"),
            Column("size_bytes", "Size", align="right", show=_size),
        ]
        print_table(output, table(columns, went))
        output.line()
    freed = format_bytes(report.blob_bytes + report.upload_bytes + report.cache_bytes)
    verb = "would be freed" if report.dry_run else "freed"
    stays = f"{plural(report.kept_blobs, 'file')} of {format_bytes(report.kept_bytes)}"
    stay = f"{stays} {'stays' if report.kept_blobs == 1 else 'stay'}"
    if report.young:
        stay += f", {report.young:,} of them only until {'it is' if report.young == 1 else 'they are'} old enough"
    output.line(f"{freed} {verb}; {stay}." if went else f"Nothing to collect; {stay}.")


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else format_bytes(size_bytes)
