"""The header at the top and the status line above the footer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import events
from textual.message import Message
from textual.reactive import reactive

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.text import cell_width
from quickserveml_tui.tui.glyphs import Glyphs, glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked, crop_row, row_width, say, two_edges
from quickserveml_tui.tui.widgets.pane import join_spans

if TYPE_CHECKING:
    from quickserveml_tui.core.hosts import HostStatus


class HeaderBar(Inked):
    """Product and screens at the left; place, host load and noise badge at the right."""

    DEFAULT_CSS = "HeaderBar { background: $ground; padding: 0 2; }"

    current = reactive("")
    """Id of the screen that is shown."""
    place = reactive("local")
    """Where the models are: `local`, or a server."""
    read_only = reactive(False)
    """Whether nothing may be written."""

    class ScreenClicked(Message):
        """A screen's name was clicked."""

        def __init__(self, screen_id: str) -> None:
            super().__init__()
            self.screen_id = screen_id

    def __init__(
        self,
        product: str = "quickserveml",
        screens: Sequence[tuple[str, str]] = (),
        *,
        current: str = "",
        id: str | None = None,  # noqa: A002 - Textual's own parameter
    ) -> None:
        super().__init__(id=id)
        self.product = product
        self.screens = tuple(screens)
        self._host: HostStatus | None = None
        self._places: list[tuple[int, int, str]] = []
        self.set_reactive(HeaderBar.current, current)

    def show_host(self, host: HostStatus | None) -> None:
        """Show the load of the machine; None takes it away."""
        if host != self._host:
            self._host = host
            self.refresh()

    def rows(self, width: int) -> Sequence[Row]:
        """One row; screens leave from the right where there is little room, the current one stays."""
        right = self._right(width)
        names = self._fitting(width - row_width(right) - 4)
        left = [say(self.product, Role.STRONG, bold=True), Span("    ")]
        self._places = []
        at = row_width(left)
        for index, (screen, name) in enumerate(names):
            if index:
                left.append(Span("   "))
                at += 3
            is_current = screen == self.current
            left.append(
                replace(
                    say(name, Role.ACCENT if is_current else Role.MUTED, bold=is_current),
                    under=is_current and self.mono,
                )
            )
            size = cell_width(name)
            self._places.append((at, at + size, screen))
            at += size
        return (two_edges(left, right, width),)

    def _fitting(self, room: int) -> list[tuple[str, str]]:
        names = list(self.screens)
        while len(names) > 1 and cell_width(self.product) + 4 + sum(cell_width(name) + 3 for _, name in names) > room:
            leaving = -2 if names[-1][0] == self.current else -1
            names.pop(leaving)
        return names

    def _right(self, width: int) -> list[Span]:
        glyphs = glyphs_of(self)
        host = self._host
        groups: list[list[Span]] = [[say(self.place)]]
        if self.read_only:
            groups.insert(0, [Span(f"{glyphs.warn} read-only", Role.WARN, bold=True)])
        if host is not None:
            if width >= 90:
                cores = f"{host.cores} core{'s' if host.cores != 1 else ''}, load "
                groups.append([Span(cores, Role.MUTED), Span(f"{host.load:.1f}", Role.BODY)])
            badge = f"{glyphs.ok} quiet" if host.quiet else f"{glyphs.warn} noisy"
            groups.append([Span(badge, Role.OK if host.quiet else Role.WARN)])
        return join_spans(groups, 3)

    def on_click(self, event: events.Click) -> None:
        """Ask for the screen under the pointer."""
        for start, end, screen in self._places:
            if start <= event.x - 2 < end:
                self.post_message(self.ScreenClicked(screen))


_SIGNS = {Role.OK: "ok", Role.WARN: "warn", Role.ERROR: "error", Role.INFO: "info"}


def _glyph(role: Role, glyphs: Glyphs) -> str:
    name = _SIGNS.get(role)
    return getattr(glyphs, name) if name else ""


class StatusLine(Inked):
    """Breadcrumb at the left with its last part bold; the newest message, or a command, at the right."""

    DEFAULT_CSS = "StatusLine { background: $ground; padding: 0 2; }"

    breadcrumb: reactive[tuple[str, ...]] = reactive[tuple[str, ...]](())
    """Where the cursor is: `("resnet50", "@3", "conv2")`."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own parameter
        super().__init__(id=id)
        self._right: tuple[Span, ...] = ()

    def tell(self, text: str, role: Role = Role.OK, *, at: str | None = None) -> None:
        """Show a message with its glyph and the time (`at`, or now)."""
        glyph = _glyph(role, glyphs_of(self))
        moment = time.strftime("%H:%M") if at is None else at
        lead = (Span(f"{glyph} ", role),) if glyph else ()
        tail = (Span(f"   {moment}", Role.MUTED),) if moment else ()
        self._right = (*lead, say(text, Role.BODY), *tail)
        self.refresh()

    def show_command(self, command: str) -> None:
        """Show the command that reproduces what is on the screen."""
        self._right = (say(command, Role.MUTED),)
        self.refresh()

    def clear(self) -> None:
        """Take the message away."""
        self._right = ()
        self.refresh()

    def rows(self, width: int) -> Sequence[Row]:
        """One row; the breadcrumb keeps at least a third of it."""
        glyphs = glyphs_of(self)
        left: list[Span] = []
        for index, part in enumerate(self.breadcrumb):
            last = index == len(self.breadcrumb) - 1
            if index:
                left.append(Span(f" {glyphs.path} ", Role.FAINT))
            left.append(say(part, Role.STRONG if last else Role.MUTED, bold=last))
        kept = min(row_width(left), max(width // 3, width - row_width(self._right) - 2))
        right = crop_row(self._right, max(width - kept - 2, 0), middle=True)
        return (two_edges(left, right, width),)
