"""Comparisons: real runners, real verdicts, and nothing lost that was measured."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.comparing import ComparisonSpec, Side, UnsavedComparisonError, Verdict
from quickserveml_tui.core.errors import CancelledError, NotFoundError, StoreError, UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.side_settings import describe_settings, with_settings
from quickserveml_tui.services.home import open_workbench

QUICK = ComparisonSpec(duration_s=0.6, block_s=0.01, generations=2, warmup_s=0.05)


def chain(path, steps, *, scale=1.0, outputs="y"):
    """A chain of equal convolutions: `steps` sets how long it takes."""
    weights = (np.random.default_rng(0).standard_normal((16, 16, 3, 3)) * scale / 12).astype(np.float32)
    nodes, before = [], "x"
    for index in range(steps):
        after = outputs if index == steps - 1 else f"c{index}"
        nodes.append(helper.make_node("Conv", [before, "w"], [after], pads=[1, 1, 1, 1]))
        before = after
    shape = ("n", 16, 24, 24)
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(outputs, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "base": chain(folder / "base.onnx", 6),
        "slow": chain(folder / "slow.onnx", 9),
        "other": chain(folder / "other.onnx", 6, scale=1.001),
        "renamed": chain(folder / "renamed.onnx", 6, outputs="z"),
    }


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    found = open_workbench(tmp_path_factory.mktemp("home") / "home")
    yield found
    found.close()


def sides(models, *names):
    return [Side(models[name]) for name in names]


def test_a_true_difference_is_found_and_none_is_called_where_there_is_none(workbench, models):
    frames = []
    found = workbench.compare.run(sides(models, "base", "slow", "base"), QUICK, on_frame=frames.append)
    slower, same = found.candidates
    assert slower.paired.verdict is Verdict.SLOWER
    assert 1.3 < slower.paired.ratio < 1.7
    assert same.paired.verdict in (Verdict.EQUAL, Verdict.INCONCLUSIVE)
    assert slower.paired.pairs == same.paired.pairs > 6
    assert found.baseline.paired is None
    assert found.baseline.figures.p50_ms < slower.figures.p50_ms
    assert found.baseline.figures.throughput_per_s > slower.figures.throughput_per_s
    assert found.fingerprint.model_digest == found.baseline.digest
    assert [frame.phase for frame in frames][:2] == ["loading", "loading"]
    assert frames[-1].phase == "done"
    assert frames[-1].paired == tuple(side.paired for side in found.sides)
    assert found.command.startswith("quickserveml compare ")


def test_a_saved_comparison_comes_back_with_its_rounds(workbench, models):
    found = workbench.compare.run(sides(models, "base", "slow"), QUICK)
    assert workbench.compare.get(found.id) == found
    assert workbench.compare.history(1) == (found,)
    with np.load(io.BytesIO(workbench.artifacts.read_bytes(found.samples_digest))) as samples:
        medians, process = samples["medians_ms"], samples["process"]
        latencies = samples["latencies_ms_1"]
    assert medians.shape == (found.candidates[0].paired.pairs, 2)
    assert set(process.tolist()) == {0, 1}
    assert len(latencies) == found.candidates[0].figures.n
    assert found.samples_digest in workbench.state.blobs()
    workbench.compare.delete(found.id)
    with pytest.raises(NotFoundError) as caught:
        workbench.compare.get(found.id)
    assert caught.value.code == "comparison.not_found"


def test_settings_of_one_model_are_compared_too(workbench, models):
    base = BenchmarkSpec()
    spec = with_settings(base, "optimization=disable, batch=2")
    label = describe_settings(base, spec)
    assert label == "optimization=disable,batch=2"
    pair = [Side(models["base"], base), Side(models["base"], spec, f"base {label}")]
    found = workbench.compare.run(pair, QUICK, options=("--with", label))
    assert [side.figures.batch for side in found.sides] == [1, 2]
    assert found.candidates[0].paired.verdict is Verdict.SLOWER
    assert found.command.count(models["base"]) == 1
    assert found.command.endswith(f"--with {label}")


def test_outputs_stand_beside_the_times(workbench, models):
    found = workbench.compare.run(sides(models, "base", "base", "other", "renamed", "slow"), QUICK, save=False)
    _, same, other, renamed, _slow = (side.outputs for side in found.sides)
    assert (same.compared, same.equal, same.max_abs) == (True, True, 0.0)
    assert other.compared
    assert not other.equal
    assert 0 < other.max_rel < 0.1
    assert other.worst_output == "y"
    assert (renamed.compared, renamed.reason) == (False, "Their outputs have other names.")
    assert found.samples_digest == ""


def test_versions_are_compared_by_name(workbench, models):
    for name in ("base", "slow"):
        workbench.catalog.add(AddRequest(path=models[name], name="net"))
    found = workbench.compare.run([Side("net@1"), Side("net@2")], QUICK)
    assert [side.version for side in found.sides] == [1, 2]
    assert "--home" in found.command
    (result,) = workbench.state.results("comparison", found.candidates[0].model, 2)
    assert result.id == found.id


def test_a_precise_comparison_ends_early(workbench, models):
    spec = ComparisonSpec(duration_s=4, block_s=0.01, generations=2, warmup_s=0, precision=0.5)
    found = workbench.compare.run(sides(models, "base", "slow"), spec, save=False)
    assert not found.cancelled
    assert 2 <= found.elapsed_s < 3.5, "one process proves little, so the second one is waited for"


def test_a_cancel_keeps_the_rounds_so_far(workbench, models):
    token = CancelToken()

    def stop(frame):
        if frame.rounds >= 8:
            token.cancel()

    spec = ComparisonSpec(duration_s=60, block_s=0.01, generations=1, warmup_s=0)
    found = workbench.compare.run(sides(models, "base", "slow"), spec, on_frame=stop, cancel=token)
    assert found.cancelled
    assert found.candidates[0].paired.pairs >= 8
    assert workbench.compare.get(found.id).cancelled


def test_a_cancel_before_the_first_round_keeps_nothing(workbench, models):
    token = CancelToken()
    before = workbench.compare.history()
    with pytest.raises(CancelledError):
        workbench.compare.run(
            sides(models, "base", "slow"), QUICK, on_frame=lambda _frame: token.cancel(), cancel=token
        )
    assert workbench.compare.history() == before


def test_what_cannot_be_saved_is_not_lost(workbench, models, monkeypatch):
    def full(_self, _result):
        raise StoreError("The disk is full.", hint="Make room.", code="store.full")

    monkeypatch.setattr(type(workbench.state), "add_result", full)
    with pytest.raises(UnsavedComparisonError) as caught:
        workbench.compare.run(sides(models, "base", "slow"), QUICK)
    assert caught.value.code == "store.full"
    assert caught.value.comparison.candidates[0].paired.verdict is Verdict.SLOWER


@pytest.mark.parametrize("count", [0, 1, 17])
def test_too_few_and_too_many_sides_are_refused(workbench, models, count):
    with pytest.raises(UsageError, match="2 to 16 sides"):
        workbench.compare.run(sides(models, *["base"] * count), QUICK)


@pytest.mark.parametrize("text", ["treads=2", "threads", "threads=two", "spinning=perhaps", "", "threads=0"])
def test_settings_that_say_nothing_are_refused(text):
    with pytest.raises(UsageError):
        with_settings(BenchmarkSpec(), text)


def test_settings_say_what_they_change_and_no_more():
    base = BenchmarkSpec(intra_op_threads=2)
    changed = with_settings(base, "threads=4,spinning=on")
    assert (changed.intra_op_threads, changed.spinning) == (4, True)
    assert with_settings(base, describe_settings(base, changed)) == changed
    assert describe_settings(base, base) == ""
