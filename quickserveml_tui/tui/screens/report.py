"""A text that is read and closed."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.inspector import Page
from quickserveml_tui.tui.screens.dialog import Dialog
from quickserveml_tui.tui.sheets.sheet import Layout, Sheet
from quickserveml_tui.tui.widgets.ink import key_row


class ReportDialog(Dialog[None]):
    """Rows that scroll; `y` copies them as text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "close", "close", show=False),
        bind("y", "copy_text", "copy", "dialog.copy_report", "Copy the report as text"),
    ]

    def __init__(self, title: str, layout: Layout, text: str, *, at_end: bool = False) -> None:
        super().__init__(title)
        self.at_end = at_end
        """Whether the last rows are shown first."""
        self.rows_layout = layout
        self.text = text

    def compose_body(self) -> ComposeResult:
        """The page and its keys."""
        yield Page("report")
        yield Sheet(lambda _width, _: [key_row([("jk", "scroll"), ("y", "copy"), ("esc", "close")])],
                    classes="dialog--keys")  # fmt: skip

    def on_mount(self) -> None:
        """The page has the focus."""
        page = self.query_one(Page)
        page.sheet.show(self.rows_layout)
        page.focus()
        if self.at_end:
            self.call_after_refresh(page.scroll_end, animate=False)

    def action_copy_text(self) -> None:
        """Copy the report."""
        self.app.copy_to_clipboard(self.text)
        self.query_one(".dialog--keys", Sheet).show(lambda _width, _: [key_row([("y", "copied"), ("esc", "close")])])
