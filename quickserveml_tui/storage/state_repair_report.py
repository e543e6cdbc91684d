"""What a repair of the state database saved, and how it says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from quickserveml_tui.core.text import plural
from quickserveml_tui.storage.state_errors import WHAT


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows are saved."""

    name: str
    columns: str
    kind: str
    """What its rows are to a user, in the plural."""
    put: Callable[[sqlite3.Connection, Any], None]
    """Writes the columns as a row of a new database; raises for what cannot be decoded."""


@dataclass(slots=True)
class SavedTable:
    """What came out of one table."""

    table: Table
    rows: int = 0
    """Rows saved from the damaged file."""
    lost: set[int] = field(default_factory=set)
    """Numbers of rows that are there and cannot be read."""
    is_whole: bool = True
    """Whether the table could be walked to its end: else it may have held any number of rows."""
    copied: int = 0
    """Rows taken from a copy."""


@dataclass(slots=True)
class Saved:
    """What came out of a database."""

    tables: list[SavedTable] = field(default_factory=list)
    copy: str = ""
    """The copy that was looked into."""


def told(saved: Saved) -> str:
    """What was saved, as a sentence without its end. Numbers are given only where they are known."""
    rows, copied = sum(table.rows for table in saved.tables), sum(table.copied for table in saved.tables)
    broken = [table for table in saved.tables if not table.is_whole]
    text = f"{plural(rows, 'row')} of the {WHAT} {'was' if rows == 1 else 'were'} saved"
    lost = sum(len(table.lost) for table in saved.tables if table.is_whole)
    if lost or not broken:
        text += f", {lost:,} could not be read"
    if copied:
        text += f", {copied:,} more came from {saved.copy} as {'it was' if copied == 1 else 'they were'} then"
    parts = []
    gone = [table.table.kind for table in broken if not table.rows + table.copied]
    if gone:
        parts.append(f"{_listed(gone)} were lost altogether")
    partial = [table.table.kind for table in broken if table.rows + table.copied]
    if partial:
        parts.append(f"{_listed(partial)} are incomplete")
    return f"{text}; {' and '.join(parts)}, it is unknown how many are missing" if parts else text


def _listed(kinds: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1])))
