"""Golden outputs are recorded whole or not at all: real models, real runners, real stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from catalog_builders import make_version, save_linear
from golden_homes import INT_MIN, add_linear, golden_of, put_golden, save_fragile, save_random

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import (
    CancelledError,
    ConflictError,
    DataError,
    ModelUnrunnableError,
    NotFoundError,
    ReadOnlyError,
    RunnerCrashedError,
    StoreError,
    UsageError,
)
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import GoldenOutput
from quickserveml_tui.services import golden_record
from quickserveml_tui.services.golden_names import MAX_RECORDS, free_name
from quickserveml_tui.services.home import open_workbench

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """`lin@1`, `random@1`, `fragile@1`, and `strange@1`, which does not run."""
    folder = tmp_path_factory.mktemp("golden")
    home = open_workbench(folder / "home")
    add_linear(home, folder)
    home.catalog.add(AddRequest(str(save_random(folder / "random.onnx"))))
    home.catalog.add(AddRequest(str(save_fragile(folder / "fragile.onnx"))))
    home.catalog.add(AddRequest(str(save_linear(folder / "strange.onnx", op="NoSuchOperator"))))
    yield home
    home.close()


@pytest.fixture
def home(stocked):
    """The same home, without golden outputs."""
    for name in ("lin", "random", "fragile"):
        stocked.registry.put(
            name,
            lambda model: replace(
                model, versions=tuple(replace(item, golden=(), feed=FeedSpec()) for item in model.versions)
            ),
        )
    return stocked


def blobs_of(home):
    return {blob.digest for blob in home.artifacts.blobs()}


# ---- what is kept


def test_a_record_keeps_what_went_in_and_what_came_out(home):
    golden = home.golden.record("lin", feed=FeedSpec(batch=2, seed=7), rtol=1e-3, notes="a\nb")
    assert (golden.name, golden.rtol, golden.atol, golden.notes) == ("default", 1e-3, 1e-5, "a\nb")
    assert golden.source == "--batch 2 --seed 7"
    assert golden.runtime.startswith("onnxruntime ")
    content = home.golden.content("lin@1", "default")
    assert content.inputs["x"].shape == (2, 4)
    assert np.allclose(content.outputs["y"], content.inputs["x"].sum(axis=1, keepdims=True))
    assert home.golden.list("lin") == (golden,)
    assert home.golden.verify("lin").ok


def test_the_same_feed_gives_the_same_files(home):
    first = home.golden.record("lin", feed=FeedSpec(seed=3))
    second = home.golden.record("lin", feed=FeedSpec(seed=3))
    assert (first.name, second.name) == ("default", "default-2")
    assert (first.inputs_digest, first.outputs_digest) == (second.inputs_digest, second.outputs_digest)


def test_the_feed_lies_over_the_one_that_is_saved_with_the_version(home):
    home.registry.put(
        "lin",
        lambda model: replace(model, versions=tuple(replace(item, feed=FeedSpec(batch=3)) for item in model.versions)),
    )
    golden = home.golden.record("lin", feed=FeedSpec(seed=9))
    assert golden.source == "--batch 3 --seed 9"
    assert home.golden.content("lin", "default").inputs["x"].shape == (3, 4)


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_inputs_come_from_a_file_in_every_form_that_predict_takes(home, tmp_path, suffix):
    path = tmp_path / f"in.{suffix}"
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    if suffix == "npz":
        np.savez(path, x=rows)
    else:
        path.write_text(json.dumps({"x": rows.tolist()}))
    golden = home.golden.record("lin", "from-file", inputs=path)
    assert golden.source == f"in.{suffix}"
    content = home.golden.content("lin", "from-file")
    assert np.array_equal(content.inputs["x"], rows)
    assert np.allclose(content.outputs["y"][:, 0], [6, 22])


def test_a_golden_output_is_not_collected(home):
    golden = home.golden.record("lin")
    home.maintenance.collect(grace_s=0)
    assert home.artifacts.has(golden.inputs_digest)
    assert home.golden.verify("lin").ok
    home.golden.remove("lin", "default")
    home.maintenance.collect(grace_s=0)
    assert not home.artifacts.has(golden.inputs_digest)


# ---- outputs that are given


def given(folder, value, suffix="npz"):
    inputs, outputs = folder / "in.npz", folder / f"out.{suffix}"
    np.savez(inputs, x=np.ones((1, 4), np.float32))
    if suffix == "npz":
        np.savez(outputs, y=np.full((1, 3), value, np.float32))
    else:
        outputs.write_text(value if isinstance(value, str) else json.dumps(value))
    return {"inputs": inputs, "outputs": outputs}


@pytest.mark.parametrize(
    ("value", "suffix"),
    [
        (4.0002, "npz"),
        ({"y": [[4.0002] * 3]}, "json"),
        ({"outputs": {"y": {"dtype": "float32", "shape": [1, 3], "data": [[4.0002] * 3]}}, "latency_ms": 1.0}, "json"),
    ],
)
def test_outputs_from_a_file_are_what_is_expected_from_then_on(home, tmp_path, value, suffix):
    home.golden.record("lin", **given(tmp_path, value, suffix))
    stored = home.golden.content("lin", "default").outputs["y"]
    assert (stored.dtype, stored.shape) == (np.float32, (1, 3))
    assert stored[0, 0] == np.float32(4.0002)
    assert home.golden.verify("lin").ok


def test_given_outputs_that_the_model_does_not_answer_are_refused(home, tmp_path):
    with pytest.raises(ConflictError, match=r"out\.npz.*y") as caught:
        home.golden.record("lin", **given(tmp_path, 4.5))
    assert caught.value.code == "golden.differs"
    assert golden_of(home, "lin") == []
    home.golden.record("lin", **given(tmp_path, 4.5), atol=0.6)


@pytest.mark.parametrize(
    "value",
    [
        {"z": [[4, 4, 4]]},
        {},
        {"y": [[4, 4, 4]], "z": 1},
        {"y": [["a", "b", "c"]]},
        {"y": [[1, 2], [3]]},
        {"y": None},
        {"y": {"a": 1}},
        [1],
        "{",
        "[" * 100_000,
    ],
)
def test_given_outputs_that_are_none_of_the_model_are_a_data_error(home, tmp_path, value):
    with pytest.raises(DataError) as caught:
        home.golden.record("lin", **given(tmp_path, value, "json"))
    assert caught.value.hint
    assert golden_of(home, "lin") == []


def test_files_that_are_no_files_are_refused_at_once(home, tmp_path):
    os.mkfifo(tmp_path / "fifo.json")
    os.mkfifo(tmp_path / "fifo.npz")
    for name in ("fifo.json", "fifo.npz", "missing.json", "missing.npz"):
        for side in ("inputs", "outputs"):
            with pytest.raises(DataError):
                home.golden.record("lin", **{side: tmp_path / name})
    assert golden_of(home, "lin") == []


# ---- refusals


def test_outputs_that_do_not_repeat_are_refused_by_name(home):
    before = blobs_of(home)
    with pytest.raises(ConflictError, match="noise") as caught:
        home.golden.record("random")
    assert caught.value.code == "golden.unstable"
    assert "--rtol" in caught.value.hint
    assert golden_of(home, "random") == []
    assert blobs_of(home) == before
    assert home.golden.record("random", atol=100.0).name == "default"


def test_a_model_that_dies_on_the_inputs_records_nothing(home, tmp_path):
    np.savez(tmp_path / "in.npz", x=np.array([INT_MIN], np.int32))
    with pytest.raises(RunnerCrashedError):
        home.golden.record("fragile", inputs=tmp_path / "in.npz")
    assert golden_of(home, "fragile") == []


def test_a_name_is_taken_once_whatever_its_case(home):
    first = home.golden.record("lin", "smoke")
    for name, code in (("smoke", "golden.exists"), ("SMOKE", "golden.exists")):
        with pytest.raises(ConflictError) as caught:
            home.golden.record("lin", name)
        assert caught.value.code == code
    second = home.golden.record("lin", "smoke", feed=FeedSpec(seed=5), overwrite=True)
    assert home.golden.list("lin") == (second,)
    assert second.inputs_digest != first.inputs_digest
    with pytest.raises(ConflictError):
        home.golden.record("lin", "Smoke", overwrite=True)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("lin", "../x"), UsageError),
        (("lin", "CON"), UsageError),
        (("lin", "x" * 200), UsageError),
        (("lin#node", ""), UsageError),
        (("lin@9", ""), NotFoundError),
        (("nothing", ""), NotFoundError),
        (("./lin.onnx", ""), NotFoundError),
        (("strange", ""), ModelUnrunnableError),
    ],
)
def test_what_cannot_be_recorded_is_refused(home, arguments, kind):
    with pytest.raises(kind) as caught:
        home.golden.record(*arguments)
    assert caught.value.message


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_finite_number(home, tolerance):
    for side in ("rtol", "atol"):
        with pytest.raises(UsageError):
            home.golden.record("lin", **{side: tolerance})


def test_notes_and_feeds_are_checked_before_anything_runs(home):
    for fields in ({"notes": "\x1b[31m"}, {"notes": "x" * 100_000}, {"feed": FeedSpec(batch=0)}):
        with pytest.raises(UsageError):
            home.golden.record("lin", **fields)


def test_a_version_has_a_bounded_number_of_them():
    many = tuple(GoldenOutput(f"g{number}", "a", "b", "now") for number in range(MAX_RECORDS))
    with pytest.raises(ConflictError) as caught:
        free_name(make_version(golden=many), "", overwrite=False)
    assert caught.value.code == "golden.too_many"
    assert free_name(make_version(golden=many), "g3", overwrite=True) == "g3"


def test_values_that_are_too_large_are_refused(home, monkeypatch):
    monkeypatch.setattr(golden_record, "MAX_BYTES", 100)
    with pytest.raises(DataError) as caught:
        home.golden.record("lin")
    assert caught.value.code == "golden.too_large"
    assert golden_of(home, "lin") == []


def test_a_home_that_is_read_only_is_refused_before_anything_runs(home):
    home.golden.record("lin", "smoke")
    reader = open_workbench(home.home, read_only=True)
    for write in (lambda: reader.golden.record("lin"), lambda: reader.golden.remove("lin", "smoke")):
        with pytest.raises(ReadOnlyError):
            write()
    assert "_pool" not in reader.runners.__dict__
    assert reader.golden.verify("lin").ok
    reader.close()


def test_a_cancelled_record_keeps_nothing(home):
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError):
        home.golden.record("lin", cancel=token)
    assert golden_of(home, "lin") == []


# ---- faults and other writers


def test_a_failure_between_files_and_registry_leaves_nothing_that_refers_to_them(home, monkeypatch):
    before = blobs_of(home)

    def fail(_work):
        raise StoreError("The registry is full.", code="store.full")

    with monkeypatch.context() as patch:
        patch.setattr(home.registry, "edit", fail)
        with pytest.raises(StoreError):
            home.golden.record("lin", feed=FeedSpec(seed=12345))
    assert golden_of(home, "lin") == []
    assert len(blobs_of(home) - before) == 2  # they are nobody's
    home.maintenance.collect(grace_s=0)
    assert blobs_of(home) <= before


def test_what_the_version_got_meanwhile_stays(home, monkeypatch):
    put_file = home.artifacts.put_file

    def late(source, **options):
        if "default" not in golden_of(home, "lin"):
            put_golden(home, "lin@1", "default", {"x": np.ones((1, 4), np.float32)}, {"y": np.ones((1, 3), np.float32)})
        return put_file(source, **options)

    monkeypatch.setattr(home.artifacts, "put_file", late)
    assert home.golden.record("lin").name == "default-2"
    assert golden_of(home, "lin") == ["default", "default-2"]


def test_a_version_that_is_deleted_meanwhile_is_told(home, tmp_path, monkeypatch):
    add_linear(home, tmp_path, "brief", 7.0)
    put_file = home.artifacts.put_file

    def late(source, **options):
        if any(view.model.name == "brief" for view in home.catalog.list_models().models):
            home.catalog.delete("brief")
        return put_file(source, **options)

    monkeypatch.setattr(home.artifacts, "put_file", late)
    with pytest.raises(NotFoundError):
        home.golden.record("brief")


def test_processes_that_record_at_once_keep_each_what_they_made(home):
    script = (
        "import sys; from pathlib import Path; from quickserveml_tui.core.feeds import FeedSpec\n"
        "from quickserveml_tui.services.home import open_workbench\n"
        "bench = open_workbench(Path(sys.argv[1]))\n"
        "for seed in range(4): bench.golden.record('lin', feed=FeedSpec(seed=seed))\n"
        "bench.close()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(home.home)], env=environment, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in running:
        _out, problem = process.communicate(timeout=60)
        assert process.returncode == 0, problem.decode()
    assert len(golden_of(home, "lin")) == 8
    assert home.golden.verify("lin").count == "8 of 8"


# ---- reading and taking away


def test_one_that_is_not_there_is_told_with_those_that_are(home):
    home.golden.record("lin", "smoke")
    for call in (
        lambda: home.golden.remove("lin", "smock"),
        lambda: home.golden.content("lin", "smock"),
        lambda: home.golden.verify("lin", ["smock"]),
    ):
        with pytest.raises(NotFoundError) as caught:
            call()
        assert (caught.value.code, "smoke" in caught.value.hint) == ("golden.not_found", True)
    with pytest.raises(NotFoundError):
        home.golden.remove("nothing", "smoke")
    home.golden.remove("lin@1", "smoke")
    assert golden_of(home, "lin") == []


def test_both_files_are_written_or_none(home, tmp_path):
    home.golden.record("lin", "smoke")
    folder = tmp_path / "out"
    inputs, outputs = home.golden.export("lin", "smoke", str(folder))
    assert [path.name for path in (inputs, outputs)] == ["smoke.inputs.npz", "smoke.outputs.npz"]
    prediction = home.predict.predict("lin", inputs=inputs)
    with np.load(outputs, allow_pickle=False) as arrays:
        assert any(np.allclose(arrays[name], prediction.outputs["y"]) for name in arrays.files)
    inputs.unlink()
    with pytest.raises(ConflictError):
        home.golden.export("lin", "smoke", str(folder))
    assert not inputs.exists()
    home.golden.export("lin", "smoke", str(folder), overwrite=True)
    assert all(path.is_file() for path in home.golden.export("lin", "smoke", str(tmp_path / "a" / "b")))
    with pytest.raises(UsageError):
        home.golden.export("lin", "smoke", str(outputs / "b"))
