"""A text that is read and closed, or that leads on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from quickserveml_tui.charts.cells import Row
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.inspector import Page
from quickserveml_tui.tui.screens.dialog import Dialog
from quickserveml_tui.tui.sheets.sheet import Layout, Sheet
from quickserveml_tui.tui.widgets.ink import key_row


class ReportDialog(Dialog[str]):
    """Rows that scroll; `y` copies them as text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "close", "close", show=False),
        bind("y", "copy_text", "copy", "dialog.copy_report", "Copy the report as text"),
    ]

    def __init__(self, title: str, layout: Layout, text: str, *, at_end: bool = False, right: str = "") -> None:
        super().__init__(title, right)
        self.at_end = at_end
        """Whether the last rows are shown first."""
        self.rows_layout = layout
        self.text = text

    def compose_body(self) -> ComposeResult:
        """The page and its keys."""
        yield Page("report")
        yield Sheet(lambda _width, _: [self._keys("copy")], classes="dialog--keys")

    def further_keys(self) -> Sequence[tuple[str, str]]:
        """Keys that lead on, with their verbs."""
        return ()

    def _keys(self, copy: str) -> Row:
        return key_row([("jk", "scroll"), *self.further_keys(), ("y", copy), ("esc", "close")])

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
        self.query_one(".dialog--keys", Sheet).show(lambda _width, _: [self._keys("copied")])


class WhyDialog(ReportDialog):
    """Why something failed, in full; leads on to another try or to a conversion, and comes back with which."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("W", "choose('retry')", "try again", "why.try_again", "Try the version again"),
        bind("O", "choose('convert')", "convert", "why.convert_version", "Convert the version into a new one"),
    ]

    def __init__(self, title: str, layout: Layout, text: str, *, ways: Sequence[str] = (), right: str = "") -> None:
        super().__init__(title, layout, text, right=right)
        self.ways = tuple(ways)
        """`retry`, `convert`: what it may lead on to."""

    def further_keys(self) -> Sequence[tuple[str, str]]:
        """Those of the ways on that there are."""
        keys = (("retry", ("W", "try again")), ("convert", ("O", "convert")))
        return [key for way, key in keys if way in self.ways]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only the ways that there are."""
        if action == "choose" and parameters[0] not in self.ways:
            return False
        return super().check_action(action, parameters)

    def action_choose(self, way: str) -> None:
        """Close and go on."""
        self.dismiss(way)
