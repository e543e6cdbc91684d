from __future__ import annotations

from pathlib import Path

import pytest
from doubles import World, make_model, sample_world
from driving import stage

from quickserveml_tui.tui.screens.bulk import BulkDialog
from quickserveml_tui.tui.screens.dialog import ConfirmDialog, MessageDialog
from quickserveml_tui.tui.screens.forms import FormDialog
from quickserveml_tui.tui.screens.trash import TrashDialog


@pytest.fixture
def world(tmp_path: Path) -> World:
    return sample_world(tmp_path)


async def go_to(on, key: str) -> None:
    await on.until(lambda: on.bench.catalog_pane.table.move_to_key(key))
    await on.until(lambda: on.bench.catalog_pane.current.key == key, "the cursor")


async def delete(on, key: str) -> None:
    await go_to(on, key)
    await on.press("D")
    await on.until(lambda: isinstance(on.app.screen, ConfirmDialog), "the question")
    await on.press("y")
    await on.shows("deleted; u brings it back")


async def test_a_deletion_is_undone_by_one_key(world: World) -> None:
    async with stage(world) as on:
        await delete(on, "too-new")
        await on.shows("2 models")
        await on.press("u")
        await on.shows("too-new is back", "3 models")
        assert not world.trash
        await on.press("u")
        await on.shows("The trash is empty: nothing to bring back")


async def test_what_an_earlier_session_deleted_comes_back_after_asking(world: World) -> None:
    world.catalog.delete("x[/]y")
    world.catalog.delete("too-new")
    async with stage(world) as on:
        await on.press("u")
        await on.until(lambda: isinstance(on.app.screen, ConfirmDialog), "the question")
        await on.shows("Bring too-new back?", "It was deleted before this session, at 2024-05-01")
        assert on.app.screen.focused.name == "cancel"
        await on.press("escape")
        assert "too-new" not in world.models
        await on.press("u")
        await on.until(lambda: isinstance(on.app.screen, ConfirmDialog), "the question")
        await on.press("y")
        await on.shows("too-new is back")
        assert [entry.title for entry in world.trash] == ["x[/]y"]


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_version_that_a_protected_alias_points_at_offers_no_deletion(world: World, size) -> None:
    async with stage(world, size, open_ref="digits@2") as on:
        await on.press("D")
        await on.until(lambda: isinstance(on.app.screen, MessageDialog), "the reason")
        await on.shows("digits@2 stays", "The protected alias prod points at it", "first, or take it away: A.")
        assert "delete digits@2" not in on.text()
        await on.press("escape")
        assert not world.trash


async def test_deletions_are_undone_in_turn_the_last_one_first(world: World) -> None:
    async with stage(world) as on:
        await delete(on, "too-new")
        await on.shows("2 models")
        await delete(on, "x[/]y")
        await on.shows("1 model")
        await on.press("u")
        await on.until(lambda: "x[/]y" in world.models, "the last one")
        assert "too-new" not in world.models
        await on.press("u")
        await on.until(lambda: "too-new" in world.models, "the first one")


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_an_empty_trash_says_so(world: World, size) -> None:
    async with stage(world, size) as on:
        await on.press("U")
        await on.until(lambda: isinstance(on.app.screen, TrashDialog), "the trash")
        await on.shows("The trash is empty.")
        await on.press("enter", "D")
        assert isinstance(on.app.screen, TrashDialog)
        await on.press("escape")


async def test_the_trash_lists_restores_and_purges_after_asking(world: World) -> None:
    world.catalog.delete("too-new")
    world.catalog.delete("x[/]y")
    async with stage(world) as on:
        await on.press("U")
        await on.shows("2 entries", "x[/]y", "too-new", "model, 1 version", "102.5 kB")
        await on.press("enter")
        await on.shows("x[/]y is back", "2 models")
        await on.press("U")
        await on.shows("1 entry")
        await on.press("D")
        await on.until(lambda: isinstance(on.app.screen, ConfirmDialog), "the question")
        assert on.app.screen.focused.name == "cancel"
        await on.shows("Purge too-new?")
        await on.press("y")
        await on.shows("1 entry purged for good")
        assert not world.trash
        assert "too-new" not in world.models


async def test_a_name_that_is_taken_is_asked_for(world: World) -> None:
    world.catalog.delete("too-new")
    world.put(make_model("too-new"))
    async with stage(world) as on:
        await on.press("U")
        await on.shows("1 entry")
        await on.press("enter")
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
        await on.write("older")
        await on.press("enter")
        await on.until(lambda: "older" in world.models, "the model")


async def test_marks_are_counted_and_esc_takes_them_away(world: World) -> None:
    async with stage(world) as on:
        await on.press("space", "space")
        await on.shows("2 marked   3 models")
        await on.press("asterisk")
        await on.shows("3 marked")
        await on.press("escape")
        await on.until(lambda: not on.bench.catalog_pane.marks, "no marks")
        assert "marked" not in on.text()


async def test_tags_go_to_all_marked_after_a_preview(world: World) -> None:
    async with stage(world) as on:
        await on.press("asterisk", "T")
        await on.shows("Tags of 3 marked")
        await on.write("vision")
        await on.press("enter")
        await on.until(lambda: isinstance(on.app.screen, BulkDialog), "the preview")
        await on.shows("3 models: 2 change, 1 as they are.", "adds vision", "stays as it is")
        assert "vision" not in world.models["too-new"].tags
        await on.press("y")
        await on.until(lambda: "vision" in world.models["too-new"].tags, "the tag")
        await on.shows("2 changed")
        assert not on.bench.catalog_pane.marks
        assert [dry for _, _, dry in world.bulked] == [True, False]


async def test_categories_and_state_go_to_all_marked(world: World) -> None:
    async with stage(world) as on:
        await on.press("asterisk", "c")
        await on.shows("Categories of 3 marked")
        await on.write("vision/digits")
        await on.press("enter")
        await on.until(lambda: isinstance(on.app.screen, BulkDialog), "the preview")
        await on.press("y")
        await on.until(lambda: world.models["digits"].categories == ("vision/digits",), "the category")
        await on.until(lambda: on.app.screen is on.bench)
        await on.press("asterisk", "e", "right", "enter")
        await on.until(lambda: isinstance(on.app.screen, BulkDialog), "the preview")
        await on.shows("becomes validated")
        await on.press("y")
        await on.until(lambda: world.models["too-new"].versions[0].state.value == "validated", "the state")


async def test_refusals_come_first_and_a_bulk_deletion_is_undone_as_one(world: World) -> None:
    async with stage(world) as on:
        await on.press("asterisk", "D")
        await on.until(lambda: isinstance(on.app.screen, BulkDialog), "the preview")
        await on.shows("3 models: 2 change, 1 refused.", "The protected alias prod points at it.")
        assert on.app.screen.focused.name == "cancel"
        await on.press("y")
        await on.until(lambda: set(world.models) == {"digits"}, "the deletion")
        await on.shows("u brings them back")
        await on.press("u")
        await on.until(lambda: len(world.models) == 3, "all of them")


async def test_a_preview_that_changes_nothing_offers_nothing_to_confirm(world: World) -> None:
    async with stage(world) as on:
        await go_to(on, "digits")
        await on.press("space", "T")
        await on.write("vision")
        await on.press("enter")
        await on.until(lambda: isinstance(on.app.screen, BulkDialog), "the preview")
        await on.shows("Nothing to change")
        await on.press("y")
        assert isinstance(on.app.screen, BulkDialog)
        await on.press("escape")
