"""Dialogs: raised panels over a dimmed screen, each with one question."""

from __future__ import annotations

import time
from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget

from quickserveml_tui.charts.cells import Role, Row
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.sheets.rows import paragraph
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.ink import say, to_content, two_edges

Result = TypeVar("Result")
ENTER_DEAF_S = 0.3
"""Enter is ignored this long in a dialog that destroys: it may have been meant for what was there before."""


class Button(Widget, can_focus=True):
    """A choice of a dialog: key cap and words."""

    DEFAULT_CSS = """
    Button { width: auto; height: 1; padding: 0 2; margin: 0 2 0 0; background: $focus; }
    Button:focus { background: $select; text-style: $cursor-style; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "press", "choose", show=False)]

    class Pressed(Message):
        """The button was pressed."""

        def __init__(self, button: Button) -> None:
            super().__init__()
            self.button = button

    def __init__(self, key: str, words: str, name: str) -> None:
        super().__init__(name=name)
        self.key = key
        self.words = words

    def render(self) -> Content:
        """Key bold, words plain."""
        strong = self.has_focus
        return to_content(
            [(say(self.key, Role.STRONG, bold=True), say(f" {self.words}", Role.STRONG if strong else Role.BODY))]
        )

    def get_content_width(self, container: object, viewport: object) -> int:  # noqa: ARG002 - Textual's own
        """Key, a blank, words."""
        return len(self.key) + 1 + len(self.words)

    def action_press(self) -> None:
        """Tell the dialog."""
        self.post_message(self.Pressed(self))

    def on_click(self) -> None:
        """A click presses."""
        self.action_press()


class Dialog(ModalScreen[Result], Generic[Result]):
    """Base of all dialogs: title, body, a row of keys. Esc closes without a result."""

    TITLE_TEXT: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "close", "close", "dialog.close", "Close the dialog and change nothing")
    ]

    def __init__(self, title: str = "", right: str = "") -> None:
        super().__init__()
        self.heading = title or self.TITLE_TEXT
        self.heading_right = right

    def compose(self) -> ComposeResult:
        """The panel."""
        with Vertical(classes="dialog"):
            yield Sheet(lambda width, _: [self._title_row(width)], classes="dialog--title")
            yield from self.compose_body()

    def at_home(self, text: str) -> str:
        """`text` with the commands in it made for the home that is open."""
        from quickserveml_tui.tui.app import WorkbenchApp

        return self.app.here(text) if isinstance(self.app, WorkbenchApp) else text

    def compose_body(self) -> ComposeResult:
        """What stands below the title."""
        yield from ()

    def _title_row(self, width: int) -> Row:
        return two_edges([say(self.heading, Role.STRONG, bold=True)], [say(self.heading_right, Role.MUTED)], width)

    def action_close(self) -> None:
        """Close without a result."""
        self.dismiss(None)


class ConfirmDialog(Dialog[bool]):
    """Asks before something is destroyed: the focus is on Cancel, and enter is ignored at first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "app.focus_previous", "previous", show=False),
        Binding("right,l", "app.focus_next", "next", show=False),
    ]

    def __init__(self, title: str, consequence: str, *, key: str, verb: str) -> None:
        super().__init__(title)
        self.consequence = consequence
        self.key = key
        self.verb = verb
        self.armed = True
        """Whether there is anything to confirm."""
        self._opened = time.monotonic()

    def compose_body(self) -> ComposeResult:
        """What will happen, and the two choices."""
        yield Sheet(lambda width, _: paragraph(self.at_home(self.consequence), width, Role.BODY))
        with Horizontal(classes="dialog--buttons"):
            yield Button("esc", "cancel", "cancel")
            yield Button(self.key, self.verb, "confirm")

    def on_mount(self) -> None:
        """The safe choice has the focus."""
        self._opened = time.monotonic()
        self.query(Button).first().focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A choice by enter or pointer."""
        event.stop()
        if time.monotonic() - self._opened >= ENTER_DEAF_S:
            self.dismiss(event.button.name == "confirm")

    def on_key(self, event: events.Key) -> None:
        """The confirm key works at once: it differs from the key that opened the dialog."""
        if self.armed and event.character == self.key:
            event.stop()
            self.dismiss(True)


class MessageDialog(Dialog[None]):
    """An error with what, why and what to do; `y` copies it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "close", "close", show=False),
        bind("y", "copy_text", "copy", "dialog.copy_text", "Copy the message"),
    ]

    def __init__(self, title: str, message: str, hint: str = "", detail: str = "", *, command: str = "") -> None:
        super().__init__(title)
        self.command = command
        self.message = message
        self.hint = hint
        self.detail = detail

    def compose_body(self) -> ComposeResult:
        """Message, hint, detail, keys."""
        self.message, self.hint = self.at_home(self.message), self.at_home(self.hint)
        self.detail, self.command = self.at_home(self.detail), self.at_home(self.command)
        yield Sheet(lambda width, _: paragraph(self.message, width, Role.ERROR))
        if self.hint:
            yield Sheet(lambda width, _: paragraph(self.hint, width, Role.BODY), classes="dialog--part")
        if self.command:
            yield Sheet(lambda width, _: paragraph(self.command, width, Role.STRONG), classes="dialog--part")
        if self.detail:
            yield Sheet(lambda width, _: paragraph(self.detail[:1000], width, Role.MUTED), classes="dialog--part")
        with Horizontal(classes="dialog--buttons"):
            yield Button("esc", "close", "close")
            yield Button("y", "copy the command" if self.command else "copy", "copy")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A choice by enter or pointer."""
        event.stop()
        if event.button.name == "copy":
            self.action_copy_text()
        else:
            self.dismiss(None)

    def action_copy_text(self) -> None:
        """Copy the command that mends it; without one, everything."""
        text = self.command or "\n".join(part for part in (self.message, self.hint, self.detail) if part)
        self.app.copy_to_clipboard(text)
        self.query_one(".dialog--title", Sheet).show(
            lambda width, _: [
                two_edges([say(self.heading, Role.STRONG, bold=True)], [say("copied", Role.MUTED)], width)
            ]
        )
