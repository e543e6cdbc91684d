"""Golden outputs of a version: a table, with a shelf on what the last check of each found."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from quickserveml_tui.charts.cells import Role, Span
from quickserveml_tui.core.text import plural
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.tables import PaneTable
from quickserveml_tui.tui.sheets.golden import check_sign, tolerance_words, worst_words
from quickserveml_tui.tui.times import local_clock
from quickserveml_tui.tui.widgets.empty import EmptyState
from quickserveml_tui.tui.widgets.shelf import Fact, Shelf
from quickserveml_tui.tui.widgets.table_cells import Cell, CellLike, Column
from quickserveml_tui.tui.widgets.table_messages import RowHighlighted

if TYPE_CHECKING:
    from quickserveml_tui.core.golden import GoldenCheck, GoldenReport
    from quickserveml_tui.core.models import GoldenOutput

COLUMNS = (
    Column("name", "name", kind="name", flex=1, min_width=10),
    Column("state", "last check", width=14),
    Column("worst", "worst", width=8, align="right", drop=1, sortable=False),
    Column("source", "inputs", width=18, drop=2),
    Column("at", "recorded", width=12, align="right", drop=3),
)
NOTHING = "Inputs with the outputs that they must give, checked again wherever the model runs"
KEYS = (("n", "records one from made-up inputs or a file"),)


class GoldenTable(PaneTable):
    """The golden outputs, by name."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("enter", "screen.show_check", "result", "golden.show_check", "Show what the last check found, in full"),
        bind("D,delete", "screen.remove_golden", "remove", "golden.remove_output", "Remove the golden output: asks"),
    ]


class GoldenView(Vertical):
    """Table and shelf, or what would be there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("n", "screen.record_golden", "record", "golden.record_output", "Record a golden output of the version"),
        bind("V", "screen.verify_golden", "verify", "golden.verify_outputs", "Run all golden outputs of the version"),
    ]

    def __init__(self, *, id: str, classes: str) -> None:  # noqa: A002 - Textual's own parameter
        super().__init__(id=id, classes=classes)
        self.items: tuple[GoldenOutput, ...] = ()
        self.report: GoldenReport | None = None

    def compose(self) -> ComposeResult:
        """Table, shelf, and the empty state."""
        yield EmptyState(NOTHING, KEYS, id="golden-empty")
        yield GoldenTable(COLUMNS, id="golden-table")
        yield Shelf(id="golden-shelf")

    def on_mount(self) -> None:
        """Nothing is shown yet."""
        self.show((), None)

    @property
    def table(self) -> GoldenTable:
        """The table."""
        return self.query_one(GoldenTable)

    @property
    def count_words(self) -> str:
        """`3 golden outputs`."""
        return plural(len(self.items), "golden output")

    @property
    def current(self) -> GoldenOutput | None:
        """The one under the cursor."""
        index = self.table.cursor_index
        return self.items[index] if index is not None and index < len(self.items) else None

    def show(self, items: tuple[GoldenOutput, ...], report: GoldenReport | None, *, registered: bool = True) -> None:
        """Show the golden outputs with what the last check of each found."""
        self.items, self.report = items, report
        empty = self.query_one("#golden-empty", EmptyState)
        if registered:
            empty.show(NOTHING, KEYS)
        else:
            empty.show("A file has no golden outputs", [("a", "adds it to the catalog")])
        empty.display = not items
        self.table.display = self.query_one(Shelf).display = bool(items)
        self.table.set_rows([self._row(item) for item in items])
        self._fill_shelf()

    def check_of(self, item: GoldenOutput) -> GoldenCheck | None:
        """What the last check of this session found."""
        checks = self.report.checks if self.report is not None else ()
        return next((check for check in checks if check.name == item.name), None)

    def focus_body(self) -> None:
        """Move the focus to what is shown."""
        self.screen.set_focus(self.table if self.items else self.query_one("#golden-empty"))

    def _row(self, item: GoldenOutput) -> dict[str, CellLike]:
        check = self.check_of(item)
        sign, word, role = check_sign(check, glyphs_of(self))
        return {
            "_key": item.name,
            "name": Cell(item.name),
            "state": Cell(f"{sign} {word}", role=role),
            "worst": Cell(worst_words(check), role=Role.MUTED if check is None else None),
            "source": Cell(item.source or "made up", role=Role.MUTED),
            "at": Cell(local_clock(item.created_at), role=Role.MUTED),
        }

    @on(RowHighlighted)
    def follow_cursor(self, event: RowHighlighted) -> None:
        """Facts of the one under the cursor."""
        event.stop()
        self._fill_shelf()

    def _fill_shelf(self) -> None:
        item = self.current
        if item is None:
            return
        check = self.check_of(item)
        sign, word, role = check_sign(check, glyphs_of(self))
        words = (check.reason if check is not None else "") or item.notes or f"inputs: {item.source or 'made up'}"
        self.query_one(Shelf).show(
            title=item.name,
            right=[Span(f"{sign} {word}", role)],
            subtitle=words,
            lines=3,
            facts=[
                Fact("tolerance", tolerance_words(item)), Fact("worst", worst_words(check)),
                Fact("recorded", local_clock(item.created_at)), Fact("with", item.runtime or "unknown"),
            ],
        )  # fmt: skip
