"""Benchmarks through the service: real models, real runner processes, real stores."""

import importlib.metadata
import io
import json
import os
import sqlite3
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from quickserveml_tui.core.benchmarks import BenchmarkFrame, BenchmarkSpec, Ending, Phase
from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import (
    CancelledError,
    DataError,
    NotFoundError,
    RunnerCrashedError,
    UsageError,
)
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.runners import RawBenchmark
from quickserveml_tui.core.statistics import HostNoise
from quickserveml_tui.runtime.meter import HostCounters
from quickserveml_tui.services import benchmark_summary
from quickserveml_tui.services.benchmark_summary import summarise_run
from quickserveml_tui.services.home import open_workbench

QUICK = BenchmarkSpec(duration_s=0.4, warmup_s=0.1, warmup_runs=5)


def write(path, nodes, shape, dtype=TensorProto.FLOAT):
    x, y = (helper.make_tensor_value_info(name, dtype, shape) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A workbench with one registered model."""
    folder = tmp_path_factory.mktemp("bench")
    write(folder / "relu.onnx", [helper.make_node("Relu", ["x"], ["y"])], ["n", 64])
    workbench = open_workbench(folder / "home")
    workbench.catalog.add(AddRequest(str(folder / "relu.onnx")))
    yield workbench
    workbench.close()


def test_a_run_measures_summarises_and_is_kept_with_its_samples(bench):
    frames = []
    run = bench.benchmark.run("relu", QUICK, on_frame=frames.append)
    summary = run.summary
    assert run.ref == "relu@1"
    assert run.model == bench.catalog.show("relu").model.id
    assert run.version == 1
    assert summary.n > 100
    assert summary.warmup >= 5
    assert 0 < summary.latency_ms.min <= summary.latency_ms.p50 <= summary.latency_ms.p99 <= summary.latency_ms.max
    assert summary.intervals["p50"] is not None
    assert sum(summary.histogram.counts) == summary.n
    assert summary.throughput_per_s == pytest.approx(summary.n / summary.elapsed_s, rel=0.5)
    assert summary.noise_reason
    assert not summary.cancelled
    assert [frames[0].phase, frames[-1].phase] == [Phase.LOADING, Phase.DONE]
    assert {frame.phase for frame in frames} == set(Phase)
    assert bench.benchmark.get(run.id) == run
    assert bench.benchmark.history("relu")[0] == run
    assert bench.benchmark.history("relu@1", limit=1) == (run,)
    assert bench.catalog.show("relu").p50_ms() == summary.latency_ms.p50
    samples = np.load(io.BytesIO(bench.artifacts.read_bytes(run.samples_digest)), allow_pickle=False)
    assert len(samples["latencies_ms"]) == len(samples["starts_s"]) == summary.n
    assert len(samples["warmup_latencies_ms"]) == summary.warmup
    assert np.median(samples["latencies_ms"]) == pytest.approx(summary.latency_ms.p50)


def test_the_fingerprint_names_the_model_the_machine_and_the_runtime(bench):
    run = bench.benchmark.run("relu", QUICK, save=False)
    fingerprint = run.fingerprint
    assert fingerprint.model_digest == bench.catalog.resolve("relu").digest
    assert fingerprint.runtime == f"onnxruntime {importlib.metadata.version('onnxruntime')}"
    assert fingerprint.provider == "CPUExecutionProvider"
    assert fingerprint.cores == len(os.sched_getaffinity(0))
    assert fingerprint.memory_bytes > 0
    assert fingerprint.load_before is not None
    assert fingerprint.load_after is not None
    assert fingerprint.version


def test_the_command_reproduces_the_settings(bench):
    spec = BenchmarkSpec(duration_s=0.1, warmup_s=0, intra_op_threads=2, feed=FeedSpec(batch=4))
    run = bench.benchmark.run("relu", spec, save=False)
    settings = "--duration 0.1s --warmup 0s --threads 2 --batch 4"
    assert run.command == f"quickserveml benchmark relu@1 {settings} --home {bench.home}"
    assert run.summary.batch == 4
    assert run.summary.throughput_per_s == pytest.approx(4 * run.summary.n / run.summary.elapsed_s, rel=0.5)


def test_a_run_ends_once_the_figure_that_was_asked_for_is_precise_enough(bench):
    spec = BenchmarkSpec(duration_s=60, warmup_s=0.1, precision=0.2, precision_of="p90")
    run = bench.benchmark.run("relu", spec)
    summary = run.summary
    assert summary.ended_by is Ending.PRECISION
    assert summary.elapsed_s < 60
    assert summary.precision <= 0.2
    interval = summary.intervals["p90"]
    assert (interval.high - interval.low) / 2 / summary.latency_ms.p90 == pytest.approx(summary.precision)
    assert "--precision p90=20%" in run.command
    assert bench.benchmark.get(run.id) == run


def test_a_run_says_why_it_ended_and_what_its_figures_are_worth(bench):
    run = bench.benchmark.run("relu", QUICK, save=False)
    assert run.summary.ended_by is Ending.TIME
    assert run.summary.precision is None
    assert set(run.summary.effective_n) == {"p50", "p90", "p95", "p99", "mean"}
    assert run.summary.outliers.count == sum(run.summary.outliers.causes.values())
    few = bench.benchmark.run("relu", BenchmarkSpec(duration_s=60, max_runs=30, warmup_s=0.1), save=False)
    assert few.summary.ended_by is Ending.RUNS
    assert few.summary.intervals["p99"] is None


def test_a_run_of_an_older_version_without_these_figures_still_loads(bench):
    run = bench.benchmark.run("relu", QUICK)
    with sqlite3.connect(bench.home / "state.db") as state:
        (text,) = state.execute("SELECT document FROM benchmark_runs WHERE id = ?", (run.id,)).fetchone()
        document = json.loads(text)
        for name in ("effective_n", "autocorrelation", "steady_from_s", "drift", "outliers", "ended_by", "precision"):
            del document["summary"][name]
        for name in ("precision", "precision_of"):
            del document["spec"][name]
        state.execute("UPDATE benchmark_runs SET document = ? WHERE id = ?", (json.dumps(document).encode(), run.id))
    old = bench.benchmark.get(run.id)
    assert old.summary.latency_ms == run.summary.latency_ms
    assert old.summary.outliers is None
    assert old.summary.ended_by is None
    assert old.spec == run.spec


def test_a_run_that_is_not_saved_leaves_no_trace(bench):
    before = bench.benchmark.history()
    run = bench.benchmark.run("relu", QUICK, save=False)
    assert run.samples_digest == ""
    assert bench.benchmark.history() == before


def test_cancel_keeps_the_partial_result_and_saves_it(bench):
    cancel = CancelToken()

    def stop(frame):
        if frame.phase is Phase.MEASURING and frame.count > 10:
            cancel.cancel()

    began = time.monotonic()
    run = bench.benchmark.run("relu", BenchmarkSpec(duration_s=600, warmup_s=0), on_frame=stop, cancel=cancel)
    assert time.monotonic() - began < 60
    assert run.summary.cancelled
    assert run.summary.n > 10
    assert bench.benchmark.get(run.id).summary.cancelled


def test_cancel_before_the_first_measured_inference_is_an_error_and_nothing_is_saved(bench):
    before, cancel = bench.benchmark.history(), CancelToken()

    def stop(frame):
        if frame.phase is Phase.WARMUP:
            cancel.cancel()

    with pytest.raises(CancelledError):
        bench.benchmark.run("relu", BenchmarkSpec(warmup_s=600), on_frame=stop, cancel=cancel)
    cancelled = CancelToken()
    cancelled.cancel()
    with pytest.raises(CancelledError):
        bench.benchmark.run("relu", QUICK, cancel=cancelled)
    assert bench.benchmark.history() == before


def test_a_file_that_is_not_registered_can_be_measured_and_has_its_own_history(bench, tmp_path):
    path = write(tmp_path / "loose.onnx", [helper.make_node("Sin", ["x"], ["y"])], ["n", 8])
    run = bench.benchmark.run(str(path), QUICK)
    assert (run.ref, run.model, run.version) == (str(path), "", None)
    assert bench.benchmark.history(str(path)) == (run,)
    assert run.id not in {other.id for other in bench.benchmark.history("relu")}


def test_a_model_that_kills_its_runner_names_the_signal_and_the_next_run_works(bench, tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["minus"], value_int=-1),
        helper.make_node("Div", ["x", "minus"], ["y"]),
    ]
    path = write(tmp_path / "kills.onnx", nodes, ["n", 4], TensorProto.INT64)
    low = float(np.iinfo(np.int64).min)
    with pytest.raises(RunnerCrashedError) as error:
        bench.benchmark.run(str(path), BenchmarkSpec(feed=FeedSpec(ranges={"x": (low, low)})))
    assert error.value.signal == "SIGFPE"
    assert bench.benchmark.run("relu", QUICK, save=False).summary.n > 0


def test_settings_out_of_range_and_unknown_names_are_refused_before_a_runner_starts(bench):
    with pytest.raises(UsageError):
        bench.benchmark.run("relu", BenchmarkSpec(duration_s=0))
    with pytest.raises(NotFoundError):
        bench.benchmark.run("nothing", QUICK)
    with pytest.raises(NotFoundError) as error:
        bench.benchmark.get("bench-\x1b[31m")
    assert "\x1b" not in error.value.message


def test_inputs_that_the_model_refuses_are_a_data_error(bench, tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["shape"], value_ints=[3, 5]),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    path = write(tmp_path / "reshape.onnx", nodes, ["n", "m"])
    with pytest.raises(DataError):
        bench.benchmark.run(str(path), QUICK)


def test_the_fingerprint_is_taken_without_importing_the_runtime():
    code = (
        "import sys; from quickserveml_tui.runtime.fingerprint import take_fingerprint;"
        "from quickserveml_tui.core.benchmarks import BenchmarkSpec;"
        "assert take_fingerprint('d', BenchmarkSpec()).runtime;"
        "from quickserveml_tui.services import batch, benchmark, predict;"
        "assert not {'onnxruntime', 'onnx', 'numpy'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- the summary of raw samples


def raw(latencies_ms, gap_ms=0.0, **changes):
    latencies = np.asarray(latencies_ms, dtype=float)
    starts = np.concatenate([[0.0], np.cumsum(latencies[:-1] + gap_ms)]) / 1000
    fields = {
        "cpu_s": 0.5, "peak_rss_bytes": 10_000_000, "batch": 1, "pinned_cpus": (1,), "cancelled": False,
        "warmup_starts_s": np.zeros(3), "warmup_latencies_ms": np.ones(3),
    }  # fmt: skip
    return RawBenchmark(starts_s=starts, latencies_ms=latencies, **{**fields, **changes})


def test_throughput_and_cpu_leave_out_the_time_that_frames_took():
    summary = summarise_run(raw([10.0] * 100, gap_ms=10.0, paused_s=0.99, batch=8), HostNoise(cores=2))
    assert summary.elapsed_s == pytest.approx(1.99)
    assert summary.throughput_per_s == pytest.approx(800)
    assert summary.cpu_percent == pytest.approx(50)
    assert summary.peak_rss_mb == 10.0
    assert summary.warmup == 3


def watch_a_busy_second(pinned, monkeypatch):
    """A watched run of one second on two cores, in which this process used 0.9 s and everything together 2.0 s."""
    clocks = iter([(10.0, 5.0, 100.0), (11.0, 5.9, 102.0)])

    def read():
        at_s, cpu_s, busy_s = next(clocks)
        return benchmark_summary._Reading(at_s, cpu_s, HostCounters(busy_s, 0.0, 2 * at_s))

    monkeypatch.setattr(benchmark_summary, "_read", read)
    watch = benchmark_summary.HostWatch(None, cores=2, threads=1)
    for phase in (Phase.WARMUP, Phase.MEASURING, Phase.MEASURING, Phase.DONE):
        watch.on_frame(BenchmarkFrame(phase, 0.0, (), (), 0))
    return watch.noise(raw([10.0] * 100, cpu_s=1.0, pinned_cpus=pinned), load_before=0.0)


def test_what_this_process_does_beside_a_pinned_run_is_no_noise(monkeypatch):
    assert watch_a_busy_second((1,), monkeypatch).other_cpus == pytest.approx(0.1)
    assert watch_a_busy_second((), monkeypatch).other_cpus == pytest.approx(1.0)


def test_one_sample_makes_a_summary():
    summary = summarise_run(raw([5.0]), HostNoise(cores=2))
    assert (summary.n, summary.latency_ms.p99, summary.throughput_per_s) == (1, 5.0, pytest.approx(200))
    assert set(summary.intervals.values()) == {None}
    assert summary.steady


def test_a_command_names_the_home_only_where_it_would_not_be_found(bench, monkeypatch):
    from quickserveml_tui.services.home import open_workbench

    monkeypatch.setenv("QSML_HOME", str(bench.home))
    workbench = open_workbench(bench.home)
    try:
        assert "--home" not in workbench.benchmark.run("relu", QUICK, save=False).command
    finally:
        workbench.close()
