"""Pane 3 of Serve: what the server writes to its log, line by line."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Input

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.tui.glyphs import Glyphs, glyphs_of
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.base import WorkPane
from quickserveml_tui.tui.panes.tables import PaneTable
from quickserveml_tui.tui.times import epoch_of
from quickserveml_tui.tui.widgets.empty import EmptyState
from quickserveml_tui.tui.widgets.enter_input import EnterInput
from quickserveml_tui.tui.widgets.table_cells import Cell, CellLike, Column
from quickserveml_tui.tui.widgets.table_messages import RowHighlighted, RowSelected

MAX_LINES = 2_000
MAX_LINE = 4_000
COLUMNS = (
    Column("at", "time", width=8, sortable=False, drop=1),
    Column("level", "level", width=7, kind="state", sortable=False, drop=2),
    Column("text", "message", flex=1, min_width=30, sortable=False),
)
NOTHING = ("What the server writes comes here", [("1", "picks a server"), ("n", "starts one")])
_SIGNS = {Role.ERROR: "error", Role.WARN: "warn"}
_LEVELS = {"ERROR": Role.ERROR, "CRITICAL": Role.ERROR, "WARNING": Role.WARN, "WARN": Role.WARN, "INFO": Role.MUTED}
_TIME_KEYS, _TEXT_KEYS = ("time", "ts", "timestamp", "at"), ("message", "msg", "event")
_SHOWN = {*_TIME_KEYS, *_TEXT_KEYS, "level", "logger", "pid"}


class LogFilter(EnterInput):
    """What lines must hold to be shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("enter,down", "screen.leave_log_filter", "to the lines", "log.leave_filter", "Go to the lines"),
        bind("escape", "screen.clear_log_filter", "all lines", "log.clear_filter", "Show all lines again"),
    ]


class LogPane(WorkPane):
    """The newest lines, bounded; the end is followed until the cursor leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("f", "toggle_follow", "follow", "log.toggle_follow", "Follow the end of the log, or stay where you are"),
        bind("slash", "filter_lines", "filter", "log.filter_lines", "Show only lines that hold some text"),
        bind("enter", "screen.show_log_line", "whole line", "log.show_line", "Show the whole line under the cursor"),
    ]

    def __init__(self) -> None:
        super().__init__(key="3", title="Log", noun="line", id="server-log")
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        self.following = True
        self.dropped = 0
        """Lines that the buffer no longer holds."""
        self._open = ""
        """A line whose end has not come yet."""
        self._number = 0

    def compose_body(self) -> ComposeResult:
        """Filter, lines, and what stands in their place."""
        yield EmptyState(*NOTHING, id="log-empty")
        yield LogFilter(placeholder="text that lines must hold", id="log-filter", compact=True)
        yield PaneTable(COLUMNS, empty="No line yet.", show_header=False, id="log-lines")

    def on_mount(self) -> None:
        """No server is picked yet."""
        self.query_one("#log-filter").display = False
        self._arrange()

    def focus_body(self) -> None:
        """Move the focus to what is shown."""
        self.screen.set_focus(self.query_one("#log-lines" if self.lines else "#log-empty"))

    @property
    def filtered(self) -> bool:
        """Whether only lines with some text are shown."""
        return bool(self.query_one("#log-filter", LogFilter).value)

    def reason_against(self, action: str) -> str:
        """Why an action does nothing now."""
        needs_lines = action in ("toggle_follow", "filter_lines")
        return "There is no line of a log to go through." if needs_lines and not self.lines else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's own
        """Greyed, never hidden."""
        return None if self.reason_against(action) else True

    def _arrange(self) -> None:
        had_focus = self.focus_inside and not self.query_one("#log-filter").has_focus
        lines = self.query_one("#log-lines")
        if lines.display != bool(self.lines):
            self.screen.refresh_bindings()
        self.query_one("#log-empty").display = not self.lines
        lines.display = bool(self.lines)
        if had_focus:
            self.focus_body()

    def begin(self, words: str, keys: Sequence[tuple[str, str]] = ()) -> None:
        """Another server: forget all lines; `words` say what will come, `keys` what brings it."""
        self.lines.clear()
        self._open, self.dropped, self._number = "", 0, 0
        self.following = True
        self.query_one("#log-empty", EmptyState).show(words, keys)
        self._show()

    def add(self, text: str) -> None:
        """Take in what was written since; the last line may be open."""
        parts = (self._open + text).splitlines(keepends=True)
        self._open = ""
        if parts and not parts[-1].endswith(("\n", "\r")):
            self._open = parts.pop()[-MAX_LINE:]
        if not parts:
            return
        self.dropped += max(len(self.lines) + len(parts) - MAX_LINES, 0)
        self._number += len(parts)
        self.lines.extend(
            part.rstrip("\r\n")[:MAX_LINE] for part in islice(parts, max(len(parts) - MAX_LINES, 0), None)
        )
        self._show()

    def _show(self) -> None:
        table, wanted = (
            self.query_one("#log-lines", PaneTable),
            self.query_one("#log-filter", LogFilter).value.casefold(),
        )
        first, glyphs = self._number - len(self.lines), glyphs_of(self)
        rows = [
            log_row(line, first + index, glyphs)
            for index, line in enumerate(self.lines)
            if not wanted or wanted in line.casefold()
        ]
        table.empty = "No line holds that text." if wanted else "No line yet."
        table.set_rows(rows)
        if self.following:
            table.action_bottom()
        self._show_counts(len(rows), bool(wanted))
        self._arrange()

    def _show_counts(self, shown: int, filtered: bool) -> None:
        self.live = self.following and bool(self.lines)
        more = f" of {len(self.lines):,}" if filtered else f", {self.dropped:,} older left out" if self.dropped else ""
        self.count_text = f"{shown:,}{more} lines" if self.lines else ""

    @property
    def line(self) -> str:
        """The whole line under the cursor."""
        key = self.query_one("#log-lines", PaneTable).cursor_key
        at = key - (self._number - len(self.lines)) if isinstance(key, int) else -1
        return self.lines[at] if 0 <= at < len(self.lines) else ""

    @on(RowHighlighted)
    def mind_cursor(self, event: RowHighlighted) -> None:
        """A cursor that leaves the end stays where it is while more is written."""
        event.stop()
        following = event.index == event.table.row_count - 1
        if event.table.has_focus and following != self.following:
            self.following = following
            self._show_counts(event.table.row_count, bool(self.query_one("#log-filter", LogFilter).value))

    @on(RowSelected)
    def leave_selected(self, event: RowSelected) -> None:
        """A double click shows the whole line, as enter does."""
        event.stop()
        self.run_worker(self.run_action("screen.show_log_line"))

    @on(Input.Changed, "#log-filter")
    def filter_changed(self, event: Input.Changed) -> None:
        """Filter as the user types."""
        event.stop()
        self._show()

    def action_toggle_follow(self) -> None:
        """Follow the end, or stop following it."""
        self.following = not self.following
        self._show()

    def action_filter_lines(self) -> None:
        """Open the filter."""
        field = self.query_one("#log-filter", LogFilter)
        field.reopen()
        field.display = True
        field.focus()

    def leave_filter(self, *, clear: bool) -> None:
        """Go back to the lines."""
        field = self.query_one("#log-filter", LogFilter)
        if clear:
            field.value = ""
        field.display = bool(field.value)
        self._show()
        self.focus_body()


def log_row(line: str, number: int, glyphs: Glyphs) -> dict[str, CellLike]:
    """A line as a row: JSON of a logger by its parts, anything else as it is."""
    at, level, text = "", "", line
    if line.startswith("{"):
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            at, level, text = _parts(document)
    role = _LEVELS.get(level.upper(), Role.BODY)
    body = Role.BODY if role is Role.MUTED else role
    sign = getattr(glyphs, _SIGNS[role]) if role in _SIGNS else " "
    return {
        "_key": number,
        "at": Cell(at, role=Role.MUTED),
        "level": Cell(level.lower(), role=role, short=sign),
        "text": Cell(safe_text(text, MAX_LINE), role=body),
    }


def _parts(document: dict[str, object]) -> tuple[str, str, str]:
    stamp = next((document[key] for key in _TIME_KEYS if key in document), "")
    words = next((str(document[key]) for key in _TEXT_KEYS if key in document), "")
    rest = "  ".join(f"{key} {value}" for key, value in document.items() if key not in _SHOWN)
    return _clock(stamp), str(document.get("level", ""))[:12], f"{words}  {rest}".strip()


def _clock(stamp: object) -> str:
    import time

    seconds = float(stamp) if isinstance(stamp, (int, float)) else epoch_of(stamp) if isinstance(stamp, str) else 0.0
    return time.strftime("%H:%M:%S", time.localtime(seconds)) if 0 < seconds < 1e11 else ""
