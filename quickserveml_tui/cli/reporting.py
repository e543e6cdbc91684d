"""`--format`: the same table as text, CSV, JSON or Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from quickserveml_tui.reports.tables import Table

FORMATS = ("text", "csv", "json", "markdown")


def check_format(name: str) -> str:
    """`name`, if it is a report format. Raises `UsageError`."""
    if name not in FORMATS:
        raise UsageError(f"“{safe_text(name, 40)}” is not a format.", hint=f"Formats: {', '.join(FORMATS)}.")
    if name != "text" and invocation.as_json:
        raise UsageError("--json and --format exclude each other.", hint="--json prints the command's own document.")
    return name


def print_report(table: Table, format_name: str) -> None:
    """Print a table in a report format other than text."""
    from quickserveml_tui.reports.render import RENDERERS

    invocation.output.raw(RENDERERS[format_name](table))
