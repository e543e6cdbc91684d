"""A version is converted into a new one only if that one is shown to answer alike; else nothing is kept."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import onnx
import pytest
from convert_models import (
    branches,
    constant,
    external,
    function,
    gelu,
    model,
    product,
    random,
    relu,
    save,
    squeeze,
    upsample,
    value,
)
from onnx import TensorProto, helper

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.compatibility import ConvertRequest, RuntimeLimits
from quickserveml_tui.core.errors import (
    CancelledError,
    ConflictError,
    ModelError,
    QuickServeError,
    RunnerCrashedError,
    UsageError,
)
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import TrialOutcome, TrialReport
from quickserveml_tui.services.convert import ConvertService
from quickserveml_tui.services.home import LocalWorkbench

OLD_RUNTIME = RuntimeLimits("onnxruntime of last year", 13, {"ai.onnx": 26}, onnx.defs.onnx_opset_version())


class Fixed:
    """Limits of a runtime that is not installed here."""

    def limits(self):
        return OLD_RUNTIME


class Meddling:
    """The real runners, with one call of them replaced."""

    def __init__(self, runners, **calls):
        self._runners = runners
        self._calls = calls

    @contextmanager
    def borrow(self):
        with self._runners.borrow() as runner:
            yield _Meddled(runner, self._calls)


class _Meddled:
    def __init__(self, runner, calls):
        self._runner = runner
        self._calls = calls

    def __getattr__(self, name):
        if name in self._calls:
            return lambda *args, **options: self._calls[name](self._runner, *args, **options)
        return getattr(self._runner, name)


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    workbench = LocalWorkbench(tmp_path_factory.mktemp("home"))
    yield workbench
    workbench.close()


@pytest.fixture
def add(workbench, tmp_path, request):
    """Adds a model under the name of the test and returns its reference."""

    def add(proto, suffix=""):
        name = f"{request.node.name.split('[')[0][-80:]}{suffix}"
        path = proto if not hasattr(proto, "graph") else save(tmp_path / f"{name}.onnx", proto)
        added = workbench.catalog.add(AddRequest(str(path), name=name))
        return f"{added.model.name}@{added.version.version}"

    return add


def service(workbench, runners=None, limits=None):
    return ConvertService(
        workbench.catalog, workbench.registry, workbench.artifacts, runners or workbench.runners,
        limits or workbench.limits,
    )  # fmt: skip


def leftovers(workbench):
    return [path for path in (workbench.home / "blobs" / "staging").iterdir() if path.is_dir()]


def versions(workbench, ref):
    return [item.version for item in workbench.catalog.show(ref.split("@")[0]).model.versions]


def refused(workbench, ref, *, by=None, error=ModelError, **options):
    with pytest.raises(error) as caught:
        (by or workbench.convert).convert(ConvertRequest(ref, **options))
    assert versions(workbench, ref) == [int(ref.split("@")[1])]
    assert not leftovers(workbench)
    assert "\n" not in caught.value.message
    return caught.value


# ---- what is added ----------------------------------------------------------------------------------------------------


def test_the_next_version_says_where_it_comes_from_and_what_it_was_compared_with(workbench, add):
    ref = add(squeeze())
    workbench.catalog.update(ref, _patch(made_from="run 7"))
    phases = []
    added = workbench.convert.convert(
        ConvertRequest(ref, opset=13, label="1.1.0"), on_progress=lambda progress: phases.append(progress.phase)
    )
    version = added.version
    assert (version.version, version.label, version.runnable) == (2, "1.1.0", True)
    assert version.lineage.parent == ref
    assert version.lineage.made_from == "run 7"
    assert version.lineage.converted_by == f"onnx {onnx.__version__} version_converter"
    assert "opset 11 → 13" in version.notes
    assert added.conversion.compared_with == version.trial.runtime
    assert version.facts.opsets["ai.onnx"] == 13
    assert phases[:4] == ["converting", "running the original", "running the converted model", "comparing"]
    assert not leftovers(workbench)


def _patch(**fields):
    from quickserveml_tui.core.models import MetadataPatch

    return MetadataPatch(**fields)


def test_a_model_that_is_too_new_for_the_runtime_is_brought_down_to_what_it_takes(workbench, add):
    added = service(workbench, limits=Fixed()).convert(ConvertRequest(add(relu(opset=28, ir=14))))
    assert (added.version.facts.opsets["ai.onnx"], added.version.facts.ir_version) == (26, 13)
    assert added.version.lineage.converted_by.startswith("quickserveml ")


def test_a_model_that_the_runtime_lacks_operators_for_runs_afterwards(workbench, add):
    ref = add(product())
    assert not workbench.catalog.show(ref).model.versions[0].runnable
    added = workbench.convert.convert(ConvertRequest(ref, opset=17))
    assert added.version.runnable
    assert added.conversion.compared_with == "onnx reference"
    outputs = workbench.predict.predict(f"{added.model.name}@2", inputs={"x": np.full((2, 3), 3, np.float32)}).outputs
    assert outputs["y"].tolist() == [[9.0] * 3] * 2


def test_functions_and_external_data_come_along(workbench, add, tmp_path):
    assert workbench.convert.convert(ConvertRequest(add(function(axes=[0])), opset=13)).version.runnable
    ref = add(external(tmp_path / "from"), "-external")
    added = workbench.convert.convert(ConvertRequest(ref, opset=13))
    assert added.version.runnable
    assert [file.path for file in added.version.artifact.files][1:] == ["weights.bin"]


def test_it_can_become_a_version_of_another_model(workbench, add):
    ref = add(relu())
    added = workbench.convert.convert(ConvertRequest(ref, opset=21, name="converted-elsewhere"))
    assert (added.model.name, added.version.version, added.version.lineage.parent) == ("converted-elsewhere", 1, ref)
    assert versions(workbench, ref) == [1]


def test_the_same_conversion_is_not_added_twice_and_changes_nothing(workbench, add):
    ref = add(relu())
    first = workbench.convert.convert(ConvertRequest(ref, opset=21))
    again = workbench.convert.convert(ConvertRequest(ref, opset=21))
    assert again.existed
    assert again.version == first.version
    back = workbench.convert.convert(ConvertRequest(f"{first.model.name}@2", opset=17, ir_version=8))
    assert (back.existed, back.version.version) == (True, 1)
    assert back.version.lineage.parent == "", "a version is not its child's child"


def test_the_same_conversion_takes_a_label_or_says_why_not(workbench, add, tmp_path):
    for ref, changes in ((add(relu(), "-a"), {"opset": 21}), (add(external(tmp_path / "from"), "-b"), {"opset": 13})):
        workbench.convert.convert(ConvertRequest(ref, **changes))
        workbench.catalog.update(f"{ref[:-2]}@2", _patch(notes="mine"))
        again = workbench.convert.convert(ConvertRequest(ref, label="1.0.0", **changes))
        assert (again.existed, again.version.version, again.version.label) == (True, 2, "1.0.0")
        assert "the label 1.0.0 now" in again.warning
        assert again.version.notes == "mine"
        with pytest.raises(ConflictError, match="has the label"):
            workbench.convert.convert(ConvertRequest(ref, label="2.0.0", **changes))
        assert workbench.convert.convert(ConvertRequest(ref, label="1.0.0", **changes)).existed
        assert versions(workbench, ref) == [1, 2]


def test_saved_overrides_and_golden_outputs_come_along(workbench, add):
    ref = add(squeeze())
    workbench.catalog.set_feed(ref, FeedSpec(ranges={"x": (1.0, 2.0)}))
    golden = workbench.golden.record(ref)
    added = workbench.convert.convert(ConvertRequest(ref, opset=13))
    assert added.version.golden == (golden,)
    assert added.version.feed.ranges == {"x": (1.0, 2.0)}
    assert "1 golden output" in added.version.notes
    assert workbench.golden.verify(f"{added.model.name}@2").ok


def test_a_golden_output_is_enough_where_the_original_cannot_be_run(workbench, add):
    ref = add(upsample())
    refused(workbench, ref, opset=17)
    other = workbench.convert  # the outputs come from a machine that runs it: here they are written by hand
    _keep_golden(workbench, ref, {"x": np.ones((1, 1, 2, 2), np.float32)}, {"y": np.ones((1, 1, 4, 4), np.float32)})
    added = other.convert(ConvertRequest(ref, opset=17))
    assert added.conversion.compared_with == "1 golden output"


def test_a_golden_output_that_the_original_does_not_give_either_is_left_behind(workbench, add):
    ref = add(squeeze())
    _keep_golden(workbench, ref, {"x": np.ones((1, 3), np.float32)}, {"y": np.full(3, 99, np.float32)})
    added = workbench.convert.convert(ConvertRequest(ref, opset=13))
    assert added.version.golden == ()
    for words in (added.warning, added.version.notes):
        assert "1 golden output left behind, as the original does not pass: given." in words


def test_a_golden_output_whose_files_are_lost_is_left_behind_and_told(workbench, add):
    ref = add(squeeze())
    lost = workbench.golden.record(ref, "lost", feed=FeedSpec(seed=7))
    workbench.golden.record(ref, "kept")
    workbench.artifacts.blob_path(lost.inputs_digest).unlink()
    added = workbench.convert.convert(ConvertRequest(ref, opset=13))
    assert [item.name for item in added.version.golden] == ["kept"]
    assert "left behind" in added.warning
    assert "lost" in added.version.notes


def test_a_golden_output_whose_files_go_at_the_last_moment_is_not_named(workbench, add):
    ref = add(squeeze())
    golden = workbench.golden.record(ref, "seven", feed=FeedSpec(seed=7))
    workbench.catalog.set_feed(ref, FeedSpec(seed=3))
    add_version = workbench.catalog.add

    class Purging:
        def add(self, *args, **options):
            workbench.artifacts.blob_path(golden.inputs_digest).unlink()
            return add_version(*args, **options)

        def __getattr__(self, name):
            return getattr(workbench.catalog, name)

    by = ConvertService(Purging(), workbench.registry, workbench.artifacts, workbench.runners, workbench.limits)
    added = by.convert(ConvertRequest(ref, opset=13))
    assert (added.version.golden, added.version.feed) == ((), FeedSpec(seed=3))
    assert "the files are gone: seven" in added.warning


def _keep_golden(workbench, ref, inputs, outputs):
    from quickserveml_tui.core.models import GoldenOutput
    from quickserveml_tui.runtime.value_files import save_values

    digests = [workbench.artifacts.put_bytes(save_values(values)) for values in (inputs, outputs)]
    golden = GoldenOutput("given", *digests, created_at="2026-11-23T00:00:00.000Z")

    def work(edit):
        model = edit.find(ref.split("@")[0])
        return edit.put(replace(model, versions=(replace(model.versions[0], golden=(golden,)),)))

    workbench.registry.edit(work)


# ---- what is refused --------------------------------------------------------------------------------------------------


def _wrong(runner, path, target, *, opset, ir_version):
    conversion = runner.convert(path, target, opset=opset, ir_version=ir_version)
    target.write_bytes(squeeze(opset=11, scale=1.5).SerializeToString())
    return conversion


def test_a_converted_model_that_answers_otherwise_is_refused_with_its_worst_output(workbench, add):
    by = service(workbench, Meddling(workbench.runners, convert=_wrong))
    error = refused(workbench, add(squeeze()), by=by, opset=13)
    assert error.code == "convert.differs"
    assert "“y”" in error.message


def test_a_converted_model_that_misses_a_golden_output_is_refused(workbench, add):
    ref = add(squeeze())
    workbench.golden.record(ref, "seven", feed=FeedSpec(seed=7))
    differs_only_there = Meddling(workbench.runners, convert=_wrong, predict=_same_answer)
    error = refused(workbench, ref, by=service(workbench, differs_only_there), opset=13)
    assert error.code == "convert.differs"
    assert "seven" in error.message


def test_a_golden_output_on_which_the_converted_model_breaks_refuses_it(workbench, add):
    ref = add(squeeze())
    workbench.golden.record(ref, "seven", feed=FeedSpec(seed=7))

    def break_converted(runner, path, **options):
        if path.name.endswith("-converted.onnx"):
            raise RunnerCrashedError("The runner crashed.", signal="SIGSEGV")
        return runner.compare(path, **options)

    error = refused(
        workbench, ref, by=service(workbench, Meddling(workbench.runners, compare=break_converted)), opset=13
    )
    assert error.code == "convert.failed"
    assert "seven" in error.message


def test_what_does_not_pass_a_trial_is_not_run_without_a_short_limit(workbench, add, tmp_path):
    def hang(runner, path, *_args, **_options):
        return TrialReport(TrialOutcome.UNRUNNABLE, "It did not end in 30 s.", code="runtime.timeout")

    def hang_converted(runner, path, *args, **options):
        hanging = path.name.endswith("-converted.onnx")
        return hang(runner, path) if hanging else runner.trial(path, *args, **options)

    ran = []

    def run(runner, path, **options):
        ran.append(path.name)
        return runner.predict(path, **options)

    by = service(workbench, Meddling(workbench.runners, trial=hang_converted, predict=run))
    error = refused(workbench, add(squeeze()), by=by, opset=13)
    assert error.code == "convert.failed"
    assert "did not end" in error.message
    assert ran
    assert not any(name.endswith("-converted.onnx") for name in ran)
    ran.clear()
    source = save(tmp_path / "endless.onnx", squeeze())
    with pytest.raises(ModelError, match="did not end"):
        service(workbench, Meddling(workbench.runners, trial=hang, predict=run)).write(
            ConvertRequest(str(source), opset=13), str(tmp_path / "new.onnx")
        )
    assert not ran


def _same_answer(runner, path, *, inputs, feed, keep_inputs, cancel):
    answer = runner.predict(path, inputs=inputs, feed=feed, keep_inputs=keep_inputs, cancel=cancel)
    return replace(answer, outputs={"y": np.zeros(3, np.float32)})


def test_a_converted_model_that_does_not_run_is_refused(workbench, add):
    def broken(runner, path, target, *, opset, ir_version):
        conversion = runner.convert(path, target, opset=opset, ir_version=ir_version)
        target.write_bytes(upsample().SerializeToString())
        return conversion

    error = refused(
        workbench, add(squeeze()), by=service(workbench, Meddling(workbench.runners, convert=broken)), opset=13
    )
    assert error.code == "convert.failed"
    assert "does not run" in error.message


def test_random_outputs_cannot_be_compared(workbench, add):
    error = refused(workbench, add(random()), opset=21)
    assert error.code == "convert.unverified"
    assert "RandomNormalLike" in error.message


def test_what_neither_runtime_nor_reference_can_run_is_not_believed(workbench, add):
    assert refused(workbench, add(upsample()), opset=17).code == "convert.unverified"


def test_an_operator_without_a_way_is_named(workbench, add):
    error = refused(workbench, add(gelu()), opset=17)
    assert error.code == "convert.failed"
    assert "Gelu" in error.message


def test_nothing_to_do_is_said(workbench, add):
    ref = add(relu())
    assert refused(workbench, ref).code == "convert.unneeded"
    assert refused(workbench, ref, opset=17, ir_version=8).code == "convert.unneeded"


@pytest.mark.parametrize(
    "options",
    [{"opset": 0}, {"opset": -3}, {"opset": 10**6}, {"ir_version": 0}, {"ir_version": 1000}, {"opset": 13, "seed": -1},
     {"opset": 13, "rtol": float("nan")}, {"opset": 13, "label": "no label"}, {"opset": 13, "name": "../x"}],
)  # fmt: skip
def test_numbers_and_names_that_cannot_be_are_refused_at_once(workbench, add, options):
    refused(workbench, add(relu()), error=UsageError, **options)


def test_a_path_is_not_registered(workbench, tmp_path):
    with pytest.raises(UsageError, match="another file"):
        workbench.convert.convert(ConvertRequest(str(save(tmp_path / "m.onnx", relu())), opset=21))


@pytest.mark.parametrize(
    "phase", ["converting", "running the original", "running the converted model", "comparing", "trial"]
)
def test_a_cancel_at_any_moment_leaves_nothing(workbench, add, phase):
    ref = add(squeeze())
    cancel = CancelToken()

    def watch(progress):
        if progress.phase == phase:
            cancel.cancel()

    with pytest.raises(CancelledError):
        workbench.convert.convert(ConvertRequest(ref, opset=13), on_progress=watch, cancel=cancel)
    assert versions(workbench, ref) == [1]
    assert not leftovers(workbench)


def test_a_cancel_ends_the_converter_in_its_midst(workbench, add):
    cancel = CancelToken()

    def slow(runner, *_args, **_options):
        cancel.cancel()
        runner.read_facts(workbench.home / "never")  # any call of a runner that was ended

    with pytest.raises(CancelledError):
        service(workbench, Meddling(workbench.runners, convert=slow)).convert(
            ConvertRequest(add(squeeze()), opset=13), cancel=cancel
        )
    assert not leftovers(workbench)


# ---- evidence that is none --------------------------------------------------------------------------------------------


def _compared(*ops, out=(3,), dtype=TensorProto.FLOAT):
    """Squeeze of opset 11, then operators that turn [0, 1) into no number at all."""
    nodes = [helper.make_node("Squeeze", ["x"], ["v0"], axes=[0])]
    for index, op in enumerate(ops):
        more = ["k"] if op in ("Greater", "Sub") else []
        nodes.append(helper.make_node(op, [f"v{index}", *more], [f"v{index + 1}"]))
    nodes[-1].output[0] = "y"
    bound = constant("k", np.array(2, np.float32))
    return model(nodes, [value("x", (1, 3))], [value("y", out, dtype)], [bound], opset=11)


@pytest.mark.parametrize(
    "proto",
    [_compared("Greater", "NonZero", out=(1, None), dtype=TensorProto.INT64), _compared("Sub", "Log")],
    ids=["empty", "nan"],
)
def test_outputs_without_a_single_number_are_no_evidence(workbench, add, proto, request):
    error = refused(workbench, add(proto, f"-{request.node.callspec.id}"), opset=13)
    assert error.code == "convert.unverified"


def _puts(proto):
    def wrong(runner, path, target, *, opset, ir_version):
        conversion = runner.convert(path, target, opset=opset, ir_version=ir_version)
        target.write_bytes(proto.SerializeToString())
        return conversion

    return wrong


def test_small_outputs_are_compared_by_their_own_size(workbench, add):
    by = service(workbench, Meddling(workbench.runners, convert=_puts(squeeze(opset=11, scale=1.5e-7))))
    assert refused(workbench, add(squeeze(scale=1e-7)), by=by, opset=13).code == "convert.differs"


@pytest.mark.parametrize("wrong_branch", ["yes", "no"])
def test_both_branches_are_compared(workbench, add, wrong_branch):
    proto = branches()
    for attribute in proto.graph.node[0].attribute:
        if attribute.g.name == wrong_branch:
            attribute.g.node[0].output[0] = "inner"
            attribute.g.node.append(helper.make_node("Neg", ["inner"], [wrong_branch]))
    by = service(workbench, Meddling(workbench.runners, convert=_puts(proto)))
    assert refused(workbench, add(branches(), f"-{wrong_branch}"), by=by, opset=13).code == "convert.differs"


# ---- files ------------------------------------------------------------------------------------------------------------


def test_a_file_becomes_another_file_and_nothing_else(workbench, tmp_path):
    source = external(tmp_path / "from")
    (tmp_path / "to").mkdir()
    conversion = workbench.convert.write(ConvertRequest(str(source), opset=13), str(tmp_path / "to" / "new.onnx"))
    assert conversion.compared_with.startswith("onnxruntime ")
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["new.onnx", "weights.bin"]
    assert workbench.predict.predict(str(tmp_path / "to" / "new.onnx")).outputs["y"].shape == (2000,)


def test_a_file_beside_its_original_shares_the_data(workbench, tmp_path):
    source = external(tmp_path / "from")
    workbench.convert.write(ConvertRequest(str(source), opset=13), str(tmp_path / "from" / "new.onnx"))
    assert sorted(path.name for path in (tmp_path / "from").iterdir()) == ["model.onnx", "new.onnx", "weights.bin"]


def test_a_version_that_does_not_run_can_be_written_to_a_file(workbench, add, tmp_path):
    conversion = workbench.convert.write(ConvertRequest(add(product()), opset=17), str(tmp_path / "new.onnx"))
    assert conversion.compared_with == "onnx reference"


def test_no_file_is_overwritten_or_half_written(workbench, tmp_path):
    source = external(tmp_path / "from")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "weights.bin").write_bytes(b"somebody else's")
    taken = tmp_path / "to" / "taken.onnx"
    taken.write_bytes(b"mine")
    attempts = [
        (str(source), str(tmp_path / "to" / "new.onnx"), ConflictError),
        (str(source), str(taken), ConflictError),
        (str(source), str(source), QuickServeError),
        (str(source), str(tmp_path / "nowhere" / "new.onnx"), UsageError),
        (str(save(tmp_path / "gelu.onnx", gelu())), str(tmp_path / "to" / "gelu.onnx"), ModelError),
    ]
    for ref, output, error in attempts:
        with pytest.raises(error):
            workbench.convert.write(ConvertRequest(ref, opset=13), output)
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["taken.onnx", "weights.bin"]
    assert taken.read_bytes() == b"mine"


# ---- what the runtime takes -------------------------------------------------------------------------------------------


def test_versions_and_files_are_compared_with_the_limits_of_the_real_runtime(workbench, add, tmp_path):
    limits = workbench.limits.limits()
    assert workbench.inspect.compatibility(add(relu())).ok
    newest = limits.opsets["ai.onnx"]
    path = save(tmp_path / "new.onnx", relu(opset=newest + 1))
    found = workbench.inspect.compatibility(str(path))
    assert [(item.what, item.has, item.takes) for item in found.mismatches] == [
        ("opset of ai.onnx", newest + 1, newest)
    ]
    assert workbench.inspect.compatibility(add(path, "-new")).mismatches[0].has == newest + 1
