from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App

from quickserveml_tui.charts.cells import Charset
from quickserveml_tui.core.text import cell_width
from quickserveml_tui.tui.themes import ThemeSupport
from quickserveml_tui.tui.widgets.table_cells import Cell, Column, cell_spans, fit_columns
from quickserveml_tui.tui.widgets.table_order import RowOrder
from quickserveml_tui.tui.widgets.virtual_table import VirtualTable

COLUMNS = [
    Column("name", "model", kind="name", min_width=8),
    Column("op", "op", width=6, drop=2),
    Column("ms", "p50 ms", kind="number", align="decimal", width=8),
    Column("bar", "", kind="bar", width=6, drop=4),
    Column("state", "state", kind="state", width=10, drop=5),
]
ROWS = [
    {
        "_key": "a",
        "name": Cell("alpha", suffix=" @3"),
        "op": "Conv",
        "ms": 21.8,
        "bar": 1.0,
        "state": Cell("ready", "✓ ready", short="✓"),
    },
    {"_key": "b", "name": "x[/]y\x1b[31m", "op": "Add", "ms": None, "bar": None, "state": "held"},
    {"_key": "c", "name": "gamma", "op": "Gemm", "ms": 0.041, "bar": 0.1, "state": "ready"},
    {"_key": "d", "name": "delta", "op": "Relu", "ms": 4.16, "bar": 0.4, "state": "ready"},
]


class Tabled(ThemeSupport, App):
    def __init__(self, table, **options):
        super().__init__(**options)
        self.table = table
        self.messages = []

    def compose(self):
        yield self.table

    def on_virtual_table_row_highlighted(self, event):
        self.messages.append(("at", event.row.get("_key", event.index)))

    def on_virtual_table_row_selected(self, event):
        self.messages.append(("open", event.row["_key"]))

    def on_virtual_table_marks_changed(self, event):
        self.messages.append(("marks", event.count))

    def on_virtual_table_sort_changed(self, event):
        self.messages.append(("sort", event.key, event.descending))

    @property
    def lines(self) -> list[str]:
        return [strip.text for strip in self.screen._compositor.render_strips()]


async def started(pilot, table, rows=ROWS):
    table.set_rows(rows)
    table.focus()
    await pilot.pause()


async def test_the_points_of_decimal_numbers_stand_below_each_other():
    app = Tabled(VirtualTable(COLUMNS))
    async with app.run_test(size=(60, 12)) as pilot:
        await started(pilot, app.table)
        lines = [line for line in app.lines if "." in line]
        assert len({line.index(".") for line in lines}) == 1


async def test_the_cursor_moves_by_arrows_letters_and_jumps():
    app = Tabled(VirtualTable(COLUMNS))
    async with app.run_test(size=(60, 12)) as pilot:
        await started(pilot, app.table)
        for keys, key in (
            ("j j", "c"),
            ("k", "b"),
            ("G", "d"),
            ("g g", "a"),
            ("end", "d"),
            ("home", "a"),
            ("ctrl+d", "d"),
            ("pageup", "a"),
        ):
            await pilot.press(*keys.split())
            assert app.table.cursor_key == key, keys


async def test_one_g_alone_does_not_move():
    app = Tabled(VirtualTable(COLUMNS))
    async with app.run_test(size=(60, 12)) as pilot:
        await started(pilot, app.table)
        await pilot.press("G", "g", "k")
        assert app.table.cursor_key == "c"


async def test_enter_opens_space_marks_and_goes_on():
    app = Tabled(VirtualTable(COLUMNS))
    async with app.run_test(size=(60, 12)) as pilot:
        await started(pilot, app.table)
        await pilot.press("space", "enter")
        await pilot.pause()
        assert app.table.marked == {"a"}
        assert ("marks", 1) in app.messages
        assert ("open", "b") in app.messages


async def test_rows_sort_by_key_and_by_click_on_the_header_with_missing_values_last():
    app = Tabled(VirtualTable(COLUMNS))
    async with app.run_test(size=(60, 12)) as pilot:
        await started(pilot, app.table)
        app.table.sort_by("ms", descending=True)
        assert [row[0].split()[0] for row in app.table.as_table()[1]] == ["alpha", "delta", "gamma", "x[/]y[31m"]
        assert app.table.sort_note == "by p50 ms ▼"
        await pilot.press("S")
        assert [row[0] for row in app.table.as_table()[1]][-1] == "x[/]y[31m"
        await pilot.click(VirtualTable, offset=(3, 0))
        await pilot.pause()
        assert app.messages[-1][:2] in (("sort", "name"), ("at", "a"))
        assert app.table.sort_key == "name"


async def test_the_cursor_stays_on_its_row_when_rows_are_replaced_filtered_and_sorted():
    app = Tabled(VirtualTable(COLUMNS))
    async with app.run_test(size=(60, 12)) as pilot:
        await started(pilot, app.table)
        app.table.move_to_key("c")
        app.table.set_rows([{"_key": "new", "name": "first"}, *ROWS])
        assert app.table.cursor_key == "c"
        app.table.sort_by("name")
        assert app.table.cursor_key == "c"
        app.table.set_filter(lambda row: row["_key"] in ("c", "d"))
        assert app.table.cursor_key == "c"
        assert app.table.row_count == 2
        app.table.set_filter(lambda row: False)
        await pilot.pause()
        assert any("No row matches the filter." in line for line in app.lines)
        assert app.table.cursor_row is None


async def test_markup_and_escapes_in_cells_are_text():
    app = Tabled(VirtualTable(COLUMNS))
    async with app.run_test(size=(60, 12)) as pilot:
        await started(pilot, app.table)
        text = "\n".join(app.lines)
        assert "x[/]y" in text
        assert "\x1b" not in text


async def test_groups_are_headings_that_the_cursor_passes_over():
    rows = [{"_group": "Vision"}, ROWS[0], ROWS[1], {"_group": "Language"}, ROWS[2], {"_group": "Empty"}]
    app = Tabled(VirtualTable(COLUMNS))
    async with app.run_test(size=(60, 14)) as pilot:
        await started(pilot, app.table, rows)
        assert app.table.cursor_key == "a"
        await pilot.press("j", "j")
        assert app.table.cursor_key == "c"
        assert app.table.row_count == 3
        text = "\n".join(app.lines)
        assert "Vision" in text
        assert "Empty" not in text


class Endless:
    """A million rows that exist only while somebody looks."""

    def __init__(self) -> None:
        self.asked = 0

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int):
        self.asked += 1
        return {"name": f"layer{index}", "op": "Conv", "ms": index / 7, "bar": 0.5, "state": "ok"}


async def test_a_million_rows_ask_only_for_those_on_the_screen():
    source = Endless()
    app = Tabled(VirtualTable(COLUMNS))
    async with app.run_test(size=(80, 24)) as pilot:
        await started(pilot, app.table, source)
        await pilot.press("G")
        await pilot.pause()
        assert any("layer999999" in line for line in app.lines)
        assert source.asked < 2_000


async def test_an_empty_table_says_why():
    app = Tabled(VirtualTable(COLUMNS, empty="No models yet: press a."))
    async with app.run_test(size=(60, 8)) as pilot:
        await started(pilot, app.table, [])
        await pilot.press("j", "enter", "space", "G")
        assert any("No models yet: press a." in line for line in app.lines)
        assert not [message for message in app.messages if message[0] != "sort"]


@pytest.mark.parametrize(
    ("width", "kept", "shrunk"),
    [
        (80, "name op ms bar state", ""),
        (46, "name op ms bar state", ""),
        (45, "name op ms bar state", "state"),
        (36, "name op ms bar", ""),
        (33, "name op ms", ""),
        (25, "name ms", ""),
        (6, "name ms", ""),
    ],
)
def test_columns_leave_in_their_order_and_name_and_cost_stay(width, kept, shrunk):
    fitted = fit_columns(COLUMNS, width)
    assert [one.column.key for one in fitted] == kept.split()
    assert [one.column.key for one in fitted if one.shrunk] == shrunk.split()


def test_a_state_shrinks_to_its_sign_before_it_leaves():
    state = next(one for one in fit_columns(COLUMNS, 40) if one.column.key == "state")
    assert state.shrunk
    spans = cell_spans(state, ROWS[0]["state"], current=False, sorted_by=False, charset=Charset.BRAILLE)
    assert "".join(span.text for span in spans) == "✓"


@given(
    value=st.one_of(st.none(), st.text(), st.floats(), st.integers(-(10**20), 10**20)),
    width=st.integers(1, 40),
    kind=st.sampled_from(["text", "name", "number", "bar", "state"]),
    align=st.sampled_from([None, "left", "right", "decimal"]),
    current=st.booleans(),
)
def test_a_cell_of_anything_has_the_width_of_its_column(value, width, kind, align, current):
    fitted = fit_columns([Column("c", "title", width=width, kind=kind, align=align)], width)[0]
    spans = cell_spans(fitted, value, current=current, sorted_by=False, charset=Charset.BRAILLE)
    taken = sum(cell_width(span.text) for span in spans)
    assert taken == width or (align == "decimal" and taken <= max(width, 4))


@given(st.lists(st.one_of(st.none(), st.floats(), st.text(max_size=3)), max_size=30), st.booleans())
def test_sorting_keeps_every_row_once(values, descending):
    order = RowOrder([{"v": value} for value in values], sort_key="v", descending=descending)
    order.rebuild()
    assert sorted(order.row_index(line) for line in range(order.height)) == list(range(len(values)))
