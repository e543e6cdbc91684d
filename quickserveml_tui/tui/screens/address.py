"""The form that opens a server in the monitor: address with history, key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.screens.forms import Field, FieldInput, FormDialog
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.ink import say

MAX_SHOWN = 5


class AddressForm(FormDialog):
    """Address and key; `ctrl+n` and `ctrl+p` go through the servers that were watched before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("ctrl+n,pagedown", "step_known(1)", "older", "address.older_server", "Take a server watched before"),
        bind("ctrl+p,pageup", "step_known(-1)", "newer", "address.newer_server", "Take a server watched later"),
    ]

    def __init__(self, known: Sequence[str]) -> None:
        from quickserveml_tui.tui.screens.monitor import address_of

        def check(values: dict[str, str]) -> dict[str, Any]:
            return {"url": address_of(values["url"]), "key": values["key"]}

        self.known = tuple(known)
        self._at = 0
        fields = [
            Field("url", "address", known[0] if known else "", "127.0.0.1:8000"),
            Field("key", "API key", "", "none; kept for this session only", secret=True),
        ]
        about = "Any server that speaks the Open Inference Protocol: ours in full, others by their metrics."
        super().__init__("Watch a server", fields, about=about, verb="watch", check=check)

    def compose_notes(self) -> ComposeResult:
        """The servers that were watched before."""
        if len(self.known) > 1:
            yield Sheet(lambda width, _: self._before(width), classes="dialog--part")

    def _before(self, width: int) -> list[Row]:
        rows: list[Row] = [()]
        for index, url in enumerate(self.known[:MAX_SHOWN]):
            lead = "before      " if index == 0 else " " * 12
            rows.append((Span(lead, Role.MUTED), say(url[: max(width - 12, 8)])))
        return [
            *rows,
            (Span(" " * 12), Span("pgup pgdn", Role.STRONG, bold=True), Span(" go through them", Role.MUTED)),
        ]

    def action_step_known(self, by: int) -> None:
        """Put another known address into the field."""
        if self.known:
            self._at = (self._at + by) % len(self.known)
            field = self.query_one("#field-url", FieldInput)
            field.value = self.known[self._at]
            field.cursor_position = len(field.value)
