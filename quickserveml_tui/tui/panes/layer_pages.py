"""Layers of a graph too large to be held whole: pages come as they are scrolled to, and go again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.facts import LayerPage, LayerRow
from quickserveml_tui.core.tensors import format_shape
from quickserveml_tui.core.units import MISSING
from quickserveml_tui.tui.widgets.table_cells import Cell, TableRow

WHOLE = 10_000
"""Layers up to which a graph is held whole, and can be sorted and filtered."""
PAGE = 500
KEPT = 16
"""Pages that are held of a larger graph."""
MAC_UNITS = ((1e9, "GMAC"), (1e6, "MMAC"), (1e3, "kMAC"), (1.0, "MAC"))


def mac_unit(most: int) -> tuple[float, str]:
    """Divisor and name of the unit in which the costliest layer has one to three digits before the point."""
    return next(((step, name) for step, name in MAC_UNITS if most >= step), MAC_UNITS[-1])


WAITING = "…"
"""Stands for shapes and costs that are still to come."""


def layer_cells(row: LayerRow, total: int, most: int, step: float, *, waiting: bool = False) -> TableRow:
    """A layer as a table row: its share of `total` multiply-adds, its bar against `most`."""
    share = (row.macs or 0) / total if total else None
    cells: TableRow = {
        "_key": str(row.index),
        "index": Cell(row.index + 1, role=Role.MUTED),
        "name": Cell("  " * min(row.depth, 8) + row.name[:400]),
        "op": Cell(row.op[:100], role=Role.MUTED),
        "shape": Cell(shape_words(row), role=Role.MUTED),
        "macs": Cell(row.macs, text=cost_words(row.macs, step), role=None if row.macs else Role.MUTED),
        "bar": (row.macs or 0) / most if most else 0.0,
        "share": Cell(share, text=f"{100 * share:.1f}" if share is not None and row.macs is not None else MISSING),
    }
    return {**cells, **dict.fromkeys(("shape", "macs", "share"), Cell(WAITING, role=Role.MUTED))} if waiting else cells


def shape_words(row: LayerRow) -> str:
    """The output's shape; one of very many dims is cut."""
    shape = row.output_shape
    return format_shape(shape) if shape is None or len(shape) <= 16 else f"{format_shape(shape[:16])}×…"


def cost_words(macs: int | None, step: float) -> str:
    """Multiply-adds in the table's unit."""
    return MISSING if macs is None else f"{macs / step:,.1f}" if macs else "0"


class WholeLayers(Sequence[TableRow]):
    """Table rows of layers that are all there, made when they are asked for."""

    def __init__(self, rows: Sequence[LayerRow], total_macs: int, most_macs: int, *, waiting: bool = False) -> None:
        self._rows, self._waiting = rows, waiting
        self._total, self._most = total_macs, most_macs
        self._step = mac_unit(most_macs)[0]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> TableRow:  # type: ignore[override]
        return layer_cells(self._rows[index], self._total, self._most, self._step, waiting=self._waiting)


class PagedLayers:
    """Table rows of a large graph in its own order; a row that is not there asks for its page."""

    def __init__(self, total: int, total_macs: int, ask: Callable[[], object]) -> None:
        self.total = total
        self.wanted: int | None = None
        """Number of the page that was asked for last and is not there."""
        self.inferred = False
        """Whether pages can be had with shapes by now."""
        self.waiting = True
        """Whether the shapes that pages came without are still to come."""
        self._bare: set[int] = set()
        self._ask = ask
        self._pages: OrderedDict[int, tuple[LayerRow, ...]] = OrderedDict()
        self.count(total_macs)

    def count(self, total_macs: int) -> None:
        """Take another total of multiply-adds."""
        self._macs, self._step = total_macs, mac_unit(total_macs)[0]

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> TableRow:
        row = self.row(index)
        if row is None:
            name = Cell("reading", role=Role.MUTED)
            return {"_key": str(index), "index": Cell(index + 1, role=Role.MUTED), "name": name}
        return layer_cells(row, self._macs, self._macs, self._step, waiting=self.waits(index))

    def waits(self, index: int) -> bool:
        """Whether the shapes of a row are still to come."""
        return self.waiting and index // PAGE in self._bare

    def place_of(self, key: object) -> int | None:
        """Where the row with this `_key` stands: keys are indices."""
        text = str(key)
        return int(text) if text.isascii() and text.isdigit() and int(text) < self.total else None

    def row(self, index: int) -> LayerRow | None:
        """A layer; None where it is not there. Its page is asked for then, or where it can be had with shapes."""
        number, at = divmod(index, PAGE)
        page = self._pages.get(number)
        if page is None or (self.inferred and number in self._bare):
            self.wanted = number
            self._ask()
        if page is None:
            return None
        self._pages.move_to_end(number)
        return page[at] if at < len(page) else None

    def put(self, page: LayerPage) -> None:
        """Keep a page; the one that was not looked at for longest goes."""
        number = page.offset // PAGE
        self._pages[number] = page.rows[:PAGE]
        self._pages.move_to_end(number)
        (self._bare.discard if page.shapes else self._bare.add)(number)
        if self.wanted == number:
            self.wanted = None
        while len(self._pages) > KEPT:
            self._bare.discard(self._pages.popitem(last=False)[0])
