"""The shelf: a raised panel at a pane's foot with facts on what the cursor is on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap

from textual.app import ComposeResult
from textual.widget import Widget

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.text import cell_width, safe_text
from quickserveml_tui.tui.widgets.ink import Inked, crop_row, row_width, say, two_edges


@dataclass(frozen=True, slots=True)
class Fact:
    """A label, its figure and the figure's unit: `params  25.61 M`."""

    label: str
    value: str
    unit: str = ""
    role: Role = Role.STRONG
    bold: bool = False


class FactsGrid(Inked):
    """Facts in columns: label muted at the left, figure at the right, unit muted behind it.

    Facts fill column by column. One column is used where the width does not hold two.
    """

    DEFAULT_CSS = "FactsGrid { height: auto; }"

    def __init__(self, facts: Sequence[Fact] = (), *, columns: int = 2, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.facts = tuple(facts)
        self.columns = columns

    def update_facts(self, facts: Sequence[Fact]) -> None:
        """Show other facts."""
        if tuple(facts) == self.facts:
            return
        taller = len(facts) != len(self.facts)
        self.facts = tuple(facts)
        self.refresh(layout=taller)

    def _columns_at(self, width: int) -> int:
        widest = max((cell_width(f"{fact.label}  {fact.value} {fact.unit}") for fact in self.facts), default=0)
        return max(min(self.columns, (width + 3) // (widest + 3)), 1) if widest else 1

    def natural_height(self, width: int) -> int:
        """As many rows as the longest column needs."""
        return -(-len(self.facts) // self._columns_at(width)) if self.facts else 0

    def rows(self, width: int) -> Sequence[Row]:
        """The grid, all columns of one width."""
        count = self._columns_at(width)
        per_column = -(-len(self.facts) // count)
        each = (width - 3 * (count - 1)) // count
        gaps = [3] * (count - 1)
        if gaps:
            gaps[-1] += width - each * count - 3 * (count - 1)
        columns = [
            _fact_rows(self.facts[index * per_column : (index + 1) * per_column], each) for index in range(count)
        ]
        blank: Row = (Span(" " * each),)
        rows = []
        for parts in zip_longest(*columns, fillvalue=blank):
            row: list[Span] = []
            for index, part in enumerate(parts):
                row.extend([Span(" " * gaps[index - 1])] if index else [])
                row.extend(part)
            rows.append(tuple(row))
        return rows


def _fact_rows(facts: Sequence[Fact], width: int) -> list[Row]:
    """One column: labels on its left edge, figures with their units on its right one."""
    rows = []
    for fact in facts:
        right = [say(fact.value, fact.role, bold=fact.bold)]
        if fact.unit:
            right.append(say(f" {fact.unit}", Role.MUTED))
        label = say(fact.label, Role.MUTED)
        if row_width([label, *right]) + 2 > width:
            rows.append(crop_row(two_edges([label], right, width, gap=1), width))
        else:
            rows.append(two_edges([label], right, width))
    return rows


class ShelfHead(Inked):
    """Title row and subtitle row of a shelf."""

    DEFAULT_CSS = "ShelfHead { height: auto; }"

    def __init__(self) -> None:
        super().__init__()
        self.head: tuple[Sequence[Span], Sequence[Span], str, int] = ((), (), "", 1)

    def natural_height(self, width: int) -> int:
        """Title, subtitle, and a dashed row where there is no tone to set the shelf apart."""
        title, right, _, _ = self.head
        return int(bool(title or right)) + len(self._subtitle_rows(width)) + int(self.mono)

    def _subtitle_rows(self, width: int) -> list[Row]:
        subtitle, most = self.head[2:]
        if not subtitle:
            return []
        if most <= 1:
            return [crop_row((say(subtitle, Role.MUTED),), width)]
        lines = wrap(safe_text(subtitle, 1000), max(width, 8), max_lines=most, placeholder=" …")
        return [(say(line, Role.MUTED),) for line in lines]

    def rows(self, width: int) -> Sequence[Row]:
        """The rows of the head."""
        title, right, _, _ = self.head
        rows: list[Row] = []
        if self.mono:
            rows.append((Span(("- " * width)[:width], Role.MUTED),))
        if title or right:
            rows.append(two_edges(title, right, width))
        return rows + self._subtitle_rows(width)


class Shelf(Widget):
    """A raised panel: a head, facts, and whatever children it is given."""

    DEFAULT_CSS = """
    Shelf { layout: vertical; height: auto; width: 1fr; background: $raised; padding: 1 2; }
    Shelf > FactsGrid { margin: 1 0 0 0; }
    Shelf.-dense { padding: 0 2; }
    Shelf.-dense > FactsGrid { margin: 0; }
    """

    def __init__(
        self,
        *children: Widget,
        columns: int = 2,
        id: str | None = None,  # noqa: A002 - Textual's own parameter
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._given = children
        self._head = ShelfHead()
        self._facts = FactsGrid(columns=columns)

    def compose(self) -> ComposeResult:
        """Head, facts, children."""
        yield self._head
        yield self._facts
        yield from self._given

    def on_mount(self) -> None:
        """An empty grid takes no row."""
        self._facts.display = bool(self._facts.facts)

    def show(
        self,
        *,
        title: str | Sequence[Span] = "",
        right: str | Sequence[Span] = "",
        subtitle: str = "",
        facts: Sequence[Fact] = (),
        lines: int = 1,
    ) -> None:
        """Replace head and facts. Strings become a bold title and a plain right part; `lines` bounds the subtitle."""
        head = [say(title, Role.STRONG, bold=True)] if isinstance(title, str) and title else list(title or ())
        end = [say(right)] if isinstance(right, str) and right else list(right or ())
        new = (tuple(_as_spans(head)), tuple(_as_spans(end)), subtitle, lines)
        if new != self._head.head:
            self._head.head = new
            self._head.refresh(layout=True)
        self._facts.display = bool(facts)
        self._facts.update_facts(facts)


def _as_spans(parts: Sequence[Span | str]) -> list[Span]:
    return [part if isinstance(part, Span) else say(part) for part in parts]
