"""Made-up inputs that do not work are guesses: they cost little, decide nothing and leave nothing behind."""

from __future__ import annotations

import contextlib
import gc
import weakref

import numpy as np
import onnxruntime
import pytest
import runner_models as models
from onnx import TensorProto, helper

from quickserveml_tui.core.errors import DataError, ModelUnrunnableError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import TrialOutcome
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime import host, probing
from quickserveml_tui.runtime.client import RunnerProcess
from quickserveml_tui.runtime.feeds import synthesize
from quickserveml_tui.runtime.limits import RunnerLimits
from quickserveml_tui.runtime.pool import LocalRunnerPool
from quickserveml_tui.runtime.probing import find_feeds
from quickserveml_tui.runtime.session import Session
from quickserveml_tui.runtime.session_cache import SessionCache
from quickserveml_tui.runtime.settings import DEFAULT_SETTINGS
from quickserveml_tui.runtime.trial import run_trial

FEED = FeedSpec()
node = helper.make_node


def picky(folder, name="picky.onnx"):
    """Runs when `n` times `k` is 343, which no guess is."""
    target = models.constant("target", np.array([343], np.int64))
    return models.save(
        folder / name,
        [node("Reshape", ["x", "target"], ["y"])],
        [models.value("x", shape=["n", "k"])],
        [models.value("y", shape=[343])],
        [target],
    )


def of_eight(folder):
    """Runs when `n` times `k` is 8: not at first."""
    return models.save(
        folder / "eight.onnx",
        [node("Reshape", ["x", "target"], ["y"])],
        [models.value("x", shape=["n", "k"])],
        [models.value("y", shape=[8])],
        [models.constant("target", np.array([8], np.int64))],
    )


def greedy(folder):
    """Runs on [7, 7, 7] alone, and takes 64 GB for [1, 512, 512, 512] before it finds that out."""
    nodes = [
        node("Unsqueeze", ["x", "axes"], ["u"]),
        node("Expand", ["u", "times"], ["e"]),
        node("ReduceSum", ["e"], ["r"], keepdims=0),
        node("Reshape", ["x", "seven"], ["z"]),
        node("Add", ["z", "r"], ["y"]),
    ]
    constants = [
        models.constant("axes", np.array([0])),
        models.constant("times", np.array([64, 1, 1, 1, 1])),
        models.constant("seven", np.array([7, 7, 7])),
    ]
    inputs = [models.value("x", shape=[1, "a", "b", "c"])]
    return models.save(folder / "greedy.onnx", nodes, inputs, [models.value("y", shape=None)], constants)


def divisor_trap(folder):
    """INT64_MIN / (2x - 1): each 0 in x ends the process by SIGFPE, each 1 does not."""
    nodes = [
        node("Add", ["x", "x"], ["twice"]),
        node("Sub", ["twice", "one"], ["divisor"]),
        node("Div", ["low", "divisor"], ["y"]),
    ]
    constants = [
        models.constant("one", np.array(1, np.int64)),
        models.constant("low", np.array([models.INT64_MIN], np.int64)),
    ]
    int64 = TensorProto.INT64
    return models.save(
        folder / "divisor.onnx", nodes, [models.value("x", int64, [64])], [models.value("y", int64, [64])], constants
    )


@pytest.fixture
def no_cap(monkeypatch):
    """Nothing caps the memory of the test's own process."""
    monkeypatch.setattr(host, "limit_data", lambda _size: False)


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("build", [of_eight, picky])
@pytest.mark.usefixtures("no_collector")
def test_a_search_for_inputs_keeps_nothing_of_the_session(tmp_path, build):
    session = Session(build(tmp_path))
    held = weakref.ref(session)
    with contextlib.suppress(DataError):
        find_feeds(session, FEED, CancelToken())
    del session
    assert held() is None


@pytest.mark.usefixtures("no_cap", "no_collector")
def test_no_session_lives_after_a_trial(tmp_path):
    before = sum(isinstance(item, Session) for item in gc.get_objects())
    assert run_trial(SessionCache(), of_eight(tmp_path), FEED, CancelToken()).outcome is TrialOutcome.READY
    assert sum(isinstance(item, Session) for item in gc.get_objects()) == before


@pytest.mark.usefixtures("no_cap")
def test_the_session_of_another_file_is_dropped_before_memory_is_capped_for_this_one(tmp_path):
    cache, path = SessionCache(), models.adder(tmp_path)
    held = weakref.ref(cache.open(path, DEFAULT_SETTINGS))
    cache.make_room(path)
    assert held() is not None
    cache.make_room(models.adder(tmp_path, "other.onnx"))
    assert held() is None


def test_a_guess_that_takes_all_memory_does_not_decide_the_verdict(tmp_path):
    runner = RunnerProcess(tmp_path / "logs", limits=RunnerLimits(memory_bytes=512 << 20))
    try:
        report = runner.trial(greedy(tmp_path), FEED)
    finally:
        runner.close()
    assert report.outcome is TrialOutcome.UNRUNNABLE
    assert report.code.startswith("data.")
    assert not report.quarantined
    assert "Tried a = 1, 8" in report.detail


class Slow:
    """A session on which each run costs some of a made-up clock."""

    def __init__(self, session, clock, costs):
        self.inputs, self.path = session.inputs, session.path
        self.sizes, self._clock, self._costs = [], clock, costs

    def run(self, feeds, cancel):
        cancel.raise_if_cancelled()
        (array,) = feeds.values()
        self.sizes.append(max(array.shape))
        self._clock[0] += self._costs(self.sizes[-1])
        raise DataError("Another shape is needed.")


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(probing.time, "monotonic", lambda: now[0])
    return now


def test_after_a_slow_guess_no_larger_size_is_tried(tmp_path, clock):
    slow = Slow(Session(picky(tmp_path)), clock, lambda size: 1.5 if size == 32 else 0.0)
    with pytest.raises(DataError, match="Another shape"):
        find_feeds(slow, FEED, CancelToken())
    assert max(slow.sizes) == 32


def test_no_guess_of_a_size_begins_after_the_time_for_guesses(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(probing, "PROBE_S", 2.0)
    slow = Slow(Session(picky(tmp_path)), clock, lambda _size: 0.9)
    with pytest.raises(DataError, match="Another shape"):
        find_feeds(slow, FEED, CancelToken())
    assert len(slow.sizes) == 1 + 3


def test_a_guess_without_end_is_ended_and_the_first_error_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(probing, "CUT_S", 0.2)
    body = helper.make_graph(
        [node("Identity", ["c"], ["c_out"]), node("Add", ["v", "v"], ["v_out"])],
        "body",
        [
            models.value("i", TensorProto.INT64, []),
            models.value("c", TensorProto.BOOL, []),
            models.value("v", shape=None),
        ],
        [models.value("c_out", TensorProto.BOOL, []), models.value("v_out", shape=None)],
    )
    nodes = [node("Reshape", ["x", "target"], ["v"]), node("Loop", ["trips", "go", "v"], ["y"], body=body)]
    constants = [
        models.constant("target", np.array([8], np.int64)),
        models.constant("trips", np.array(2**62, np.int64)),
        models.constant("go", np.array(True)),
    ]
    path = models.save(
        tmp_path / "m.onnx", nodes, [models.value("x", shape=[1, "n"])], [models.value("y", shape=None)], constants
    )
    with pytest.raises(DataError) as caught:
        find_feeds(Session(path), FEED, CancelToken())
    assert "Tried n = 1, 8" in caught.value.hint


def test_a_runner_is_not_used_again_after_a_model_took_all_its_memory(tmp_path):
    pool = LocalRunnerPool(tmp_path / "logs", limits=RunnerLimits(memory_bytes=512 << 20))
    try:
        with pool.borrow() as runner:
            assert runner.trial(models.memory_bomb(tmp_path), FEED).code == "runtime.out_of_memory"
        assert not runner.alive
        with pool.borrow() as other:
            assert other is not runner
            assert other.trial(models.adder(tmp_path), FEED).outcome is TrialOutcome.READY
        with pool.borrow() as again:
            assert again is other
    finally:
        pool.close()


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "int4"])
def test_scalar_integers_are_1_whatever_the_seed(dtype):
    inputs = (TensorSpec("step", dtype, ()),)
    made = [synthesize(inputs, FeedSpec(seed=seed))["step"] for seed in range(8)]
    assert all(value.shape == () and int(value) == 1 for value in made)
    assert made[0].dtype == synthesize((TensorSpec("step", dtype, (1,)),), FEED)["step"].dtype
    assert int(synthesize(inputs, FeedSpec(ranges={"step": (0, 0)}))["step"]) == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_short_time_fourier_transform_runs_on_a_made_up_step(tmp_path, seed):
    nodes = [node("STFT", ["signal", "step", "", "length"], ["y"])]
    inputs = [models.value("signal", shape=[1, 128, 1]), models.value("step", TensorProto.INT64, [])]
    path = models.save(
        tmp_path / "stft.onnx", nodes, inputs, [models.value("y", shape=None)],
        [models.constant("length", np.array(16, np.int64))],
    )  # fmt: skip
    runner = RunnerProcess(tmp_path / "logs")
    try:
        assert runner.trial(path, FeedSpec(seed=seed)).outcome is TrialOutcome.READY
    finally:
        runner.close()


def test_a_model_that_only_a_made_up_0_kills_is_tried_again_in_a_new_process_with_1(tmp_path):
    runner = RunnerProcess(tmp_path / "logs")
    try:
        first = runner.wait_ready().pid
        report = runner.trial(divisor_trap(tmp_path), FEED)
        assert (report.outcome, report.code, report.quarantined) == (TrialOutcome.READY, "", False)
        assert "SIGFPE" in report.warning
        assert runner.alive
        assert runner.pid != first
        assert runner.trial(models.adder(tmp_path), FEED).warning == ""
    finally:
        runner.close()


def test_values_that_were_asked_for_are_not_replaced_after_a_crash(tmp_path):
    runner = RunnerProcess(tmp_path / "logs")
    try:
        report = runner.trial(divisor_trap(tmp_path), FeedSpec(ranges={"x": (0.0, 0.0)}))
    finally:
        runner.close()
    assert (report.outcome, report.signal) == (TrialOutcome.UNRUNNABLE, "SIGFPE")


def test_a_file_that_does_not_load_is_loaded_once_and_nothing_is_printed(tmp_path, monkeypatch, capsys):
    loads = []

    def fail(_session, *_args) -> None:
        loads.append(1)
        raise ValueError("The binding is not content.")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(ModelUnrunnableError):
        Session(models.adder(tmp_path))
    assert (len(loads), capsys.readouterr().out) == (1, "")


@pytest.mark.parametrize("op", ["Log", "Abs"])
def test_outputs_without_a_finite_number_are_warned_of(tmp_path, op) -> None:
    nodes = [node("Sub", ["x", "x"], ["z"]), node(op, ["z"], ["y"])]
    path = models.save(tmp_path / "odd.onnx", nodes, [models.value("x", shape=[3])], [models.value("y", shape=[3])], [])
    report = run_trial(SessionCache(), path, FEED, CancelToken())
    assert report.outcome is TrialOutcome.READY
    assert ("nothing but NaN and infinity in “y”" in report.warning) == (op == "Log")
