"""What one run gave: a table of outputs, and the values of the one under the cursor."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from quickserveml_tui.charts.cells import Role, Row
from quickserveml_tui.core.predictions import Prediction
from quickserveml_tui.core.tensors import short_dtype
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import significant
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.inspector import Page
from quickserveml_tui.tui.screens.dialog import Dialog
from quickserveml_tui.tui.sheets.rows import paragraph
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.sheets.values import ValueWords, value_rows, values_text
from quickserveml_tui.tui.widgets.ink import key_row
from quickserveml_tui.tui.widgets.table_cells import Cell, CellLike, Column
from quickserveml_tui.tui.widgets.table_messages import RowHighlighted
from quickserveml_tui.tui.widgets.virtual_table import VirtualTable

COLUMNS = (
    Column("name", "output", kind="name", flex=1, min_width=12),
    Column("dtype", "dtype", width=9, drop=4),
    Column("shape", "shape", width=18, drop=1),
    Column("range", "range", width=18, align="right", drop=2),
    Column("odd", "not finite", width=14, align="right", drop=3),
)
TABLE_ROWS = 8
MAX_ABOUT = 4
LOW = 36
"""Rows of the screen below which the table takes half as many; the values need the rest."""
ROWS_AROUND = 14
"""Title, sentence, facts of an output, keys and the air between them."""


class OutputTable(VirtualTable, inherit_bindings=False):
    """The outputs, in the model's order."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding
        for binding in Binding.make_bindings(VirtualTable.BINDINGS)
        if binding.key not in {"s", "S", "space", "enter"}
    ]


class OutputsDialog(Dialog[str]):
    """Comes back with `save` or `record` where that was asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("s", "choose('save')", "save", "outputs.save_values", "Write the outputs to an NPZ or JSON file"),
        bind("n", "choose('record')", "golden", "outputs.record_golden", "Keep them as golden output of the version"),
        bind("y", "copy_outputs", "copy", "outputs.copy_table", "Copy the table of outputs"),
        bind("space", "page_values", "more values", "outputs.page_values", "Scroll the values by a page", show=False),
    ]

    def __init__(
        self, prediction: Prediction, words: tuple[ValueWords, ...], *, fed: str = "", why_not_record: str = ""
    ) -> None:
        took = f"{significant(prediction.latency_ms)} ms"
        super().__init__(f"Outputs of {prediction.ref.rpartition('/')[2]}", took)
        self.prediction = prediction
        self.words = words
        self.fed = fed
        """What it ran on, input by input."""
        self.why_not_record = why_not_record

    def compose_body(self) -> ComposeResult:
        """Where the inputs come from, the outputs, the values, the keys."""
        yield Sheet(lambda width, _: self._about(width), classes="dialog--part")
        yield OutputTable(COLUMNS, empty="The model has no outputs.", id="outputs")
        yield Page("values")
        yield Sheet(lambda _width, _: [self._keys("copy")], classes="dialog--keys")

    def _about(self, width: int) -> list[Row]:
        made = "on made-up inputs" if self.prediction.synthetic else "on the inputs of a file"
        count = plural(len(self.prediction.outputs), "output")
        with_what = f" with {self.prediction.runtime}" if self.prediction.runtime else ""
        fed = f": {self.fed}" if self.fed else ""
        return paragraph(f"{count}, one run{with_what} {made}{fed}.", width)[:MAX_ABOUT]

    def _keys(self, copy: str) -> Row:
        record = [] if self.why_not_record else [("n", "keep as golden")]
        return key_row([("jk", "output"), ("s", "save"), *record, ("y", copy), ("esc", "close")])

    def on_mount(self) -> None:
        """The first output has the cursor."""
        table = self.query_one(OutputTable)
        most_rows = TABLE_ROWS if self.size.height >= LOW else TABLE_ROWS // 2
        table_rows = min(max(len(self.words), 1), most_rows) + 2
        table.styles.height = table_rows
        most = max((len(words.preview) for words in self.words), default=0)
        self.query_one(".dialog").styles.height = table_rows + most + ROWS_AROUND
        table.set_rows([self._row(words) for words in self.words])
        table.focus()
        self._show(0)

    def _row(self, words: ValueWords) -> dict[str, CellLike]:
        return {
            "name": Cell(
                words.name or "unnamed", suffix=f" {glyphs_of(self).warn}" if words.odd else "", suffix_role=Role.WARN
            ),
            "dtype": Cell(short_dtype(safe_text(words.dtype, 60)), role=Role.MUTED),
            "shape": Cell(words.shape),
            "range": Cell(words.range, role=Role.MUTED),
            "odd": Cell(words.odd, role=Role.WARN),
        }

    @on(RowHighlighted)
    def show_values(self, event: RowHighlighted) -> None:
        """The values of the output under the cursor."""
        event.stop()
        self._show(event.index)

    def _show(self, index: int) -> None:
        if index < len(self.words):
            words, page = self.words[index], self.query_one(Page)
            page.sheet.show(lambda width, _: value_rows(words, width))
            page.scroll_home(animate=False)

    def action_page_values(self) -> None:
        """Scroll the values."""
        self.query_one(Page).scroll_page_down(animate=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A file is no version: nothing is recorded for it."""
        if action == "choose" and parameters[0] == "record" and self.why_not_record:
            return None
        return super().check_action(action, parameters)

    def reason_against(self, action: str) -> str:
        """Why nothing is kept; asked only where `check_action` refuses."""
        return self.why_not_record if action == "choose('record')" else ""

    def action_choose(self, what: str) -> None:
        """Close and go on."""
        if what != "record" or not self.why_not_record:
            self.dismiss(what)

    def action_copy_outputs(self) -> None:
        """Copy the table."""
        self.app.copy_to_clipboard(values_text(self.words))
        self.query_one(".dialog--keys", Sheet).show(lambda _width, _: [self._keys("copied")])
