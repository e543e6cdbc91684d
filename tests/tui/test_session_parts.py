from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest
from doubles import make_frames

from quickserveml_tui.core.benchmarks import BenchmarkFrame, Phase
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.tui.clipboard import copy_to_file, copy_with_tool
from quickserveml_tui.tui.diagnostics import log_to, stop_logging, write_crash_report
from quickserveml_tui.tui.drops import dropped_paths
from quickserveml_tui.tui.jobs import JobLane, UiJob
from quickserveml_tui.tui.live import LiveRun
from quickserveml_tui.tui.memory import UiMemory
from quickserveml_tui.tui.messages import FramesArrived, JobAdvanced
from quickserveml_tui.tui.reporting import Reporter
from quickserveml_tui.tui.screens.forms import complete_path


def job(kind: str = "batch") -> UiJob:
    return UiJob(kind, "x", lambda _job: None)


@pytest.mark.parametrize(
    "form",
    ["{0}", "'{0}'", '"{0}"', "{escaped}", "file://{quoted}", "  {0}\n", "{0}\r\n"],
)
def test_a_dropped_path_is_understood_in_every_form(tmp_path: Path, form: str) -> None:
    path = tmp_path / "my model's (2).onnx" if "'" not in form else tmp_path / "my model (2).onnx"
    path.write_bytes(b"x")
    escaped = str(path).replace(" ", "\\ ").replace("(", "\\(").replace(")", "\\)").replace("'", "\\'")
    quoted = str(path).replace(" ", "%20").replace("(", "%28").replace(")", "%29").replace("'", "%27")
    assert dropped_paths(form.format(path, escaped=escaped, quoted=quoted)) == (path,)


def test_several_dropped_files_are_all_found_once(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.onnx", "b c.onnx")]
    for path in paths:
        path.write_bytes(b"x")
    line = " ".join(f"'{path}'" for path in [*paths, paths[0]])
    assert dropped_paths(line) == tuple(paths)
    assert dropped_paths("\n".join(map(str, paths))) == tuple(paths)


@pytest.mark.parametrize(
    "text",
    ["", "  ", "hello world", "rm -rf /tmp/nowhere-at-all", "file://other-host/etc/passwd", "x" * 100_000, "\0/etc"],
)
def test_text_that_names_no_existing_path_is_no_drop(text: str) -> None:
    assert dropped_paths(text) == ()


def test_what_is_remembered_comes_back(tmp_path: Path) -> None:
    memory = UiMemory(ref="digits@3", theme="light", duration_s=2.5, warmup_s=0.5)
    memory.save(tmp_path)
    assert UiMemory.load(tmp_path) == memory
    assert [path.name for path in tmp_path.iterdir()] == ["ui.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"ref": 3, "warmup_s": "4", "theme": null, "pane": true}',
        b"[" * 50_000,
    ],
)
def test_a_broken_memory_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ui.json").write_bytes(content)
    assert UiMemory.load(tmp_path) == UiMemory()


def test_whole_numbers_are_taken_for_seconds(tmp_path: Path) -> None:
    (tmp_path / "ui.json").write_text(json.dumps({"duration_s": 3}))
    assert UiMemory.load(tmp_path).duration_s == 3.0


def test_the_lane_runs_one_job_at_a_time_in_order() -> None:
    lane = JobLane()
    first, second = job("benchmark"), job()
    lane.submit(first)
    lane.submit(second)
    assert lane.start_next() is first
    assert lane.start_next() is None
    assert lane.hold_reason(second) == "held"
    lane.finish(first, None, None, "10:00")
    assert lane.start_next() is second
    assert [item.state for item in lane.jobs] == [JobState.RUNNING, JobState.DONE]


def test_a_waiting_job_ends_at_once_when_it_is_cancelled() -> None:
    lane = JobLane()
    first, second = job(), job()
    lane.submit(first)
    lane.submit(second)
    lane.start_next()
    lane.cancel(second, "10:00")
    assert second.state is JobState.CANCELLED
    lane.cancel(first, "10:00")
    assert first.state is JobState.RUNNING, "a running job ends when its work does"
    assert first.cancel.cancelled


def test_the_list_of_ended_jobs_is_bounded() -> None:
    lane = JobLane()
    for _ in range(300):
        one = job()
        lane.submit(one)
        lane.start_next()
        lane.finish(one, None, None, "")
    assert len(lane.jobs) == 200


def test_progress_is_thinned_but_a_new_phase_is_told_at_once() -> None:
    posted: list = []
    reporter = Reporter(posted.append, job())
    for step in range(1_000):
        reporter.progress(Progress("copying", step, 1_000))
    reporter.progress(Progress("trial"))
    assert len(posted) < 20
    assert all(isinstance(message, JobAdvanced) for message in posted)
    assert posted[-1].job.progress.phase == "trial"
    assert posted[-1].can_replace(posted[0])


def test_no_frame_is_lost_when_frames_are_thinned() -> None:
    posted: list = []
    reporter = Reporter(posted.append, job())
    frames = [BenchmarkFrame(Phase.MEASURING, index / 100, (index / 100,), (1.0,), index + 1) for index in range(200)]
    for frame in frames:
        reporter.frame(frame)
    reporter.flush()
    assert [frame for message in posted for frame in message.frames] == frames
    assert all(isinstance(message, FramesArrived) for message in posted)
    assert len(posted) < 20


def test_live_percentiles_agree_with_the_samples_and_leave_warm_up_out() -> None:
    live = LiveRun()
    live.extend(make_frames(1_000, 2.0))
    values = sorted(2.0 * (1 + (index % 7) / 50) for index in range(1_000))
    assert live.n == 1_000
    assert live.warmup == 2
    for share in (0.5, 0.95, 0.99):
        assert live.percentile_ms(share) == pytest.approx(values[math.ceil(share * 1_000) - 1], rel=0.003)
    interval = live.interval_ms(0.5)
    assert interval is not None
    assert interval.low <= live.percentile_ms(0.5) <= interval.high


@pytest.mark.parametrize("values", [(), (float("nan"),), (float("inf"),), (0.0,), (-1.0,)])
def test_a_live_run_is_right_for_no_sample_and_for_odd_ones(values: tuple[float, ...]) -> None:
    live = LiveRun()
    live.extend([BenchmarkFrame(Phase.MEASURING, 0.1, tuple(0.0 for _ in values), values, len(values))])
    assert live.interval_ms(0.99) is None
    if not values or not math.isfinite(values[0]):
        assert live.percentile_ms(0.5) is None
        assert live.mean_ms is None


def test_too_few_samples_give_no_interval() -> None:
    live = LiveRun()
    live.extend(make_frames(100))
    assert live.interval_ms(0.95) is not None
    assert live.interval_ms(0.99) is None


def test_a_crash_report_names_the_place_and_holds_no_values(tmp_path: Path) -> None:
    secret = "qsml_secret_value"

    def fail(token: str) -> None:
        raise RuntimeError("broken")

    try:
        fail(secret)
    except RuntimeError as error:
        report = write_crash_report(error, tmp_path)
    text = report.read_text()
    assert "RuntimeError: broken" in text
    assert secret not in text.replace('secret = "qsml_secret_value"', "")
    assert str(Path.home()) + "/" not in text or Path.home() == Path("/")


def test_the_log_goes_to_a_bounded_file(tmp_path: Path) -> None:
    path = log_to(tmp_path)
    try:
        logging.getLogger("quickserveml_tui.test").warning("hello")
        assert "hello" in path.read_text()
    finally:
        stop_logging()


def test_copying_falls_back_to_a_private_file(tmp_path: Path) -> None:
    assert copy_with_tool("x", env={"SSH_TTY": "/dev/pts/0", "DISPLAY": ":0"}) == ""
    path = copy_to_file("text", tmp_path)
    assert path.read_text() == "text"
    assert path.stat().st_mode & 0o777 == 0o600


def test_paths_are_completed_by_folders_and_fitting_files(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "net.onnx").write_text("")
    assert complete_path(f"{tmp_path}/mo") == f"{tmp_path}/models/"
    assert complete_path(f"{tmp_path}/n", "file", (".onnx",)) == f"{tmp_path}/net.onnx"
    assert complete_path(f"{tmp_path}/n", "folder") is None
    assert complete_path("/nowhere/at/all") is None
