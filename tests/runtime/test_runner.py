"""Runners and their pool in ordinary use."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import runner_models as models
from onnx import TensorProto
from runner_waits import open_process, wait_for_end

import quickserveml_tui
from quickserveml_tui.core.benchmarks import BenchmarkSpec, Phase
from quickserveml_tui.core.errors import DataError, ModelError, RunnerCrashedError, UnavailableError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import TrialOutcome
from quickserveml_tui.core.predictions import BatchSpec
from quickserveml_tui.runtime import host
from quickserveml_tui.runtime.client import RunnerProcess
from quickserveml_tui.runtime.pool import LocalRunnerPool

FEED = FeedSpec()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with LocalRunnerPool(tmp_path_factory.mktemp("logs")).borrow() as runner:
        yield runner
        runner.close()


@pytest.fixture
def pool(tmp_path):
    pool = LocalRunnerPool(tmp_path / "logs")
    yield pool
    pool.close()


def test_a_good_model_is_ready_with_its_times(tmp_path, shared):
    report = shared.trial(models.adder(tmp_path), FEED)
    assert report.outcome is TrialOutcome.READY
    assert report.reason == ""
    assert report.load_ms > 0
    assert report.run_ms > 0


def test_a_file_that_is_no_model_is_rejected(tmp_path, shared):
    path = tmp_path / "page.onnx"
    path.write_text("<!DOCTYPE html><html><body>404</body></html>")
    report = shared.trial(path, FEED)
    assert report.outcome is TrialOutcome.REJECTED
    assert report.reason


def test_every_cut_of_a_model_is_rejected_or_unrunnable_never_a_crash(tmp_path, shared):
    whole = models.adder(tmp_path).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        assert shared.trial(tmp_path / "cut.onnx", FEED).outcome is not TrialOutcome.READY, length
    assert shared.alive


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "gone.bin"])
def test_unsafe_or_missing_external_data_is_rejected(tmp_path, shared, location):
    assert shared.trial(models.external(tmp_path, location), FEED).outcome is TrialOutcome.REJECTED


def test_a_model_the_runtime_refuses_is_unrunnable_with_the_reason(tmp_path, shared):
    path = models.adder(tmp_path)
    model = models.load(path)
    model.opset_import[0].version = 99
    path.write_bytes(model.SerializeToString())
    report = shared.trial(path, FEED)
    assert report.outcome is TrialOutcome.UNRUNNABLE
    assert report.reason.startswith("Opset 99 is newer than onnxruntime")


def test_a_model_that_needs_larger_images_than_one_pixel_is_ready_and_runs_everywhere(tmp_path, shared):
    path = models.unsized_convolution(tmp_path)
    assert shared.trial(path, FEED).outcome is TrialOutcome.READY
    assert shared.predict(path, inputs=None, feed=FEED).outputs["y"].ndim == 4
    spec = BenchmarkSpec(duration_s=60, max_runs=3, warmup_s=0.05, warmup_runs=1)
    raw = shared.benchmark(path, spec, on_frame=lambda _frame: None, cancel=CancelToken())
    assert raw.shapes == {"x": (1, 1, 8, 8)}
    with pytest.raises(DataError):
        shared.predict(path, inputs=None, feed=FeedSpec(shapes={"x": (1, 1, 2, 2)}))


def test_inputs_of_unknown_rank_are_fed_with_one_dim_and_scalars_with_none(tmp_path, shared):
    unranked = models.identity(tmp_path, TensorProto.FLOAT, None)
    scalar = models.identity(tmp_path, TensorProto.FLOAT, [], name="scalar.onnx")
    assert shared.predict(unranked, inputs=None, feed=FEED).outputs["y"].shape == (1,)
    assert shared.predict(scalar, inputs=None, feed=FEED).outputs["y"].shape == ()


def test_a_wrong_override_of_a_trial_is_the_callers_error(tmp_path, shared):
    with pytest.raises(UsageError):
        shared.trial(models.adder(tmp_path), FeedSpec(dims={"M": 3}))


def test_predictions_take_arrays_files_or_nothing(tmp_path, shared):
    path = models.adder(tmp_path)
    given = np.array([[1, 2, 3, 4]], np.float32)
    np.savez(tmp_path / "in.npz", x=given)
    for inputs in ({"x": given}, {"x": given.tolist()}, tmp_path / "in.npz"):
        prediction = shared.predict(path, inputs=inputs, feed=FEED)
        np.testing.assert_array_equal(prediction.outputs["y"], given + 1)
        assert prediction.dtypes == {"y": "float32"}
        assert not prediction.synthetic
    assert shared.predict(path, inputs=None, feed=FEED).synthetic


@pytest.mark.parametrize(
    ("dtype", "given"),
    [
        (TensorProto.STRING, np.array([["é", "", "b\n", "\U0001f600"]], dtype=object)),
        (TensorProto.BOOL, np.array([[True, False, True, True]])),
        (TensorProto.INT64, np.array([[2**63 - 1, -(2**63), 0, 1]])),
        (TensorProto.FLOAT16, np.array([[1, np.nan, np.inf, -0.0]], np.float16)),
        (TensorProto.FLOAT, np.zeros((0, 4), np.float32)),
    ],
)
def test_values_cross_the_process_border_unchanged(tmp_path, shared, dtype, given):
    result = shared.predict(models.identity(tmp_path, dtype), inputs={"x": given}, feed=FEED).outputs["y"]
    assert result.dtype == given.dtype
    np.testing.assert_array_equal(result, given)


def test_a_file_that_is_replaced_is_loaded_anew(tmp_path, shared):
    path = models.adder(tmp_path)
    given = np.zeros((1, 4), np.float32)
    assert shared.predict(path, inputs={"x": given}, feed=FEED).outputs["y"][0, 0] == 1
    models.identity(tmp_path, TensorProto.FLOAT, name="new.onnx").replace(path)
    assert shared.predict(path, inputs={"x": given}, feed=FEED).outputs["y"][0, 0] == 0


def test_facts_and_layers_are_read_in_the_runner(tmp_path, shared):
    path = models.adder(tmp_path)
    assert shared.read_facts(path).nodes == 1
    assert shared.read_layers(path).rows[0].op == "Add"
    assert shared.external_files(path) == ()


def test_a_benchmark_returns_what_its_frames_showed(tmp_path, shared):
    frames = []
    spec = BenchmarkSpec(duration_s=60, max_runs=50, warmup_s=0.05, warmup_runs=1)
    raw = shared.benchmark(models.adder(tmp_path), spec, on_frame=frames.append, cancel=CancelToken())
    assert len(raw.starts_s) == len(raw.latencies_ms) == 50
    assert not raw.cancelled
    assert sum(len(frame.latencies_ms) + frame.dropped for frame in frames if frame.phase is Phase.MEASURING) == 50
    assert raw.shapes == {"x": (1, 4)}


def test_a_data_set_is_read_and_run_inside_the_runner(tmp_path, shared):
    reports = []
    np.savez(tmp_path / "data.npz", x=np.arange(40, dtype=np.float32).reshape(10, 4))
    spec = BatchSpec(batch_size=3, output_path=str(tmp_path / "out.jsonl"))
    result = shared.batch(
        models.adder(tmp_path), tmp_path / "data.npz", spec, on_progress=reports.append, cancel=CancelToken()
    )
    assert (result.rows, result.failed, result.cancelled) == (10, 0, False)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 10
    assert reports[-1].done == 10


def test_a_measured_runner_has_a_core_of_its_own_and_gives_it_back(tmp_path, pool):
    if not host.CAN_PIN or len(host.available_cpus()) < 2:
        pytest.skip("needs two cores that can be bound")
    before, during = os.sched_getaffinity(0), []
    spec = BenchmarkSpec(duration_s=60, max_runs=20, warmup_s=0.05, warmup_runs=1)
    with pool.fresh() as runner:
        raw = runner.benchmark(
            models.adder(tmp_path), spec, on_frame=lambda _f: during.append(os.sched_getaffinity(0)),
            cancel=CancelToken(),
        )  # fmt: skip
        assert raw.pinned_cpus == (max(before),)
    assert all(max(before) not in cpus for cpus in during)
    assert os.sched_getaffinity(0) == before
    assert not runner.alive


def test_a_runner_is_used_again_after_ordinary_errors(tmp_path, pool):
    pids = set()
    for _ in range(3):
        with pool.borrow() as runner:
            pids.add(runner.pid)
            with pytest.raises(ModelError):
                runner.predict(tmp_path / "none.onnx", inputs=None, feed=FEED)
        with pool.borrow() as runner, pytest.raises(DataError):
            runner.predict(models.adder(tmp_path), inputs={"z": [1]}, feed=FEED)
    assert len(pids) == 1


def test_a_crashed_runner_is_replaced(tmp_path, pool):
    with pool.borrow() as first, pytest.raises(RunnerCrashedError):
        first.predict(models.division_trap(tmp_path, at_load=True), inputs=None, feed=FEED)
    with pool.borrow() as second:
        assert second.pid != first.pid
        assert second.trial(models.adder(tmp_path), FEED).outcome is TrialOutcome.READY


def test_threads_borrow_runners_of_their_own_at_once(tmp_path, pool):
    path, meet = models.adder(tmp_path), threading.Barrier(3)

    def work(_index: int) -> int:
        with pool.borrow() as runner:
            meet.wait(30)
            assert runner.trial(path, FEED).outcome is TrialOutcome.READY
            return runner.pid

    with ThreadPoolExecutor(3) as threads:
        assert len(set(threads.map(work, range(3)))) == 3


def test_a_runner_outlives_the_thread_that_asked_for_it(tmp_path, pool):
    def start() -> None:
        with pool.borrow() as runner:
            runner.wait_ready()

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    with pool.borrow() as runner:
        with pytest.raises(DataError):  # the kernel has had time to deliver a signal
            runner.predict(models.adder(tmp_path), inputs={}, feed=FEED)
        assert runner.trial(models.adder(tmp_path), FEED).outcome is TrialOutcome.READY


def test_a_spare_is_started_once_and_used(pool):
    pool.warm_up()
    pool.warm_up()
    with pool.borrow() as runner:
        runner.wait_ready()
    with pool.borrow() as again:
        assert again.pid == runner.pid


def test_closing_the_pool_twice_ends_all_runners_and_leaves_no_log(tmp_path, pool):
    pool.warm_up()
    with pool.borrow() as runner:
        ended = open_process(runner.pid)
        pool.close()
        pool.close()
    assert wait_for_end(ended)
    assert list((tmp_path / "logs").iterdir()) == []
    with pytest.raises(UnavailableError), pool.borrow():
        pass


def test_a_forgotten_runner_is_ended_when_it_is_collected(tmp_path):
    runner = RunnerProcess(tmp_path)
    runner.wait_ready()
    ended = open_process(runner.pid)
    os.kill(runner.pid, signal.SIGSTOP)  # so that it cannot notice the end of its pipe
    os.waitid(os.P_PID, runner.pid, os.WSTOPPED | os.WNOWAIT)
    del runner
    gc.collect()
    assert wait_for_end(ended)


def test_the_parent_loads_neither_onnx_nor_onnxruntime_nor_numpy_for_a_trial(tmp_path):
    code = """
import sys
from pathlib import Path
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.runtime.pool import LocalRunnerPool
pool = LocalRunnerPool(Path(sys.argv[1]) / "logs")
with pool.borrow() as runner:
    assert runner.trial(Path(sys.argv[2]), FeedSpec()).outcome == "ready"
pool.close()
print(sorted({"numpy", "onnx", "onnxruntime"} & set(sys.modules)))
"""
    root = str(Path(quickserveml_tui.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(models.adder(tmp_path))],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_odd_python_variables_of_the_parent_do_not_reach_the_runner(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONSTARTUP", "/nonexistent")
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    runner = RunnerProcess(tmp_path / "logs")
    assert runner.trial(models.adder(tmp_path), FEED).outcome is TrialOutcome.READY
    runner.close()


def test_a_file_name_that_is_not_unicode_is_read(tmp_path, shared):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff\x1b[31m.onnx"))
    models.adder(tmp_path).rename(path)
    report = shared.trial(path, FEED)
    assert "\x1b" not in report.reason
    assert shared.read_facts(path).nodes == 1
