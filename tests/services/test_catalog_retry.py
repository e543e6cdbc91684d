"""Versions are tried again: when asked, with other inputs, and once a process when the runtime is another one."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from catalog_builders import READY, UNRUNNABLE, PoolDouble, RunnerDouble, make_facts, save_crashing, save_linear
from onnx import TensorProto, helper, numpy_helper

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import (
    CancelledError,
    ModelUnrunnableError,
    NotFoundError,
    ReadOnlyError,
    StoreError,
    UsageError,
)
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import TrialOutcome
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime.installed import installed_runtime
from quickserveml_tui.runtime.pool import LocalRunnerPool
from quickserveml_tui.services import catalog_retry
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.services.catalog_feed import check_feed
from quickserveml_tui.services.predict import PredictService
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

OLD = "onnxruntime 1.0.0"
NOW = "onnxruntime 9.9.9"


@pytest.fixture(scope="module")
def runners(tmp_path_factory):
    pool = LocalRunnerPool(tmp_path_factory.mktemp("logs"))
    yield pool
    pool.close()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def make_catalog(home):
    def make(pool, *, read_only=False):
        artifacts = BlobArtifactStore(home / "blobs", home / "cache", read_only=read_only)
        registry = TinyDbRegistry(home / "registry.json", read_only=read_only)
        return CatalogService(registry, artifacts, SqliteState(home / "state.db", read_only=read_only), pool)

    return make


@pytest.fixture
def upgraded(monkeypatch):
    """The installed runtime is newer than any report in the home."""
    monkeypatch.setattr(catalog_retry, "installed_runtime", lambda: NOW)


def old(report):
    return replace(report, runtime=OLD, tried_at="2020-01-01T00:00:00.000Z")


def new(report):
    return replace(report, runtime=NOW)


def double(report):
    return RunnerDouble(facts=make_facts(), report=report)


def stock(make_catalog, tmp_path, report):
    """A home with `m@1` and this report, made by an old runtime."""
    make_catalog(PoolDouble(double(old(report)))).add(AddRequest(str(save_linear(tmp_path / "m.onnx"))))


def trials(runner):
    return [name for name, _files in runner.calls].count("trial")


# ---- another runtime ------------------------------------------------------------------------------------------------


def test_the_installed_runtime_is_told_without_importing_it(runners):
    with runners.borrow() as runner:
        assert installed_runtime() == runner.wait_ready().runtime


def test_a_version_of_an_older_runtime_is_tried_once_and_the_report_is_kept(make_catalog, tmp_path, upgraded):
    stock(make_catalog, tmp_path, UNRUNNABLE)
    runner = double(new(READY))
    catalog = make_catalog(PoolDouble(runner))
    for _ in range(3):
        assert catalog.resolve("m", runnable=True).version.trial.runtime == NOW
    assert trials(runner) == 1
    assert make_catalog(PoolDouble(runner)).resolve("m", runnable=True).version.runnable
    assert trials(runner) == 1


def test_a_version_that_no_longer_runs_is_refused_with_the_new_reason(make_catalog, tmp_path, upgraded):
    stock(make_catalog, tmp_path, READY)
    catalog = make_catalog(PoolDouble(double(new(UNRUNNABLE))))
    with pytest.raises(ModelUnrunnableError, match="Frobnicate"):
        catalog.resolve("m", runnable=True)
    assert catalog.show("m").model.latest.trial.runtime == NOW


def test_looking_at_a_version_tries_nothing(make_catalog, tmp_path, upgraded):
    stock(make_catalog, tmp_path, UNRUNNABLE)
    runner = double(new(READY))
    catalog = make_catalog(PoolDouble(runner))
    catalog.resolve("m")
    catalog.show("m")
    catalog.list_models()
    assert trials(runner) == 0


def test_a_read_only_home_keeps_the_new_report_in_memory(make_catalog, tmp_path, upgraded):
    stock(make_catalog, tmp_path, UNRUNNABLE)
    runner = double(new(READY))
    catalog = make_catalog(PoolDouble(runner), read_only=True)
    assert catalog.resolve("m", runnable=True).version.runnable
    assert catalog.resolve("m", runnable=True).version.runnable
    assert catalog.retry("m").model.latest.runnable
    assert trials(runner) == 2
    assert catalog.show("m").model.latest.trial.runtime == OLD
    with pytest.raises(ReadOnlyError):
        catalog.set_feed("m", FeedSpec(seed=3))


def test_threads_at_once_make_one_trial(make_catalog, tmp_path, upgraded):
    stock(make_catalog, tmp_path, UNRUNNABLE)
    runner = double(new(READY))
    catalog = make_catalog(PoolDouble(runner))
    threads = [threading.Thread(target=catalog.resolve, args=("m",), kwargs={"runnable": True}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert trials(runner) == 1


def test_two_processes_do_not_fight(make_catalog, tmp_path, upgraded):
    """Both try it; the report that was made last stays, and neither write fails."""
    stock(make_catalog, tmp_path, UNRUNNABLE)
    first, second = (make_catalog(PoolDouble(double(new(READY)))) for _ in range(2))
    model, version = first._named_version("m")
    late = first._trials.run(model, version, version.feed)
    assert second.resolve("m", runnable=True).version.runnable
    written = second.show("m").model
    assert first._trials.keep(model, version, replace(late, tried_at="2021-01-01T00:00:00.000Z")) == written
    assert first.show("m").model == written


def test_a_failed_write_does_not_keep_a_version_from_use(make_catalog, tmp_path, upgraded, monkeypatch):
    stock(make_catalog, tmp_path, UNRUNNABLE)
    catalog = make_catalog(PoolDouble(double(new(READY))))

    def full(_work):
        raise StoreError("The registry could not be written: the disk is full.", code="store.full")

    monkeypatch.setattr(catalog._registry, "edit", full)
    assert catalog.resolve("m", runnable=True).version.runnable


class Endless(RunnerDouble):
    """Its trials last until they are cancelled; `cancels_itself` does so as soon as one begins."""

    def __init__(self, cancels_itself=True):
        super().__init__(facts=make_facts())
        self.cancels_itself = cancels_itself
        self.started = threading.Event()

    def trial(self, path, feed, *, nodes=0, cancel=None):
        self._answer("trial", path)
        self.started.set()
        if self.cancels_itself:
            cancel.cancel()
        assert cancel.wait(30)
        cancel.raise_if_cancelled()


USES = {
    "resolve": lambda home, token: home.resolve("m", runnable=True, cancel=token),
    "feed": lambda home, token: home.set_feed("m", FeedSpec(seed=3), cancel=token),
    "predict": lambda home, token: PredictService(home, home._runners).predict("m", cancel=token),
}


@pytest.mark.parametrize("use", USES)
def test_a_trial_that_does_not_end_is_cancelled_and_nothing_is_kept(make_catalog, tmp_path, upgraded, use):
    stock(make_catalog, tmp_path, READY)
    catalog = make_catalog(PoolDouble(Endless()))
    before = catalog.show("m").model
    with pytest.raises(CancelledError):
        USES[use](catalog, CancelToken())
    assert catalog.show("m").model == before


def test_waiting_for_the_trial_of_another_thread_is_cancelled_too(make_catalog, tmp_path, upgraded):
    stock(make_catalog, tmp_path, READY)
    runner = Endless(cancels_itself=False)
    catalog = make_catalog(PoolDouble(runner))
    first, second, told = CancelToken(), CancelToken(), []

    def work():
        with pytest.raises(CancelledError):
            catalog.resolve("m", runnable=True, on_progress=told.append, cancel=first)

    thread = threading.Thread(target=work)
    thread.start()
    assert runner.started.wait(30)
    assert [progress.phase for progress in told] == [f"trying it with {NOW}"]
    second.cancel()
    with pytest.raises(CancelledError):
        catalog.resolve("m", runnable=True, cancel=second)
    first.cancel()
    thread.join(30)
    assert not thread.is_alive()


def test_a_report_from_a_clock_that_was_ahead_is_replaced(make_catalog, tmp_path, upgraded):
    ahead = replace(old(UNRUNNABLE), tried_at="2999-01-01T00:00:00.000Z")
    make_catalog(PoolDouble(double(ahead))).add(AddRequest(str(save_linear(tmp_path / "m.onnx"))))
    catalog = make_catalog(PoolDouble(double(new(READY))))
    catalog.resolve("m", runnable=True)
    assert catalog.show("m").model.latest.runnable


# ---- when asked -----------------------------------------------------------------------------------------------------


def test_a_version_that_is_deleted_while_it_is_tried_stays_deleted(make_catalog, tmp_path):
    stock(make_catalog, tmp_path, UNRUNNABLE)
    runner = RunnerDouble(report=new(READY), on_call=lambda name: name == "trial" and catalog.delete("m"))
    catalog = make_catalog(PoolDouble(runner))
    assert catalog.retry("m").model.latest.runnable
    with pytest.raises(NotFoundError):
        catalog.show("m")


def test_a_trial_that_was_asked_for_is_kept_whatever_came_in_between(make_catalog, tmp_path):
    stock(make_catalog, tmp_path, UNRUNNABLE)
    ahead = replace(UNRUNNABLE, tried_at="2999-01-01T00:00:00.000Z")
    other = make_catalog(PoolDouble(double(ahead)))
    runner = RunnerDouble(report=new(READY), on_call=lambda name: name == "trial" and other.retry("m"))
    assert make_catalog(PoolDouble(runner)).retry("m").model.latest.runnable
    assert other.show("m").model.latest.runnable


def test_a_trial_whose_report_cannot_be_written_is_told_all_the_same(make_catalog, tmp_path, monkeypatch):
    stock(make_catalog, tmp_path, UNRUNNABLE)
    catalog = make_catalog(PoolDouble(double(new(READY))))

    def refuse(_work):
        raise StoreError("The registry could not be written: read-only file system.", code="store.unwritable")

    monkeypatch.setattr(catalog._registry, "edit", refuse)
    latest = catalog.retry("m").model.latest
    assert latest.runnable
    assert latest.trial.warning.endswith("was not kept: The registry could not be written: read-only file system.")


def test_a_stored_version_is_never_rejected(make_catalog, tmp_path):
    stock(make_catalog, tmp_path, READY)
    rejected = replace(UNRUNNABLE, outcome=TrialOutcome.REJECTED, reason="Not any more.")
    catalog = make_catalog(PoolDouble(double(rejected)))
    report = catalog.retry("m").model.latest.trial
    assert (report.outcome, report.reason) == (TrialOutcome.UNRUNNABLE, "Not any more.")


def test_a_crash_is_found_again_and_a_repaired_runtime_frees_it(make_catalog, runners, tmp_path):
    catalog = make_catalog(runners)
    catalog.add(AddRequest(str(save_crashing(tmp_path / "c.onnx"))))
    assert catalog.retry("c").model.latest.status == "quarantined"
    freed = make_catalog(PoolDouble(double(new(READY)))).retry("c").model.latest
    assert (freed.status, freed.trial.signal) == ("draft", "")


def test_an_equal_file_that_is_added_again_renews_the_report(make_catalog, tmp_path):
    stock(make_catalog, tmp_path, UNRUNNABLE)
    catalog = make_catalog(PoolDouble(double(new(READY))))
    result = catalog.add(AddRequest(str(tmp_path / "m.onnx")))
    assert result.existed
    assert result.version.trial.runtime == NOW


def test_an_equal_file_that_runs_by_now_frees_its_version_with_the_same_runtime(make_catalog, tmp_path):
    path = str(save_linear(tmp_path / "m.onnx"))
    make_catalog(PoolDouble(double(new(UNRUNNABLE)))).add(AddRequest(path))
    assert make_catalog(PoolDouble(double(new(READY)))).add(AddRequest(path)).version.runnable
    assert make_catalog(PoolDouble(double(new(UNRUNNABLE)))).add(AddRequest(path)).version.runnable


# ---- other inputs ---------------------------------------------------------------------------------------------------


def save_picky(path):
    """Runs on rows of 6 only."""
    weight = numpy_helper.from_array(np.ones((6, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "picky",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "width"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])], [weight],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    return path


WIDE = FeedSpec(dims={"width": 6})


def test_inputs_of_the_right_size_make_a_version_ready_and_stay_with_it(make_catalog, runners, tmp_path):
    catalog = make_catalog(runners)
    assert not catalog.add(AddRequest(str(save_picky(tmp_path / "p.onnx")))).version.runnable
    model = catalog.set_feed("p", WIDE)
    assert (model.latest.runnable, model.latest.feed) == (True, WIDE)
    assert catalog.retry("p").model.latest.runnable
    assert make_catalog(runners).resolve("p", runnable=True).version.feed == WIDE
    before = catalog.show("p").model
    for wrong in (FeedSpec(dims={"width": 5}), FeedSpec()):
        with pytest.raises(UsageError) as caught:
            catalog.set_feed("p", wrong)
        assert caught.value.code == "usage.override"
    assert catalog.show("p").model == before


def test_a_file_that_needs_inputs_is_ready_at_once_when_they_are_named(make_catalog, runners, tmp_path):
    catalog = make_catalog(runners)
    path = save_picky(tmp_path / "p.onnx")
    added = catalog.add(AddRequest(str(path), feed=WIDE))
    assert (added.version.runnable, added.version.feed) == (True, WIDE)
    with pytest.raises(UsageError):
        catalog.add(AddRequest(str(path), feed=FeedSpec(dims={"width": 5})))
    again = catalog.add(AddRequest(str(path), feed=FeedSpec(dims={"width": 6}, seed=9)))
    assert (again.existed, again.version.feed.seed) == (True, 9)
    assert catalog.add(AddRequest(str(path))).version.feed.seed == 9


def test_an_override_that_names_nothing_keeps_the_file_out(make_catalog, runners, home, tmp_path):
    catalog = make_catalog(runners)
    with pytest.raises(UsageError):
        catalog.add(AddRequest(str(save_picky(tmp_path / "p.onnx")), feed=FeedSpec(dims={"depth": 6})))
    assert catalog.list_models().models == ()
    assert not [path for path in (home / "blobs").rglob("*") if path.is_file() and "lock" not in path.name]


INPUTS = (
    TensorSpec("image", "float32", ("batch", 3, None)),
    TensorSpec("text", "string", (1,)),
    TensorSpec("any", "int64", None),
    TensorSpec("a[b]", "bool", ()),
    TensorSpec("list", "seq(tensor(float))", None, "sequence"),
    TensorSpec("maybe", "optional(tensor(float))", None, "optional"),
)
FITS = [
    FeedSpec(),
    FeedSpec(dims={"batch": 4, "image[2]": 7, "image[1]": 3, "any[9]": 2}),
    FeedSpec(shapes={"image": (2, 3, 9), "any": (), "a[b]": ()}, ranges={"image": (0, 255)}, batch=2),
    FeedSpec(words={"text": ("a", "")}, lengths={"list": 3}, absent=("maybe",)),
]
MISFITS = [
    FeedSpec(dims={"depth": 4}),
    FeedSpec(dims={"image[3]": 4}),
    FeedSpec(dims={"image[1]": 4}),
    FeedSpec(dims={"other[0]": 4}),
    FeedSpec(dims={"image[-1]": 4}),
    FeedSpec(shapes={"image": (2, 4, 9)}),
    FeedSpec(shapes={"image": (2, 3)}),
    FeedSpec(shapes={"other": (1,)}),
    FeedSpec(ranges={"text": (0, 1)}),
    FeedSpec(ranges={"image": (float("nan"), 1)}),
    FeedSpec(words={"image": ("a",)}),
    FeedSpec(lengths={"image": 3}),
    FeedSpec(lengths={"list": -1}),
    FeedSpec(absent=("image",)),
    FeedSpec(batch=0),
    FeedSpec(seed=2**32),
    FeedSpec(dims={"batch\x1b[31m": 2**50}),
]


@pytest.mark.parametrize("feed", FITS, ids=repr)
def test_overrides_that_fit_are_taken(feed):
    assert check_feed(INPUTS, feed) is feed


@pytest.mark.parametrize("feed", MISFITS, ids=repr)
def test_overrides_that_fit_nothing_are_refused_in_one_sentence(feed):
    with pytest.raises(UsageError) as caught:
        check_feed(INPUTS, feed)
    assert caught.value.message.isprintable()
    assert caught.value.hint.isprintable()
    assert caught.value.hint


def test_a_batch_that_no_input_takes_is_refused():
    with pytest.raises(UsageError) as caught:
        check_feed((TensorSpec("x", "float32", (1, 3)),), FeedSpec(batch=2))
    assert caught.value.code == "usage.batch"
