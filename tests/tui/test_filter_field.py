from __future__ import annotations

from pathlib import Path

import pytest
from doubles import World, make_model, sample_world
from driving import stage

from quickserveml_tui.tui.panes.catalog_filter import CompletionList


@pytest.fixture
def world(tmp_path: Path) -> World:
    return sample_world(tmp_path)


def listing(on) -> CompletionList:
    return on.bench.query_one(CompletionList)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 45)])
async def test_completions_show_while_typing_and_tab_takes_one(world: World, size) -> None:
    async with stage(world, size) as on:
        await on.press("slash", "p")
        await on.shows("params", "the params", "p50_ms", "tab take")
        await on.press("tab")
        await on.until(lambda: on.bench.catalog_pane.filter_text == "params", "the completion")
        assert on.bench.focused.id == "filter"


async def test_down_goes_through_the_list_and_enter_takes_what_was_chosen(world: World) -> None:
    async with stage(world) as on:
        await on.press("slash", "p")
        await on.until(lambda: listing(on).open, "the list")
        await on.press("down", "enter")
        await on.until(lambda: on.bench.catalog_pane.filter_text == "p50_ms", "the completion")


async def test_esc_closes_the_list_first_then_empties_the_filter(world: World) -> None:
    async with stage(world) as on:
        await on.press("slash", "p")
        await on.until(lambda: listing(on).open, "the list")
        await on.press("escape")
        assert not listing(on).open
        assert on.bench.catalog_pane.filter_text == "p"
        await on.press("escape")
        assert on.bench.catalog_pane.filter_text == ""
        assert on.bench.catalog_pane.table.has_focus


async def test_tab_with_nothing_to_take_leaves_an_empty_field_only(world: World) -> None:
    async with stage(world) as on:
        await on.press("slash", "z")
        await on.settled()
        await on.press("tab", "D", "x")
        assert on.bench.focused.id == "filter", "the next letters would be commands"
        assert on.bench.catalog_pane.filter_text == "zDx"
        assert on.app.screen is on.bench
        await on.press("shift+tab")
        await on.until(lambda: on.bench.current == 4, "the pane before")
        await on.press("1", "slash", "escape", "slash", "tab")
        await on.until(lambda: on.bench.current == 2, "the next pane")
        await on.press("1", "slash", "down")
        await on.until(lambda: on.bench.catalog_pane.table.has_focus, "the table")


async def test_enter_does_not_leave_a_filter_that_cannot_be_read(world: World) -> None:
    async with stage(world) as on:
        await on.press("slash")
        await on.write("digits << 3")
        await on.shows("<< cannot be read.")
        await on.press("enter")
        assert on.bench.focused.id == "filter"
        await on.shows("<< cannot be read.")
        await on.press("backspace", "backspace", "backspace", "backspace", "enter")
        await on.until(lambda: on.bench.catalog_pane.table.has_focus, "the table, with the filter mended")
        await on.shows("1 of 3 models")
        assert "cannot be read" not in on.text()


async def test_enter_before_the_filter_was_read_comes_back_to_what_cannot_be_read(world: World) -> None:
    async with stage(world) as on:
        await on.press("slash")
        await on.write("digits << 3")
        await on.press("enter")
        await on.shows("<< cannot be read.")
        await on.until(lambda: on.bench.focused.id == "filter", "the field")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 45)])
async def test_a_filter_that_matches_nothing_says_how_to_see_all_again(world: World, size) -> None:
    async with stage(world, size) as on:
        await on.press("slash", *"zzz", "enter")
        await on.shows("No model matches the filter.", "esc clears it.")
        assert "d opens" not in on.text()
        await on.press("b")
        await on.shows("No model matches the filter; esc clears it.")
        assert "demo models" not in on.text()
        await on.press("escape")
        await on.shows("3 models")


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_filter_that_cannot_be_read_keeps_the_last_rows_and_points_at_the_column(world: World, size) -> None:
    async with stage(world, size) as on:
        await on.press("slash")
        await on.write("digits")
        await on.shows("1 of 3 models")
        await on.write(" << 3")
        await on.shows("<< cannot be read. Write one of")
        lines = on.text().splitlines()
        row = next(index for index, line in enumerate(lines) if "digits << 3" in line)
        assert lines[row + 1].index("^") == lines[row].index("<<")
        assert "digits @3" in on.text()
        world.put(make_model("digits-two", task="digits"))
        on.bench.reload_catalog()
        await on.shows("2 of 4 models", "<< cannot be read.")
        await on.press("escape", "escape")
        await on.shows("4 models")
        assert "cannot be read" not in on.text()


async def test_the_alias_column_takes_no_more_than_its_words(tmp_path: Path) -> None:
    name = "a-short-name"
    async with stage(World(make_model(name), home=tmp_path)) as on:
        await on.shows(name)
        on.world.put(make_model("other", aliases={"prod": 1}))
        on.bench.reload_catalog()
        await on.shows("prod", name)
