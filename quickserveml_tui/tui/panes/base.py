"""What the workbench's panes have in common."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.compose import compose
from textual.message import Message

from quickserveml_tui.tui.widgets.pane import Pane


class WorkPane(Pane):
    """A pane that says when its title changes, for the tab row that stands in for titles on a small screen."""

    keys_reach = True
    """Its actions can be run from the palette also while another pane covers it."""

    furnished = False
    """Whether the widgets for which there is nothing to show at first are there too."""

    class TitleChanged(Message):
        """Subject, count, sort or focus changed."""

        def can_replace(self, message: Message) -> bool:
            """The newest one stands for all."""
            return isinstance(message, WorkPane.TitleChanged)

    def compose_rest(self) -> ComposeResult:
        """What the first frame does not need, because it is hidden until there is something to show."""
        yield from ()

    async def furnish(self) -> None:
        """Add the rest, once the first frame is painted."""
        async with self.batch():
            await self.query_one(".pane--surface").mount_all(compose(self, self.compose_rest()))
            self.furnished = True
            self.on_furnished()

    def on_furnished(self) -> None:
        """Everything is there now."""

    def refresh_title(self) -> None:
        """Paint the title again and tell the screen."""
        super().refresh_title()
        if self.is_mounted:
            self.post_message(self.TitleChanged())
