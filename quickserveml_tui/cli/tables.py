"""Tables on a terminal: numbers right or on their decimal point, headers and units muted, no rules."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from quickserveml_tui.core.text import cell_width, truncate_middle
from quickserveml_tui.core.units import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.reports.tables import Column, Table

_GAP = "  "
_NARROWEST = 12


def print_table(output: Output, table: Table, *, indent: str = "") -> None:
    """Print a table; columns in which nothing stands are left out, long names are cut in their middle."""
    kept = _columns_with_content(table)
    columns = [table.columns[index] for index in kept]
    shown = table.shown()
    cells = [_aligned(columns[at], [row[index] for row in shown]) for at, index in enumerate(kept)]
    headers = [f"{column.header} {column.unit}".rstrip() for column in columns]
    widths = [max(map(cell_width, [header, *column])) for header, column in zip(headers, cells, strict=True)]
    if output.stream.isatty():
        widths = _fitted(columns, widths, shutil.get_terminal_size().columns - len(indent))
    header = _line(columns, widths, headers)
    output.line(indent + output.style(header, "muted"))
    output.line()
    for row in zip(*cells, strict=True):
        output.line((indent + _line(columns, widths, row)).rstrip())


def _columns_with_content(table: Table) -> list[int]:
    indexes = range(len(table.columns))
    kept = [index for index in indexes if any(row[index] not in (None, "", (), []) for row in table.rows)]
    return kept or list(indexes)


def _aligned(column: Column, cells: list[str]) -> list[str]:
    """Cells of one column, padded so that decimal points stand below each other."""
    if column.align != "decimal":
        return cells
    tails = [len(cell.partition(".")[2]) + ("." in cell) for cell in cells if cell != MISSING]
    longest = max(tails, default=0)
    return [
        cell + " " * (longest - len(cell.partition(".")[2]) - ("." in cell)) if cell != MISSING else cell
        for cell in cells
    ]


def _fitted(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """Widths that fit into `room` cells, taken from the widest text columns."""
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - room
    widths = list(widths)
    while excess > 0:
        text_columns = [at for at, column in enumerate(columns) if column.align == "left" and widths[at] > _NARROWEST]
        if not text_columns:
            break
        widest = max(text_columns, key=lambda at: widths[at])
        widths[widest] -= 1
        excess -= 1
    return widths


def _line(columns: Sequence[Column], widths: list[int], cells: Sequence[str]) -> str:
    parts = []
    for column, width, cell in zip(columns, widths, cells, strict=True):
        text = truncate_middle(cell, width)
        padding = " " * (width - cell_width(text))
        parts.append(text + padding if column.align == "left" else padding + text)
    return _GAP.join(parts)
