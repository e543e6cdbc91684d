"""What a folder scan found, to choose from."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.catalog import ScanHit
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.screens.dialog import Dialog
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.ink import key_row, say
from quickserveml_tui.tui.widgets.table_cells import Cell, Column
from quickserveml_tui.tui.widgets.table_messages import MarksChanged, RowSelected
from quickserveml_tui.tui.widgets.virtual_table import VirtualTable

COLUMNS = (
    Column("path", "model file", kind="name", flex=1),
    Column("size", "size", width=9, align="right", kind="number"),
    Column("known", "registered as", width=18, drop=1),
)


class HitTable(VirtualTable):
    """The files that were found; enter adds, `*` marks all."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("space", "mark", "mark", "scan.mark_file", "Mark the file for adding"),
        bind(
            "asterisk",
            "screen.mark_new",
            "mark all new",
            "scan.mark_all",
            "Mark every file that is not registered yet",
            display="*",
        ),
        bind(
            "enter", "screen.add_marked", "add", "scan.add_marked", "Add the marked files, or the one under the cursor"
        ),
    ]


class ScanDialog(Dialog[list[str]]):
    """Model files below a folder; nothing is copied until the user chooses."""

    def __init__(self, folder: str, cancel: CancelToken) -> None:
        super().__init__("Scan a folder", folder)
        self.folder = folder
        self.cancel_token = cancel
        self.hits: tuple[ScanHit, ...] = ()
        self.finished = False
        self.error: QuickServeError | None = None

    def compose_body(self) -> ComposeResult:
        """State, table, keys."""
        yield Sheet(lambda _width, _: [self._state()], id="scan-state")
        yield HitTable(COLUMNS, empty="Nothing found yet.", id="hits")
        yield Sheet(lambda _width, _: [self._keys()], classes="dialog--keys")

    def on_mount(self) -> None:
        """The table has the focus; what was found before it was there is shown now."""
        self.query_one(HitTable).focus()
        self._fill()

    def _state(self) -> Row:
        if self.error is not None:
            return (say(self.at_home(f"{self.error.message} {self.error.hint}"), Role.ERROR),)
        words = f"{plural(len(self.hits), 'model file')} found"
        tail = "" if self.finished else ", still looking"
        return (say(words), Span(tail, Role.MUTED))

    def _keys(self) -> Row:
        tables = self.query(HitTable)
        marked = len(tables.first().marked) if tables else 0
        add = f"add {plural(marked, 'file')}" if marked else "add this one"
        return key_row([("space", "mark"), ("*", "mark all new"), ("enter", add), ("esc", "close")])

    def show_hits(self, hits: tuple[ScanHit, ...], *, finished: bool, error: QuickServeError | None) -> None:
        """Show what was found so far."""
        self.hits, self.finished, self.error = hits, finished, error
        if self.query(HitTable):  # the first hits may be here before the dialog is composed
            self._fill()

    def _fill(self) -> None:
        table = self.query_one(HitTable)
        table.empty = "No model file below this folder." if self.finished else "Nothing found yet."
        table.set_rows(
            [
                {
                    "_key": hit.path,
                    "_dim": bool(hit.known),
                    "path": Cell(self._short(hit.path)),
                    "size": Cell(hit.size_bytes, text=format_bytes(hit.size_bytes), role=Role.MUTED),
                    "known": Cell(hit.known, role=Role.MUTED),
                }
                for hit in self.hits
            ]
        )
        self._refresh_words()

    def _short(self, path: str) -> str:
        prefix = self.folder.rstrip("/") + "/"
        return path.removeprefix(prefix)

    def _refresh_words(self) -> None:
        self.query_one("#scan-state", Sheet).show(lambda _width, _: [self._state()])
        self.query_one(".dialog--keys", Sheet).show(lambda _width, _: [self._keys()])

    @on(MarksChanged)
    def count_marks(self, event: MarksChanged) -> None:
        """The keys say how many."""
        event.stop()
        self._refresh_words()

    @on(RowSelected)
    def add_clicked(self, event: RowSelected) -> None:
        """A double click adds."""
        event.stop()
        self.action_add_marked()

    def action_mark_new(self) -> None:
        """Mark every file that is not registered yet; again takes the marks away."""
        table = self.query_one(HitTable)
        fresh: set[object] = {hit.path for hit in self.hits if not hit.known}
        if table.marked == fresh:
            table.clear_marks()
        else:
            table.clear_marks()
            table.marked = fresh
            table.refresh()
        self._refresh_words()

    def action_add_marked(self) -> None:
        """Close with the marked files, or the one under the cursor."""
        table = self.query_one(HitTable)
        chosen = [hit.path for hit in self.hits if hit.path in table.marked]
        index = table.cursor_index
        if not chosen and index is not None:
            chosen = [self.hits[index].path]
        if chosen:
            self.cancel_token.cancel()
            self.dismiss(chosen)

    def action_close(self) -> None:
        """Stop looking and close."""
        self.cancel_token.cancel()
        self.dismiss(None)
