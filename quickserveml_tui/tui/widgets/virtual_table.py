"""A table of any length: it makes only the lines that are on the screen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from quickserveml_tui.charts.cells import Role, Row, Span, pad_row
from quickserveml_tui.tui.glyphs import glyphs_of, to_ascii
from quickserveml_tui.tui.widgets.ink import crop_row, rich_style, say
from quickserveml_tui.tui.widgets.table_cells import (
    GAP,
    Column,
    Fitted,
    RowSource,
    TableRow,
    as_cell,
    cell_spans,
    cell_text,
    fit_columns,
    header_row,
)
from quickserveml_tui.tui.widgets.table_messages import MarksChanged, RowHighlighted, RowSelected, SortChanged
from quickserveml_tui.tui.widgets.table_order import Predicate, RowOrder

PADDING = 2
CHORD_S = 1.0


def _binding(
    key: str, action: str, title: str, name: str, about: str, *, display: str = "", show: bool = True
) -> Binding:
    return Binding(key, action, title, show=show, key_display=display or None, id=name, tooltip=about)


class VirtualTable(ScrollView, can_focus=True):
    """Rows under a header, a cursor row, sort, filter and marks.

    Give it `set_rows` with a sequence or a `RowSource` of mappings from column key to `Cell`, text or number. A mapping
    may also hold `_key` (identity over refreshes), `_group` (a heading instead of a row) and `_dim`. The table has the
    class `-bleed`: its cursor row reaches both edges of the pane, and it keeps the padding itself. With the class
    `-cursor-in-focus` the cursor is drawn only while the table has the focus: for rows that nothing else follows.
    """

    DEFAULT_CSS = """
    VirtualTable {
        height: 1fr; width: 100%; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
        scrollbar-color: $raised; scrollbar-background: $pane;
        scrollbar-background-hover: $pane; scrollbar-background-active: $pane; scrollbar-corner-color: $pane;
    }
    Pane:focus-within VirtualTable { scrollbar-background: $focus; scrollbar-color: $select; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        _binding("down,j", "move(1)", "move", "table.move_down", "Go to the next row", display="jk"),
        _binding("up,k", "move(-1)", "move up", "table.move_up", "Go to the row before", show=False),
        _binding("enter", "select", "open", "table.open_row", "Open the row under the cursor"),
        _binding("space", "mark", "mark", "table.mark_row", "Mark the row, or take its mark away"),
        _binding("s", "sort_next", "sort", "table.sort_rows", "Sort by the next column"),
        _binding("S", "sort_reverse", "reverse", "table.reverse_sort", "Turn the order round", show=False),
        _binding("g", "top_chord", "first", "table.go_first_chord", "Press twice for the first row", show=False),
        _binding("home", "top", "first", "table.go_first", "Go to the first row", show=False),
        _binding("G,end", "bottom", "last", "table.go_last", "Go to the last row", show=False),
        _binding("ctrl+d", "move_page(0.5)", "down", "table.move_half_down", "Go half a page down", show=False),
        _binding("ctrl+u", "move_page(-0.5)", "up", "table.move_half_up", "Go half a page up", show=False),
        _binding("pagedown", "move_page(1.0)", "page down", "table.move_page_down", "Go a page down", show=False),
        _binding("pageup", "move_page(-1.0)", "page up", "table.move_page_up", "Go a page up", show=False),
    ]

    cursor_line = reactive(0, repaint=False)
    """Line of the body that the cursor is on; headings count as lines."""

    RowHighlighted = RowHighlighted
    RowSelected = RowSelected
    SortChanged = SortChanged
    MarksChanged = MarksChanged

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        empty: str = "No rows.",
        sort_key: str = "",
        sort_descending: bool = False,
        external_sort: bool = False,
        show_header: bool = True,
        id: str | None = None,  # noqa: A002 - Textual's own parameter
        classes: str = "",
    ) -> None:
        """A table without rows.

        Args:
            columns: Columns from left to right.
            empty: What to say where there is no row.
            sort_key: Column to sort by; none keeps the order of the rows.
            sort_descending: Whether the largest comes first.
            external_sort: The owner sorts: the table only asks by `SortChanged`.
            show_header: Whether the titles are shown.
            id: Id of the widget.
            classes: Further classes.
        """
        super().__init__(id=id, classes=f"-bleed {classes}".strip())
        self.columns = tuple(columns)
        self.empty = empty
        self.show_header = show_header
        self.marked: set[object] = set()
        self._order = RowOrder(sort_key=sort_key, descending=sort_descending, external_sort=external_sort)
        self._fitted: list[Fitted] = []
        self._fitted_width = 0
        self._strips: LRUCache[tuple[object, ...], Strip] = LRUCache(1024)
        self._generation = 0
        self._chord_at = 0.0

    # ---- rows

    def set_rows(self, rows: Sequence[TableRow] | RowSource) -> None:
        """Show other rows; the cursor stays on the row with the same `_key`, or on the same line."""
        key = self._order.key_at(self.cursor_line)
        self._order.source = rows
        self._reorder(key)

    def set_filter(self, predicate: Predicate | None) -> None:
        """Show only rows for which `predicate` holds; None shows all."""
        key = self._order.key_at(self.cursor_line)
        self._order.predicate = predicate
        self._reorder(key)

    def sort_by(self, key: str, descending: bool = False) -> None:
        """Sort by a column; an empty key restores the order of the rows."""
        kept = self._order.key_at(self.cursor_line)
        self._order.sort_key, self._order.descending = key, descending
        self._reorder(kept)
        self.post_message(self.SortChanged(self, key, descending=descending))

    def rows_arrived(self) -> None:
        """Show rows that the source has got by now; number and order are as before."""
        self._generation += 1
        self._strips.clear()
        self.refresh()
        self._announce()

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Use other columns."""
        self.columns = tuple(columns)
        self._invalidate()

    def _reorder(self, key: object) -> None:
        self._order.rebuild()
        line = self._order.line_of(key)
        wanted = self._order.nearest(self.cursor_line if line is None else line)
        self._generation += 1
        self.virtual_size = Size(self.size.width, self._order.height + self.header_height)
        if wanted is not None and wanted != self.cursor_line:
            self.cursor_line = wanted
        else:
            self._announce()
        self._invalidate()

    def _invalidate(self) -> None:
        self._generation += 1
        self._strips.clear()
        self._fit(self._body_width())
        self.refresh()

    def _fit(self, width: int) -> None:
        self._fitted_width = width
        self._fitted = fit_columns(self.columns, max(width - 2 * PADDING, 1))

    def _body_width(self) -> int:
        return self.scrollable_content_region.width or self.size.width

    @property
    def row_count(self) -> int:
        """Rows that pass the filter."""
        return self._order.count

    @property
    def sort_key(self) -> str:
        """Column that the rows are sorted by; empty for their own order."""
        return self._order.sort_key

    @property
    def sort_note(self) -> str:
        """`by ms ▼`: for the pane's title."""
        column = next((one for one in self.columns if one.key == self.sort_key), None)
        if column is None:
            return ""
        glyphs = glyphs_of(self)
        return f"by {column.title} {glyphs.down if self._order.descending else glyphs.up}"

    @property
    def cursor_index(self) -> int | None:
        """Index of the cursor's row in what `set_rows` got; None without rows."""
        return self._order.row_index(self.cursor_line)

    @property
    def cursor_row(self) -> TableRow | None:
        """The row under the cursor."""
        index = self.cursor_index
        return None if index is None else self._order.source[index]

    @property
    def cursor_key(self) -> object:
        """Identity of the row under the cursor."""
        return self._order.key_at(self.cursor_line)

    def move_to_key(self, key: object) -> bool:
        """Put the cursor on the row with this `_key`; returns whether there is one."""
        line = self._order.line_of(key)
        if line is not None:
            self.cursor_line = line
        return line is not None

    def as_table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Titles and the text of every row that is shown, in the order shown: for copies and exports."""
        lines: list[tuple[str, ...]] = []
        for line in range(self._order.height):
            index = self._order.row_index(line)
            if index is not None:
                row = self._order.source[index]
                lines.append(tuple(_plain(column, row) for column in self.columns))
        return tuple(column.title for column in self.columns), lines

    # ---- cursor

    def validate_cursor_line(self, line: int) -> int:
        """A line that holds a row, as near as there is one."""
        nearest = self._order.nearest(line, 1 if line >= self.cursor_line else -1)
        return 0 if nearest is None else nearest

    def watch_cursor_line(self, _old: int, new: int) -> None:
        """Show the row and tell of it."""
        self._show_line(new)
        self.refresh()
        self._announce()

    def _announce(self) -> None:
        index = self.cursor_index
        if index is not None and self.is_mounted:
            self.post_message(self.RowHighlighted(self, index, self._order.source[index]))

    def _page(self) -> int:
        return max(self.size.height - self.header_height, 1)

    def _show_line(self, line: int) -> None:
        top, page = self.scroll_offset.y, self._page()
        if self._order.heading(line - 1) is not None and line - 1 < top:
            line -= 1
        if line < top:
            self.scroll_to(y=line, animate=False)
        elif line >= top + page:
            self.scroll_to(y=line - page + 1, animate=False)

    def action_move(self, by: int) -> None:
        """Move the cursor by some rows."""
        if self._order.height:
            target = self._order.nearest(self.cursor_line + by, 1 if by > 0 else -1)
            self.cursor_line = self.cursor_line if target is None else target

    def action_move_page(self, share: float) -> None:
        """Move the cursor by a share of the page."""
        self.action_move(int(self._page() * share) or (1 if share > 0 else -1))

    def action_top(self) -> None:
        """Go to the first row."""
        self.cursor_line = 0
        self.scroll_to(y=0, animate=False)

    def action_bottom(self) -> None:
        """Go to the last row."""
        self.cursor_line = max(self._order.height - 1, 0)

    def action_top_chord(self) -> None:
        """Go to the first row at the second `g` within a second."""
        now = time.monotonic()
        if now - self._chord_at <= CHORD_S:
            self._chord_at = 0.0
            self.action_top()
        else:
            self._chord_at = now

    def action_select(self) -> None:
        """Open the row under the cursor."""
        index = self.cursor_index
        if index is not None:
            self.post_message(self.RowSelected(self, index, self._order.source[index]))

    def action_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go on to the next."""
        key = self.cursor_key
        if key is None:
            return
        self.marked ^= {key}
        self._generation += 1
        self.post_message(self.MarksChanged(self, len(self.marked)))
        self.action_move(1)
        self.refresh()

    def mark_all(self, keys: Iterable[object]) -> None:
        """Mark these rows besides those that are marked."""
        self.marked |= set(keys)
        self._generation += 1
        self.post_message(self.MarksChanged(self, len(self.marked)))
        self.refresh()

    def clear_marks(self) -> None:
        """Take all marks away."""
        if self.marked:
            self.marked = set()
            self._generation += 1
            self.post_message(self.MarksChanged(self, 0))
            self.refresh()

    def action_sort_next(self) -> None:
        """Sort by the next column that can be sorted; numbers start with the largest."""
        sortable = [column for column in self.columns if column.sortable and column.kind != "bar"]
        if not sortable:
            return
        keys = [column.key for column in sortable]
        at = (keys.index(self.sort_key) + 1) % len(keys) if self.sort_key in keys else 0
        self.sort_by(keys[at], descending=sortable[at].kind == "number")

    def action_sort_reverse(self) -> None:
        """Turn the sort round."""
        if self.sort_key:
            self.sort_by(self.sort_key, descending=not self._order.descending)

    # ---- pointer

    def on_click(self, event: events.Click) -> None:
        """A header sorts, a row gets the cursor, the cursor's row opens."""
        if event.y < self.header_height:
            self._sort_at(event.x)
            return
        line = self.scroll_offset.y + event.y - self.header_height
        if self._order.row_index(line) is None:
            return
        if line == self.cursor_line and event.chain >= 2:
            self.action_select()
        self.cursor_line = line

    def _sort_at(self, x: int) -> None:
        at = PADDING
        for one in self._fitted:
            if at <= x < at + one.width and one.column.sortable:
                number = one.column.kind in ("number", "bar")
                again = one.column.key == self.sort_key
                self.sort_by(one.column.key, descending=not self._order.descending if again else number)
                return
            at += one.width + GAP

    # ---- lines

    @property
    def header_height(self) -> int:
        """Titles and the empty row below them, which goes first where it is low."""
        return 0 if not self.show_header else 2 if self.size.height >= 10 else 1

    def on_resize(self) -> None:
        """Fit the columns to the new width."""
        self.virtual_size = Size(self.size.width, self._order.height + self.header_height)
        self._invalidate()
        self._show_line(self.cursor_line)

    def notify_style_update(self) -> None:
        """A new theme or tone makes new strips."""
        super().notify_style_update()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        """One line of what is visible: titles, air, or a line of the body."""
        width = self._body_width()
        if width != self._fitted_width:
            # A scroll bar that comes or goes, or a table shown for the first time, changes the width without a resize.
            self._fit(width)
            self._strips.clear()
        if y < self.header_height:
            row = (Span(" " * PADDING), *header_row(self._fitted)) if y == 0 and self._order.height else ()
            return self._strip(row, width)
        line = self.scroll_offset.y + y - self.header_height
        if not self._order.height:
            words = self.empty if self._order.predicate is None else "No row matches the filter."
            said = dict(enumerate(words.splitlines(), self.header_height)).get(y, "")
            return self._strip((Span(" " * PADDING), say(said, Role.MUTED)), width)
        current = line == self.cursor_line and (self.has_focus or not self.has_class("-cursor-in-focus"))
        key = (line, width, current, current and self.has_focus, self._generation, self.app.theme, self.rich_style)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._strip(self._line_row(line, current), width, current=current)
        return strip

    def _line_row(self, line: int, current: bool) -> Row:
        heading = self._order.heading(line)
        if heading is not None:
            return (Span(" " * PADDING), say(heading, Role.MUTED))
        index = self._order.row_index(line)
        if index is None:
            return ()
        row = self._order.source[index]
        glyphs = glyphs_of(self)
        marked = self._order.key_at(line) in self.marked
        spans = [
            Span(glyphs.cursor, Role.ACCENT) if current else Span(" "),
            Span(glyphs.mark, Role.ACCENT) if marked else Span(" "),
        ]
        for at, one in enumerate(self._fitted):
            if at:
                spans.append(Span(" " * GAP))
            by = one.column.key == self.sort_key
            cells = cell_spans(one, row.get(one.column.key), current=current, sorted_by=by, charset=glyphs.charset)
            if row.get("_dim") and not current:
                cells = tuple(Span(cell.text, Role.MUTED, cell.bold) for cell in cells)
            spans.extend(cells)
        return tuple(spans)

    def _strip(self, row: Row, width: int, *, current: bool = False) -> Strip:
        base = self.rich_style
        inverse = current and self.app.theme_variables.get("cursor-style") == "reverse"
        if inverse:
            base = base + Style(reverse=True)
        elif current:
            base = base + rich_style(self.app, Role.BODY, back=Role.SELECT)
        ascii_only = glyphs_of(self).ascii_only
        segments = []
        for span in pad_row(crop_row(row, width), width):
            # In an inverse row a colour of its own would become a background.
            ink = Style(bold=span.bold or None) if inverse else rich_style(self.app, span.role, bold=span.bold)
            segments.append(Segment(to_ascii(span.text) if ascii_only else span.text, base + ink))
        return Strip(segments, width)


def _plain(column: Column, row: TableRow) -> str:
    cell = as_cell(row.get(column.key))
    return (cell_text(column, cell) + cell.suffix).strip()
