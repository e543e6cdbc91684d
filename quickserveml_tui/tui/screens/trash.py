"""What was deleted: to restore, or to purge for good."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.models import TrashEntry, TrashKind
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.screens.dialog import Dialog
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.times import local_clock
from quickserveml_tui.tui.widgets.ink import key_row
from quickserveml_tui.tui.widgets.table_cells import Cell, CellLike, Column
from quickserveml_tui.tui.widgets.table_messages import MarksChanged, RowSelected
from quickserveml_tui.tui.widgets.virtual_table import VirtualTable

COLUMNS = (
    Column("title", "deleted", kind="name", flex=1),
    Column("what", "what", width=18, drop=2),
    Column("size", "size", width=9, align="right", kind="number"),
    Column("at", "when", width=16, drop=1, align="right"),
)
ROWS_AROUND = 11
"""Title, header, keys and the air between them."""
Choice: TypeAlias = tuple[str, tuple[TrashEntry, ...]]


class TrashTable(VirtualTable):
    """Deleted models and versions, the newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("enter", "screen.choose('restore')", "restore", "trash.restore_entry", "Restore the marked, or this one"),
        bind("space", "mark", "mark", "trash.mark_entry", "Mark the entry"),
        bind("D,delete", "screen.choose('purge')", "purge", "trash.purge_entry", "Purge the marked, or this one: asks"),
    ]


class TrashDialog(Dialog[Choice]):
    """The list; what is chosen goes back to the workbench."""

    def __init__(self, entries: tuple[TrashEntry, ...], *, read_only: bool = False) -> None:
        super().__init__("Trash", plural(len(entries), "entry", "entries"))
        self.entries = entries
        self.read_only = read_only

    def compose_body(self) -> ComposeResult:
        """Table and keys."""
        yield TrashTable(COLUMNS, empty="The trash is empty. What is deleted stays here until it is purged.", id="bin")
        yield Sheet(lambda _width, _: [self._keys()], classes="dialog--keys")

    def on_mount(self) -> None:
        """The newest entry has the cursor."""
        table = self.query_one(TrashTable)
        table.set_rows([_row(entry) for entry in self.entries])
        table.focus()
        self.query_one(".dialog").styles.height = len(self.entries) + ROWS_AROUND

    def _keys(self) -> Row:
        tables = self.query(TrashTable)
        marked = len(tables.first().marked) if tables else 0
        tail = f" {marked} marked" if marked else ""
        if self.read_only or not self.entries:
            why = (Span("   read-only: nothing can be restored", Role.MUTED),) if self.read_only else ()
            return (*key_row([("esc", "close")]), *why)
        return key_row([("enter", f"restore{tail}"), ("space", "mark"), ("D", f"purge{tail}"), ("esc", "close")])

    @on(MarksChanged)
    def count_marks(self, event: MarksChanged) -> None:
        """The keys say how many."""
        event.stop()
        self.query_one(".dialog--keys", Sheet).show(lambda _width, _: [self._keys()])

    @on(RowSelected)
    def restore_clicked(self, event: RowSelected) -> None:
        """A double click restores."""
        event.stop()
        self.action_choose("restore")

    def action_choose(self, what: str) -> None:
        """Restore or purge what is marked, else what is under the cursor."""
        table = self.query_one(TrashTable)
        wanted = table.marked or {table.cursor_key}
        chosen = tuple(entry for entry in self.entries if entry.id in wanted)
        if chosen and not self.read_only:
            self.dismiss((what, chosen))


def _row(entry: TrashEntry) -> dict[str, CellLike]:
    size = sum(version.artifact.size_bytes for version in entry.versions)
    what = "version" if entry.kind is TrashKind.VERSION else f"model, {plural(len(entry.versions), 'version')}"
    return {
        "_key": entry.id,
        "title": Cell(entry.title),
        "what": Cell(what),
        "size": Cell(size, text=format_bytes(size), role=Role.MUTED),
        "at": Cell(local_clock(entry.deleted_at), role=Role.MUTED),
    }
