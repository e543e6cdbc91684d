"""What a table tells its owner; handlers are named `on_virtual_table_…`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from quickserveml_tui.tui.widgets.table_cells import TableRow
    from quickserveml_tui.tui.widgets.virtual_table import VirtualTable


class TableMessage(Message):
    """A message of one table."""

    def __init__(self, table: VirtualTable) -> None:
        super().__init__()
        self.table = table

    @property
    def control(self) -> VirtualTable:
        """The table, for `@on`."""
        return self.table


class RowMessage(TableMessage):
    """A message about one row."""

    def __init__(self, table: VirtualTable, index: int, row: TableRow) -> None:
        super().__init__(table)
        self.index = index
        """Index of the row in what `set_rows` got."""
        self.row = row


class RowHighlighted(RowMessage, namespace="virtual_table"):
    """The cursor is on another row."""

    def can_replace(self, message: Message) -> bool:
        """The newest one stands for all."""
        return isinstance(message, RowHighlighted) and message.table is self.table


class RowSelected(RowMessage, namespace="virtual_table"):
    """Enter was pressed on a row, or it was clicked twice."""


class SortChanged(TableMessage, namespace="virtual_table"):
    """The rows are sorted by another column."""

    def __init__(self, table: VirtualTable, key: str, *, descending: bool) -> None:
        super().__init__(table)
        self.key = key
        self.descending = descending


class MarksChanged(TableMessage, namespace="virtual_table"):
    """Other rows are marked."""

    def __init__(self, table: VirtualTable, count: int) -> None:
        super().__init__(table)
        self.count = count
