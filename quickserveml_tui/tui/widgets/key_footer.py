"""The footer: keys of what has the focus, derived from the active bindings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.tui.keys import show_key
from quickserveml_tui.tui.widgets.ink import Inked, crop_row, row_width, say, two_edges

MAX_KEYS = 8


@dataclass(frozen=True, slots=True)
class FooterKey:
    """A key as the footer shows it."""

    key: str
    verb: str
    action: str
    enabled: bool
    owner: DOMNode
    """The node whose binding it is: the action runs there."""


def footer_keys(widget: Widget) -> list[FooterKey]:
    """Keys to show, those of the focused widget first, each action once.

    A binding whose `key_display` is set shows that (`jk`, `hjkl`); bindings with `show=False` stay out.
    """
    keys: list[FooterKey] = []
    seen: set[str] = set()
    for active in widget.screen.active_bindings.values():
        binding = active.binding
        name = binding.id or binding.action
        if not binding.show or name in seen:
            continue
        seen.add(name)
        display = binding.key_display or show_key(binding.key)
        keys.append(FooterKey(display, binding.description.lower(), binding.action, active.enabled, active.node))
    return keys


class KeyFooter(Inked):
    """At most eight keys, bold, each with its verb; `? more` at the right. A disabled key stays, without bold."""

    DEFAULT_CSS = "KeyFooter { background: $ground; padding: 0 2; }"

    def __init__(self, *, more: tuple[str, str] = ("?", "more"), id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.more = more
        self._places: list[tuple[int, int, str]] = []
        self._keys: list[FooterKey] = []

    def on_mount(self) -> None:
        """Follow the focus and the bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._on_bindings)

    def _on_bindings(self, _screen: Screen[object]) -> None:
        self.refresh()

    def rows(self, width: int) -> Sequence[Row]:
        """One row; keys leave from the right where there is little room."""
        more = [say(self.more[0], Role.STRONG, bold=True), say(f" {self.more[1]}", Role.MUTED)]
        room = width - row_width(more) - 3
        left: list[Span] = []
        self._places = []
        at = 0
        if self.app.screen is self.screen or not self._keys:  # below a dialog `screen.` means the dialog
            self._keys = footer_keys(self)
        for entry in [key for key in self._keys if key.key != self.more[0]][:MAX_KEYS]:
            lead = [Span("   ")] if left else []
            part = [
                *lead,
                say(entry.key, Role.STRONG if entry.enabled else Role.MUTED, bold=entry.enabled),
                say(f" {entry.verb}", Role.MUTED),
            ]
            size = row_width(part)
            if at + size > room:
                break
            self._places.append((at, at + size, entry.key))
            left += part
            at += size
        return (two_edges(crop_row(tuple(left), room), more, width),)

    async def on_click(self, event: events.Click) -> None:
        """Press the key under the pointer."""
        for start, end, key in self._places:
            if start <= event.x - 2 < end:
                shown = next((one for one in footer_keys(self) if one.key == key), None)
                if shown is not None:
                    await self.app.run_action(shown.action, shown.owner)
