"""Which rows a table shows in which order: filter, sort and group headings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from quickserveml_tui.tui.widgets.table_cells import RowSource, TableRow, as_cell, sort_value

Predicate: TypeAlias = Callable[[TableRow], bool]
GROUP = "_group"
KEY = "_key"
_AIR = -1
SCAN_LIMIT = 50_000
"""Rows up to which groups and keys are looked for; larger sources are plain rows."""


@runtime_checkable
class PlainSource(Protocol):
    """Rows without groups that know where a `_key` stands, so that none is made to look for it."""

    def place_of(self, key: object) -> int | None:
        """The line of the row with this `_key`."""
        ...


@dataclass(slots=True)
class RowOrder:
    """Lines of a table body: a row's index, a group's heading, or air above a heading.

    Rows without groups, filter and sort cost nothing, however many there are.
    """

    source: Sequence[TableRow] | RowSource = ()
    predicate: Predicate | None = None
    sort_key: str = ""
    descending: bool = False
    external_sort: bool = False
    _lines: Sequence[int] = field(default_factory=lambda: range(0))
    _groups: frozenset[int] = frozenset()
    _count: int = 0

    def rebuild(self) -> None:
        """Work out the lines after a change of rows, filter or sort."""
        total = len(self.source)
        small = total <= SCAN_LIMIT and not self._is_plain
        groups = {index for index in range(total) if GROUP in self.source[index]} if small else set()
        wanted: Sequence[int] = range(total)
        if self.predicate is not None:
            keep = self.predicate
            wanted = [index for index in wanted if index in groups or keep(self.source[index])]
        if self.sort_key and not self.external_sort:
            wanted = self._sorted([index for index in wanted if index not in groups])
            groups = set()
        self._groups = frozenset(groups)
        self._lines = self._with_headings(wanted) if groups else wanted
        self._count = sum(1 for line in self._lines if line >= 0 and line not in groups) if groups else len(self._lines)

    @property
    def _is_plain(self) -> bool:
        """Whether the source finds its rows by itself: then it has no groups, and no row is made to look for one."""
        return isinstance(self.source, PlainSource)

    def _sorted(self, indices: list[int]) -> list[int]:
        keys = {index: sort_value(as_cell(self.source[index].get(self.sort_key))) for index in indices}
        present = [index for index in indices if keys[index][0] < 2]
        missing = [index for index in indices if keys[index][0] == 2]
        return sorted(present, key=keys.__getitem__, reverse=self.descending) + missing

    def _with_headings(self, wanted: Sequence[int]) -> list[int]:
        lines: list[int] = []
        for position, index in enumerate(wanted):
            if index in self._groups:
                following = wanted[position + 1] if position + 1 < len(wanted) else None
                if following is None or following in self._groups:
                    continue  # every row of the group is filtered out
                if lines:
                    lines.append(_AIR)
            lines.append(index)
        return lines

    @property
    def height(self) -> int:
        """Number of lines."""
        return len(self._lines)

    @property
    def count(self) -> int:
        """Number of rows among the lines."""
        return self._count

    def row_index(self, line: int) -> int | None:
        """Index of the row on `line`; None on a heading, on air and outside."""
        if not 0 <= line < len(self._lines):
            return None
        index = self._lines[line]
        return None if index < 0 or index in self._groups else index

    def heading(self, line: int) -> str | None:
        """The heading on `line`, if there is one."""
        if not self._groups or not 0 <= line < len(self._lines) or self._lines[line] not in self._groups:
            return None
        return str(self.source[self._lines[line]].get(GROUP))

    def nearest(self, line: int, direction: int = 1) -> int | None:
        """The first line from `line` on, in `direction`, that holds a row; else the first one the other way."""
        for step in (direction, -direction):
            at = min(max(line, 0), len(self._lines) - 1)
            while 0 <= at < len(self._lines):
                if self.row_index(at) is not None:
                    return at
                at += step
        return None

    def key_at(self, line: int) -> object:
        """Identity of the row on `line`: its `_key`, or its index."""
        index = self.row_index(line)
        return None if index is None else self.source[index].get(KEY, index)

    def line_of(self, key: object) -> int | None:
        """The line that holds the row with this identity; None for sources too large to search."""
        if isinstance(self.source, PlainSource):
            return None if key is None else self.source.place_of(key)
        if key is None or len(self._lines) > SCAN_LIMIT:
            return None
        return next((line for line in range(len(self._lines)) if self.key_at(line) == key), None)
