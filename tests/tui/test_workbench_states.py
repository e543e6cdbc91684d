from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from doubles import World, make_layers, make_model, make_run, sample_world
from driving import stage

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.tui.screens.actions import Help, Palette
from quickserveml_tui.tui.screens.dialog import ConfirmDialog, MessageDialog
from quickserveml_tui.tui.screens.forms import FormDialog
from quickserveml_tui.tui.screens.quit import QuitDialog
from quickserveml_tui.tui.screens.scan import ScanDialog

SIZES = [(80, 24), (100, 30), (220, 60)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return sample_world(tmp_path)


@pytest.mark.parametrize("size", SIZES)
async def test_an_empty_registry_offers_three_live_choices(tmp_path: Path, size) -> None:
    async with stage(World(home=tmp_path), size) as on:
        await on.shows("Start with a model", "Open the demo models", "Add a model file", "Scan a folder", "Registry")


async def test_the_first_chart_is_two_keys_away(tmp_path: Path) -> None:
    async with stage(World(home=tmp_path), (80, 24)) as on:
        await on.press("d")
        await on.until(lambda: on.bench.selected is not None, "the demo")
        await on.press("b")
        await on.shows("live", "µs p50" if on.world.p50 < 0.1 else "ms p50", "60 runs")
        assert on.world.benchmarked[0][0] == "digits@3"


@pytest.mark.parametrize("count", [1, 2, 40])
async def test_any_number_of_models_is_listed_and_counted(tmp_path: Path, count: int) -> None:
    models = [make_model(f"model-{index:02}") for index in range(count)]
    async with stage(World(*models, home=tmp_path)) as on:
        await on.shows("model-00", "1 model" if count == 1 else f"{count} models")


async def test_names_that_look_like_markup_are_shown_as_they_are(world: World) -> None:
    async with stage(world) as on:
        await on.shows("x[/]y @1")
        await on.until(lambda: on.bench.catalog_pane.table.move_to_key("x[/]y"))
        await on.shows("[@click=app.quit]odd[/]")


async def test_a_model_without_layers_without_inputs_and_without_runs_is_shown(tmp_path: Path) -> None:
    model = make_model("bare", task="")
    bare = replace(model.versions[0].facts, inputs=(), outputs=(), nodes=0, params=0, macs=None, op_types={},
                   weight_dtypes={}, opsets={}, metadata={}, size_bytes=0)  # fmt: skip
    world = World(replace(model, versions=(replace(model.versions[0], facts=bare),)), home=tmp_path)
    world.layers = ()
    async with stage(world) as on:
        await on.shows("bare@1", "0 nodes", "No run of bare@1 yet")
        await on.press("2", "right_square_bracket")
        await on.until(lambda: on.bench.inspector_pane.layer_view.loaded, "the layers")


async def test_versions_unfold_below_their_model_and_fill_the_inspector(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("enter")
        await on.shows("@2", "@1", "prod")
        await on.press("j")
        await on.until(lambda: on.bench.ref == "digits@2", "the second version")
        await on.shows("digits@2")
        await on.press("h")
        await on.until(lambda: on.bench.ref == "digits@3", "the fold")


async def test_the_filter_narrows_as_one_types_and_esc_restores(world: World) -> None:
    async with stage(world) as on:
        await on.press("slash")
        await on.write("digi")
        await on.shows("1 of 3 models")
        await on.write("zzz")
        await on.shows("No model matches the filter.")
        await on.press("escape")
        await on.shows("3 models")
        assert on.bench.catalog_pane.table.has_focus


async def test_letters_typed_into_a_field_run_no_action(world: World) -> None:
    async with stage(world) as on:
        await on.press("slash", *"bdqx")
        await on.settled()
        assert not on.world.benchmarked
        assert on.bench.catalog_pane.filter_text == "bdqx"


async def test_sorting_cycles_and_reverses_and_says_so(world: World) -> None:
    async with stage(world) as on:
        await on.press("s")
        await on.shows("by p50 ▲")
        await on.press("i")
        await on.shows("by p50 ▼")
        assert on.bench.memory.catalog_sort == "-p50"


async def test_a_disabled_key_says_why(tmp_path: Path) -> None:
    async with stage(World(home=tmp_path)) as on:
        await on.press("b")
        await on.shows("No model is picked.")
        await on.press("x")
        await on.shows("Nothing runs.")


async def test_an_unrunnable_version_says_why_and_is_not_measured(world: World) -> None:
    async with stage(world, open_ref="too-new") as on:
        await on.shows("cannot run", "Opset 99 is newer")
        await on.press("b")
        await on.settled()
        assert not on.world.benchmarked


async def test_a_benchmark_runs_ends_and_is_kept_with_its_command(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("live", "60 runs", "needs 72 runs")
        world.finish.set()
        await on.shows("500 runs", "steady", "p50 2.00 ms over 500 runs")
        assert on.bench.benchmark_pane.command == "quickserveml benchmark digits@3 --duration 10s"


async def test_a_cancelled_benchmark_keeps_its_partial_result(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("60 runs")
        await on.press("x")
        await on.shows("partial", "120 runs")


async def test_a_batch_waits_while_something_is_measured(world: World, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("a,label\n1,0\n")
    world.data["digits"] = data
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("60 runs")
        await on.press("r", "enter")
        await on.shows("held", "1 running   1 waiting")
        world.finish.set()
        await on.shows("180 of 360 rows")
        world.finish_batch.set()
        await on.shows("97.5 % of 360 rows right, 3 set apart")


async def test_settings_are_checked_and_used(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("B")
        await on.shows("Benchmark settings")
        await on.press("ctrl+u", "x", "enter")
        await on.shows("is not a duration")
        await on.press("ctrl+u")
        await on.write("2s")
        await on.press("enter")
        await on.until(lambda: bool(world.benchmarked), "the run")
        assert world.benchmarked[0][1].duration_s == 2.0


async def test_layers_are_filtered_and_sorted(world: World) -> None:
    world.layers = make_layers(1_000)
    async with stage(world, open_ref="digits") as on:
        await on.press("2", "right_square_bracket")
        await on.shows("1,000 nodes", "layer4", "by MACs ▼")
        await on.press("i")
        await on.shows("by MACs ▲", "layer0")
        assert on.bench.memory.layer_sort == "macs"
        await on.press("slash")
        await on.write("layer99")
        await on.shows("11 of 1,000 nodes")


async def test_a_late_answer_about_another_selection_is_dropped(world: World) -> None:
    from quickserveml_tui.tui.messages import FactsLoaded

    async with stage(world, open_ref="digits") as on:
        late = FactsLoaded(on.bench.sequence - 1, "too-new@1", ())
        on.bench.post_message(late)
        await on.settled()
        assert on.bench.inspector_pane.shown.ref == "digits@3"


@pytest.mark.parametrize(("size", "visible"), [((80, 24), 1), ((120, 40), 3), ((160, 45), 4)])
async def test_breakpoints_decide_how_many_panes_are_seen(world: World, size, visible: int) -> None:
    async with stage(world, size) as on:
        assert sum(pane.region.area > 0 for pane in on.bench.panes) == visible


@pytest.mark.parametrize("size", SIZES)
async def test_number_keys_reach_every_pane_and_the_focus_follows(world: World, size) -> None:
    async with stage(world, size, open_ref="digits") as on:
        for key in "2341":
            await on.press(key)
            pane = on.bench.panes[int(key) - 1]
            await on.until(lambda pane=pane: pane.focus_inside and pane.region.area > 0, f"pane {key}")


async def test_maximise_gives_one_pane_the_room_and_esc_gives_it_back(world: World) -> None:
    async with stage(world) as on:
        await on.press("2", "z")
        await on.until(lambda: on.bench.inspector_pane.region.width > 150, "the room")
        await on.press("escape")
        await on.until(lambda: on.bench.catalog_pane.region.area > 0, "the catalog")
        assert on.app.is_running


async def test_a_screen_that_is_too_small_says_which_size_is_needed(world: World) -> None:
    async with stage(world, (50, 12)) as on:
        await on.shows("60 × 16")


async def test_q_asks_only_while_jobs_run(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("60 runs")
        await on.press("q")
        await on.until(lambda: isinstance(on.app.screen, QuitDialog), "the question")
        await on.press("s")
        await on.until(lambda: on.app.screen is on.bench, "the way back")
        await on.press("x")
        await on.until(lambda: not on.bench.lane.busy, "the end")
        await on.press("q")
        await on.until(lambda: on.app.return_value == 0, "the exit")


async def test_ctrl_c_cancels_the_job_first(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("60 runs")
        await on.press("ctrl+c")
        await on.shows("partial")
        assert on.app.return_value is None


async def test_esc_never_quits(world: World) -> None:
    async with stage(world) as on:
        await on.press("escape", "escape", "escape")
        await on.settled()
        assert on.app.return_value is None


async def test_deleting_asks_with_the_focus_on_cancel_and_ignores_an_early_enter(world: World) -> None:
    async with stage(world, open_ref="x[/]y") as on:
        await on.until(lambda: on.bench.catalog_pane.table.move_to_key("x[/]y"))
        await on.until(lambda: on.bench.ref == "x[/]y@1", "the cursor")
        await on.press("D")
        await on.until(lambda: isinstance(on.app.screen, ConfirmDialog), "the question")
        assert on.app.screen.focused.name == "cancel"
        await on.press("D")
        assert isinstance(on.app.screen, ConfirmDialog), "the trigger is not the confirm key"
        await on.press("y")
        await on.until(lambda: "x[/]y" not in world.models, "the deletion")
        await on.shows("x[/]y@1 deleted; u brings it back", "2 models")


async def test_tags_aliases_and_state_are_edited(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("T")
        await on.write(" fast")
        await on.press("enter")
        await on.until(lambda: "fast" in world.models["digits"].tags, "the tag")
        await on.until(lambda: on.app.screen is on.bench)
        await on.press("A")
        await on.write("canary")
        await on.press("enter")
        await on.until(lambda: world.models["digits"].aliases.get("canary") == 3, "the alias")
        await on.until(lambda: on.app.screen is on.bench)
        await on.press("e", "right")
        await on.press("enter")
        await on.until(lambda: world.models["digits"].versions[2].state.value == "validated", "the state")
        await on.shows("validated")


async def test_a_bad_path_is_refused_beside_its_job_and_the_app_goes_on(world: World, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    async with stage(world) as on:
        await on.press("a")
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
        await on.write(str(tmp_path / "notes.txt"))
        await on.press("enter")
        await on.shows("notes.txt is not an ONNX model.")
        assert on.app.is_running


async def test_a_path_to_nothing_is_refused_in_the_form_and_nothing_typed_is_lost(world: World, tmp_path: Path) -> None:
    async with stage(world) as on:
        await on.press("a")
        await on.write(str(tmp_path / "gone.onnx"))
        await on.press("enter")
        await on.shows("There is no file")
        assert on.app.screen.values["path"] == str(tmp_path / "gone.onnx")
        await on.press("escape")
        await on.press("S")
        await on.write(str(tmp_path / "nowhere"))  # replaces the folder that was filled in
        await on.press("enter")
        await on.shows("There is no folder")
        assert on.app.screen.values["folder"] == str(tmp_path / "nowhere")


async def test_several_dropped_files_are_listed_to_choose_from(world: World, tmp_path: Path) -> None:
    from textual import events

    files = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for file in files:
        file.write_bytes(b"x")
    async with stage(world) as on:
        on.bench.post_message(events.Paste("\n".join(map(str, files))))
        await on.until(lambda: isinstance(on.app.screen, ScanDialog), "the list")
        await on.shows("2 model files found", "one.onnx", "two.onnx")
        assert "one" not in world.models


async def test_the_demo_joins_models_of_ones_own_only_when_asked_to(world: World) -> None:
    async with stage(world) as on:
        before = set(world.models)
        await on.press("d")
        await on.until(lambda: isinstance(on.app.screen, ConfirmDialog), "the question")
        await on.press("escape")
        assert set(world.models) == before


async def test_settings_of_one_model_are_not_those_of_another(tmp_path: Path) -> None:
    world = World(make_model("one"), make_model("two"), home=tmp_path)
    async with stage(world) as on:
        await on.until(lambda: on.bench.ref == "one@1", "the first model")
        await on.press("B")
        await on.shows("Benchmark settings")
        await on.press("ctrl+u")
        await on.write("2s")
        await on.press("down", "down")
        await on.press("ctrl+u")
        await on.write("4")
        await on.press("enter")
        await on.until(lambda: len(world.benchmarked) == 1, "the run")
        world.finish.set()
        await on.until(lambda: not on.bench.lane.busy, "its end")
        await on.press("1", "j")
        await on.until(lambda: on.bench.ref == "two@1", "the second model")
        await on.press("b")
        await on.until(lambda: len(world.benchmarked) == 2, "the other run")
    first, second = (spec for _, spec in world.benchmarked)
    assert (first.intra_op_threads, first.duration_s) == (4, 2.0)
    assert (second.intra_op_threads, second.duration_s) == (1, 2.0)


async def test_esc_in_the_table_empties_the_filter(world: World) -> None:
    async with stage(world) as on:
        await on.press("slash", *"digits", "enter")
        await on.until(lambda: on.bench.focused is on.bench.catalog_pane.table, "the table")
        await on.press("escape")
        await on.until(lambda: on.bench.catalog_pane.filter_text == "", "no filter")


async def test_a_finished_run_shows_the_figures_of_the_whole_run(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        world.finish.set()
        await on.until(lambda: on.bench.benchmark_pane.run is not None, "the result")
        summary = on.bench.benchmark_pane.run.summary
        await on.shows(f"{summary.throughput_per_s:,.0f} /s")


async def test_a_dropped_file_opens_the_form_with_its_path(world: World, tmp_path: Path) -> None:
    from textual import events

    model = tmp_path / "My model.onnx"
    model.write_bytes(b"x")
    async with stage(world) as on:
        on.bench.post_message(events.Paste(f"'{model}'"))
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
        assert on.app.screen.values["path"] == str(model)
        await on.press("enter")
        await on.until(lambda: "my-model" in world.models, "the model")
        await on.until(lambda: on.bench.ref == "my-model@1", "the cursor")


async def test_a_scan_lists_files_and_copies_only_what_is_chosen(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("one.onnx", "two.onnx", "three.onnx"):
        (folder / name).write_bytes(b"x")
    async with stage(world) as on:
        await on.press("S")
        await on.press("ctrl+u")
        await on.write(str(folder))
        await on.press("enter")
        await on.until(lambda: isinstance(on.app.screen, ScanDialog), "the list")
        await on.shows("3 model files found", "one.onnx", "two.onnx")
        assert "one" not in world.models
        await on.press("space", "space", "enter")
        await on.until(lambda: "one" in world.models and "three" in world.models, "both files")
        assert "two" not in world.models


async def test_a_registry_that_cannot_be_opened_is_explained() -> None:
    from quickserveml_tui.tui.app import WorkbenchApp
    from quickserveml_tui.tui.options import WorkbenchOptions

    def fail():
        raise StoreError("The registry is of a newer schema.", hint="Update quickserveml.")

    app = WorkbenchApp(fail, WorkbenchOptions(fresh=True))
    async with app.run_test(size=(80, 24)) as pilot:
        for _ in range(200):
            await pilot.pause()
            if isinstance(app.screen, MessageDialog):
                break
        assert app.screen.message == "The registry is of a newer schema."
        assert app.screen.hint == "Update quickserveml."


async def test_the_palette_lists_actions_as_area_and_verb_and_runs_them(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("ctrl+p")
        await on.until(lambda: isinstance(on.app.screen, Palette), "the palette")
        await on.shows("Benchmark: run model", "Catalog: add model")
        await on.write("theme")
        await on.shows("App: switch theme")
        await on.press("enter")
        await on.until(
            lambda: not on.app.current_theme.dark or "mono" in on.app.theme or on.app.memory.theme, "the theme"
        )
        assert on.app.recent == ["app.switch_theme"]


async def test_a_key_goes_through_the_themes_and_the_last_one_is_remembered(world: World) -> None:
    async with stage(world) as on:
        first = on.app.theme
        seen = []
        for _ in range(3):
            await on.press("L")
            seen.append((on.app.theme, on.app.memory.theme))
        assert seen == [("ember-light", "light"), ("contrast", "contrast"), (first, "dark")]


async def test_help_shows_the_keys_of_the_focus_first_and_can_be_searched(world: World) -> None:
    async with stage(world) as on:
        await on.press("question_mark")
        await on.until(lambda: isinstance(on.app.screen, Help), "the help")
        await on.shows("Here: Catalog", "Show only models that match")
        await on.write("delete")
        await on.shows("catalog.delete_version")


async def test_keys_can_be_remapped_by_id(world: World) -> None:
    async with stage(world, open_ref="digits", keymap={"benchmark.run_model": "f5"}) as on:
        await on.press("f5")
        await on.until(lambda: bool(world.benchmarked), "the run")


async def test_the_theme_changes_at_once_and_is_remembered(world: World, tmp_path: Path) -> None:
    async with stage(world, home=str(tmp_path), fresh=False) as on:
        await on.press("L", "s")
        await on.settled()
    from quickserveml_tui.tui.memory import UiMemory

    memory = UiMemory.load(tmp_path)
    assert memory.theme == "light"
    assert memory.catalog_sort == "p50"
    assert memory.ref.startswith("digits@")


async def test_a_run_that_is_selected_again_shows_its_result_without_running(world: World) -> None:
    world.runs = [make_run(world.models["digits"], 3, 5.0)]
    async with stage(world, open_ref="digits") as on:
        await on.shows("result of 10:00", "steady", "500 runs")
        await on.press("3", "t")
        await on.shows("Rate and resources", "std dev")


async def test_services_are_closed_when_the_workbench_ends(world: World) -> None:
    async with stage(world) as on:
        await on.press("q")
    assert await _closed(world)


async def _closed(world: World) -> bool:
    import asyncio

    for _ in range(500):
        if world.closed:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_a_reference_with_an_alias_and_a_layer_puts_both_cursors_there(world: World) -> None:
    async with stage(world, open_ref="digits@prod#layer3") as on:
        await on.until(lambda: on.bench.ref == "digits@2", "the version")
        table = on.bench.inspector_pane.layer_view.table
        await on.until(lambda: table.cursor_key == "3", "the layer")
        await on.shows("digits@2", "layer3")


async def test_a_file_is_shown_without_being_added_and_stays_while_the_list_is_read_again(world, tmp_path) -> None:
    path = tmp_path / "loose.onnx"
    path.write_bytes(b"x")
    async with stage(world, open_ref=str(path)) as on:
        await on.shows("loose.onnx", "2 nodes", "Not in the registry; a adds it")
        on.bench.reload_catalog()
        await on.settled()
        await on.shows("loose.onnx", "press a")
        await on.press("b")
        await on.shows("No model is picked")
        await on.press("1", "j")
        await on.until(lambda: on.bench.ref == "too-new@1", "the cursor")


async def test_a_reference_to_nothing_says_so(world: World) -> None:
    async with stage(world) as on:
        await on.press("o")
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
        await on.write("nobody")
        await on.press("enter")
        await on.shows("No model is called “nobody”.")


async def test_a_crash_leaves_one_line_and_a_report_without_values(world: World, tmp_path: Path) -> None:
    from quickserveml_tui.tui.app import CrashError, WorkbenchApp
    from quickserveml_tui.tui.options import WorkbenchOptions

    def boom() -> None:
        token = "qsml_" + "secret"
        raise RuntimeError(f"no values here {len(token)}")

    app = WorkbenchApp(lambda: world, WorkbenchOptions(fresh=True, home=str(tmp_path)))

    async def run_into_it() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            app.bench.call_later(boom)
            for _ in range(100):
                await pilot.pause()

    with pytest.raises(CrashError) as crash:
        await run_into_it()
    report = next((tmp_path / "logs").glob("crash-*.txt"))
    assert str(report) in crash.value.line
    assert "\n" not in crash.value.line
    assert "RuntimeError: no values here 11" in report.read_text()
    assert "qsml_secret" not in report.read_text()
    assert app.return_code == 1


async def test_a_click_on_a_key_in_the_footer_is_as_good_as_the_key(world: World) -> None:
    async with stage(world) as on:
        footer = on.bench.query_one("KeyFooter")
        text = on.line("? more")
        await on.pilot.click(footer, offset=(text.index("B settings"), 0))
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the settings")
