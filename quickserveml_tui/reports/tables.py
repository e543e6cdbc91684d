"""Tables as data: one definition that a terminal, CSV, JSON and Markdown show, each in its own way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import MISSING

Align: TypeAlias = Literal["left", "right", "decimal"]


def as_text(value: Any) -> str:
    """A value as people read it: whole numbers with thousands commas, lists with commas between."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, list | tuple):
        return ", ".join(safe_text(item) for item in value) or MISSING
    return safe_text(value)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `key` names it for machines, `header` and `unit` for people."""

    key: str
    header: str
    unit: str = ""
    align: Align = "left"
    show: Callable[[Any], str] = as_text
    """A value as people read it."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of raw values, one per column; None is missing."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]

    def shown(self) -> list[list[str]]:
        """Every cell as people read it."""
        return [[column.show(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows]

    def to_docs(self) -> list[dict[str, Any]]:
        """One document a row, by column key."""
        keys = [column.key for column in self.columns]
        return [dict(zip(keys, row, strict=True)) for row in self.rows]


def table(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Table:
    """A table of `rows`, each as long as `columns`."""
    return Table(tuple(columns), tuple(tuple(row) for row in rows))
