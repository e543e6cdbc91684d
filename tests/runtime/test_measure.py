"""The closed loop measures inferences and nothing else."""

import gc
import itertools
import threading
import time

import numpy as np
import pytest
from measured_models import classifier, endless, gather, identity, nonzero, relu, save, sequence
from onnx import TensorProto, helper

from quickserveml_tui.core.benchmarks import BenchmarkSpec, Phase
from quickserveml_tui.core.errors import DataError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.runtime.measure import run_closed_loop
from quickserveml_tui.runtime.samples import CHUNK, Samples, thin
from quickserveml_tui.runtime.session import Session

SHORT = BenchmarkSpec(duration_s=20, max_runs=400, warmup_s=0.05, warmup_runs=5)


def ignore(_frame):
    pass


def never():
    return False


@pytest.fixture
def session(tmp_path):
    return Session(relu(tmp_path / "relu.onnx"))


# ---- what is measured


def test_a_run_ends_at_the_asked_number_and_keeps_warm_up_apart(session):
    raw = run_closed_loop(session, SHORT, ignore, never)
    assert len(raw.latencies_ms) == len(raw.starts_s) == 400
    assert len(raw.warmup_latencies_ms) == len(raw.warmup_starts_s) >= 5
    assert not raw.cancelled
    ends = raw.starts_s + raw.latencies_ms / 1000
    assert np.all(raw.latencies_ms > 0)
    assert np.all(raw.starts_s[1:] >= ends[:-1] - 1e-9)
    assert raw.starts_s[0] > raw.warmup_starts_s[-1]


def test_a_run_ends_when_its_time_is_over(session):
    spec = BenchmarkSpec(duration_s=0.2, warmup_s=0)
    raw = run_closed_loop(session, spec, ignore, never)
    assert len(raw.warmup_latencies_ms) == 0
    assert raw.starts_s[-2] - raw.starts_s[0] <= 0.2, (
        "the clock is read before each, so only the last one may begin late"
    )
    assert len(raw.latencies_ms) > 10


def test_a_warm_up_ends_early_only_after_its_fewest_runs(session):
    spec = BenchmarkSpec(duration_s=0.01, warmup_s=0.3, warmup_runs=1_000_000)
    raw = run_closed_loop(session, spec, ignore, never)
    assert raw.starts_s[0] >= 0.3


def test_an_inference_longer_than_the_duration_is_measured_once(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "x"], ["y"])]
    tensor = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [300, 300]) for name in "xy"]
    path = save(tmp_path / "m.onnx", nodes, tensor[:1], tensor[1:])
    raw = run_closed_loop(Session(path), BenchmarkSpec(duration_s=1e-6, warmup_s=0), ignore, never)
    assert len(raw.latencies_ms) == 1


def test_cpu_time_and_memory_are_measured(session):
    raw = run_closed_loop(session, BenchmarkSpec(duration_s=0.2, warmup_s=0), ignore, never)
    assert 0 < raw.cpu_s < 2
    assert 10_000_000 < raw.peak_rss_bytes < 2_000_000_000
    assert raw.preemptions is None or raw.preemptions >= 0


@pytest.mark.parametrize(
    ("shape", "feed", "batch"),
    [
        (["n", 4], FeedSpec(), 1),
        (["n", 4], FeedSpec(batch=8), 8),
        (["batch", 4], FeedSpec(dims={"batch": 3}), 3),
        (["batch", 4], FeedSpec(dims={"batch": 0}), 0),
        (["seq", 4], FeedSpec(dims={"seq": 9}), 1),
        ([2, 3, 4, 4], FeedSpec(), 2),
        ([128, 4], FeedSpec(), 1),
        ([None, 4], FeedSpec(batch=5), 5),
    ],
)
def test_the_batch_is_the_leading_dim_where_that_counts_items(tmp_path, shape, feed, batch):
    path = relu(tmp_path / "b.onnx", shape)
    raw = run_closed_loop(Session(path), BenchmarkSpec(max_runs=1, warmup_s=0, feed=feed), ignore, never)
    assert raw.batch == batch


@pytest.mark.parametrize(
    "build",
    [
        lambda path: identity(path, TensorProto.STRING),
        lambda path: identity(path, TensorProto.BOOL),
        lambda path: identity(path, TensorProto.INT8),
        lambda path: identity(path, TensorProto.FLOAT, []),
        lambda path: classifier(path, shape=[4, 2]),
        nonzero,
        sequence,
        gather,
    ],
)
def test_every_kind_of_input_and_output_can_be_measured(tmp_path, build):
    session = Session(build(tmp_path / "m.onnx"))
    raw = run_closed_loop(session, BenchmarkSpec(max_runs=30, warmup_s=0), ignore, never)
    assert len(raw.latencies_ms) == 30


def test_an_output_whose_shape_changes_from_run_to_run_can_be_measured(tmp_path):
    nodes = [
        helper.make_node("RandomUniformLike", ["x"], ["r"]),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Greater", ["r", "half"], ["big"]),
        helper.make_node("NonZero", ["big"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, [2, "found"])
    session = Session(save(tmp_path / "r.onnx", nodes, [x], [y]))
    raw = run_closed_loop(session, BenchmarkSpec(max_runs=200, warmup_s=0), ignore, never)
    assert len(raw.latencies_ms) == 200


# ---- frames


def test_frames_account_for_every_sample_and_never_lose_the_slowest(session):
    frames = []
    raw = run_closed_loop(session, BenchmarkSpec(duration_s=0.5, warmup_s=0.1), frames.append, never)
    measuring = [frame for frame in frames if frame.phase is Phase.MEASURING]
    assert [frame.phase for frame in frames] == sorted(
        (frame.phase for frame in frames), key=[Phase.WARMUP, Phase.MEASURING, Phase.DONE].index
    )
    assert sum(len(frame.latencies_ms) + frame.dropped for frame in measuring) == len(raw.latencies_ms)
    assert measuring[-1].count == frames[-1].count == len(raw.latencies_ms)
    assert frames[-1].phase is Phase.DONE
    assert all(len(frame.latencies_ms) == len(frame.starts_s) <= 2000 for frame in frames)
    assert max(max(frame.latencies_ms) for frame in measuring) == raw.latencies_ms.max()
    assert all(list(frame.starts_s) == sorted(frame.starts_s) for frame in frames)
    assert all(later.elapsed_s >= earlier.elapsed_s for earlier, later in itertools.pairwise(frames))
    assert all(frame.rss_bytes > frame.rss_anon_bytes > 0 for frame in measuring)


def test_no_frame_is_sent_inside_a_timed_inference(session):
    spans = []  # by the frames' own clock

    def emit(frame):
        begin = time.perf_counter_ns()
        while time.perf_counter_ns() < begin + 5_000_000:
            pass
        spans.append((frame.elapsed_s, frame.elapsed_s + (time.perf_counter_ns() - begin) / 1e9))

    raw = run_closed_loop(session, BenchmarkSpec(duration_s=0.5, warmup_s=0), emit, never)
    ends_s = raw.starts_s + raw.latencies_ms / 1000
    for begin_s, end_s in spans:
        assert not np.any((raw.starts_s < end_s) & (ends_s > begin_s))
    assert raw.paused_s >= sum(end - begin for begin, end in spans[:-2])


def test_what_the_sink_raises_comes_out_unchanged_and_garbage_collection_is_back(session):
    def emit(_frame):
        assert not gc.isenabled()
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_closed_loop(session, SHORT, emit, never)
    assert gc.isenabled()


# ---- stopping and failing


def test_a_stopped_run_returns_what_it_has(session):
    frames = []
    raw = run_closed_loop(
        session,
        BenchmarkSpec(duration_s=600, warmup_s=0),
        frames.append,
        lambda: sum(frame.phase is Phase.MEASURING for frame in frames) >= 3,
    )
    assert raw.cancelled
    assert len(raw.latencies_ms) == frames[-1].count > 0


def test_a_run_stopped_in_its_warm_up_has_no_measured_sample(session):
    frames = []
    raw = run_closed_loop(session, BenchmarkSpec(warmup_s=600), frames.append, lambda: bool(frames))
    assert raw.cancelled
    assert len(raw.latencies_ms) == 0
    assert len(raw.warmup_latencies_ms) > 0
    assert raw.batch == 1


def test_terminate_stops_an_inference_that_does_not_end(tmp_path):
    session = Session(endless(tmp_path / "endless.onnx"))
    done = threading.Event()

    def stop():
        while not done.wait(0.02):
            session.terminate()

    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        raw = run_closed_loop(session, BenchmarkSpec(), ignore, never)
    finally:
        done.set()
        stopper.join()
    assert raw.cancelled
    assert len(raw.latencies_ms) == 0


def test_an_inference_that_fails_is_a_typed_error(tmp_path):
    session = Session(gather(tmp_path / "gather.onnx"))
    spec = BenchmarkSpec(warmup_s=0, feed=FeedSpec(ranges={"x": (100, 200)}))
    with pytest.raises(DataError) as error:
        run_closed_loop(session, spec, ignore, never)
    assert error.value.code == "data.index"
    assert gc.isenabled()


def test_an_override_that_names_nothing_is_refused(session):
    with pytest.raises(UsageError):
        run_closed_loop(session, BenchmarkSpec(feed=FeedSpec(dims={"nothing": 3})), ignore, never)


# ---- the sample store


def test_samples_beyond_one_chunk_stay_in_order():
    samples, calls = Samples(), []
    far = time.perf_counter_ns() + 60_000_000_000
    samples.measure(lambda: calls.append(None), far, CHUNK - 3)
    samples.measure(lambda: calls.append(None), far, 2 * CHUNK + 5)
    starts, ends = samples.slice()
    assert samples.count == len(calls) == len(starts) == 2 * CHUNK + 5
    assert np.all(ends >= starts)
    assert np.all(starts[1:] >= ends[:-1])
    part = samples.slice(CHUNK - 2, CHUNK + 2)
    assert np.array_equal(part[0], starts[CHUNK - 2 : CHUNK + 2])
    assert samples.size_bytes == 3 * CHUNK * 16


def test_a_call_that_raises_leaves_the_samples_before_it():
    samples, calls = Samples(), iter([None] * 10)
    with pytest.raises(StopIteration):
        samples.measure(lambda: next(calls), time.perf_counter_ns() + 60_000_000_000, 1000)
    assert samples.count == len(samples.slice()[0]) == 10


def test_thinning_keeps_the_largest():
    latencies = np.random.default_rng(0).permutation(50_000)
    kept = thin(latencies)
    assert len(kept) <= 2000
    assert set(range(49_800, 50_000)) <= set(latencies[kept].tolist())
    assert np.array_equal(thin(latencies[:2000]), np.arange(2000))
