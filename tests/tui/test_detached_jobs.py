from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from doubles import World, sample_world
from doubles_jobs import make_job
from driving import stage

from quickserveml_tui.core.care import HomeHealth
from quickserveml_tui.core.job_records import JobKind
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.tui.screens.dialog import ConfirmDialog
from quickserveml_tui.tui.screens.quit import QuitDialog
from quickserveml_tui.tui.screens.report import ReportDialog


@pytest.fixture
def world(tmp_path: Path) -> World:
    return sample_world(tmp_path)


def finished(on) -> bool:
    return on.app.return_value == 0


async def test_a_benchmark_is_a_job_of_the_home_and_says_who_asked(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("live", "60 runs")
        (record,) = world.jobs.list()
        assert (record.kind, record.request.ref, record.request.origin) == (JobKind.BENCHMARK, "digits@3", "workbench")
        world.finish.set()
        await on.shows("500 runs")
        assert len([line for line in on.text().splitlines() if "benchmark  digits@3" in line]) == 1


async def test_keep_running_leaves_the_job_to_its_process(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("60 runs")
        await on.press("q")
        await on.until(lambda: isinstance(on.app.screen, QuitDialog), "the question")
        assert on.app.screen.focused.words == "stay"
        await on.shows("1 job can go on without this window: benchmark digits@3")
        await on.press("k")
        await on.until(lambda: finished(on), "the exit")
        (record,) = world.jobs.list()
        assert record.state is JobState.RUNNING
        assert not record.cancel_asked


async def test_what_waits_is_handed_over_in_its_order_and_what_cannot_go_on_is_named(
    world: World, tmp_path: Path
) -> None:
    model = tmp_path / "late.onnx"
    model.write_bytes(b"x")
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("60 runs")
        await on.press("b", "b")
        await on.press("a")
        await on.write(str(model))
        await on.press("enter")
        await on.shows("3 waiting")
        await on.press("q")
        await on.shows("3 jobs can go on without this window", "add late.onnx")
        await on.press("k")
        await on.until(lambda: finished(on), "the exit")
        assert world.jobs.list()[-1].state is JobState.RUNNING
        assert len(world.jobs.list()) == 3
        assert "late" not in world.models


async def test_cancel_and_quit_stops_the_job_and_keeps_what_it_has(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("60 runs")
        await on.press("q", "c")
        await on.until(lambda: finished(on), "the exit")
    assert world.jobs.list()[0].cancel_asked


async def test_a_job_that_cannot_go_on_offers_no_keeping(world: World) -> None:
    import threading

    gate = threading.Event()
    world.demo.install = lambda **_: gate.wait(20) and 3
    world.models = {}
    try:
        async with stage(world) as on:
            await on.press("d")
            await on.until(lambda: on.bench.lane.running is not None, "the demo")
            await on.press("q")
            await on.shows("They end with this window")
            await on.press("k")
            assert isinstance(on.app.screen, QuitDialog)
            assert "keep running" not in on.text()
            gate.set()
    finally:
        gate.set()


async def test_a_running_job_of_another_front_is_there_at_the_start_drawn_and_followed_to_its_end(world: World) -> None:
    from quickserveml_tui.core.benchmarks import BenchmarkSpec
    from quickserveml_tui.core.job_records import JobRequest

    world.jobs.start(JobRequest(JobKind.BENCHMARK, "digits@1", benchmark=BenchmarkSpec()))
    async with stage(world, open_ref="digits") as on:
        await on.shows("1 running", "benchmark  digits@1", "live", "60 runs")
        world.finish.set()
        await on.shows("500 runs", "done")
        await on.until(lambda: on.bench.followed is None, "the end")
        await on.settled()
        assert on.bench._next_read is None, "nothing is polled while nothing is live"


async def test_a_job_of_another_front_can_be_cancelled(world: World) -> None:
    running = make_job(state=JobState.RUNNING, progress=Progress("predicting", 10, 40, "rows"))
    world.jobs.add(running)
    async with stage(world, open_ref="digits") as on:
        await on.shows("10 of 40 rows", "batch  digits@3  rows.csv")
        await on.press("4", "x")
        await on.until(lambda: world.jobs.get(running.id).cancel_asked, "the request")
        await on.shows("cancelling")
        world.jobs.put(running.id, state=JobState.CANCELLED, outcome="cancelled after 10 rows")
        await on.shows("cancelled after 10 rows")


async def test_a_lost_job_is_shown_and_resumed(world: World) -> None:
    lost = world.jobs.add(make_job(state=JobState.LOST))
    async with stage(world, open_ref="digits") as on:
        await on.shows("1 lost", "its process died", "R resume")
        await on.press("4", "R")
        await on.until(lambda: world.jobs.get(lost.id).attempt == 2, "the second attempt")
        await on.shows("180 of 360 rows")
        world.finish_batch.set()
        await on.shows("1 ended")


async def test_forgetting_a_job_that_could_be_resumed_asks_first(world: World) -> None:
    world.jobs.add(make_job(state=JobState.LOST))
    done = world.jobs.add(make_job("x@1", state=JobState.DONE, ended_at="2024-05-01T10:01:00.000Z"))
    async with stage(world, open_ref="digits") as on:
        await on.shows("1 lost")
        await on.press("4", "delete")
        await on.until(lambda: isinstance(on.app.screen, ConfirmDialog), "the question")
        await on.press("y")
        await on.until(lambda: set(world.jobs.records) == {done.id}, "the lost one to go")
        await on.shows("1 ended")
        await on.press("delete")
        await on.until(lambda: not world.jobs.records, "the other one to go")


async def test_resume_says_why_it_does_nothing(world: World) -> None:
    world.jobs.add(make_job(state=JobState.DONE))
    async with stage(world, open_ref="digits") as on:
        await on.shows("1 ended")
        await on.press("4", "R")
        await on.shows("It is done")


async def test_a_job_waits_while_another_front_measures(world: World) -> None:
    measuring = world.jobs.add(make_job("digits@1", JobKind.BENCHMARK, JobState.RUNNING))
    async with stage(world, open_ref="digits") as on:
        await on.shows("1 running")
        await on.press("b")
        await on.shows("Benchmark waits until the benchmark ends", "1 waiting")
        assert not world.benchmarked
        world.jobs.put(measuring.id, state=JobState.DONE, outcome="done")
        await on.until(lambda: bool(world.benchmarked), "the run")


async def test_a_read_only_home_measures_in_this_process_and_saves_nothing(world: World) -> None:
    world.maintenance.state = HomeHealth(read_only=True)
    before = len(world.runs)
    async with stage(world, open_ref="digits", read_only=True) as on:
        await on.press("b")
        await on.shows("60 runs")
        world.finish.set()
        await on.shows("500 runs")
        assert not world.jobs.list()
        assert len(world.runs) == before


async def test_a_job_that_cannot_be_started_says_why(world: World) -> None:
    from quickserveml_tui.core.errors import StoreError

    world.jobs.refuse = StoreError("The state database is locked.", hint="Try again.")
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("The state database is locked.")
        assert not on.bench.lane.busy


async def test_the_result_of_an_ended_batch_of_another_front_is_shown(world: World) -> None:
    world.finish_batch.set()
    result = world.batch.run("digits@3", "rows.csv")
    world.jobs.add(replace(make_job(), result_id=result.id, outcome="97.5 % right"))
    async with stage(world, (160, 60), open_ref="digits") as on:
        await on.press("4")
        await on.shows("97.5 % right", "accuracy")


async def test_a_change_by_another_process_is_seen_without_a_key(world: World, monkeypatch) -> None:
    from doubles import make_model

    from quickserveml_tui.tui.flows import catalog

    monkeypatch.setattr(catalog, "GENERATION_S", 0.05)
    async with stage(world, open_ref="digits") as on:
        world.put(make_model("newcomer"))
        await on.shows("newcomer", "4 models")


async def test_a_job_of_this_window_that_was_cancelled_is_resumed_as_the_same_job(world: World) -> None:
    async with stage(world, open_ref="digits") as on:
        await on.press("b")
        await on.shows("60 runs")
        await on.press("x")
        await on.shows("partial")
        await on.until(lambda: not on.bench.lane.busy, "the end")
        await on.press("4", "R")
        await on.until(lambda: world.jobs.list()[0].attempt == 2, "the second attempt")
        await on.shows("1 running")
        assert len([line for line in on.text().splitlines() if "benchmark  digits@3" in line]) == 1
        world.finish.set()
        await on.shows("1 ended", "500 runs")


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_enter_shows_the_end_of_a_jobs_log(world: World, size) -> None:
    job = world.jobs.add(make_job(state=JobState.FAILED))
    world.jobs.logs[job.id] = "".join(f"line {number}\n" for number in range(300)) + "the \x1b[31mlast\n"
    async with stage(world, size, open_ref="digits") as on:
        await on.press("4", "enter")
        await on.until(lambda: isinstance(on.app.screen, ReportDialog), "the log")
        await on.shows("Log of batch digits@3", "line 299", "the [31mlast")
        text = on.app.screen.text
        assert len(text.splitlines()) == 200
        assert "\x1b" not in text
        assert "line 5\n" not in text


async def test_a_job_of_the_window_alone_says_that_it_has_no_log(world: World) -> None:
    async with stage(world) as on:
        await on.press("F", "enter")
        await on.until(lambda: isinstance(on.app.screen, ReportDialog), "the report")
        await on.press("escape", "4", "enter")
        await on.shows("It has no log")
