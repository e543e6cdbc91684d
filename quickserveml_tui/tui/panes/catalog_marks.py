"""A pane with a filter and marks: what is shown, what is marked, and what is wrong with the filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import BindingType
from textual.widgets import Input

from quickserveml_tui.core.text import plural
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.base import WorkPane
from quickserveml_tui.tui.panes.catalog_filter import FilterInput, FilterNote
from quickserveml_tui.tui.widgets.table_messages import MarksChanged

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import Completion, ModelView
    from quickserveml_tui.core.errors import FilterError
    from quickserveml_tui.tui.panes.catalog_rows import CatalogRow
    from quickserveml_tui.tui.panes.tables import PaneTable


class FilteredPane(WorkPane):
    """Rows of models under a filter; marks survive a filter that hides them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "space",
            "mark_row",
            "mark",
            "catalog.mark_row",
            "Mark the row for tags, categories, state and delete",
            show=False,
        ),
        bind(
            "asterisk",
            "mark_all",
            "mark all",
            "catalog.mark_all",
            "Mark every row that is shown, or take all marks away",
            show=False,
            display="*",
        ),
    ]

    def __init__(self, *, key: str, title: str, noun: str, id: str, classes: str) -> None:  # noqa: A002 - Textual's own
        super().__init__(key=key, title=title, noun=noun, id=id, classes=classes)
        self.views: tuple[ModelView, ...] = ()
        self.rows: list[CatalogRow] = []
        self.everything = 0
        """Models without the filter."""
        self.rejected_text: str | None = None
        """The filter that could not be read, as it was typed; None while what was read last is all right."""
        self.confirmed = ""
        """The filter that was left by enter before it was read."""

    @property
    def table(self) -> PaneTable:
        """The table of models."""
        from quickserveml_tui.tui.panes.tables import PaneTable

        return self.query_one("#models", PaneTable)

    @property
    def filter_text(self) -> str:
        """What is typed into the filter."""
        return self.query_one("#filter", Input).value

    @property
    def marks(self) -> tuple[str, ...]:
        """Keys of the marked rows, in the order shown; those that the filter hides come last."""
        marked = self.table.marked if self.furnished else set()
        shown = [row.key for row in self.rows if row.key in marked]
        return (*shown, *sorted(str(key) for key in marked if key not in shown))

    def _keep_marks(self, names: set[str]) -> None:
        gone = {key for key in self.table.marked if str(key).partition("@")[0] not in names}
        self.table.marked -= gone

    def _show_count(self) -> None:
        shown, marked = len(self.views), len(self.table.marked)
        self.count = shown
        words = f"{shown:,} of {self.everything:,} models" if self.filter_text else ""
        if marked:
            words = f"{marked:,} marked   {words or plural(shown, 'model')}"
        self.count_text = words

    @on(MarksChanged)
    def count_marks(self, event: MarksChanged) -> None:
        """The title says how many."""
        event.stop()
        self._show_count()
        self.screen.refresh_bindings()

    def show_filter_error(self, error: FilterError | None) -> None:
        """Say below the field what is wrong with the filter; the rows stay as they are.

        Who confirmed it before it was read gets the focus back.
        """
        note, text = self.query_one(FilterNote), self.filter_text
        self.set_class(error is not None, "-noted")
        self.rejected_text = None if error is None else text
        if error is not None:
            note.show_error(error, text)
            if self.confirmed == text and self.table.has_focus:
                self.screen.set_focus(self.query_one(FilterInput))
        self.confirmed = ""

    @on(FilterInput.Left)
    def leave_filter(self, event: FilterInput.Left) -> None:
        """Back to the table; a filter that cannot be read is not confirmed."""
        event.stop()
        if event.kept and self.filter_text and self.rejected_text == self.filter_text:
            return
        self.confirmed = self.filter_text if event.kept else ""
        self.screen.set_focus(self.table)

    def show_completions(self, text: str, completions: Sequence[Completion]) -> None:
        """Offer ways to go on, if the text is still the one they are for."""
        field = self.query_one(FilterInput)
        if field.has_focus and field.value == text:
            field.listing.show(completions)

    def action_mark_row(self) -> None:
        """Mark the row under the cursor, or take its mark away."""
        self.table.action_mark()

    def action_mark_all(self) -> None:
        """Mark what is shown; with all of it marked already, take the marks away."""
        keys = {row.key for row in self.rows}
        if keys <= self.table.marked:
            self.table.clear_marks()
        else:
            self.table.mark_all(keys)
