"""What becomes of the jobs when the workbench closes."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.screens.dialog import Button, Dialog
from quickserveml_tui.tui.sheets.rows import paragraph
from quickserveml_tui.tui.sheets.sheet import Sheet


class QuitDialog(Dialog[str]):
    """Asks what becomes of the jobs: `keep`, `quit` or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("k", "choose('keep')", "keep running", "quit.keep_running", "Quit; the jobs go on without the window"),
        bind(
            "c", "choose('quit')", "cancel and quit", "quit.cancel_jobs", "Cancel all jobs, keep what they have, quit"
        ),
        bind("s", "choose('')", "stay", "quit.stay_here", "Go on working"),
        Binding("left,h", "app.focus_previous", "previous", show=False),
        Binding("right,l", "app.focus_next", "next", show=False),
    ]

    def __init__(self, words: str, *, can_keep: bool = False) -> None:
        super().__init__("Quit while jobs run?")
        self.words = words
        self.can_keep = can_keep

    def compose_body(self) -> ComposeResult:
        """What runs, and the choices."""
        yield Sheet(lambda width, _: paragraph(self.at_home(self.words), width, Role.BODY))
        with Horizontal(classes="dialog--buttons"):
            yield Button("s", "stay", "")
            if self.can_keep:
                yield Button("k", "keep running", "keep")
            yield Button("c", "cancel and quit", "quit")

    def on_mount(self) -> None:
        """The safe choice has the focus."""
        self.query(Button).first().focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A choice by enter or pointer."""
        event.stop()
        self.dismiss(event.button.name or None)

    def check_action(self, action: str, parameters: tuple[Any, ...]) -> bool | None:
        """Nothing can be kept where all jobs end with the window."""
        return not (action == "choose" and parameters == ("keep",) and not self.can_keep)

    def action_choose(self, choice: str) -> None:
        """A choice by its key."""
        self.dismiss(choice or None)
