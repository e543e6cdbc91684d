"""The catalog's filter: a field, completions below it, and what is wrong with what is typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.actions import SkipAction
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.ink import Inked, crop_row, row_width, say, two_edges

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import Completion
    from quickserveml_tui.core.errors import FilterError

MAX_SHOWN = 7


class CompletionList(Inked):
    """Ways to go on, over whatever stands below the field."""

    DEFAULT_CSS = """
    CompletionList {
        overlay: screen; constrain: none inside; offset: 0 -1; width: 58; height: auto; background: $raised;
        padding: 0 2; margin: 0 2; display: none;
    }
    """

    def __init__(self) -> None:
        super().__init__(id="completions")
        self.completions: tuple[Completion, ...] = ()
        self.at = 0
        self.moved = False
        """Whether the user chose one, so that enter takes it."""

    @property
    def open(self) -> bool:
        """Whether there is anything to take."""
        return bool(self.completions)

    @property
    def chosen(self) -> Completion:
        """The one under the cursor; only while it is open."""
        return self.completions[self.at]

    def show(self, completions: Sequence[Completion]) -> None:
        """Show these, the cursor on the first; none closes the list."""
        self.completions, self.at, self.moved = tuple(completions), 0, False
        self.display = self.open
        self.refresh(layout=True)

    def move(self, by: int) -> None:
        """Move the cursor, round."""
        self.at, self.moved = (self.at + by) % len(self.completions), True
        self.refresh()

    def natural_height(self, width: int) -> int:  # noqa: ARG002 - the height does not depend on it
        """A row each, as far as they are shown, and one for the keys."""
        return min(len(self.completions), MAX_SHOWN) + 1

    def rows(self, width: int) -> Sequence[Row]:
        """Label left, help right; the keys below."""
        glyphs = glyphs_of(self)
        top = min(max(self.at - MAX_SHOWN + 1, 0), max(len(self.completions) - MAX_SHOWN, 0))
        rows: list[Row] = []
        for index, item in list(enumerate(self.completions))[top : top + MAX_SHOWN]:
            here = index == self.at
            bar = Span(glyphs.cursor if here else " ", Role.ACCENT)
            label = say(item.label, Role.STRONG if here else Role.BODY, bold=here)
            left = [bar, Span(" "), label]
            room = width - row_width(left) - 2
            right = crop_row((say(item.help, Role.MUTED),), room) if room > 4 else ()
            rows.append(two_edges(left, right, width))
        more = f"{len(self.completions)} ways to go on" if len(self.completions) > MAX_SHOWN else ""
        keys = [Span("  tab", Role.STRONG, bold=True), Span(" take", Role.MUTED)]
        rows.append(crop_row(two_edges(keys, [Span(more, Role.MUTED)] if more else [], width), width))
        return rows


class FilterNote(Sheet):
    """What is wrong with the filter, with a caret at the column."""

    def show_error(self, error: FilterError, text: str) -> None:
        """Say what is wrong; what merely breaks off at its end is said quietly."""
        unfinished = error.column > len(text.rstrip())
        role = Role.MUTED if unfinished else Role.ERROR
        words = f"{error.message} {error.hint}".strip()

        def layout(width: int, _glyphs: object) -> list[Row]:
            from quickserveml_tui.tui.sheets.rows import paragraph

            caret = Span(" " * min(1 + error.column, width - 1) + "^", Role.WARN if unfinished else Role.ERROR)
            return [(caret,), *((Span("  "), *row) for row in paragraph(words, width - 2, role))]

        self.show(layout)


class FilterInput(Input):
    """The filter; esc closes the list, then empties it; down goes to the list, or to the table."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("tab", "take", "take", "catalog.take_completion", "Take the completion under the cursor of the list"),
        bind("escape", "leave", "clear", "catalog.clear_filter", "Close the list; empty the filter and leave it"),
        bind("down", "next", "next", "catalog.next_completion", "Go to the next completion, or to the table"),
        bind("up", "previous", "previous", "catalog.previous_completion", "Go to the completion before", show=False),
        bind("enter", "to_table", "to the table", "catalog.leave_filter", "Keep the filter, go to the table"),
    ]

    class Left(Message):
        """The user is done with the filter."""

        def __init__(self, *, kept: bool = False) -> None:
            super().__init__()
            self.kept = kept
            """Whether the filter was confirmed, so that it has to be one that can be read."""

    @property
    def listing(self) -> CompletionList:
        """The completions below."""
        return self.screen.query_one(CompletionList)

    def on_blur(self, _event: events.Blur) -> None:
        """The list belongs to the field."""
        self.listing.show(())

    def action_take(self) -> None:
        """Take a completion; with none to take, a filter in the making keeps the focus: letters would be commands."""
        listing = self.listing
        if not listing.open:
            if self.value:
                return
            raise SkipAction
        chosen = listing.chosen
        listing.show(())
        self.value = chosen.text
        self.cursor_position = chosen.cursor

    def action_leave(self) -> None:
        """Close the list; without one empty the filter and leave."""
        if self.listing.open:
            self.listing.show(())
            return
        self.value = ""
        self.post_message(self.Left())

    def action_next(self) -> None:
        """Go down in the list; without one go to the table."""
        if self.listing.open:
            self.listing.move(1)
        else:
            self.post_message(self.Left())

    def action_previous(self) -> None:
        """Go up in the list."""
        if self.listing.open:
            self.listing.move(-1)

    def action_to_table(self) -> None:
        """Take what was chosen in the list; else keep the filter and leave."""
        if self.listing.open and self.listing.moved:
            self.action_take()
        else:
            self.listing.show(())
            self.post_message(self.Left(kept=True))
