"""What all screens share: the app by its own type, words to the user, copies, and calls in worker threads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message
from textual.screen import Screen
from textual.worker import get_current_worker

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.tui.messages import TextCopied
from quickserveml_tui.tui.widgets.status import StatusLine

if TYPE_CHECKING:
    from quickserveml_tui.tui.app import WorkbenchApp

log = logging.getLogger("quickserveml_tui.tui")


def as_error(error: BaseException) -> QuickServeError:
    """Any failure as one that says what to do."""
    if isinstance(error, QuickServeError):
        return error
    return QuickServeError(
        f"Something failed that should not: {type(error).__name__}: {safe_text(error, 200)}",
        hint="The log file has the details; the rest of the workbench goes on.",
        code="internal",
    )


class CallingScreen(Screen[None]):
    """Base of the screens with a status line."""

    @property
    def owner(self) -> WorkbenchApp:
        """The app, by its own type."""
        from quickserveml_tui.tui.app import WorkbenchApp

        app = self.app
        assert isinstance(app, WorkbenchApp)
        return app

    def tell(self, sentence: str, role: Role = Role.OK) -> None:
        """Say something in the status line."""
        self.query_one(StatusLine).tell(self.owner.here(sentence), role)

    def toast_words(self, words: str) -> None:
        """Words in the corner, line by line, without anything a terminal would obey."""
        self.owner.toast(safe_lines(self.owner.here(words), 600))

    def in_thread(self, work: Callable[[], Message | None], *, group: str, doing: str, exclusive: bool = True) -> None:
        """Call `work` in a worker thread and post what it returns; an older call of the group is dropped."""
        self.owner.heartbeat.wake()
        self.run_worker(
            lambda: self._guard(work, doing), group=group, exclusive=exclusive, thread=True, exit_on_error=False
        )

    def _guard(self, work: Callable[[], Message | None], doing: str) -> None:
        from quickserveml_tui.tui.messages import ActionFailed

        worker = get_current_worker()
        try:
            message = work()
        except Exception as error:
            if not isinstance(error, QuickServeError):
                log.exception("%s failed", doing)
            message = ActionFailed(as_error(error), doing)
        if message is not None and not worker.is_cancelled:
            self.post_message(message)

    def copy_words(self, text: str, what: str) -> None:
        """Copy `text`; the status line says how."""
        home, words = self.owner.home or Path.cwd(), self.owner.here(text)
        self.in_thread(lambda: _copy(words, what, home), group="copy", doing=f"Copying {what}")

    def on_text_copied(self, event: TextCopied) -> None:
        """Say how it was copied; without a tool or a file it is the terminal's turn."""
        event.stop()
        if event.how == "terminal":
            self.app.copy_to_clipboard(event.text)
        self.tell(event.sentence, Role.OK)


def _copy(text: str, what: str, home: Path) -> TextCopied:
    from quickserveml_tui.tui.clipboard import MAX_OSC52, copy_to_file, copy_with_tool

    tool = copy_with_tool(text)
    if tool:
        return TextCopied(text, tool, f"Copied {what} with {tool}")
    if len(text.encode()) <= MAX_OSC52:
        return TextCopied(text, "terminal", f"Copied {what} through the terminal")
    return TextCopied(text, "file", f"Copied {what} into {copy_to_file(text, home)}")
