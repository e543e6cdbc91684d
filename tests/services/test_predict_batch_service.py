"""Predictions and batches through the services: real models, real runner processes, real stores."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import (
    CancelledError,
    DataError,
    ModelError,
    ModelUnrunnableError,
    NotFoundError,
    UsageError,
)
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.predictions import BatchSpec
from quickserveml_tui.services.home import open_workbench


def write(path, op="MatMul"):
    """Class k for a row whose feature number k is the largest; an unknown operator makes it unrunnable."""
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        initializer=[weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    workbench = open_workbench(folder / "home")
    workbench.catalog.add(AddRequest(str(write(folder / "pick.onnx"))))
    workbench.catalog.add(AddRequest(str(write(folder / "strange.onnx", op="NoSuchOperator"))))
    yield workbench
    workbench.close()


# ---- one inference


def test_a_prediction_on_values_equals_a_direct_run(bench, tmp_path):
    rows = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    prediction = bench.predict.predict("pick", inputs={"x": rows})
    session = onnxruntime.InferenceSession(write(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert np.array_equal(prediction.outputs["y"], session.run(["y"], {"x": rows})[0])
    assert (prediction.ref, prediction.dtypes, prediction.synthetic) == ("pick@1", {"y": "float32"}, False)
    assert prediction.latency_ms > 0


def test_a_prediction_reads_npz_and_json_files(bench, tmp_path):
    np.savez(tmp_path / "in.npz", x=np.eye(3, dtype=np.float32))
    (tmp_path / "in.json").write_text(json.dumps({"x": np.eye(3).tolist()}))
    for name in ("in.npz", "in.json"):
        prediction = bench.predict.predict("pick@1", inputs=tmp_path / name)
        assert np.array_equal(prediction.outputs["y"], np.eye(3))


def test_a_prediction_without_inputs_makes_them_up_the_same_each_time(bench):
    first, second = (bench.predict.predict("pick", feed=FeedSpec(batch=2, seed=3)) for _ in range(2))
    assert first.synthetic
    assert first.outputs["y"].shape == (2, 3)
    assert np.array_equal(first.outputs["y"], second.outputs["y"])


def test_inputs_that_do_not_fit_are_a_data_error(bench, tmp_path):
    with pytest.raises(DataError):
        bench.predict.predict("pick", inputs={"x": np.zeros((1, 5), dtype=np.float32)})
    with pytest.raises(DataError):
        bench.predict.predict("pick", inputs=tmp_path / "none.npz")


def test_a_model_that_does_not_run_is_refused_everywhere(bench, tmp_path):
    (tmp_path / "d.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(ModelUnrunnableError):
        bench.predict.predict("strange")
    with pytest.raises(ModelUnrunnableError):
        bench.batch.run("strange", str(tmp_path / "d.csv"))
    with pytest.raises(NotFoundError):
        bench.predict.predict("nothing")


@pytest.mark.parametrize(
    "feed",
    [FeedSpec(seed=-1), FeedSpec(seed=2**80), FeedSpec(dims={"n": -1}), FeedSpec(shapes={"x": (-1, 3)}),
     FeedSpec(batch=0), FeedSpec(ranges={"x": (-1e308, 1e308)}), FeedSpec(ranges={"x": (0.0, float("nan"))})],
)  # fmt: skip
def test_a_feed_out_of_range_is_a_usage_error(bench, feed):
    with pytest.raises(UsageError):
        bench.predict.predict("pick", feed=feed)
    with pytest.raises(UsageError):
        bench.benchmark.run("pick", BenchmarkSpec(duration_s=0.1, feed=feed))


@pytest.mark.parametrize("name", ["~nobody-of-that-name/in.npz", "x" * 5000, "nul\0.npz", "\udcff.npz"])
def test_a_path_that_no_file_can_have_is_a_usage_error_everywhere(bench, data, name):
    with pytest.raises(UsageError) as caught:
        bench.predict.predict("pick", inputs=Path(name))
    assert caught.value.code == "usage.path"
    assert caught.value.message.isprintable()
    with pytest.raises(UsageError):
        bench.batch.run("pick", name)
    with pytest.raises(UsageError):
        bench.batch.run("pick", str(data), BatchSpec(output_path=name))


def test_a_model_file_whose_name_is_not_unicode_is_named_as_the_reason(bench, tmp_path):
    with pytest.raises(ModelError) as caught:
        bench.predict.predict(str(write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.onnx")))))
    assert "not valid Unicode" in caught.value.message


# ---- batches

DATA = "a,b,c,label\n" + "".join(f"{int(n % 3 == 0)},{int(n % 3 == 1)},{int(n % 3 == 2)},{n % 3}\n" for n in range(300))


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(DATA)
    return path


def test_a_batch_is_run_and_kept(bench, data, tmp_path):
    seen, output = [], tmp_path / "out.jsonl"
    spec = BatchSpec(batch_size=50, output_path=str(output))
    result = bench.batch.run("pick", str(data), spec, on_progress=seen.append)
    assert (result.rows, result.failed, result.accuracy, result.correct) == (300, 0, 1.0, 300)
    assert (result.ref, result.data, result.output) == ("pick@1", str(data), str(output))
    assert result.throughput_per_s > 0
    assert result.command == f"quickserveml batch pick@1 {data} --batch-size 50 --output {output} --home {bench.home}"
    assert len(output.read_text().splitlines()) == 300
    assert seen[-1].done == seen[-1].total == 300
    assert bench.batch.history(1) == (result,)


@pytest.mark.parametrize("threads", [-1, 0, 10**6])
def test_a_batch_takes_no_thread_count_that_would_end_the_runner(bench, data, threads):
    with pytest.raises(UsageError) as caught:
        bench.batch.run("pick", str(data), BatchSpec(intra_op_threads=threads))
    assert caught.value.code == "usage.batch"


def test_relative_paths_are_of_the_callers_folder(bench, data, monkeypatch):
    monkeypatch.chdir(data.parent)
    result = bench.batch.run("pick", "data.csv", BatchSpec(output_path="out.jsonl"))
    assert result.data == str(data)
    assert (data.parent / "out.jsonl").exists()


def test_cancel_keeps_the_partial_result_of_a_batch(bench, tmp_path):
    path, cancel = tmp_path / "large.csv", CancelToken()
    with path.open("w") as file:
        file.write("a,b,c\n" + "1,2,3\n" * 400_000)

    def stop(progress):
        if progress.done > 0:
            cancel.cancel()

    result = bench.batch.run("pick", str(path), BatchSpec(batch_size=1), on_progress=stop, cancel=cancel)
    assert result.cancelled
    assert 0 < result.rows < 400_000
    assert bench.batch.history(1) == (result,)


def test_a_batch_cancelled_before_it_began_does_not_begin(bench, data):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(CancelledError):
        bench.batch.run("pick", str(data), cancel=cancel)


def test_a_batch_on_data_that_does_not_fit_is_an_error_and_is_not_kept(bench, tmp_path):
    before = bench.batch.history()
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError) as error:
        bench.batch.run("pick", str(tmp_path / "bad.csv"))
    assert error.value.code == "data.columns"
    with pytest.raises(DataError):
        bench.batch.run("pick", str(tmp_path / "none.csv"))
    with pytest.raises(UsageError):
        bench.batch.run("pick", "nul\0.csv")
    assert bench.batch.history() == before
