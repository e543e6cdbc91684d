"""Good and hostile models through the real workbench: real services, real runners, real keys."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from driving import Stage
from odd_models import EVIL, GOOD, HOSTILE, endless, many_inputs, many_nodes

from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.tui.app import WorkbenchApp
from quickserveml_tui.tui.options import WorkbenchOptions
from quickserveml_tui.tui.screens.outputs import OutputsDialog
from quickserveml_tui.tui.screens.report import WhyDialog

ROOT = Path(__file__).resolve().parents[2]
MAX_GROWTH_KB = 24_000
"""How much the interface may grow over 30 hostile files and 200 openings of one file, once it is warm."""


@asynccontextmanager
async def real_stage(home: Path, size=(120, 40)):
    app = WorkbenchApp(lambda: open_workbench(home), WorkbenchOptions(fresh=True, home=str(home)))
    async with app.run_test(size=size) as pilot:
        on = Stage(app, pilot, None)
        try:
            await on.until(lambda: app.bench.workbench is not None, "the services")
            await on.until(lambda: not app.bench.catalog_pane.has_class("-loading"), "the catalog")
            app.heartbeat.kept_awake = True
            app.heartbeat.wake()
            yield on
        finally:
            app.bench.lane.cancel_all("")


async def add(on: Stage, path: Path) -> str:
    """Add a file by keys; what the job said."""
    before = len(on.bench.lane.jobs)
    await on.press("1", "a")
    await on.until(lambda: len(on.app.screen_stack) > 1, "the form")
    await on.write(str(path))
    await on.press("enter")
    await on.until(lambda: len(on.bench.lane.jobs) > before, "the job")
    await on.until(lambda: not on.bench.lane.busy, f"the end of adding {path.name}")
    await on.settled()
    return on.bench.lane.jobs[0].outcome


async def test_six_good_models_of_every_kind_are_added_understood_and_run_by_keys(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    async with real_stage(tmp_path / "home") as on:
        for name, make in GOOD.items():
            path = make(tmp_path / "models" / f"{name}.onnx")
            assert await add(on, path) == f"made {name}@1"
            await on.until(lambda ref=f"{name}@1": on.bench.ref == ref, "the cursor on it")
            await on.shows("✓ ready")
            await on.press("2", "p")
            await on.until(lambda: isinstance(on.app.screen, OutputsDialog), f"the outputs of {name}")
            assert on.app.screen.words[0].preview, name
            await on.press("escape")
        await on.shows("6 models")


async def test_six_hostile_models_each_get_a_sentence_and_the_heartbeat_goes_on(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    async with real_stage(tmp_path / "home") as on:
        heart = on.app.heartbeat
        for name in ("linear", "scalar"):  # what the same work costs with models that mean no harm
            await add(on, GOOD[name](tmp_path / "models" / f"{name}.onnx"))
        reference = heart.pulse
        heart.forget()
        said = {name: await add(on, make(tmp_path / "models" / f"{name}.onnx")) for name, make in HOSTILE.items()}
        for name in ("page", "cut"):
            assert said[name], name
            assert on.bench.catalog_pane.table.row_count, name
        assert "SIGFPE" in said["crashing"]
        assert all("\n" not in words and "\x1b" not in words and len(words) < 1200 for words in said.values()), said
        known = {view.model.name: view.model.versions[-1] for view in on.bench.catalog_pane.views}
        assert not {"page", "cut"} & set(known), "a refused file leaves nothing behind"
        assert known["crashing"].trial.quarantined
        assert not known["bomb"].runnable
        for name in ("crashing", "evil"):
            on.bench.reload_catalog(f"{name}@1")
            await on.until(lambda ref=f"{name}@1": on.bench.ref == ref, "the cursor on it")
            for _ in range(5):
                await on.press("2", "right_square_bracket")
                await on.settled()
                assert "\x1b" not in on.text()
                assert "\u202e" not in on.text()
        pulse = heart.pulse
        share = (pulse.held + 1) / (pulse.beats + 1)
        assert share <= 5 * (reference.held + 1) / (reference.beats + 1) + 0.05, (pulse, reference)
        assert on.bench.lane.jobs[0].state is not JobState.RUNNING


async def test_large_graphs_and_many_inputs_are_opened_and_scrolled_without_holding_the_loop_up(tmp_path) -> None:
    large, wide = many_nodes(tmp_path / "large.onnx"), many_inputs(tmp_path / "wide.onnx")
    async with real_stage(tmp_path / "home") as on:
        on.bench.open_reference(str(GOOD["linear"](tmp_path / "small.onnx")))  # so that nothing is imported below
        await on.shows("small.onnx")
        await on.until(lambda: not on.bench.inspector_pane.shown.counting, "the totals")
        on.app.heartbeat.forget()
        on.bench.open_reference(str(large))
        await on.shows("large.onnx", "100,000 nodes", "file, not tried")
        await on.until(lambda: not on.bench.inspector_pane.shown.counting, "the totals")
        await on.press("right_square_bracket")
        view = on.bench.inspector_pane.layer_view
        await on.until(lambda: view.pages is not None, "the first page")
        await on.press("G")
        await on.shows("t100000")
        on.bench.open_reference(str(wide))
        await on.shows("wide.onnx", "1 node")
        on.bench.inspector_pane.show_tab("io")
        await on.shows("20,000 tensors", "x0", "batch × 4")
        on.bench.inspector_pane.show_tab("overview")
        await on.shows("inputs           20,000")
        pulse = on.app.heartbeat.pulse
        assert pulse.held <= max(15, pulse.beats // 4), pulse


async def test_a_trial_without_end_is_cancelled_by_one_key_and_nothing_is_kept(tmp_path: Path) -> None:
    path = endless(tmp_path / "endless.onnx")
    async with real_stage(tmp_path / "home", (80, 24)) as on:
        await on.press("a")
        await on.until(lambda: len(on.app.screen_stack) > 1, "the form")
        await on.write(str(path))
        await on.press("enter")
        await on.until(lambda: on.bench.lane.running is not None, "the trial")
        await on.press("x")
        await on.until(lambda: not on.bench.lane.busy, "the end")
        await on.shows("Start with a model")
        assert on.bench.lane.jobs[0].state is JobState.CANCELLED


async def test_a_file_that_is_refused_is_explained_in_full_by_one_key(tmp_path: Path) -> None:
    path = HOSTILE["evil"](tmp_path / "evil.onnx")
    async with real_stage(tmp_path / "home", (80, 24)) as on:
        words = await add(on, path)
        assert EVIL not in words
        await on.press("w")
        await on.until(lambda: isinstance(on.app.screen, WhyDialog), "the reason")
        assert "\x1b" not in on.text()


@pytest.mark.skipif(sys.platform != "linux", reason="RssAnon is Linux's")
def test_thirty_hostile_files_and_two_hundred_openings_leave_the_interface_as_large_as_it_was(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("grow_interface.py")), str(tmp_path)],
        capture_output=True, text=True, timeout=500, check=False, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["opened"] == 200
    assert report["added"] == 30
    assert report["grown_kb"] < MAX_GROWTH_KB, report
