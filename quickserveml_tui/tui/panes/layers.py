"""The layer table: virtual, sortable, filtered, with a shelf for the node under the cursor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from quickserveml_tui.charts.cells import Role, Span
from quickserveml_tui.core.facts import LayerPage, LayerRow
from quickserveml_tui.core.tensors import short_dtype
from quickserveml_tui.core.text import plural, safe_text, truncate_middle
from quickserveml_tui.core.units import MISSING, bytes_parts, count_parts
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.layer_pages import WAITING, WHOLE, PagedLayers, WholeLayers, mac_unit, shape_words
from quickserveml_tui.tui.panes.tables import PaneTable
from quickserveml_tui.tui.widgets.ink import say
from quickserveml_tui.tui.widgets.shelf import Fact, Shelf
from quickserveml_tui.tui.widgets.table_cells import Column
from quickserveml_tui.tui.widgets.table_messages import RowHighlighted, SortChanged

SORTS = ("index", "macs", "params", "bytes", "name", "op")
LOW = 20
"""Rows below which the shelf keeps its two lines only."""
SORT_NAMES = {"index": "#", "macs": "MACs", "params": "params", "bytes": "out", "name": "name", "op": "op"}
COLUMNS = (
    Column("index", "#", width=4, kind="number"),
    Column("name", "layer", kind="name", flex=1, min_width=11),
    Column("op", "op", width=12, drop=1),
    Column("shape", "out shape", width=12, align="right", drop=3, sortable=False),
    Column("macs", "MMAC", width=6, kind="number"),
    Column("bar", "", width=5, kind="bar", drop=2, sortable=False),
    Column("share", "share %", width=7, kind="number", drop=4, sortable=False),
)


def _rank(key: str) -> Callable[[LayerRow], Any]:
    ranks: dict[str, Callable[[LayerRow], Any]] = {
        "index": lambda row: row.index,
        "macs": lambda row: row.macs or 0,
        "params": lambda row: row.params,
        "bytes": lambda row: row.output_bytes or 0,
        "name": lambda row: row.name,
        "op": lambda row: (row.op, row.index),
    }
    return ranks[key]


def _short(names: Sequence[str]) -> str:
    return truncate_middle(safe_text(names[0]), 18) if names else MISSING


def _columns(unit: str, total: int) -> list[Column]:
    """The columns with the unit of the costs, and room for the largest number."""
    changes: dict[str, dict[str, Any]] = {"macs": {"title": unit}, "index": {"width": max(len(f"{total:,}"), 4)}}
    return [replace(one, **changes.get(one.key, {})) for one in COLUMNS]


class LayerFilter(Input):
    """The filter of the layer table."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "leave(True)", "clear", "layers.clear_filter", "Empty the filter and go back to the table"),
        bind("down,enter", "leave(False)", "to the table", "layers.leave_filter", "Keep the filter, go to the table"),
    ]

    class Left(Message):
        """The user is done with the filter."""

    def action_leave(self, clear: bool) -> None:
        """Back to the table."""
        if clear:
            self.value = ""
        self.post_message(self.Left())


class LayerView(Vertical):
    """Filter, table and shelf."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "slash",
            "filter_layers",
            "filter",
            "layers.filter_layers",
            "Show only layers whose name or operator matches",
            display="/",
        ),
        bind("s", "sort_layers", "sort", "layers.sort_layers", "Sort by the next column"),
        bind("i", "reverse_sort", "reverse", "layers.reverse_sort", "Turn the order around"),
    ]

    class Changed(Message):
        """Count or sort changed."""

    class PageWanted(Message):
        """A page of a large graph is looked at and not there; `LayerView.pages` says which."""

        def can_replace(self, message: Message) -> bool:
            """Only the page that is looked at now counts."""
            return isinstance(message, LayerView.PageWanted)

    class LayerWanted(Message):
        """A layer is asked for by name in a graph that is not held whole; `LayerView.wanted` says which."""

    def __init__(self, *, id: str, classes: str) -> None:  # noqa: A002 - Textual's own parameter
        super().__init__(id=id, classes=classes)
        self.page: LayerPage | None = None
        self.pages: PagedLayers | None = None
        """The layers of a graph that is too large to be held whole."""
        self.total_macs = 0
        """Multiply-adds of the whole graph, where they are known."""
        self.sort = "-macs"
        self.shown: list[LayerRow] = []
        self.wanted = ""
        """Name of the layer that is asked for before the layers are there."""
        self.wanted_ref = ""
        self.ref = ""
        """What the layers belong to."""

    def compose(self) -> ComposeResult:
        """Filter, table, shelf."""
        yield LayerFilter(placeholder="layer or operator", id="layer-filter", compact=True, select_on_focus=False)
        yield PaneTable(COLUMNS, empty="No layer matches.", external_sort=True, id="layers")
        yield Shelf(id="layer-shelf")

    def on_mount(self) -> None:
        """The filter shows while it is used."""
        self.query_one(LayerFilter).display = False

    def on_resize(self, event: events.Resize) -> None:
        """The shelf shrinks to two lines where the table needs the room."""
        low = event.size.height < LOW
        if low != self.has_class("-low"):
            self.set_class(low, "-low")
            self.query_one(Shelf).set_class(low, "-dense")
            self._show_node(self.table.cursor_index)

    @property
    def table(self) -> PaneTable:
        """The table."""
        return self.query_one(PaneTable)

    @property
    def loaded(self) -> bool:
        """Whether the layers of the current version are there."""
        return self.page is not None

    @property
    def count_words(self) -> str:
        """`16 of 176 nodes`."""
        if self.page is None:
            return ""
        total = plural(self.page.total, "node")
        if self.pages is not None:
            return total
        return f"{len(self.shown):,} of {total}" if len(self.shown) != self.page.total else total

    @property
    def sort_words(self) -> str:
        """`by MACs ▼`."""
        if self.pages is not None:
            return "in graph order"
        glyphs = glyphs_of(self)
        return f"by {SORT_NAMES[self.sort.lstrip('-')]} {glyphs.down if self.sort.startswith('-') else glyphs.up}"

    def clear(self, words: str) -> None:
        """Forget the layers and say why there are none."""
        self.page, self.pages, self.shown = None, None, []
        self.table.empty = words
        self.table.set_rows([])
        self.query_one(Shelf).show(title=words)

    def show_page(self, page: LayerPage) -> None:
        """Show the layers of a version: all of them, or the first page of a large graph.

        Where they stand without shapes already, only those are filled in.
        """
        if self.waiting and self.page is not None and page.total == self.page.total:
            self._complete(page)
            return
        self.page, self.pages = page, None
        self.table.empty = "No layer matches."
        if page.total > WHOLE and len(page.rows) < page.total:
            self.pages = PagedLayers(page.total, self.total_macs, lambda: self.post_message(self.PageWanted()))
            self.pages.put(page)
            self.pages.inferred = page.shapes
        self._fill()

    @property
    def waiting(self) -> bool:
        """Whether the layers stand without the shapes that are still to come."""
        return self.page is not None and not self.page.shapes

    def _complete(self, page: LayerPage) -> None:
        """Fill in shapes and costs; the cursor stays on its layer, unless it has not left the first row."""
        self.page = page
        if self.pages is None:
            self._fill(keep=bool(self.table.cursor_index))
            return
        self.pages.inferred = True
        self.pages.put(page)
        self.count(self.total_macs)

    def stop_waiting(self) -> None:
        """Leave the layers without shapes: there are none to come."""
        if self.page is not None:
            self.page = replace(self.page, shapes=True)
        if self.pages is not None:
            self.pages.waiting = False
            self.table.rows_arrived()
        else:
            self._fill(keep=True)

    def count(self, total_macs: int) -> None:
        """Take the multiply-adds of the whole graph: rows of a large one are measured against them."""
        self.total_macs = total_macs
        if self.pages is not None:
            self.pages.count(total_macs)
            self._set_page_columns(self.pages)
            self.table.rows_arrived()

    def put_page(self, page: LayerPage) -> None:
        """Show a further page of a large graph."""
        if self.pages is not None:
            self.pages.put(page)
            self.table.rows_arrived()

    def go_to(self, index: int) -> None:
        """Put the cursor on a layer by its place in the graph; below 0 there is none."""
        self.wanted = ""
        if index >= 0:
            self.table.move_to_key(str(index))

    def set_sort(self, sort: str) -> None:
        """Sort by `sort`; a leading `-` sorts down."""
        if sort.lstrip("-") in SORTS:
            self.sort = sort
            self.table.sort_by(sort.lstrip("-"), sort.startswith("-"))
            self._fill()

    def find(self, name: str, ref: str) -> None:
        """Put the cursor on the layer of `ref` with this name, now or once its layers are there."""
        self.wanted, self.wanted_ref = name, ref
        if self.pages is not None:
            self.post_message(self.LayerWanted())
        elif self.page is not None:
            self._find_wanted()

    def _find_wanted(self) -> None:
        if self.wanted_ref != self.ref:
            return  # these are still the layers of what was shown before
        row = next((row for row in self.shown if row.name == self.wanted), None)
        self.wanted = ""
        if row is not None:
            self.table.move_to_key(str(row.index))

    def _fill(self, *, keep: bool = False) -> None:
        """`keep` leaves the cursor on its layer."""
        if self.page is None:
            return
        if self.pages is not None:
            self._fill_pages(self.pages)
            return
        words = self.query_one(LayerFilter).value.lower().split()
        rows = [row for row in self.page.rows if all(word in f"{row.name} {row.op}".lower() for word in words)]
        rows.sort(key=_rank(self.sort.lstrip("-")), reverse=self.sort.startswith("-"))
        self.shown = rows
        total = sum(row.macs or 0 for row in self.page.rows)
        most = max((row.macs or 0 for row in self.page.rows), default=0)
        unit = mac_unit(most)[1]
        self.table.set_columns(_columns(unit, len(self.page.rows)))
        self.table.set_rows(WholeLayers(rows, total, most, waiting=self.waiting))
        if not keep:
            self.table.action_top()
        self._show_node(self.table.cursor_index if keep else 0)
        if self.wanted:
            self._find_wanted()
        self.post_message(self.Changed())

    def _fill_pages(self, pages: PagedLayers) -> None:
        """A large graph stands in its own order: to sort or filter it, all of it would have to be here."""
        self.shown = []
        self._set_page_columns(pages)
        self.table.set_rows(pages)
        self.table.action_top()
        self._show_node(0)
        self.post_message(self.Changed())

    def _set_page_columns(self, pages: PagedLayers) -> None:
        unit = mac_unit(self.total_macs)[1]
        self.table.set_columns([replace(one, sortable=False) for one in _columns(unit, pages.total)])

    @on(SortChanged)
    def sort_by_header(self, event: SortChanged) -> None:
        """A click on a header sorts."""
        event.stop()
        sort = f"-{event.key}" if event.descending else event.key
        if sort != self.sort and self.pages is None:
            self.set_sort(sort)

    @on(RowHighlighted)
    def show_cursor(self, event: RowHighlighted) -> None:
        """Facts of the node under the cursor."""
        event.stop()
        self._show_node(event.index)

    def row_at(self, index: int | None) -> LayerRow | None:
        """The layer on a row of the table."""
        if self.pages is not None and index is not None:
            return self.pages.row(index)
        return self.shown[index] if index is not None and 0 <= index < len(self.shown) else None

    def _show_node(self, index: int | None) -> None:
        shelf = self.query_one(Shelf)
        row = self.row_at(index)
        if row is None:
            shelf.show(title="" if self.page is None else "No layer" if self.pages is None else "Reading the layer")
            return
        out, out_unit = bytes_parts(row.output_bytes)
        params, params_unit = count_parts(row.params)
        macs, macs_unit = count_parts(row.macs)
        attributes = ", ".join(f"{name[:40]} {value[:80]}" for name, value in list(row.attributes.items())[:6])
        dtype = f"  {short_dtype(row.output_dtype)}" if row.output_dtype else ""
        shape = shape_words(row).replace("×", " × ")
        if self.waiting if self.pages is None else self.pages.waits(row.index):
            macs = out = shape = WAITING
        shelf.show(
            title=[say(row.name, Role.STRONG, bold=True), Span("  "), say(row.op, Role.MUTED)],
            right=[say(shape), say(dtype, Role.MUTED)],
            subtitle=attributes or f"reads {', '.join(row.inputs[:3]) or 'nothing'}",
            facts=[]
            if self.has_class("-low")
            else [
                Fact("MACs", macs, macs_unit), Fact("params", params, params_unit), Fact("out", out, out_unit),
                Fact("reads", _short(row.inputs)), Fact("writes", _short(row.outputs)),
                Fact("domain", row.domain or "ai.onnx"),
            ],
        )  # fmt: skip

    # ---- keys

    def reason_against(self, action: str) -> str:
        """Why an action does nothing now."""
        if self.pages is not None and action in ("filter_layers", "sort_layers", "reverse_sort"):
            return f"Graphs of more than {WHOLE:,} layers are read by pages, in the order of the graph."
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's own
        """Greyed, never hidden."""
        return None if self.reason_against(action) else True

    def action_filter_layers(self) -> None:
        """Show the filter and go to it."""
        field = self.query_one(LayerFilter)
        field.display = True
        self.screen.set_focus(field)

    @on(Input.Changed)
    def filter_rows(self, event: Input.Changed) -> None:
        """Filter as the user types."""
        event.stop()
        self._fill()

    @on(LayerFilter.Left)
    def leave_filter(self, event: LayerFilter.Left) -> None:
        """Back to the table; an empty filter goes away."""
        event.stop()
        field = self.query_one(LayerFilter)
        self.screen.set_focus(self.table)
        field.display = bool(field.value)

    def action_sort_layers(self) -> None:
        """Sort by the next column."""
        following = SORTS[(SORTS.index(self.sort.lstrip("-")) + 1) % len(SORTS)]
        self.set_sort(f"-{following}" if following in ("macs", "params", "bytes") else following)

    def action_reverse_sort(self) -> None:
        """Turn the order around."""
        self.set_sort(self.sort[1:] if self.sort.startswith("-") else f"-{self.sort}")
