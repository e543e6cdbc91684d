"""Columns and cells of a table: which columns fit, and how a cell reads in its width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from quickserveml_tui.charts.bars import thin_bar
from quickserveml_tui.charts.cells import Charset, Role, Row, Span
from quickserveml_tui.core.text import cell_width, safe_text, truncate, truncate_middle
from quickserveml_tui.core.units import MISSING, significant

Align: TypeAlias = Literal["left", "right", "decimal"]
Kind: TypeAlias = Literal["text", "name", "number", "bar", "state"]
GAP = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one cell, with the value it sorts by."""

    value: str | float | None = None
    text: str = ""
    """Words to show; made from the value if empty."""
    role: Role | None = None
    bold: bool = False
    suffix: str = ""
    """A second part in a quieter voice: ` @3`."""
    suffix_role: Role = Role.MUTED
    short: str = ""
    """The cell where the column is shrunk to a sign."""


CellLike: TypeAlias = Cell | str | float | None
TableRow: TypeAlias = Mapping[str, CellLike]


@runtime_checkable
class RowSource(Protocol):
    """Rows made when they are shown, so that a million of them cost nothing."""

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, index: int, /) -> TableRow:
        """The row at `index`."""
        ...


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    `kind` decides how a value reads: `name` truncates in the middle, `number` is formatted, `bar` takes a share from 0
    to 1, `state` shrinks to its `short` sign before it leaves.
    """

    key: str
    title: str
    width: int | None = None
    align: Align | None = None
    """Numbers stand right and the rest left, unless told otherwise; `decimal` puts the points below each other."""
    kind: Kind = "text"
    min_width: int = 4
    drop: int = 0
    """The column with the highest number leaves first where it is narrow; 0 stays."""
    sortable: bool = True
    flex: int = 0
    """Share of the room that is left over."""
    decimals: int = 3
    """Digits behind the point that a `decimal` column keeps room for."""
    format: Callable[[float], str] | None = None
    """How a number reads: three significant digits by default."""
    role: Role | None = None

    @property
    def alignment(self) -> Align:
        """The alignment that counts."""
        return self.align or ("right" if self.kind == "number" else "left")

    @property
    def least(self) -> int:
        """Fewest cells that it can live with."""
        if self.width is not None:
            return self.width
        return max(self.min_width, 0 if self.flex or self.kind == "name" else cell_width(self.title))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A column with the width it got."""

    column: Column
    width: int
    shrunk: bool = False


def fit_columns(columns: Sequence[Column], width: int) -> list[Fitted]:
    """The columns that fit into `width` cells, two blanks apart, with their widths."""
    kept = [Fitted(column, column.least) for column in columns]

    def used() -> int:
        return sum(one.width for one in kept) + GAP * (len(kept) - 1)

    while used() > width:
        leaving = max(kept, key=lambda one: (one.column.drop, -one.shrunk), default=None)
        if leaving is None or leaving.column.drop == 0:
            break
        at = kept.index(leaving)
        if leaving.column.kind == "state" and not leaving.shrunk:
            kept[at] = Fitted(leaving.column, 1, shrunk=True)
        else:
            del kept[at]
    return _spread(kept, width - used())


def _spread(kept: list[Fitted], extra: int) -> list[Fitted]:
    growing = [one for one in kept if one.column.flex]
    if not growing:
        growing = [one for one in kept if one.column.kind == "name" and one.column.width is None][:1]
    if extra <= 0:
        # What still does not fit is taken from the names: they truncate in the middle.
        for one in growing:
            at = kept.index(one)
            kept[at] = Fitted(one.column, max(one.width + extra, 4), one.shrunk)
            break
        return kept
    total = sum(max(one.column.flex, 1) for one in growing)
    left = extra
    for number, one in enumerate(growing, 1):
        share = left if number == len(growing) else extra * max(one.column.flex, 1) // total
        left -= share
        kept[kept.index(one)] = Fitted(one.column, one.width + share, one.shrunk)
    return kept


def as_cell(value: CellLike) -> Cell:
    """A cell for whatever a row holds."""
    return value if isinstance(value, Cell) else Cell(value)


def cell_text(column: Column, cell: Cell) -> str:
    """The words of a cell, without its suffix."""
    if cell.text:
        return safe_text(cell.text)
    value = cell.value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING if column.kind in ("number", "bar") else ""
    if isinstance(value, str):
        return safe_text(value)
    if column.format is not None:
        return column.format(value)
    return f"{value:,}".replace("-", "−") if isinstance(value, int) else significant(value)


def decimal_pad(text: str, decimals: int) -> int:
    """Blanks to put behind a number so that its point stands where those of its column do."""
    _, point, fraction = text.partition(".")
    return max(decimals + 1 - len(point) - len(fraction), 0)


def sort_value(cell: Cell) -> tuple[int, float, str]:
    """A key that orders numbers before words and what is missing last."""
    value = cell.value
    if isinstance(value, (int, float)):
        return (2, 0.0, "") if isinstance(value, float) and math.isnan(value) else (0, float(value), "")
    word = value if isinstance(value, str) else cell.text
    return (1, 0.0, word.casefold()) if word else (2, 0.0, "")


def bar_role(share: float) -> Role:
    """Heat of a bar: the ramp ends in the accent."""
    return Role.ACCENT if share >= 0.55 else Role.HEAT_4


def cell_spans(fitted: Fitted, value: CellLike, *, current: bool, sorted_by: bool, charset: Charset) -> Row:
    """A cell, filled to the column's width. On the cursor row (`current`) nothing is muted, and the name is bold."""
    column, width = fitted.column, fitted.width
    cell = as_cell(value)
    if column.kind == "bar" and isinstance(cell.value, (int, float)):
        share = float(cell.value) if math.isfinite(cell.value) else 0.0
        return _filled(thin_bar(share, width, role=cell.role or bar_role(share), charset=charset), width, "left")
    text = cell.short if fitted.shrunk and cell.short else cell_text(column, cell)
    role = cell.role or column.role or (Role.MUTED if column.kind == "text" else Role.BODY)
    bold = cell.bold or (current and (column.kind == "name" or sorted_by))
    if current:
        role = {Role.MUTED: Role.BODY, Role.FAINT: Role.BODY}.get(role, role)
        role = Role.STRONG if bold and role is Role.BODY else role
    suffix = "" if fitted.shrunk else safe_text(cell.suffix)
    pad = decimal_pad(text, column.decimals) if column.alignment == "decimal" else 0
    room = max(width - cell_width(suffix) - pad, 0)
    cut = truncate_middle(text, room) if column.kind == "name" else truncate(text, room)
    spans = [Span(cut, role, bold)]
    if suffix:
        quiet = Role.BODY if current and cell.suffix_role is Role.MUTED else cell.suffix_role
        spans.append(Span(truncate(suffix, width), quiet))
    if pad:
        spans.append(Span(" " * pad))
    return _filled(tuple(spans), width, "left" if column.alignment == "left" else "right")


def _filled(spans: Row, width: int, side: str) -> Row:
    missing = width - sum(cell_width(span.text) for span in spans)
    if missing <= 0:
        return spans
    blank = Span(" " * missing)
    return (*spans, blank) if side == "left" else (blank, *spans)


def header_row(columns: Sequence[Fitted]) -> Row:
    """The column titles, each above its own edge."""
    spans: list[Span] = []
    for index, one in enumerate(columns):
        if index:
            spans.append(Span(" " * GAP))
        title = "" if one.shrunk else truncate(safe_text(one.column.title), one.width)
        left = one.column.alignment == "left"
        spans.extend(_filled((Span(title, Role.MUTED),), one.width, "left" if left else "right"))
    return tuple(spans)
