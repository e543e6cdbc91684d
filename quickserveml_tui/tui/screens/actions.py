"""Help and palette: both are lists of the actions that the bindings declare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.tui.keys import KeyEntry
from quickserveml_tui.tui.screens.dialog import Dialog
from quickserveml_tui.tui.sheets.rows import paragraph
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.enter_input import EnterInput
from quickserveml_tui.tui.widgets.table_cells import Cell, Column
from quickserveml_tui.tui.widgets.table_messages import RowSelected
from quickserveml_tui.tui.widgets.virtual_table import VirtualTable

MOVING = "Table"
"""Area of the keys that move in any table: help lists it last."""


class SearchInput(EnterInput):
    """A search field above a list: up and down move the list's cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "screen.move(1)", "next", show=False),
        Binding("up", "screen.move(-1)", "previous", show=False),
        Binding("pagedown", "screen.move(10)", "page down", show=False),
        Binding("pageup", "screen.move(-10)", "page up", show=False),
    ]


def fuzzy_rank(words: str, text: str) -> int | None:
    """How well `text` answers: 0 holds the words as they stand, 1 each of them, 2 their letters in order; or None."""
    needle, hay = words.casefold().strip(), text.casefold()
    if not needle or needle in hay:
        return 0
    if all(word in hay for word in needle.split()):
        return 1
    at = 0
    for letter in needle.replace(" ", ""):
        at = hay.find(letter, at) + 1
        if at == 0:
            return None
    return 2


class ActionList(Dialog[Any]):
    """A search field above a table of actions."""

    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    PLACEHOLDER: ClassVar[str] = ""

    def __init__(self, title: str, entries: Sequence[KeyEntry]) -> None:
        super().__init__(title, f"{len(entries)} actions")
        self.entries = tuple(entries)
        self.shown: list[KeyEntry | None] = []
        self.searched = ""
        """What the rows answer."""

    def compose_body(self) -> ComposeResult:
        """Search and list."""
        yield SearchInput(placeholder=self.PLACEHOLDER, id="search", compact=True, select_on_focus=False)
        yield VirtualTable(self.COLUMNS, empty="No action matches.", show_header=False, id="actions")

    def on_mount(self) -> None:
        """Everything, before anything is typed."""
        self.query_one("#actions", VirtualTable).can_focus = False
        search = self.query_one("#search", SearchInput)
        search.focus()
        search.on_enter = self.take
        self.fill("")

    @on(Input.Changed, "#search")
    def search(self, event: Input.Changed) -> None:
        """Search as the user types."""
        event.stop()
        self.search_for(self.query_one("#search", SearchInput).value)

    def search_for(self, words: str) -> None:
        """Show what matches, unless it is shown already: the cursor stays then."""
        if words != self.searched:
            self.searched = words
            self.fill(words)

    def on_screen_resume(self) -> None:
        """An enter that another screen took does not close the field."""
        for search in self.query(SearchInput):
            search.reopen()

    def take(self) -> None:
        """Enter: go on with the row under the cursor."""
        raise NotImplementedError

    def action_move(self, by: int) -> None:
        """Move the list's cursor."""
        self.query_one("#actions", VirtualTable).action_move(by)

    def fill(self, words: str) -> None:
        """Show what matches."""
        raise NotImplementedError

    def put(self, rows: list[dict[str, Any]]) -> None:
        """Show rows, the cursor on the first."""
        table = self.query_one("#actions", VirtualTable)
        table.set_rows(rows)
        table.action_top()


class Palette(ActionList):
    """Every action as `Area: verb object`; enter runs it. What was run last stands first."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("command", "command", kind="name", flex=1),
        Column("keys", "keys", width=12, align="right"),
    )
    PLACEHOLDER: ClassVar[str] = "type what you want to do"

    def __init__(self, entries: Sequence[KeyEntry], recent: Sequence[str]) -> None:
        super().__init__("Commands", entries)
        self.recent = list(recent)

    def fill(self, words: str) -> None:
        """Best match first, then recent ones, then what the footer shows; what cannot run now comes last."""
        ranked: list[tuple[int, int, bool, bool, str, KeyEntry]] = []
        for entry in self.entries:
            rank = fuzzy_rank(words, f"{entry.command} {entry.title}")
            if rank is not None:
                used = self.recent.index(entry.id) if entry.id in self.recent else len(self.recent)
                ranked.append((rank, used, bool(entry.reason), not entry.main, entry.command, entry))
        ranked.sort(key=lambda item: item[:-1])
        self.shown = [entry for *_, entry in ranked]
        self.put(
            [
                {
                    "_key": entry.id,
                    "_dim": bool(entry.reason),
                    "command": Cell(
                        entry.command, suffix=f"  {entry.reason}" if entry.reason else "", suffix_role=Role.MUTED
                    ),
                    "keys": Cell(entry.shown_keys, role=Role.MUTED),
                }
                for *_, entry in ranked
            ]
        )

    def take(self) -> None:
        """Run the action under the cursor of what was typed so far."""
        search = self.query_one("#search", SearchInput)
        self.search_for(search.value)
        if not self._choose(self.query_one(VirtualTable).cursor_index):
            search.reopen()

    @on(RowSelected)
    def run_clicked(self, event: RowSelected) -> None:
        """A double click runs it too."""
        event.stop()
        self._choose(event.index)

    def _choose(self, index: int | None) -> bool:
        if index is None or index >= len(self.shown):
            return False
        self.dismiss(self.shown[index])
        return True


class Help(ActionList):
    """Keys of what has the focus, then all keys by area, those of the footer first in each; searchable."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("keys", "keys", width=14),
        Column("about", "what it does", kind="name", flex=1, min_width=42),
        Column("id", "id", width=26, drop=1),
    )
    PLACEHOLDER: ClassVar[str] = "search keys and actions"

    def __init__(self, entries: Sequence[KeyEntry], here: Sequence[str], place: str, state: str = "") -> None:
        super().__init__("Help", entries)
        self.here = set(here)
        self.place = place
        self.state = state
        """How the program itself is, in one sentence."""

    def compose_body(self) -> ComposeResult:
        """Search, list, and how the program is."""
        yield from super().compose_body()
        if self.state:
            yield Sheet(lambda width, _: paragraph(self.state, width), classes="dialog--keys")

    def fill(self, words: str) -> None:
        """The groups, each under its heading."""
        rows: list[dict[str, Any]] = []
        groups: dict[str, list[KeyEntry]] = {}
        for entry in self.entries:
            if fuzzy_rank(words, f"{entry.shown_keys} {entry.command} {entry.about}") in (0, 1):
                groups.setdefault(f"Here: {self.place}" if entry.id in self.here else entry.area, []).append(entry)
        ordered = sorted(groups, key=lambda name: (not name.startswith("Here"), name == MOVING, name))
        for group in ordered:
            rows.append({"_group": group})
            rows += [
                {
                    "_key": entry.id,
                    "keys": Cell(entry.shown_keys, role=Role.STRONG, bold=True),
                    "about": Cell(entry.about or entry.title),
                    "id": Cell(entry.id, role=Role.MUTED),
                }
                for entry in sorted(groups[group], key=lambda entry: not entry.main)
            ]
        self.put(rows)

    def take(self) -> None:
        """Enter closes."""
        self.dismiss(None)
