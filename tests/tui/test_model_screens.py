"""Headers, reasons, inputs, outputs, golden outputs and conversions on the screen, over doubles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doubles import World, make_facts, make_layers, make_model, make_version, sample_world
from doubles_models import RUNTIME, STAMP, TOO_NEW
from driving import Stage, stage

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.models import GoldenOutput, TrialOutcome, TrialReport, VersionRecord
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.values import SparseValue
from quickserveml_tui.tui.feed_fields import feed_fields, feed_of, made_up
from quickserveml_tui.tui.screens.dialog import ConfirmDialog
from quickserveml_tui.tui.screens.forms import FormDialog
from quickserveml_tui.tui.screens.inputs import InputsForm
from quickserveml_tui.tui.screens.outputs import OutputsDialog
from quickserveml_tui.tui.screens.report import ReportDialog, WhyDialog

DETAIL = "[ONNXRuntimeError] : 9\n\x1b]52;c;aGk=\x07[bold]x[/bold] \u202egnp"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return sample_world(tmp_path)


def with_version(world: World, name: str, **changes) -> VersionRecord:
    model = make_model(name)
    world.put(replace(model, versions=(make_version(1, **changes),)))
    return world.models[name].versions[0]


async def opens(on: Stage, kind: type) -> Stage:
    return await on.until(lambda: isinstance(on.app.screen, kind), kind.__name__)


# ---- headers and layers


async def test_a_file_shows_its_header_at_once_and_its_totals_when_they_are_counted(world, tmp_path) -> None:
    path = tmp_path / "large.onnx"
    path.write_bytes(b"")
    world.slow[str(path)] = make_facts(100_000, params=7_000_000)
    world.finish_totals.clear()
    async with stage(world) as on:
        on.bench.open_reference(str(path))
        await on.shows("large.onnx", "100,000", "counting…", "a file, not tried", "batch × 1 × 8 × 8")
        await on.press("right_square_bracket", "left_square_bracket")  # the keys answer meanwhile
        assert on.bench.inspector_pane.shown.counting
        assert "7.00 M" not in on.text()
        world.finish_totals.set()
        await on.shows("7.00 M", "What it is made of", "counting…")
        assert on.bench.inspector_pane.shown.counting
        world.finish_facts.set()
        await on.until(lambda: "counting…" not in on.text(), "the multiply-adds")
        await on.shows("7.00 M", "What it is made of")


async def test_totals_that_cannot_be_counted_leave_the_header_and_say_why(world, tmp_path) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(b"")
    world.slow[str(path)] = make_facts(12)
    world.broken[str(path)] = ModelError("The graph goes round in a circle.", detail="node a reads b, b reads a")
    async with stage(world) as on:
        world.finish_facts.set()
        on.bench.open_reference(str(path))
        await on.shows("The totals are not known: The graph goes round in a circle.", "12 nodes")
        await on.press("w")
        await opens(on, WhyDialog)
        await on.shows("node a reads b")


def slow_graph(world, tmp_path, count: int) -> str:
    """A file of so many layers, whose shapes wait for `finish_shapes`."""
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"")
    world.layers, world.slow_shapes = make_layers(count), True
    world.slow[str(path)] = make_facts(count)
    world.finish_facts.set()
    return str(path)


@pytest.mark.parametrize("count", [6_000, 100_000], ids=["whole", "paged"])
async def test_layers_of_a_large_graph_show_before_their_shapes_and_keep_the_cursor(world, tmp_path, count) -> None:
    async with stage(world) as on:
        on.bench.open_reference(slow_graph(world, tmp_path, count))
        await on.shows("deep.onnx")
        await on.press("right_square_bracket")
        await on.shows("layer0", "…")
        view = on.bench.inspector_pane.layer_view
        view.table.action_move(3_210)
        await on.until(lambda: view.row_at(view.table.cursor_index) is not None, "the page under the cursor")
        await on.shows("layer3210")
        assert view.row_at(view.table.cursor_index).output_shape is None
        assert "batch × 16 × 8 × 8" not in on.text()
        world.finish_shapes.set()
        await on.until(lambda: view.row_at(view.table.cursor_index).output_shape is not None, "the shapes")
        assert view.row_at(view.table.cursor_index).name == "layer3210"
        await on.shows("layer3210", "batch × 16 × 8 × 8")


@pytest.mark.parametrize("count", [6_000, 100_000], ids=["whole", "paged"])
async def test_layers_whose_shapes_cannot_be_had_stay_and_the_reason_is_told(world, tmp_path, count) -> None:
    world.broken["shapes"] = ModelError("The graph goes round in a circle.")
    async with stage(world) as on:
        on.bench.open_reference(slow_graph(world, tmp_path, count))
        await on.shows("deep.onnx")
        await on.press("right_square_bracket")
        await on.shows("layer0", "…")
        world.finish_shapes.set()
        await on.shows("The graph goes round in a circle.", "layer0")
        view = on.bench.inspector_pane.layer_view
        view.table.action_move(5_000)
        await on.shows("layer5000")
        assert not view.waiting


async def test_a_graph_too_large_to_be_held_is_read_by_the_pages_that_are_looked_at(world) -> None:
    world.layers = make_layers(100_000)
    async with stage(world, open_ref="digits") as on:
        await on.press("2", "right_square_bracket")
        view = on.bench.inspector_pane.layer_view
        await on.until(lambda: view.pages is not None, "the first page")
        await on.shows("100,000 nodes", "in graph order", "layer0")
        await on.press("G")
        await on.shows("layer99999")
        for _ in range(18):
            view.table.action_move(-500)
            await on.until(lambda: view.row_at(view.table.cursor_index) is not None, "the page under the cursor")
        assert len(view.pages._pages) <= 16
        await on.press("s")
        await on.shows("are read by pages")
        view.find("layer77777", view.ref)
        await on.until(lambda: view.table.cursor_index == 77_777, "the layer by its name")
        await on.shows("layer77777")


# ---- trials


@pytest.mark.parametrize(
    ("report", "word", "short"),
    [
        (TrialReport(TrialOutcome.UNRUNNABLE, "It has no kernel.", DETAIL, code="model.op"), "✕ cannot run", "fails"),
        (TrialReport(TrialOutcome.UNRUNNABLE, "It crashed.", DETAIL, "SIGFPE", code="runtime.crashed"),
         "‖ quarantined", "held"),
    ],
    ids=["unrunnable", "quarantined"],
)  # fmt: skip
async def test_why_a_version_cannot_run_is_said_in_words_and_one_key_shows_it_in_full(
    world, report: TrialReport, word: str, short: str
) -> None:
    with_version(world, "bad", trial=replace(report, runtime=RUNTIME, tried_at=STAMP))
    async with stage(world, open_ref="bad") as on:
        await on.shows(word, report.reason, short, "w why", "W try again")
        await on.press("p")
        await on.shows("cannot run", "w says more.")
        assert not world.predict.asked
        await on.press("w")
        await opens(on, WhyDialog)
        await on.shows("[ONNXRuntimeError] : 9", "[bold]x[/bold] gnp", report.code, RUNTIME)
        assert "\x1b" not in on.text()
        assert "\u202e" not in on.text()
        assert report.signal in on.text()
        await on.press("y")
        assert "[bold]x[/bold]" in on.app.clipboard
        world.trials["bad@1"] = report
        await on.press("W")
        await on.shows("! Trial found bad@1 cannot run")
        del world.trials["bad@1"]
        await on.press("W")
        await on.until(lambda: world.retried == ["bad@1"] * 2, "another try")
        await on.shows("✓ ready", "Trial found bad@1 ready")


async def test_a_rejected_file_is_told_of_and_the_same_key_says_more(world, tmp_path) -> None:
    path = tmp_path / "page.onnx"
    path.write_bytes(b"<html>")

    def reject(request, **_):
        raise ModelError(
            "It is a web page, no model.", hint="Download the file itself.", code="model.html", detail="<html>"
        )

    world.catalog.add = reject
    async with stage(world, open_ref="digits") as on:
        await on.press("a")
        await on.write(str(path))
        await on.press("enter")
        await on.shows("It is a web page, no model.")
        await on.press("w")
        await opens(on, WhyDialog)
        await on.shows("What went wrong", "Download the file itself.", "model.html", "<html>")
        await on.press("escape", "w")
        await on.shows("What the trial found")


async def test_a_file_is_tried_by_one_key_without_being_added(world, tmp_path) -> None:
    path = tmp_path / "loose.onnx"
    path.write_bytes(b"")
    world.trials[str(path)] = TrialReport(TrialOutcome.UNRUNNABLE, "It never ends.", code="runtime.timeout")
    async with stage(world) as on:
        on.bench.open_reference(str(path))
        await on.shows("a file, not tried")
        await on.press("W")
        await on.shows("‖ quarantined", "It never ends.")
        assert "loose" not in world.models


# ---- inputs


INPUTS = (
    TensorSpec("image", "float32", ("batch", None, 8)),
    TensorSpec("words", "string", ("batch",)),
    TensorSpec("boxes", "seq(tensor(float32))", None, "sequence"),
    TensorSpec("mask", "optional(tensor(float32))", None, "optional"),
    TensorSpec("x[/]y\x1b[31m", "int64", ()),
)


async def test_made_up_inputs_of_every_kind_are_kept_checked_at_once_and_reset(world) -> None:
    with_version(world, "many", facts=make_facts(inputs=INPUTS))
    async with stage(world, (120, 80), open_ref="many") as on:
        await on.press("f")
        await opens(on, InputsForm)
        await on.shows("Sizes", "batch", "image[1]", "image", "words", "boxes", "length", "mask", "absent", "x[/]y[31m")
        form = on.app.screen
        form.query_one("#field-dim-0").value = "4x"
        await on.shows("The size of batch is a whole number from 0 on, not “4x”.")
        form.query_one("#field-dim-0").value = "100"
        await on.until(lambda: not form.query_one("#form-error").display, "the sentence to go")
        await on.press("enter")
        await on.shows("A batch of more than 64 does not fit this model.")
        for field, text in (("dim-0", "8"), ("range-0", "0:255"), ("words-1", "red, green"), ("length-2", "3"),
                            ("shape-0", "8x3x8")):  # fmt: skip
            form.query_one(f"#field-{field}").value = text
        form.query_one("#field-absent-3").value = "absent"
        await on.press("enter")
        await on.shows("Inputs of many@1 kept")
        feed = world.models["many"].versions[0].feed
        assert (feed.dims, feed.ranges, feed.words) == ({"batch": 8}, {"image": (0, 255)}, {"words": ("red", "green")})
        assert (feed.lengths, feed.absent, feed.shapes) == ({"boxes": 3}, ("mask",), {"image": (8, 3, 8)})
        await on.until(lambda: on.bench.selected.version.feed == feed, "the catalog to say so")
        await on.press("f")
        await opens(on, InputsForm)
        assert on.app.screen.query_one("#field-range-0").value == "0:255"
        await on.press("ctrl+r", "enter")
        await on.shows("back to what the model says")
        assert world.models["many"].versions[0].feed == type(feed)()


async def test_saving_inputs_says_that_they_are_tried_and_esc_keeps_nothing(world) -> None:
    with_version(world, "slow", facts=make_facts(inputs=INPUTS))
    world.finish_trial.clear()
    async with stage(world, (120, 80), open_ref="slow") as on:
        await on.press("f")
        await opens(on, InputsForm)
        on.app.screen.query_one("#field-dim-0").value = "8"
        await on.press("enter")
        await on.shows("trying…", "esc cancels it")
        on.app.screen.query_one("#field-dim-0").value = "9"
        await on.shows("trying…")
        await on.until(world.trying.is_set, "the trial")
        await on.press("escape")
        await on.shows("cancelled; nothing was kept", "Made-up inputs")
        await on.press("escape")
        await on.until(lambda: on.app.screen is on.bench, "the form to close")
        await on.settled()
        world.finish_trial.set()
        assert world.models["slow"].versions[0].feed == FeedSpec()


@pytest.mark.parametrize(
    ("feed", "shown"),
    [
        (FeedSpec(), {"dim-0": ""}),
        (FeedSpec(dims={"batch": 3}), {"dim-0": "3"}),
        (FeedSpec(batch=4), {"batch": "4"}),
        (FeedSpec(batch=4, dims={"batch": 3}), {"batch": "4", "dim-0": "3"}),
    ],
)
def test_a_dim_called_batch_is_one_field_and_no_override_is_hidden(feed, shown) -> None:
    fields = {field.key: field.value for field in feed_fields(INPUTS, feed)}
    assert {key: fields[key] for key in ("batch", "dim-0") if key in fields} == shown
    assert feed_of(fields, INPUTS, feed) == feed


# ---- outputs

OUTPUTS = {
    "scores": np.array([[0.5, np.nan, -np.inf, 2.0]], dtype=np.float32),
    "names": np.array(["cat\x1b[31m", "[b]dog[/b]"], dtype=object),
    "zipmap": [{"cat": 0.25, "dog": 0.75}],
    "boxes": [np.zeros((2, 2), np.float32), np.ones(3, np.int64)],
    "nothing": None,
    "sparse": SparseValue(np.array([1.5, 2.5], np.float32), np.array([[0, 1], [2, 3]]), (4, 5)),
    "empty": np.zeros((0, 3), np.int8),
    "flag": np.array(True),
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_outputs_of_every_kind_are_shown_saved_and_kept(world, tmp_path, size) -> None:
    world.outputs = OUTPUTS
    async with stage(world, size, open_ref="digits") as on:
        await on.press("2", "p")
        await opens(on, OutputsDialog)
        await on.shows("scores", "8 outputs", "1 NaN, 1 infinite", "0.5 to 2")
        await on.until(lambda: on.app.screen.query_one("#page-values").size.height > 3, "room for the values")
        for words in ("“[b]dog[/b]”", "“dog”  0.75", "[1]", "has no value", "[2, 3]  2.5", "has no elements", "True"):
            await on.press("j")
            await on.shows(words)
        target = tmp_path / "out.npz"
        target.write_bytes(b"old")
        await on.press("s")
        await opens(on, FormDialog)
        await on.write(str(target))
        await on.press("enter")
        await opens(on, ConfirmDialog)
        await on.press("y")
        await on.until(lambda: world.predict.saved, "the file")
        assert world.predict.saved[0][1:] == (target, True)
        await on.settled()
        await on.press("p")
        await opens(on, OutputsDialog)
        await on.press("n")
        await on.shows("Record a golden output")
        assert not any(job.result for job in on.bench.lane.jobs), "outputs are held no longer than they are looked at"


# ---- golden outputs


async def test_golden_outputs_are_recorded_checked_read_and_removed_by_keys(world) -> None:
    kept = GoldenOutput("old", "0" * 64, "1" * 64, STAMP, notes="from the paper", source="rows.npz", runtime=RUNTIME)
    with_version(world, "sure", golden=(kept,))
    async with stage(world, open_ref="sure") as on:
        on.bench.inspector_pane.show_tab("golden")
        await on.shows("1 golden output", "old", "○ not checked", "rows.npz", "from the paper")
        await on.press("2", "n")
        await on.shows("Record a golden output")
        for name, why in (("x/y", "“x/y” cannot name a golden output."), ("OLD", "There is a golden output “OLD”")):
            on.app.screen.query_one("#field-name").value = name
            await on.press("enter")
            await on.shows(why)
        on.app.screen.query_one("#field-name").value = "x-y"
        on.app.screen.query_one("#field-rtol").value = "much"
        await on.press("enter")
        await on.shows("The relative tolerance is a number from 0 on, not “much”.")
        on.app.screen.query_one("#field-rtol").value = "1e-3"
        await on.press("enter")
        await on.shows("Recording kept x-y of sure@1", "2 golden outputs")
        assert world.golden.asked[0][1] == "x-y"
        assert world.golden.asked[0][2]["rtol"] == 1e-3
        world.golden.differing = {"old"}
        await on.press("V")
        await on.shows("✕ differs", "✓ same", "1 of 2 golden outputs failed", "beyond the tolerance", "0.25")
        await on.press("enter")
        await opens(on, ReportDialog)
        await on.shows("3 of 10 elements", "0.25 abs", "0.5 rel")
        await on.press("escape", "D")
        await opens(on, ConfirmDialog)
        await on.press("y")
        await on.shows("Golden output old removed", "1 golden output")


async def test_a_run_that_is_kept_as_golden_is_the_one_that_was_shown(world) -> None:
    with_version(world, "sure", feed=FeedSpec(dims={"n": 2}))
    async with stage(world, open_ref="sure") as on:
        await on.press("2", "P")
        await opens(on, FormDialog)
        on.app.screen.query_one("#field-seed").value = "7"
        await on.press("enter")
        await opens(on, OutputsDialog)
        await on.press("n")
        await opens(on, FormDialog)
        await on.shows("made up, --dim n=2 --seed 7")
        await on.press("enter")
        await on.shows("Recording kept default of sure@1")
        assert world.golden.asked[0][2]["feed"] == world.predict.asked[0][2] == FeedSpec(dims={"n": 2}, seed=7)


def test_what_inputs_are_made_of_is_said_in_few_words() -> None:
    assert made_up(None) == "made up, as kept with the version"
    assert made_up(FeedSpec()) == "made up, seed 0"
    assert made_up(FeedSpec(seed=7)) == "made up, seed 7"


async def test_a_version_without_golden_outputs_says_which_key_records_one(world) -> None:
    async with stage(world, (80, 24), open_ref="digits") as on:
        on.bench.inspector_pane.show_tab("golden")
        await on.press("2")
        await on.shows("Inputs with the outputs that they must", "n records one")
        await on.press("V")
        await on.shows("has no golden outputs")


# ---- formats


async def test_a_format_that_is_too_new_says_what_to_do_and_converts_into_a_new_version(world) -> None:
    report = TrialReport(
        TrialOutcome.UNRUNNABLE, "Opset 28 is newer than the runtime takes.", code="model.opset_too_new"
    )
    with_version(world, "fresh", trial=report)
    world.mismatches["fresh@1"] = (TOO_NEW,)
    async with stage(world, open_ref="fresh") as on:
        await on.shows("Formats", "opset of ai.onnx", "28", "the runtime takes 26", TOO_NEW.remedy, "O convert")
        await on.press("w", "O")
        await opens(on, FormDialog)
        await on.shows("newest: 26", TOO_NEW.remedy)
        await on.write("99x")
        await on.press("enter")
        await on.shows("The opset is a whole number")
        on.app.screen.query_one("#field-opset").value = "26"
        on.app.screen.query_one("#field-label").value = "1.2.0"
        await on.press("enter")
        await on.until(lambda: on.bench.ref == "fresh@2", "the new version")
        await on.shows("Conversion made fresh@2")
        assert (world.convert.asked[0].opset, world.convert.asked[0].ir_version) == (26, None)


async def test_what_changes_a_read_only_home_is_greyed_and_says_so(world) -> None:
    async with stage(world, open_ref="digits", read_only=True) as on:
        for key in "fO":
            await on.press(key)
            await on.shows("read-only")
            assert on.app.screen is on.bench
        await on.press("p")
        await opens(on, OutputsDialog)
        assert "keep as golden" not in on.text()
