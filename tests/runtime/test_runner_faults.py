"""What a model or the outside does to a runner is an ordinary, named event."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import runner_models as models
from runner_waits import open_process, wait_for_end

import quickserveml_tui
from quickserveml_tui.core.benchmarks import BenchmarkSpec, Phase
from quickserveml_tui.core.errors import CancelledError, RunnerCrashedError, RunnerError, RunnerTimeoutError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import TrialOutcome
from quickserveml_tui.runtime import child
from quickserveml_tui.runtime.client import RunnerProcess
from quickserveml_tui.runtime.limits import RunnerLimits

REPOSITORY = Path(quickserveml_tui.__file__).parents[1]
FEED = FeedSpec()


@pytest.fixture
def start(tmp_path):
    runners = []

    def begin(**limits) -> RunnerProcess:
        runner = RunnerProcess(tmp_path / "logs", limits=RunnerLimits(**limits))
        runners.append(runner)
        return runner

    yield begin
    for runner in runners:
        runner.close()


@pytest.mark.parametrize("at_load", [True, False], ids=["while it loads", "while it runs"])
def test_integer_minimum_by_minus_one_is_unrunnable_and_names_the_signal(tmp_path, start, at_load):
    runner = start()
    report = runner.trial(models.division_trap(tmp_path, at_load=at_load), FEED)
    assert report.outcome is TrialOutcome.UNRUNNABLE
    assert report.signal == "SIGFPE"
    assert report.reason == "The runtime crashed on this model (SIGFPE, arithmetic error)."
    assert report.runtime.startswith("onnxruntime ")
    assert (report.code, report.quarantined) == ("runtime.crashed", True)
    assert report.tried_at
    assert not runner.alive


def test_a_crash_outside_a_trial_raises_with_the_signal(tmp_path, start):
    with pytest.raises(RunnerCrashedError) as caught:
        start().predict(models.division_trap(tmp_path, at_load=False), inputs=None, feed=FEED)
    assert caught.value.signal == "SIGFPE"
    assert caught.value.exit_code == 6


def test_a_trial_without_end_is_stopped_by_its_limit_and_the_runner_lives_on(tmp_path, start):
    runner = start(trial_s=0.5)
    report = runner.trial(models.endless_loop(tmp_path), FEED)
    assert report.outcome is TrialOutcome.UNRUNNABLE
    assert report.reason == (
        "The model did not finish its trial within 0.5 s; the setting trial.timeout_s raises the limit."
    )
    assert (report.code, report.quarantined) == ("runtime.timeout", True)
    assert runner.trial(models.adder(tmp_path), FEED).outcome is TrialOutcome.READY


def test_a_load_that_no_flag_stops_is_ended_by_force(tmp_path, start):
    runner = start(trial_s=0.5, grace_s=0.2)
    report = runner.trial(models.function_bomb(tmp_path), FEED)
    assert report.outcome is TrialOutcome.UNRUNNABLE
    assert "0.5 s" in report.reason
    assert not runner.alive


def test_a_prediction_over_its_limit_is_a_timeout(tmp_path, start):
    with pytest.raises(RunnerTimeoutError):
        start(predict_s=0.3).predict(models.endless_loop(tmp_path), inputs=None, feed=FEED)


def test_a_prediction_without_end_is_stopped_by_cancel_and_the_runner_lives_on(tmp_path, start):
    runner, token = start(), CancelToken()
    runner.wait_ready()
    threading.Timer(0.3, token.cancel).start()
    with pytest.raises(CancelledError):
        runner.predict(models.endless_loop(tmp_path), inputs=None, feed=FEED, cancel=token)
    assert runner.alive
    runner.predict(models.adder(tmp_path), inputs=None, feed=FEED)


def test_a_memory_bomb_meets_the_cap_and_the_runner_lives_on(tmp_path, start):
    runner = start(memory_bytes=512 << 20)
    report = runner.trial(models.memory_bomb(tmp_path), FEED)
    assert report.outcome is TrialOutcome.UNRUNNABLE
    assert report.reason == (
        "The model needs more memory than the 536.9 MB that it may use; the setting trial.memory raises the limit."
    )
    assert (report.code, report.signal, report.quarantined) == ("runtime.out_of_memory", "", True)
    assert runner.trial(models.adder(tmp_path), FEED).outcome is TrialOutcome.READY
    with pytest.raises(RunnerError) as caught:
        runner.predict(models.memory_bomb(tmp_path), inputs=None, feed=FEED)
    assert caught.value.code == "runtime.out_of_memory"


def test_a_kill_from_outside_is_named(tmp_path, start):
    runner = start()

    def kill(_frame) -> None:
        os.kill(runner.pid, signal.SIGKILL)

    with pytest.raises(RunnerCrashedError) as caught:
        runner.benchmark(models.adder(tmp_path), BenchmarkSpec(), on_frame=kill, cancel=CancelToken())
    assert caught.value.signal == "SIGKILL"
    assert "killed from outside" in caught.value.message


def test_cancel_of_a_runner_that_cannot_answer_keeps_the_samples_before_it(tmp_path, start):
    runner, token, phases = start(grace_s=0.05), CancelToken(), []

    def watch(frame) -> None:
        phases.append(frame.phase)
        if phases.count(Phase.MEASURING) == 2:
            os.kill(runner.pid, signal.SIGSTOP)  # as deaf as in the middle of one long operator, but never by chance
            token.cancel()

    spec = BenchmarkSpec(duration_s=600, warmup_s=0.05, warmup_runs=1, feed=FeedSpec(batch=3))
    raw = runner.benchmark(models.adder(tmp_path), spec, on_frame=watch, cancel=token)
    assert raw.cancelled
    assert raw.batch == 3, "throughput counts items, also in a partial result"
    assert len(raw.starts_s) == len(raw.latencies_ms) >= 2
    assert len(raw.warmup_starts_s) >= 1
    assert not runner.alive


def test_cancel_of_a_benchmark_whose_inference_never_ends_keeps_the_runner(tmp_path, start):
    runner, token = start(grace_s=5), CancelToken()
    runner.wait_ready()
    threading.Timer(0.5, token.cancel).start()
    raw = runner.benchmark(models.endless_loop(tmp_path), BenchmarkSpec(), on_frame=lambda _frame: None, cancel=token)
    assert raw.cancelled
    assert len(raw.starts_s) == 0
    assert runner.alive


def test_a_callback_that_raises_ends_the_run_it_watched(tmp_path, start):
    runner = start()

    def fail(_frame) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.benchmark(models.adder(tmp_path), BenchmarkSpec(), on_frame=fail, cancel=CancelToken())
    assert not runner.alive


def test_a_runner_that_cannot_start_does_not_blame_a_model(tmp_path, start, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "onnxruntime.py").write_text("raise ImportError('libonnxruntime is broken')")
    monkeypatch.setattr(child, "package_root", lambda: str(tmp_path / "broken") + os.pathsep + str(REPOSITORY))
    with pytest.raises(RunnerCrashedError) as caught:
        start().trial(models.adder(tmp_path), FEED)
    assert caught.value.message == "The runner process did not start (exit code 1)."
    assert "libonnxruntime is broken" in caught.value.detail


def test_closing_does_not_wait_for_a_callback_that_waits_for_the_closer(tmp_path, start):
    runner, entered, closed = start(), threading.Event(), threading.Event()

    def block(_frame) -> None:
        entered.set()
        closed.wait(20)

    def run() -> None:
        with pytest.raises(CancelledError):
            runner.benchmark(models.adder(tmp_path), BenchmarkSpec(), on_frame=block, cancel=CancelToken())

    with ThreadPoolExecutor(1) as threads:
        ran = threads.submit(run)
        assert entered.wait(20)
        runner.close()
        closed.set()
        ran.result(20)


def test_noise_on_stdout_and_stderr_goes_to_a_bounded_log_and_not_into_the_protocol(tmp_path, start):
    runner = start()
    runner.wait_ready()
    log = Path(f"/proc/{runner.pid}/fd/2")
    for descriptor in (1, 2):
        with Path(f"/proc/{runner.pid}/fd/{descriptor}").open("ab") as output:
            output.write(b"noise\n" * 400_000)
    assert runner.trial(models.adder(tmp_path), FEED).outcome is TrialOutcome.READY
    runner.read_facts(models.adder(tmp_path))  # answered after the log was cut
    assert log.stat().st_size <= 1 << 20
    with Path(f"/proc/{runner.pid}/fd/2").open("ab") as output:
        output.write(b"\x1b[31mlast words\n")
    with pytest.raises(RunnerCrashedError) as caught:
        runner.predict(models.division_trap(tmp_path, at_load=False), inputs=None, feed=FEED)
    assert "last words" in caught.value.detail
    assert "\x1b" not in caught.value.detail


def test_cancel_does_not_wait_for_a_runner_that_does_not_start(tmp_path, start):
    runner, token = start(start_s=5), CancelToken()
    os.kill(runner.pid, signal.SIGSTOP)
    threading.Timer(0.2, token.cancel).start()
    with pytest.raises(CancelledError):
        runner.benchmark(models.adder(tmp_path), BenchmarkSpec(), on_frame=lambda _frame: None, cancel=token)
    assert not runner.alive


def test_ending_a_runner_ends_the_call_under_way(tmp_path, start):
    runner = start()
    runner.wait_ready()
    threading.Timer(0.3, runner.close).start()
    with pytest.raises(CancelledError):
        runner.predict(models.endless_loop(tmp_path), inputs=None, feed=FEED)


def test_a_runner_ends_when_its_pipe_does(start):
    runner = start()
    runner.wait_ready()
    ended = open_process(runner.pid)
    runner._child.connection.close()
    assert wait_for_end(ended)


PARENT = """
import os, signal, sys, threading
from pathlib import Path
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.runtime.client import RunnerProcess
runner = RunnerProcess(Path(sys.argv[1]) / "logs")
runner.wait_ready()
if sys.argv[2] == "stopped":  # the kernel has to end it: it cannot notice the end of its pipe
    os.kill(runner.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, runner.pid, os.WSTOPPED | os.WNOWAIT)
print(runner.pid, flush=True)
if sys.argv[2] == "running":
    model = Path(sys.argv[1]) / "endless.onnx"
    endless = lambda: runner.predict(model, inputs=None, feed=FeedSpec())
    threading.Thread(target=endless, daemon=True).start()
sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["idle", "running", "stopped"])
@pytest.mark.parametrize("how", ["kill -9", "exit"])
def test_a_runner_ends_with_its_parent(tmp_path, state, how):
    models.endless_loop(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), state],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    child = open_process(int(parent.stdout.readline()))
    if how == "exit":
        parent.stdin.close()
    else:
        parent.kill()
    assert wait_for_end(child)
    assert not list((tmp_path / "logs").iterdir()), "nobody is left to clean up"
    assert parent.wait(10) == (0 if how == "exit" else -signal.SIGKILL)
    parent.stdout.close()
