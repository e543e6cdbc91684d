"""Wherever a version is used, golden outputs that it does not give stand in the way."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from catalog_builders import save_linear
from golden_homes import INT_MIN, add_linear, correct, put_golden, save_fragile, tamper
from maintenance_homes import damage

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.catalog import AddRequest, Resolved
from quickserveml_tui.core.errors import CancelledError, ConflictError, GateError, StoreError
from quickserveml_tui.core.job_records import JobKind, JobRequest
from quickserveml_tui.core.jobs import CancelToken, JobState
from quickserveml_tui.core.models import FileLink, TrialOutcome
from quickserveml_tui.core.predictions import BatchSpec
from quickserveml_tui.runtime.pool import LocalRunnerPool
from quickserveml_tui.services import catalog_edit as edits
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.services.catalog_trash import lost_on_return
from quickserveml_tui.services.golden_gate import GoldenGate
from quickserveml_tui.services.home import open_workbench

QUICK = BenchmarkSpec(duration_s=0.05, warmup_s=0.01, warmup_runs=1)
ROW = {"x": np.ones((1, 4), np.float32)}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """`lin@1` and `lin@2`, the second of another scale, and `fragile@1`."""
    folder = tmp_path_factory.mktemp("gate")
    home = open_workbench(folder / "home")
    add_linear(home, folder)
    add_linear(home, folder, scale=2.0)
    home.catalog.add(AddRequest(str(save_fragile(folder / "fragile.onnx"))))
    yield home
    home.close()


@pytest.fixture
def home(stocked):
    """The same home, without golden outputs and aliases."""
    for name in ("lin", "fragile"):
        stocked.registry.put(
            name,
            lambda model: replace(
                model,
                aliases={},
                protected=(),
                versions=tuple(replace(item, golden=()) for item in model.versions[:2]),
            ),
        )
    return stocked


@pytest.fixture
def table(tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.ones((5, 4), np.float32))
    return str(tmp_path / "rows.npz")


class Counting:
    """A pool that counts the comparisons that its runners make, which may name another runtime than theirs."""

    def __init__(self, pool, runtime=None):
        self.compared = 0
        self.runtime = runtime
        self._pool = pool

    @contextmanager
    def borrow(self):
        with self._pool.borrow() as runner:
            yield _Counted(runner, self)


class _Counted:
    def __init__(self, runner, owner):
        self._runner = runner
        self._owner = owner

    def __getattr__(self, name):
        return getattr(self._runner, name)

    def runtime(self, cancel=None):
        return self._owner.runtime[0] if self._owner.runtime else self._runner.runtime(cancel)

    def compare(self, *arguments, **options):
        self._owner.compared += 1
        return self._runner.compare(*arguments, **options)


def resolved(home, ref="lin@1"):
    return home.catalog.resolve(ref)


# ---- verify


def test_every_check_says_what_differs_and_by_how_much(home):
    correct(home, "lin@1", "good")
    put_golden(home, "lin@1", "off", ROW, {"y": np.array([[4, 4, 5]], np.float32)})
    seen = []
    report = home.golden.verify("lin@1", on_progress=seen.append)
    good, off = report.checks
    assert (good.name, good.ok, good.code, good.differences[0].max_abs) == ("good", True, "", 0.0)
    assert (off.ok, off.code, off.differences[0].output, off.differences[0].max_abs) == (
        False,
        "golden.differs",
        "y",
        1,
    )
    assert "y[0, 2] is 4" in off.reason
    assert (report.ok, report.count, report.ref) == (False, "1 of 2", "lin@1")
    assert report.runtime.startswith("onnxruntime")
    assert [(item.phase, item.done, item.total, item.note) for item in seen] == [
        ("verifying", 0, 2, "good"),
        ("verifying", 1, 2, "off"),
    ]
    assert home.golden.verify("lin@1", ["good"]).ok


def test_the_tolerance_is_that_of_the_record(home):
    put_golden(home, "lin@1", "wide", ROW, {"y": np.full((1, 3), 4.3, np.float32)}, rtol=0.1)
    put_golden(home, "lin@1", "tight", ROW, {"y": np.full((1, 3), 4.3, np.float32)}, rtol=0.0, atol=0.0)
    assert [check.ok for check in home.golden.verify("lin@1", ["wide", "tight"]).checks] == [True, False]


def test_outputs_that_are_missing_or_new_differ(home):
    put_golden(home, "lin@1", "other", ROW, {"z": np.full((1, 3), 4, np.float32)})
    check = home.golden.verify("lin@1").checks[0]
    assert (check.code, {item.output for item in check.differences}) == ("golden.differs", {"y", "z"})


def test_a_crash_fails_its_check_and_the_next_goes_on_in_another_runner(home):
    one = np.array([1], np.int32)
    put_golden(home, "fragile@1", "a", {"x": one}, {"y": -one})
    put_golden(home, "fragile@1", "b", {"x": np.array([INT_MIN], np.int32)}, {"y": one})
    put_golden(home, "fragile@1", "c", {"x": one}, {"y": -one})
    report = home.golden.verify("fragile")
    assert [(check.name, check.ok, check.code) for check in report.checks] == [
        ("a", True, ""),
        ("b", False, "runtime.crashed"),
        ("c", True, ""),
    ]
    with pytest.raises(GateError) as caught:
        home.benchmark.run("fragile", QUICK)
    assert caught.value.code == "golden.unverified"


def test_files_that_are_gone_or_damaged_fail_their_check(home):
    missing = put_golden(home, "lin@1", "missing", {"x": np.full((1, 4), 5, np.float32)}, {"y": np.ones((1, 3))})
    broken = put_golden(home, "lin@1", "broken", {"x": np.full((1, 4), 6, np.float32)}, {"y": np.ones((2, 3))})
    correct(home, "lin@1", "zlast")
    home.artifacts.blob_path(missing.inputs_digest).unlink()
    damage(home.artifacts.blob_path(broken.outputs_digest), b"PK")
    report = home.golden.verify("lin@1")
    assert {check.name: check.code for check in report.checks} == {
        "missing": "artifact.missing",
        "broken": "artifact.corrupt",
        "zlast": "",
    }
    with pytest.raises(StoreError):
        home.golden.content("lin@1", "broken")
    home.artifacts.blob_path(broken.outputs_digest).unlink()


def test_a_verification_can_be_cancelled(home):
    correct(home, "lin@1", "a")
    correct(home, "lin@1", "b")
    token = CancelToken()
    with pytest.raises(CancelledError):
        home.golden.verify("lin@1", on_progress=lambda _progress: token.cancel(), cancel=token)


def test_a_version_without_golden_outputs_has_nothing_to_verify(home):
    report = home.golden.verify("lin@1")
    assert (report.ok, report.count, report.checks) == (True, "", ())


# ---- what passed is not run again


def test_what_passed_is_known_until_the_content_or_the_runtime_changes(home):
    runtime = ["onnxruntime 1"]
    pool = Counting(home.runners, runtime)
    gate = GoldenGate(home.artifacts, pool, lambda: runtime[0])
    correct(home, "lin@1", "a")
    assert [gate.require(resolved(home), "x") for _ in range(3)] == ["1 of 1"] * 3
    assert pool.compared == 1
    put_golden(home, "lin@1", "b", {"x": np.zeros((1, 4), np.float32)}, {"y": np.zeros((1, 3), np.float32)})
    assert gate.require(resolved(home), "x") == "2 of 2"
    assert pool.compared == 2
    runtime[0] = "onnxruntime 2"
    gate.require(resolved(home), "x")
    assert pool.compared == 4
    report = gate.verify(
        "lin@1", home.artifacts.open_path(resolved(home).version.artifact), resolved(home).version, again=True
    )
    assert (report.ok, pool.compared) == (True, 6)


def test_a_runner_from_before_an_upgrade_says_nothing_of_the_runtime_that_is_installed_now(home):
    pool = Counting(home.runners, ["onnxruntime 1"])
    gate = GoldenGate(home.artifacts, pool, lambda: "onnxruntime 2")
    correct(home, "lin@1")
    model = resolved(home)
    assert gate.verify("lin@1", Path(model.path), model.version).runtime == "onnxruntime 1"
    gate.require(model, "x")
    assert pool.compared == 2
    pool.runtime = ["onnxruntime 2"]
    assert [gate.require(model, "x") for _ in range(2)] == ["1 of 1"] * 2
    assert pool.compared == 3


def test_what_failed_is_run_again(home):
    pool = Counting(home.runners)
    gate = GoldenGate(home.artifacts, pool)
    tamper(home, "lin@1")
    for expected in (1, 2):
        with pytest.raises(GateError):
            gate.require(resolved(home), "x")
        assert pool.compared == expected
    correct(home, "lin@1")
    assert gate.require(resolved(home), "x") == "1 of 1"


def test_files_and_versions_without_golden_outputs_cost_nothing(home, tmp_path):
    gate = GoldenGate(home.artifacts, None)
    path = save_linear(tmp_path / "m.onnx")
    assert gate.require(resolved(home), "x") == ""
    assert gate.require(Resolved(str(path), str(path), "digest"), "x") == ""


def test_a_gate_that_only_tells_never_raises(home):
    tamper(home, "lin@1")
    gate = GoldenGate(home.artifacts, home.runners)
    model = resolved(home)
    assert "lin@1 does not give its golden output default" in gate.problem("lin@1", Path(model.path), model.version)
    closed = LocalRunnerPool(None)
    closed.close()
    told = GoldenGate(home.artifacts, closed).problem("lin@1", Path(model.path), model.version)
    assert told.startswith("The golden outputs of lin@1 were not verified: ")
    correct(home, "lin@1")
    model = resolved(home)
    assert gate.problem("lin@1", Path(model.path), model.version) == ""


# ---- the later places


def test_a_benchmark_is_refused_unless_the_golden_outputs_are_given(home):
    tamper(home, "lin@1")
    runs = len(home.benchmark.history("lin@1"))
    with pytest.raises(GateError, match=r"lin@1 does not give its golden output default: y\[0, 0\]") as caught:
        home.benchmark.run("lin@1", QUICK)
    assert (caught.value.code, int(caught.value.exit_code)) == ("golden.differs", 1)
    assert "--no-verify" in caught.value.hint
    assert len(home.benchmark.history("lin@1")) == runs
    unverified = home.benchmark.run("lin@1", replace(QUICK, verify=False))
    assert (unverified.metadata, "--no-verify" in unverified.command) == ({}, True)
    correct(home, "lin@1")
    run = home.benchmark.run("lin@1", QUICK)
    assert home.benchmark.get(run.id).metadata == {"golden": "1 of 1"}
    assert home.benchmark.run("lin@2", QUICK).metadata == {}


def test_a_batch_is_refused_unless_the_golden_outputs_are_given(home, table, tmp_path):
    tamper(home, "lin@1")
    output = tmp_path / "out.jsonl"
    with pytest.raises(GateError) as caught:
        home.batch.run("lin@1", table, BatchSpec(output_path=str(output)))
    assert caught.value.code == "golden.differs"
    assert not output.exists()
    unverified = home.batch.run("lin@1", table, BatchSpec(verify=False))
    assert (unverified.rows, "golden" in unverified.metadata, "--no-verify" in unverified.command) == (5, False, True)
    correct(home, "lin@1")
    assert home.batch.run("lin@1", table).metadata["golden"] == "1 of 1"


def test_a_job_is_refused_like_the_same_work_in_the_foreground(home):
    tamper(home, "lin@1")
    job = home.jobs.start(JobRequest(JobKind.BENCHMARK, "lin@1", benchmark=QUICK))
    ended = home.jobs.watch(job.id)
    assert (ended.state, ended.error_code, ended.exit_code) == (JobState.FAILED, "golden.differs", 1)
    assert "does not give its golden output" in ended.outcome


@pytest.mark.parametrize("alias", ["prod", "staging", "Prod"])
def test_a_protected_alias_does_not_move_to_a_version_that_fails(home, alias):
    tamper(home, "lin@1")
    with pytest.raises(GateError) as caught:
        home.catalog.set_alias("lin@1", alias)
    assert caught.value.code == "golden.differs"
    assert home.catalog.show("lin").model.aliases == {}
    assert home.catalog.set_alias("lin@1", "mine").aliases == {"mine": 1}
    assert home.catalog.set_alias("lin@2", alias).aliases == {"mine": 1, alias: 2}
    correct(home, "lin@1")
    assert home.catalog.set_alias("lin@1", alias).aliases == {"mine": 1, alias: 1}
    tamper(home, "lin@1")  # where it is already it stays
    assert home.catalog.set_alias("lin@1", alias).aliases == {"mine": 1, alias: 1}


def test_an_alias_is_not_protected_at_a_version_that_fails(home):
    tamper(home, "lin@1")
    home.catalog.set_alias("lin@1", "mine")
    with pytest.raises(GateError):
        home.catalog.protect_alias("lin", "mine")
    assert home.catalog.show("lin").model.protected == ()
    home.catalog.set_alias("lin@2", "mine")
    home.catalog.protect_alias("lin", "mine")
    with pytest.raises(GateError):  # nor moved there once it is protected
        home.catalog.set_alias("lin@1", "mine")
    assert home.catalog.show("lin").model.aliases == {"mine": 2}


def test_adding_the_same_file_again_does_not_promote_it_past_its_golden_outputs(home, tmp_path):
    tamper(home, "lin@1")
    request = AddRequest(str(save_linear(tmp_path / "again.onnx")), name="lin", alias="prod", tags=("new",))
    with pytest.raises(GateError):
        home.catalog.add(request)
    assert (home.catalog.show("lin").model.aliases, home.catalog.show("lin").model.tags) == ({}, ())
    correct(home, "lin@1")
    assert home.catalog.add(request).model.aliases == {"prod": 1}


def test_what_changes_between_the_check_and_the_move_is_checked_too(home):
    """The first check passes; before the alias moves, the golden output is replaced by one that fails."""
    correct(home, "lin@1")

    class Gate(GoldenGate):
        def require(self, *arguments, **options):
            said = super().require(*arguments, **options)
            tamper(home, "lin@1")
            return said

    gate = Gate(home.artifacts, home.runners)
    catalog = CatalogService(home.registry, home.artifacts, home.state, home.runners, gate=gate)
    with pytest.raises(GateError):
        catalog.set_alias("lin@1", "prod")
    assert home.catalog.show("lin").model.aliases == {}


def test_golden_outputs_that_come_while_a_file_is_added_again_stop_the_promotion(home, tmp_path, monkeypatch):
    trial = type(home.catalog)._verify_known

    def late(self, *arguments):
        trial(self, *arguments)
        tamper(home, "lin@1")

    monkeypatch.setattr(type(home.catalog), "_verify_known", late)
    with pytest.raises(ConflictError) as caught:
        home.catalog.add(AddRequest(str(save_linear(tmp_path / "again.onnx")), name="lin", alias="prod"))
    assert caught.value.code == "model.changed"
    assert home.catalog.show("lin").model.aliases == {}


def test_an_import_goes_on_and_says_which_golden_outputs_fail(home, tmp_path):
    tamper(home, "lin@1", "wrong")
    home.bundles.export("lin@1", str(tmp_path / "wrong.qsml"))
    correct(home, "lin@2", "right-of-one")
    put_golden(home, "lin@2", "right-of-one", ROW, {"y": np.full((1, 3), 8, np.float32)})
    home.bundles.export("lin@2", str(tmp_path / "right.qsml"))
    result = home.bundles.import_bundle(str(tmp_path / "wrong.qsml"), name="wrong")
    assert "wrong@1 does not give its golden output wrong: y[0, 0]" in result.warning
    assert "quickserveml verify wrong@1" in result.warning
    assert home.golden.list("wrong")[0].name == "wrong"
    right = home.bundles.import_bundle(str(tmp_path / "right.qsml"), name="right")
    assert (right.warning, home.golden.verify("right").count) == ("", "1 of 1")


def test_a_new_trial_warns_of_golden_outputs_that_the_version_no_longer_gives(home):
    assert home.catalog.retry("lin@1").model.versions[0].trial.warning == ""
    tamper(home, "lin@1")
    trial = home.catalog.retry("lin@1").model.versions[0].trial
    assert trial.outcome is TrialOutcome.READY
    assert "lin@1 does not give its golden output default" in trial.warning
    assert home.registry.find("lin").versions[0].trial == trial
    home.golden.remove("lin@1", "default")
    assert home.registry.find("lin").versions[0].trial.warning == ""


def test_a_version_of_another_runtime_is_held_against_its_golden_outputs_when_it_is_tried_again(home):
    tamper(home, "lin@1")
    home.registry.put(
        "lin",
        lambda model: edits.with_version(
            model, replace(model.versions[0], trial=replace(model.versions[0].trial, runtime="onnxruntime 0.1"))
        ),
    )
    version = home.catalog.resolve("lin@1", runnable=True).version
    assert version.trial.runtime != "onnxruntime 0.1"
    assert "does not give its golden output" in version.trial.warning


def test_a_linked_model_that_changed_is_told_and_not_verified(home, tmp_path):
    path = save_linear(tmp_path / "linked.onnx", 3.0)
    home.catalog.add(AddRequest(str(path), name="linked", link=True))
    put_golden(home, "linked@1", "a", ROW, {"y": np.full((1, 3), 12, np.float32)})
    assert home.golden.verify("linked").ok
    assert isinstance(home.registry.find("linked").versions[0].artifact.files[0].link, FileLink)
    save_linear(path, 4.0)
    for use in (lambda: home.golden.verify("linked"), lambda: home.catalog.set_alias("linked@1", "prod")):
        with pytest.raises(StoreError):
            use()


@pytest.mark.parametrize("way", ["add", "import"])
def test_a_file_that_comes_again_after_an_upgrade_does_not_hide_failing_golden_outputs(home, tmp_path, way):
    """Its new report has the warning that a trial of the version itself would have."""
    if way == "import":
        correct(home, "lin@1", "fine")
        home.bundles.export("lin@1", str(tmp_path / "lin.qsml"))
    tamper(home, "lin@1")

    def age(model):
        first = model.versions[0]
        return edits.with_version(
            model, replace(first, trial=replace(first.trial, runtime="onnxruntime 0.1", warning=""))
        )

    home.registry.put("lin", age)
    if way == "add":
        result = home.catalog.add(AddRequest(str(save_linear(tmp_path / "same.onnx")), name="lin"))
        assert result.version.trial.runtime != "onnxruntime 0.1"
    else:
        result = home.bundles.import_bundle(str(tmp_path / "lin.qsml"), name="lin")
    assert result.existed
    assert "does not give its golden output default" in home.registry.find("lin").versions[0].trial.warning


def test_a_restored_version_gets_no_protected_alias_back_unverified(home):
    tamper(home, "lin@1")
    home.registry.put("lin", lambda model: replace(model, aliases={"prod": 1, "old": 1}))
    for name in ("", "own"):
        home.catalog.delete("lin@1", force=True)
        entry = home.catalog.trash()[0]
        model = home.catalog.restore("lin@1", name=name)
        assert model.aliases == {"old": 1}
        assert "`quickserveml alias" in lost_on_return(entry, model)[-1]
        home.registry.put(model.id, lambda found: replace(found, aliases={"prod": 1, "old": 1}))
    home.catalog.delete("own", force=True)
    home.registry.put("lin", lambda found: replace(found, versions=(model.versions[0], *found.versions)))
