"""Every family of hostile models: one clear sentence, in time, nothing kept of what is rejected, the next one works."""

from __future__ import annotations

import os
import signal
import time

import hostile_models as hostile
import numpy as np
import pytest

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import ModelError, ModelUnrunnableError, RunnerTimeoutError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.models import TrialOutcome
from quickserveml_tui.runtime.limits import RunnerLimits
from quickserveml_tui.runtime.pool import LocalRunnerPool
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

LIMITS = RunnerLimits(trial_s=1.5, read_s=15.0, grace_s=0.3, memory_bytes=768 << 20)
PATIENCE_S = 60.0
"""Far beyond the limits on a busy machine; without limits the loops never end."""
BREAKING = ["division folded, 32 bits", "endless loop", "block of 64 GB"]


@pytest.fixture(scope="module")
def runners(tmp_path_factory):
    pool = LocalRunnerPool(tmp_path_factory.mktemp("logs"), limits=LIMITS)
    yield pool
    pool.close()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def catalog(home, runners):
    artifacts = BlobArtifactStore(home / "blobs", home / "cache")
    return CatalogService(TinyDbRegistry(home / "registry.json"), artifacts, SqliteState(home / "state.db"), runners)


def kept(home):
    """Everything in the stores but lock files."""
    blobs = home / "blobs"
    return sorted(path.name for path in blobs.rglob("*") if path.is_file() and "lock" not in path.name)


def check_sentence(text):
    assert text
    assert text.isprintable(), text
    assert len(text) <= 400, text
    assert text.endswith((".", "…")), text


def outcome_of(catalog, home, path):
    """What became of a file, its sentences checked."""
    try:
        result = catalog.add(AddRequest(str(path), name="hostile"))
    except ModelError as error:
        check_sentence(error.message)
        check_sentence(error.hint)
        assert kept(home) == []
        assert catalog.list_models().models == ()
        return hostile.REJECTED
    version = result.version
    for warning in version.facts.warnings:
        assert warning.isprintable()
    assert result.trial.tried_at
    if not version.runnable:
        check_sentence(result.trial.reason)
        assert result.trial.code
        with pytest.raises(ModelUnrunnableError):
            catalog.resolve("hostile", runnable=True)
        with pytest.raises(ModelUnrunnableError):
            catalog.set_alias("hostile", "prod")
    return hostile.READY if version.runnable else version.status


@pytest.mark.parametrize("family", hostile.FAMILIES)
def test_a_hostile_model_gets_one_sentence_and_the_next_one_works(catalog, home, tmp_path, family):
    build, expected = hostile.FAMILIES[family]
    path = hostile.save(build(), tmp_path / "m" / "model.onnx")
    begin = time.monotonic()
    assert outcome_of(catalog, home, path) in expected
    assert time.monotonic() - begin < PATIENCE_S
    fine = hostile.save(hostile.good(), tmp_path / "good.onnx")
    assert catalog.add(AddRequest(str(fine))).trial.outcome is TrialOutcome.READY


@pytest.mark.parametrize("family", BREAKING)
def test_what_breaks_its_runner_is_in_quarantine_and_can_still_be_read(catalog, home, tmp_path, family):
    path = hostile.save(hostile.FAMILIES[family][0](), tmp_path / "model.onnx")
    assert outcome_of(catalog, home, path) == hostile.QUARANTINED
    assert [view.model.name for view in catalog.list_models().models] == ["hostile"]
    with pytest.raises(ModelUnrunnableError) as caught:
        catalog.resolve("hostile", runnable=True)
    assert caught.value.code == "model.quarantined"
    with catalog._runners.borrow() as runner:
        assert runner.read_layers(catalog._artifacts.open_path(catalog.show("hostile").model.latest.artifact)).total > 0


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL])
def test_each_way_to_die_is_named_by_its_signal(catalog, runners, tmp_path, number):
    path = hostile.save(hostile.endless_loop(), tmp_path / "model.onnx")

    def kill(progress):
        if progress.phase == "trial":
            os.kill(next(iter(runners._used)).pid, number)

    result = catalog.add(AddRequest(str(path)), on_progress=kill)
    report = result.trial
    assert (report.signal, report.code, report.quarantined) == (number.name, "runtime.crashed", True)
    check_sentence(report.reason)


def test_the_evaluator_of_the_onnx_package_ends_soon_after_a_trial_would(runners, tmp_path):
    path = hostile.save(hostile.endless_loop(), tmp_path / "model.onnx")
    with runners.borrow() as runner, pytest.raises(RunnerTimeoutError, match="within 3 s"):
        runner.reference(path, inputs={"x": np.ones((1, 4), np.float32)})


def test_a_quarantined_version_is_freed_by_inputs_that_it_survives(catalog, tmp_path):
    """The size of its input decides whether it takes 16 GB."""
    nodes = [
        hostile.node("Shape", ["x"], ["s"]),
        hostile.node("Sub", ["limit", "s"], ["left"]),
        hostile.node("Mul", ["left", "huge"], ["size"]),
        hostile.node("ConstantOfShape", ["size"], ["y"]),
    ]
    proto = hostile.model(
        nodes, [hostile.value("x", shape=["n"])], [hostile.value("y", shape=None)],
        [hostile.const("limit", np.array([5], np.int64)), hostile.const("huge", np.array([2**31], np.int64))],
    )  # fmt: skip
    added = catalog.add(AddRequest(str(hostile.save(proto, tmp_path / "m.onnx"))))
    assert added.version.status == hostile.QUARANTINED
    model = catalog.set_feed("m", FeedSpec(dims={"n": 5}))
    assert model.latest.runnable
    assert catalog.resolve("m", runnable=True).version.feed == FeedSpec(dims={"n": 5})
    assert catalog.retry("m").model.latest.runnable


def test_hundreds_of_broken_files_in_a_row_leave_nothing_behind(catalog, home, tmp_path):
    whole = hostile.good().SerializeToString()
    path = tmp_path / "cut.onnx"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError) as caught:
            catalog.add(AddRequest(str(path)))
        check_sentence(caught.value.message)
    assert kept(home) == []
    path.write_bytes(whole)
    assert catalog.add(AddRequest(str(path))).version.runnable
