from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from doubles import World, make_model, make_version, sample_world
from driving import stage

from quickserveml_tui.core.care import HomeHealth, StoreProblem
from quickserveml_tui.core.models import AliasEvent, FileEntry, FileLink, Lineage
from quickserveml_tui.tui.screens.dialog import ConfirmDialog, MessageDialog
from quickserveml_tui.tui.screens.forms import FormDialog
from quickserveml_tui.tui.screens.report import ReportDialog

DAMAGED = HomeHealth(
    read_only=True,
    problems=(
        StoreProblem(
            "registry", "store.corrupt", "The registry is damaged.", "Restore it.", "quickserveml fsck --repair"
        ),
    ),
)
SIZES = [(80, 24), (120, 40), (160, 45)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return sample_world(tmp_path)


@pytest.mark.parametrize("size", SIZES)
async def test_a_damaged_home_shows_a_banner_and_what_writes_says_why(world: World, size) -> None:
    world.maintenance.state = DAMAGED
    async with stage(world, size, open_ref="digits") as on:
        await on.shows("read-only", "The registry is damaged.", "H says more")
        for key in ("a", "T", "D", "e", "r", "I"):
            await on.press(key)
            await on.shows("· The registry is damaged.")
            assert on.app.screen is on.bench, key
        await on.press("b")
        await on.shows("live")
        world.finish.set()


async def test_the_repair_command_is_copied_from_the_banners_dialog(world: World, monkeypatch) -> None:
    world.maintenance.state = DAMAGED
    async with stage(world) as on:
        await on.shows("The registry is damaged.")
        await on.press("H")
        await on.until(lambda: isinstance(on.app.screen, MessageDialog), "the dialog")
        await on.shows("quickserveml fsck --repair", "Restore it.")
        copied: list[str] = []
        monkeypatch.setattr(on.app, "copy_to_clipboard", copied.append)
        await on.press("y")
        assert copied == ["quickserveml fsck --repair"]


async def test_a_problem_that_leaves_the_home_writable_warns_and_greys_nothing(world: World) -> None:
    world.maintenance.state = replace(DAMAGED, read_only=False)
    async with stage(world) as on:
        await on.shows("The registry is damaged.")
        await on.press("a")
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")


@pytest.mark.parametrize("size", SIZES)
async def test_read_only_by_choice_is_said_at_every_size(world: World, size) -> None:
    world.maintenance.state = HomeHealth(
        read_only=True, problems=(StoreProblem("home", "store.read_only", "The home is opened read-only."),)
    )
    async with stage(world, size, read_only=True) as on:
        await on.shows("read-only")
        assert on.text().count("read-only") <= 2
        await on.press("d")
        await on.shows("The home is opened read-only")


async def test_details_show_categories_notes_lineage_links_and_alias_moves(tmp_path: Path) -> None:
    link = FileLink("/models/net.onnx", 1)
    version = make_version(2, notes="Better on small images.", lineage=Lineage("run-17", "tf2onnx 1.16", "net@1"))
    version = replace(version, artifact=replace(version.artifact, files=(FileEntry("net.onnx", "0" * 64, 5, link),)))
    moves = tuple(AliasEvent("prod", number, number - 1, "2024-05-01T10:00:00.000Z") for number in (1, 2, 3, 4, 5))
    model = make_model(
        "net", 1, categories=("vision/digits",), aliases={"prod": 2, "canary": 2, "free": 1}, protected=("canary",),
        alias_history=moves,
    )  # fmt: skip
    world = World(replace(model, versions=(*model.versions, version)), home=tmp_path)
    async with stage(world) as on:
        await on.shows("vision/digits", "Better on small images.", "run-17", "tf2onnx 1.16", "net@1")
        await on.shows("in place, not copied: /models/net.onnx", "canary @2 (protected)", "prod @4 › @5")
        assert "prod @1" not in on.text(), "the last three moves"


async def test_details_are_edited_in_one_form(world: World) -> None:
    async with stage(world, (80, 24), open_ref="digits") as on:
        await on.press("e")
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
        await on.shows("converted by", "enter save")
        await on.press("down")
        await on.write("vision/digits")
        await on.press("down", "down")
        await on.write("run-17")
        await on.press("enter")
        await on.until(lambda: world.models["digits"].categories == ("vision/digits",), "the category")
        assert world.patches[-1].made_from == "run-17"


async def test_an_alias_is_protected_from_its_form_and_taken_away_only_after_asking(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("A")
        await on.write("canary")
        await on.press("down", "right", "enter")
        await on.until(lambda: world.models["digits"].protected == ("canary",), "the protection")
        await on.until(lambda: on.app.screen is on.bench)
        await on.until(lambda: "canary" in on.bench.selected.view.model.protected, "the new record")
        await on.press("A")
        await on.write("-canary")
        await on.press("enter")
        await on.until(lambda: isinstance(on.app.screen, ConfirmDialog), "the question")
        await on.press("y")
        await on.until(lambda: "canary" not in world.models["digits"].aliases, "the removal")


async def test_a_version_is_exported_and_a_file_that_is_there_is_overwritten_only_after_asking(
    world: World, tmp_path: Path
) -> None:
    target = tmp_path / "digits.qsml"
    async with stage(world, open_ref="digits") as on:
        for round_ in (1, 2):
            await on.press("E")
            await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
            await on.write(str(target))
            await on.press("enter")
            if round_ == 2:
                await on.until(lambda: isinstance(on.app.screen, ConfirmDialog), "the question")
                target.write_text("old")
                await on.press("y")
            await on.until(lambda: target.exists() and target.read_bytes() == b"bundle of digits@3", "the bundle")
            await on.until(lambda: not on.bench.lane.busy, "the end")


async def test_a_bundle_is_imported(world: World, tmp_path: Path) -> None:
    bundle = tmp_path / "one.qsml"
    bundle.write_bytes(b"bundle of digits@3")
    async with stage(world) as on:
        await on.press("I")
        await on.write(str(bundle))
        await on.press("enter")
        await on.shows("made imported@1")
        await on.until(lambda: on.bench.ref == "imported@1", "the cursor")


async def test_a_backup_goes_to_the_folder_that_is_named_and_remembered(world: World, tmp_path: Path) -> None:
    async with stage(world) as on:
        await on.press("K")
        await on.write(str(tmp_path / "backups"))
        await on.press("enter")
        await on.shows("made generation")
        assert world.backups.made == [str(tmp_path / "backups")]
        assert on.bench.memory.backup_folder == str(tmp_path / "backups")


async def test_a_collection_shows_its_dry_run_before_it_removes_anything(world: World) -> None:
    async with stage(world) as on:
        await on.press("C")
        await on.until(lambda: isinstance(on.app.screen, ConfirmDialog), "the question")
        await on.shows("Would remove 3 files with 4.00 MB that nothing needs.", "9 files with 80.00 MB stay")
        assert world.maintenance.collected == [True]
        await on.press("y")
        await on.shows("removed 3 files")
        assert world.maintenance.collected == [True, False]


@pytest.mark.parametrize("size", SIZES)
async def test_what_a_check_found_is_shown_as_text(world: World, size) -> None:
    async with stage(world, size) as on:
        await on.press("F")
        await on.shows("Check the home")
        await on.press("enter")
        await on.until(lambda: isinstance(on.app.screen, ReportDialog), "the report")
        await on.shows("Something is wrong", "digits@1", "blob.missing", "A blob is missing. Restore it.")


async def test_the_palette_holds_the_care_of_the_home(world: World) -> None:
    async with stage(world, (160, 60)) as on:
        await on.press("ctrl+p")
        await on.write("home")
        await on.shows("Home: back up", "Home: collect garbage", "Home: check stores", "Home: show health")
