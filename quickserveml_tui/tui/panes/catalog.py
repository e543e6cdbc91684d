"""Pane 1: models with their versions beneath, a filter, and facts of the one under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input

from quickserveml_tui.charts.cells import Role, Span
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.catalog_filter import CompletionList, FilterInput, FilterNote
from quickserveml_tui.tui.panes.catalog_marks import FilteredPane
from quickserveml_tui.tui.panes.catalog_start import CHOICES, StartChoices
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.empty import EmptyState
from quickserveml_tui.tui.widgets.ink import say, two_edges
from quickserveml_tui.tui.widgets.table_messages import RowHighlighted, RowSelected, SortChanged

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import ModelView
    from quickserveml_tui.tui.panes.catalog_rows import CatalogRow
    from quickserveml_tui.tui.widgets.table_cells import CellLike

SORTS = ("name", "p50", "size", "params", "versions", "updated")
TABLE_ACTIONS = {
    "filter_models", "sort_models", "reverse_sort", "toggle_versions", "unfold_versions", "fold_versions", "mark_row",
    "mark_all",
}  # fmt: skip


class CatalogPane(FilteredPane):
    """Models of the registry."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "slash",
            "filter_models",
            "filter",
            "catalog.filter_models",
            "Show only models that match what you type",
            display="/",
        ),
        bind("s", "sort_models", "sort", "catalog.sort_models", "Sort by the next column"),
        bind("i", "reverse_sort", "reverse", "catalog.reverse_sort", "Turn the order around", show=False),
        bind(
            "enter",
            "toggle_versions",
            "versions",
            "catalog.toggle_versions",
            "Unfold or fold the versions of the model",
        ),
        bind("right,l", "unfold_versions", "unfold", "catalog.unfold_versions", "Unfold the versions", show=False),
        bind(
            "escape", "clear_filter", "clear", "catalog.show_all", "Take all marks away; empty the filter", show=False
        ),
        bind("left,h", "fold_versions", "fold", "catalog.fold_versions", "Fold the versions", show=False),
    ]

    class Highlighted(Message):
        """Another version is under the cursor; None when there is none."""

        def __init__(self, row: CatalogRow | None) -> None:
            super().__init__()
            self.row = row

    class QueryChanged(Message):
        """Filter or sort changed."""

        def __init__(self, *, typed: bool = False) -> None:
            super().__init__()
            self.typed = typed
            """Whether the user types, so that more is to come."""

    def __init__(self) -> None:
        super().__init__(key="1", title="Catalog", noun="model", id="catalog", classes="-loading -current")
        self.unfolded: set[str] = set()
        self.sort = "name"
        self.current: CatalogRow | None = None
        self._shown_rows: list[dict[str, CellLike]] = []
        self.failure = ""
        """Why there is no list and what mends it; empty while there is one."""

    def compose_body(self) -> ComposeResult:
        """What the registry will be shown in."""
        yield EmptyState("Reading the registry", id="catalog-loading")

    def compose_rest(self) -> ComposeResult:
        """Filter, table, shelf; or the choices of an empty registry."""
        from quickserveml_tui.tui.panes.catalog_rows import COLUMNS
        from quickserveml_tui.tui.panes.tables import PaneTable
        from quickserveml_tui.tui.widgets.shelf import Shelf

        yield FilterInput(placeholder="/  name, tag, params < 10M", id="filter", compact=True, select_on_focus=False)
        yield FilterNote(id="filter-note")
        yield CompletionList()
        yield PaneTable(COLUMNS, empty="No model matches the filter.\nesc clears it.", external_sort=True, id="models")
        yield StartChoices(
            CHOICES,
            heading="Start with a model",
            subheading="Everything here works offline.",
            id="start",
            classes="-bleed",
        )
        yield Sheet(id="registry-place")
        yield Shelf(id="catalog-shelf")

    def on_furnished(self) -> None:
        """The shelf reaches the foot."""
        self.add_class("-shelved")

    def focus_body(self) -> None:
        """Move the focus to the table, or to the choices of a first start."""
        for name in ("loading", "empty", "filled"):
            if self.has_class(f"-{name}"):
                target = {"loading": "#catalog-loading", "empty": "#start", "filled": "#models"}[name]
                self.screen.set_focus(self.query_one(target))

    def _show_state(self, state: str) -> None:
        for name in ("loading", "empty", "filled"):
            self.set_class(name == state, f"-{name}")

    def show_failure(self, words: str) -> None:
        """Say why the models cannot be listed."""
        self.failure = words
        self.query_one("#catalog-loading", EmptyState).show(words)
        self._show_state("loading")

    @property
    def holds_nothing(self) -> bool:
        """Whether the registry holds no model at all."""
        return self.everything == 0

    @property
    def has_models_of_ones_own(self) -> bool:
        """Whether the registry holds models that are not the demo's; a filter may hide them."""
        return self.everything > sum("demo" in view.model.tags for view in self.views)

    def show_models(
        self, views: tuple[ModelView, ...], everything: int, place: str, size_bytes: int, select: str = ""
    ) -> None:
        """Show these models; keeps the cursor where it was, or moves it to `select`."""
        had_focus, was_filled = self.focus_inside, self.has_class("-filled")
        self.views, self.everything, self.failure = views, everything, ""
        if not self.filter_text:
            self._keep_marks({view.model.name for view in views})
        self._show_count()
        self._show_state("filled" if everything else "empty")
        size = format_bytes(size_bytes)
        self.query_one("#registry-place", Sheet).show(
            lambda width, _: [two_edges([Span("Registry  ", Role.MUTED), say(place)], [say(size, Role.MUTED)], width)]
        )
        self._show_sort()
        wanted = select or (self.current.key if self.current else "")
        if select:
            self.unfolded |= self._owner_of(select)
        self._fill(wanted)
        if had_focus and self.has_class("-filled") != was_filled:
            self.focus_body()

    def _owner_of(self, ref: str) -> set[str]:
        name, _, number = ref.partition("@")
        view = next((view for view in self.views if view.model.name == name), None)
        latest = view.model.latest if view else None
        return {name} if latest and number and number != str(latest.version) else set()

    def _fill(self, wanted: str) -> None:
        from quickserveml_tui.tui.panes.catalog_rows import index_of, table_row, visible_rows

        glyphs = glyphs_of(self)
        self.rows = visible_rows(self.views, self.unfolded)
        index = index_of(self.rows, wanted)
        rows = [table_row(row, glyphs) for row in self.rows]
        self._shown_rows = rows
        self._fit_columns()
        self.table.set_rows(rows)
        if self.rows:
            self.table.move_to_key(self.rows[index].key)
        self._highlight(index)

    def _fit_columns(self) -> None:
        """Give the names what they need; aliases get the rest."""
        from quickserveml_tui.tui.panes.catalog_rows import fitting_columns
        from quickserveml_tui.tui.widgets.virtual_table import PADDING

        columns = fitting_columns(self._shown_rows, max(self.table.size.width - 2 * PADDING, 0))
        if columns != self.table.columns:
            self.table.set_columns(columns)

    def on_resize(self) -> None:
        """Another width leaves aliases another one."""
        if self._shown_rows:
            self.call_after_refresh(self._fit_columns)  # the table has its new width by then

    @on(RowHighlighted)
    def show_cursor(self, event: RowHighlighted) -> None:
        """Fill the shelf and tell the screen."""
        event.stop()
        self._highlight(event.index)

    @on(SortChanged)
    def sort_by_header(self, event: SortChanged) -> None:
        """A click on a header sorts."""
        event.stop()
        sort = f"-{event.key}" if event.descending else event.key
        if sort != self.sort:
            self.set_sort(sort)

    @on(RowSelected)
    def unfold_selected(self, event: RowSelected) -> None:
        """Enter and double click unfold the versions."""
        event.stop()
        self.action_toggle_versions()

    def _highlight(self, index: int | None) -> None:
        row = self.rows[index] if index is not None and 0 <= index < len(self.rows) else None
        if row is None and self.current is None:
            return
        self.current = row
        self._fill_shelf()
        self.post_message(self.Highlighted(row))

    def _fill_shelf(self) -> None:
        from quickserveml_tui.tui.sheets.model import headline_facts
        from quickserveml_tui.tui.sheets.rows import state_spans
        from quickserveml_tui.tui.sheets.trial import reason_of
        from quickserveml_tui.tui.widgets.shelf import Shelf

        shelf = self.query_one("#catalog-shelf", Shelf)
        row = self.current
        if row is None:
            shelf.show()
            return
        model = row.view.model
        subtitle = model.task or model.description or row.version.source
        if reason := reason_of(row.version.trial):
            subtitle = reason
        elif model.tags:
            subtitle = f"{subtitle}  #{' #'.join(model.tags)}".strip()
        shelf.show(
            title=row.ref,
            right=state_spans(row.version, glyphs_of(self)),
            subtitle=subtitle,
            lines=1 if row.version.runnable else 3,
            facts=headline_facts(row.version.facts),
        )

    # ---- keys

    def reason_against(self, action: str) -> str:
        """Why an action does nothing now."""
        if self.failure and action in TABLE_ACTIONS:
            return self.failure
        if self.holds_nothing and action in TABLE_ACTIONS:
            return "There are no models yet. Press d, a or S to get some."
        if action == "toggle_versions" and (self.current is None or len(self.current.view.model.versions) < 2):
            return "This model has one version." if self.current else "No model is under the cursor."
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's own
        """Greyed, never hidden; while there are no models there is no table that the keys could act on."""
        if self.holds_nothing and action in TABLE_ACTIONS:
            return False
        return None if self.reason_against(action) else True

    def action_clear_filter(self) -> None:
        """Take marks away, then show all models again; without both the key means what it means elsewhere."""
        if self.table.marked:
            self.table.clear_marks()
            return
        if not self.filter_text:
            raise SkipAction
        self.query_one("#filter", Input).value = ""

    def action_filter_models(self) -> None:
        """Go to the filter."""
        self.screen.set_focus(self.query_one("#filter", Input))

    @on(Input.Changed, "#filter")
    def tell_filter(self, event: Input.Changed) -> None:
        """Filter as the user types."""
        event.stop()
        self.post_message(self.QueryChanged(typed=True))

    def action_sort_models(self) -> None:
        """Sort by the next column."""
        key = self.sort.lstrip("-")
        following = SORTS[(SORTS.index(key) + 1) % len(SORTS)] if key in SORTS else SORTS[0]
        self.set_sort(f"-{following}" if following in ("size", "params", "versions", "updated") else following)

    def action_reverse_sort(self) -> None:
        """Turn the order around."""
        self.set_sort(self.sort[1:] if self.sort.startswith("-") else f"-{self.sort}")

    def set_sort(self, sort: str) -> None:
        """Sort by `sort`; a leading `-` sorts down."""
        if sort.lstrip("-") in SORTS:
            self.sort = sort
            self._show_sort()
            self.post_message(self.QueryChanged())

    def _show_sort(self) -> None:
        glyphs = glyphs_of(self)
        arrow = glyphs.down if self.sort.startswith("-") else glyphs.up
        self.sort_note = "" if self.holds_nothing or self.sort == "name" else f"by {self.sort.lstrip('-')} {arrow}"

    def action_toggle_versions(self) -> None:
        """Unfold or fold the versions of the model under the cursor."""
        if self.current is not None:
            name = self.current.view.model.name
            self._fold(name, folded=name in self.unfolded)

    def action_unfold_versions(self) -> None:
        """Unfold the versions."""
        if self.current is not None:
            self._fold(self.current.view.model.name, folded=False)

    def action_fold_versions(self) -> None:
        """Fold the versions."""
        if self.current is not None:
            self._fold(self.current.view.model.name, folded=True)

    def _fold(self, name: str, *, folded: bool) -> None:
        wanted = name if folded else (self.current.key if self.current else name)
        if folded:
            self.unfolded.discard(name)
        else:
            self.unfolded.add(name)
        self._fill(wanted)
