"""Values of every kind through runners and services: given, kept, saved, compared and benchmarked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime"))
from value_models import helper, map_type, number, optional, same, save, seq, tensor, tensor_type, value_info

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.errors import ConflictError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.runtime.client import RunnerProcess
from quickserveml_tui.runtime.value_files import load_values, save_values
from quickserveml_tui.services.home import open_workbench

node = helper.make_node
FLOATS = seq(tensor_type(1, ["n", 2]))
MAYBE = optional(tensor_type(8, [2]))


@pytest.fixture(scope="module")
def runner():
    process = RunnerProcess(None)
    yield process
    process.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    workbench = open_workbench(tmp_path_factory.mktemp("values") / "home")
    yield workbench
    workbench.close()


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A model with a sequence, a map, an optional and a bfloat16 output."""
    zipmap = node("ZipMap", ["x"], ["maps"], domain="ai.onnx.ml", classlabels_strings=["a", "b"])
    nodes = [node("Identity", ["s"], ["t"]), node("Identity", ["o"], ["p"]), zipmap, node("Cast", ["x"], ["b"], to=16)]
    inputs = [value_info("s", FLOATS), value_info("o", MAYBE), tensor("x", "float32", ["n", 2])]
    outputs = [
        value_info("t", FLOATS), value_info("p", MAYBE), value_info("maps", seq(map_type("string"))),
        tensor("b", "bfloat16", None),
    ]  # fmt: skip
    return save(tmp_path_factory.mktemp("models") / "every.onnx", nodes, inputs, outputs, ml=True)


@pytest.mark.parametrize("absent", [(), ("o",)])
def test_what_was_made_up_can_be_kept_saved_and_given_again(runner, everything, tmp_path, absent):
    feed = FeedSpec(seed=9, batch=3, absent=absent, lengths={"s": 4})
    first = runner.predict(everything, inputs=None, feed=feed, keep_inputs=True)
    assert first.runtime.startswith("onnxruntime ")
    assert same(first.outputs["t"], first.inputs["s"])
    assert len(first.inputs["s"]) == 4
    assert same(first.outputs["p"], first.inputs["o"])
    assert [list(row) for row in first.outputs["maps"]] == [["a", "b"]] * 3
    assert runner.predict(everything, inputs=None, feed=feed).inputs == {}
    path = tmp_path / "in.npz"
    path.write_bytes(save_values(first.inputs))
    for inputs in (path, first.inputs):
        again = runner.predict(everything, inputs=inputs, feed=FeedSpec())
        assert not again.synthetic
        assert all(same(again.outputs[name], value) for name, value in first.outputs.items())


def test_a_run_on_a_file_is_held_against_another_file(runner, everything, tmp_path):
    made = runner.predict(everything, inputs=None, feed=FeedSpec(seed=2), keep_inputs=True)
    inputs, outputs = tmp_path / "in.npz", tmp_path / "out.npz"
    inputs.write_bytes(save_values(made.inputs))
    outputs.write_bytes(save_values(made.outputs))
    differences, run_ms = runner.compare(everything, inputs=inputs, outputs=outputs, rtol=0, atol=0)
    assert [item.output for item in differences] == ["t", "p", "maps", "b"]
    assert all(item.ok for item in differences)
    assert run_ms > 0
    made.outputs["maps"][0]["b"] += 1
    outputs.write_bytes(save_values(made.outputs))
    differences, _ = runner.compare(everything, inputs=inputs, outputs=outputs, rtol=1e-3, atol=1e-3)
    assert [item.ok for item in differences] == [True, True, False, True]
    assert differences[2].reason.startswith("maps[0]['b'] is ")


def test_a_model_of_every_kind_is_benchmarked(runner, everything):
    spec = BenchmarkSpec(duration_s=0.1, warmup_s=0, max_runs=5, feed=FeedSpec(lengths={"s": 3}, batch=2))
    raw = runner.benchmark(everything, spec, on_frame=lambda _frame: None, cancel=CancelToken())
    assert len(raw.latencies_ms) == 5
    assert raw.shapes == {"s": (2, 2), "o": (2,), "x": (2, 2)}


def test_a_model_that_needs_other_values_is_benchmarked_on_those_that_were_found(runner, tmp_path):
    inputs = [tensor("a", "int64", [50]), tensor("b", "int64", [50])]
    path = save(tmp_path / "div.onnx", [node("Div", ["a", "b"], ["y"])], inputs, [tensor("y", "int64", [50])])
    spec = BenchmarkSpec(duration_s=0.1, warmup_s=0, max_runs=3)
    raw = runner.benchmark(path, spec, on_frame=lambda _frame: None, cancel=CancelToken())
    assert len(raw.latencies_ms) == 3


def test_inputs_and_outputs_of_every_kind_are_json(bench, everything, tmp_path):
    given = {"s": [[[1, 2]], [[3, 4]]], "o": ["ä", ""], "x": [[0.25, "NaN"]]}
    path = tmp_path / "in.json"
    path.write_text(json.dumps(given))
    prediction = bench.predict.predict(str(everything), inputs=path)
    bench.predict.save(prediction, tmp_path / "out.json")
    outputs = json.loads((tmp_path / "out.json").read_text())["outputs"]
    assert {name: output["data"] for name, output in outputs.items()} == {
        "t": given["s"],
        "p": ["ä", ""],
        "maps": [{"a": 0.25, "b": "NaN"}],
        "b": [[0.25, "NaN"]],
    }
    bench.predict.save(prediction, tmp_path / "out.npz")
    loaded = load_values(tmp_path / "out.npz")
    assert all(same(loaded[name], value) for name, value in prediction.outputs.items())
    with pytest.raises(ConflictError):
        bench.predict.save(prediction, tmp_path / "out.npz")
    bench.predict.save(prediction, tmp_path / "out.npz", overwrite=True)
    with pytest.raises(UsageError):
        bench.predict.save(prediction, tmp_path / "out.txt")


def test_the_schema_of_every_kind_accepts_what_the_model_takes(bench, everything):
    import jsonschema

    schema = bench.inspect.schema(str(everything))["request"]
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"inputs": {"s": [[[1, 2]]], "o": None, "x": [[0.5, 1]]}})
    assert validator.is_valid({"inputs": {"s": [], "x": [[0.5, 1]]}})
    assert not validator.is_valid({"inputs": {"s": 1, "x": [[0.5, 1]]}})


def test_elements_of_four_bits_cross_the_process_border(runner, tmp_path):
    nodes = [node("Transpose", ["x"], ["y"], perm=[1, 0]), node("Cast", ["x"], ["f"], to=1)]
    outputs = [tensor("y", "int4", [3, 3]), tensor("f", "float32", [3, 3])]
    path = save(tmp_path / "i4.onnx", nodes, [tensor("x", "int4", [3, 3])], outputs, opset=21, ir=10)
    assert number("int4") == 22
    given = np.arange(-4, 5).reshape(3, 3)
    prediction = runner.predict(path, inputs={"x": given}, feed=FeedSpec())
    np.testing.assert_array_equal(prediction.outputs["y"].astype(int), given.T)
    np.testing.assert_array_equal(prediction.outputs["f"], given)
    assert prediction.dtypes["y"] == "int4"
