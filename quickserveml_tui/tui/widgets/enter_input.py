"""A text field that enter closes at once: what is typed after it is no part of the value."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.widgets import Input


class EnterInput(Input):
    """Enter calls `on_enter` with the text as it is then; until `reopen` nothing that is typed changes it.

    Letters change a field where they arrive, while keys with a binding travel up to the app first and come back as
    actions. Letters sent right behind enter would therefore overtake it, and be submitted with the value.
    """

    on_enter: Callable[[], object] | None = None
    """What enter does; None posts `Input.Submitted`, as other fields do."""
    entered = False
    """Whether enter was pressed and its owner has not opened the field again."""

    def on_key(self, event: events.Key) -> None:
        """Enter closes the field; letters behind it are dropped."""
        if event.key == "enter":
            self.entered = True
        elif self.entered and event.is_printable:
            event.stop()
            event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted behind enter is dropped as well."""
        if self.entered:
            event.stop()
            event.prevent_default()

    async def action_submit(self) -> None:
        """Call the owner at once: a message would arrive behind the keys that follow."""
        if self.on_enter is None:
            await super().action_submit()
        else:
            self.on_enter()

    def reopen(self) -> None:
        """Let the field be changed again."""
        self.entered = False
