"""What the workbench's panes have in common."""

from __future__ import annotations

from textual.message import Message

from quickserveml_tui.tui.widgets.pane import Pane


class WorkPane(Pane):
    """A pane that says when its title changes, for the tab row that stands in for titles on a small screen."""

    keys_reach = True
    """Its actions can be run from the palette also while another pane covers it."""

    class TitleChanged(Message):
        """Subject, count, sort or focus changed."""

        def can_replace(self, message: Message) -> bool:
            """The newest one stands for all."""
            return isinstance(message, WorkPane.TitleChanged)

    def refresh_title(self) -> None:
        """Paint the title again and tell the screen."""
        super().refresh_title()
        if self.is_mounted:
            self.post_message(self.TitleChanged())
