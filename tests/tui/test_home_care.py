from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from doubles import World, make_model, make_version, sample_world
from driving import stage

from quickserveml_tui.core.care import HomeHealth, StoreProblem
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.models import AliasEvent, FileEntry, FileLink, Lineage
from quickserveml_tui.tui.screens.dialog import ConfirmDialog, MessageDialog
from quickserveml_tui.tui.screens.forms import FormDialog
from quickserveml_tui.tui.screens.report import ReportDialog
from quickserveml_tui.tui.widgets.status import StatusLine

DAMAGED = HomeHealth(
    read_only=True,
    problems=(
        StoreProblem(
            "registry", "store.corrupt", "The registry is damaged.", "Restore it.", "quickserveml fsck --repair"
        ),
    ),
)
SIZES = [(80, 24), (120, 40), (160, 45)]


def status_of(on) -> str:
    return "".join(span.text for span in on.bench.query_one(StatusLine)._right)


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


@pytest.mark.parametrize("size", SIZES)
async def test_a_damaged_state_database_warns_and_greys_only_what_it_records(world: World, size) -> None:
    problem = StoreProblem(
        "state", "store.corrupt", "The state database is damaged.", "It can be mended.", "quickserveml fsck --repair"
    )
    world.maintenance.state = HomeHealth(problems=(problem,))

    def fail(*_: object, **__: object) -> None:
        raise StoreError("The state database is damaged.")

    world.benchmark.history = fail
    async with stage(world, size, open_ref="digits") as on:
        await on.settled()
        assert status_of(on) == "", "the banner says it already"
        await on.shows("The state database is damaged.", "H says more")
        assert "read-only" not in on.text()
        for key in ("b", "r"):
            on.bench.tell("nothing")
            await on.press(key)
            await on.until(lambda: "quickserveml fsck --repair" in status_of(on), "the way out")
            assert on.app.screen is on.bench
            assert not world.jobs.list()
        await on.press("T")
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "what works")


@pytest.mark.parametrize("size", SIZES)
async def test_a_catalog_that_cannot_be_read_says_why_and_offers_no_demo(world: World, size) -> None:
    def fail(_query: object = None) -> None:
        raise StoreError("The registry is damaged.", hint="`quickserveml fsck --repair` mends it.")

    whole, world.catalog.list_models = world.catalog.list_models, fail
    world.home_to_name = "/data/other"
    async with stage(world, size, unread=True) as on:
        await on.until(lambda: "The registry is damaged." in on.text(), "the reason")
        await on.until(lambda: "/data/other" in on.text(), "the command")
        await on.press("b")
        await on.press("d")
        assert not on.bench.lane.busy
        assert "demo models" not in on.text()
        assert "d opens" not in on.text()
        world.catalog.list_models = whole
        await on.press("ctrl+r")
        await on.shows("3 models")


async def test_commands_name_a_home_that_is_not_the_default_one(world: World, monkeypatch) -> None:
    world.maintenance.state = DAMAGED
    world.home_to_name = "/data/my models"
    named = "quickserveml --home '/data/my models'"
    async with stage(world, open_ref="digits") as on:
        await on.shows("The registry is damaged.")
        await on.press("H")
        await on.until(lambda: isinstance(on.app.screen, MessageDialog), "the dialog")
        await on.shows(f"{named} fsck --repair")
        copied: list[str] = []
        monkeypatch.setattr(on.app, "copy_to_clipboard", copied.append)
        await on.press("y", "escape")
        assert copied == [f"{named} fsck --repair"]
        toasts: list[str] = []
        monkeypatch.setattr(on.app, "toast", toasts.append)
        on.bench.tell_error(StoreError("It failed.", hint="Its log: quickserveml job logs j1"))
        assert toasts == [f"It failed.\nIts log: {named} job logs j1"]
        await on.press("K")
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
        assert f"{named} restore-backup" in on.app.screen.at_home(on.app.screen.about)


async def test_copied_commands_name_the_home(world: World, monkeypatch) -> None:
    from quickserveml_tui.tui import clipboard

    monkeypatch.setattr(clipboard, "copy_with_tool", lambda _text: "")
    world.home_to_name = "/data/other"
    async with stage(world, open_ref="digits") as on:
        copied: list[str] = []
        monkeypatch.setattr(on.app, "copy_to_clipboard", copied.append)
        await on.press("3", "y")
        await on.until(lambda: bool(copied), "the command")
        assert copied[0].startswith("quickserveml --home /data/other benchmark digits@3")
