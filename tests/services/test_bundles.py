"""A version leaves one home as a bundle and comes back equal in another, inspected and tried there."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace

import msgspec
import numpy as np
import onnxruntime
import pytest
from catalog_builders import save_external, save_linear
from maintenance_homes import add_model, add_run, damage

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import (
    CancelledError,
    ConflictError,
    ModelError,
    QuickServeError,
    StoreError,
    UsageError,
)
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import GoldenOutput, Lineage, MetadataPatch, VersionState
from quickserveml_tui.runtime.pool import LocalRunnerPool
from quickserveml_tui.runtime.value_files import save_values
from quickserveml_tui.services.bundles import BundleService
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.services.home import open_workbench

ROW = ({"x": np.ones((1, 4), np.float32)}, {"y": np.full((1, 3), 4, np.float32)})
"""What goes into the linear model and comes out of it."""


@pytest.fixture(scope="module")
def runners(tmp_path_factory):
    pool = LocalRunnerPool(tmp_path_factory.mktemp("logs"))
    yield pool
    pool.close()


@pytest.fixture
def open_home(tmp_path, runners):
    def opened(name):
        home = open_workbench(tmp_path / name)
        home.__dict__["catalog"] = CatalogService(home.registry, home.artifacts, home.state, runners)
        home.__dict__["bundles"] = BundleService(home.registry, home.artifacts, home.state, runners)
        return home

    return opened


@pytest.fixture
def home(open_home):
    return open_home("home")


@pytest.fixture
def other(open_home):
    return open_home("other")


@pytest.fixture
def full(home, tmp_path):
    """`Lin@1` with external data, and everything that can belong to a version."""
    path = save_external(tmp_path / "models" / "lin.onnx")
    home.catalog.add(
        AddRequest(
            str(path), name="Lin", label="1.2.0", tags=("vision",), task="classification", author="me",
            description="a\nb", framework="torch", license="MIT", metadata={"k": "v"}, categories=("a/b",),
            notes="note", lineage=Lineage(made_from="run 7", converted_by="torch 2.9"),
        )
    )  # fmt: skip
    home.catalog.update("Lin@1", MetadataPatch(state=VersionState.VALIDATED))
    model = home.registry.find("Lin")
    add_run(home, model)
    add_run(home, model)
    with home.artifacts.publishing():
        digests = [home.artifacts.put_bytes(save_values(values)) for values in ROW]
        golden = GoldenOutput("smoke", *digests, created_at="2026-01-01T00:00:00Z", rtol=0.1)
        version = replace(model.versions[0], golden=(golden,), metadata={"dataset": "x"})
        home.registry.put("Lin", lambda old: replace(old, versions=(version,)))
    return home.registry.find("Lin")


def content_of(path):
    with zipfile.ZipFile(path) as archive:
        return msgspec.json.decode(archive.read("bundle.json"))["content_digest"]


def test_the_same_version_gives_the_same_bytes_and_every_zip_program_reads_them(home, full, tmp_path):
    info = home.bundles.export("Lin", str(tmp_path / "a.qsml"))
    home.bundles.export("Lin@1", str(tmp_path / "b.qsml"))
    assert (tmp_path / "a.qsml").read_bytes() == (tmp_path / "b.qsml").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.qsml") as archive:
        assert archive.testzip() is None
        sums = dict(reversed(line.split("  ")) for line in archive.read("SHA256SUMS").decode().splitlines())
        assert sums == info.members
        assert all(hashlib.sha256(archive.read(name)).hexdigest() == digest for name, digest in sums.items())
        assert set(archive.namelist()) == {*sums, "SHA256SUMS"}
    assert (info.files, info.benchmarks, info.golden) == (2, 2, 1)
    assert home.bundles.read(str(tmp_path / "a.qsml")) == replace(info, path=str(tmp_path / "a.qsml"))


def test_a_bundle_says_nothing_of_the_home_that_it_comes_from(home, full, tmp_path):
    home.bundles.export("Lin", str(tmp_path / "a.qsml"))
    data = (tmp_path / "a.qsml").read_bytes()
    assert str(tmp_path).encode() not in data
    assert full.id.encode() not in data


def test_a_round_trip_brings_everything_over_and_exports_equal_content(home, other, full, tmp_path):
    home.bundles.export("Lin", str(tmp_path / "a.qsml"))
    result = other.bundles.import_bundle(str(tmp_path / "a.qsml"))
    assert (result.existed, result.warning, result.version.runnable) == (False, "", True)
    old, new = full.versions[0], result.version
    same = ("artifact", "label", "state", "notes", "lineage", "golden", "source")
    assert {name: getattr(new, name) for name in same} == {name: getattr(old, name) for name in same}
    assert new.metadata == {"dataset": "x", "imported_from": "Lin@1"}
    texts = ("task", "author", "description", "framework", "license", "tags", "categories", "metadata")
    assert {name: getattr(result.model, name) for name in texts} == {name: getattr(full, name) for name in texts}
    for item in new.golden:
        assert other.artifacts.read_bytes(item.inputs_digest) == save_values(ROW[0])
    other.bundles.export("Lin", str(tmp_path / "b.qsml"))
    assert content_of(tmp_path / "a.qsml") == content_of(tmp_path / "b.qsml")
    assert other.maintenance.check(full=True).findings == ()


def test_the_content_digest_tells_what_differs(home, full, tmp_path):
    digests = set()
    for number, patch in enumerate([MetadataPatch(), MetadataPatch(notes="x"), MetadataPatch(task="y")]):
        home.catalog.update("Lin@1", patch)
        digests.add(home.bundles.export("Lin", str(tmp_path / f"{number}.qsml")).content_digest)
    add_run(home, home.registry.find("Lin"))
    digests.add(home.bundles.export("Lin", str(tmp_path / "run.qsml")).content_digest)
    assert len(digests) == 4


def test_benchmarks_are_marked_as_measured_elsewhere_and_keep_their_conditions(home, other, full, tmp_path):
    home.bundles.export("Lin", str(tmp_path / "a.qsml"))
    model = other.bundles.import_bundle(str(tmp_path / "a.qsml"), name="copy").model
    old, new = home.state.benchmarks(full.id), other.state.benchmarks(model.id, 1)
    assert [run.fingerprint for run in new] == [run.fingerprint for run in old]
    assert [run.summary for run in new] == [run.summary for run in old]
    assert {run.origin for run in new} == {"bundle Lin@1"}
    assert {run.ref for run in new} == {"copy@1"}
    assert all(other.artifacts.read_bytes(run.samples_digest) for run in new)
    assert {run.origin for run in old} == {""}


def test_an_equal_version_is_not_doubled_and_gets_only_what_it_lacks(home, other, full, tmp_path):
    home.bundles.export("Lin", str(tmp_path / "a.qsml"))
    first = other.bundles.import_bundle(str(tmp_path / "a.qsml"))
    again = other.bundles.import_bundle(str(tmp_path / "a.qsml"))
    assert again.existed
    assert again.model == first.model
    assert len(other.state.benchmarks(first.model.id)) == 2
    add_run(home, full)
    home.bundles.export("Lin", str(tmp_path / "b.qsml"))
    other.bundles.import_bundle(str(tmp_path / "b.qsml"))
    assert len(other.state.benchmarks(first.model.id)) == 3
    assert len(other.registry.find("Lin").versions) == 1


def test_an_import_into_the_same_home_takes_no_benchmark_from_the_original(home, full, tmp_path):
    home.bundles.export("Lin", str(tmp_path / "a.qsml"))
    before = home.state.benchmarks(full.id)
    for _ in range(2):
        model = home.bundles.import_bundle(str(tmp_path / "a.qsml"), name="twin").model
    assert home.state.benchmarks(full.id) == before
    twins = home.state.benchmarks(model.id)
    assert len(twins) == 2
    assert not {run.id for run in twins} & {run.id for run in before}
    assert home.registry.find("Lin") == full


def test_an_imported_version_is_the_next_one_and_takes_no_label_or_detail_away(home, other, full, tmp_path):
    other.catalog.add(
        AddRequest(str(save_linear(tmp_path / "x.onnx", 3.0)), name="Lin", label="1.2.0", task="mine", tags=("t",))
    )
    home.bundles.export("Lin", str(tmp_path / "a.qsml"))
    result = other.bundles.import_bundle(str(tmp_path / "a.qsml"))
    assert (result.version.version, result.version.label) == (2, "")
    assert "1.2.0" in result.warning
    assert (result.model.task, result.model.author, result.model.tags) == ("mine", "me", ("t", "vision"))
    assert result.model.versions[0].label == "1.2.0"


def test_what_a_bundle_says_of_its_trial_is_not_believed(home, other, tmp_path):
    odd = save_linear(tmp_path / "odd.onnx", op="NoSuchOperator")
    home.catalog.add(AddRequest(str(odd)))
    ready = replace(home.registry.find("odd").versions[0].trial, outcome="ready", reason="")
    home.registry.put("odd", lambda old: replace(old, versions=(replace(old.versions[0], trial=ready),)))
    home.bundles.export("odd", str(tmp_path / "odd.qsml"))
    result = other.bundles.import_bundle(str(tmp_path / "odd.qsml"))
    assert not result.version.runnable
    assert result.trial.reason


def test_a_file_that_is_no_model_is_rejected_though_its_digests_fit(home, other, tmp_path):
    add_model(home, tmp_path, "fake", {"model.onnx": b"not a model"})
    home.bundles.export("fake", str(tmp_path / "fake.qsml"))
    with pytest.raises(ModelError):
        other.bundles.import_bundle(str(tmp_path / "fake.qsml"))
    assert other.registry.models() == ()
    assert not list(other.artifacts.blobs())


def test_a_plain_model_comes_with_its_data_and_runs(home, full, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    info = home.bundles.export("Lin", str(target / "plain.onnx"))
    assert set(info.members) == {"plain.onnx", "weights.bin"} == {item.name for item in target.iterdir()}
    session = onnxruntime.InferenceSession(target / "plain.onnx", providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.ones((1, 4), np.float32)})
    assert y.tolist() == [[4.0, 4.0, 4.0]]


def test_a_linked_version_is_exported_from_where_it_lies_unless_it_changed(home, other, tmp_path):
    path = save_linear(tmp_path / "linked.onnx")
    home.catalog.add(AddRequest(str(path), link=True))
    home.bundles.export("linked", str(tmp_path / "a.qsml"))
    assert not other.bundles.import_bundle(str(tmp_path / "a.qsml")).version.artifact.is_linked
    save_linear(path, 5.0)
    with pytest.raises(StoreError) as caught:
        home.bundles.export("linked", str(tmp_path / "b.qsml"))
    assert caught.value.code == "artifact.changed"
    assert sorted(tmp_path.glob("*.qsml")) == [tmp_path / "a.qsml"]


def test_damage_stops_an_export_and_leaves_no_file(home, full, tmp_path):
    blob = home.artifacts.blob_path(full.versions[0].artifact.files[1].digest)
    damage(blob, b"x" * blob.stat().st_size)
    out = tmp_path / "out"
    out.mkdir()
    for name in ("a.qsml", "a.onnx"):
        with pytest.raises(StoreError) as caught:
            home.bundles.export("Lin", str(out / name))
        assert caught.value.code == "artifact.corrupt"
    assert not list(out.iterdir())


def test_damaged_samples_do_not_stop_an_export(home, other, full, tmp_path):
    run = home.state.benchmarks(full.id)[0]
    damage(home.artifacts.blob_path(run.samples_digest), b"?")
    home.bundles.export("Lin", str(tmp_path / "a.qsml"))
    other.bundles.import_bundle(str(tmp_path / "a.qsml"))
    assert other.state.benchmark(run.id).samples_digest == ""
    assert other.maintenance.check(full=True).findings == ()


def test_nothing_is_overwritten_unless_asked_and_never_through_a_link(home, full, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep")
    taken = tmp_path / "taken.qsml"
    taken.write_text("old")
    with pytest.raises(ConflictError) as caught:
        home.bundles.export("Lin", str(taken))
    assert caught.value.code == "export.exists"
    home.bundles.export("Lin", str(taken), overwrite=True)
    assert home.bundles.read(str(taken)).ref == "Lin@1"
    link = tmp_path / "link.qsml"
    link.symlink_to(precious)
    (tmp_path / "weights.bin").symlink_to(precious)
    for name in ("link.qsml", "model.onnx"):
        with pytest.raises(UsageError):
            home.bundles.export("Lin", str(tmp_path / name), overwrite=True)
    assert precious.read_text() == "keep"
    assert not (tmp_path / "model.onnx").exists()
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize(
    "path",
    ["x", "x.zip", ".qsml", "x.qsml/", "a\0.qsml", "\udcc0.qsml", "no/folder/x.qsml", "/dev/null", "/proc/x.qsml",
     "~nobody-here/x.qsml", "x" * 300 + ".qsml", "home/x.qsml", "home/blobs/x.onnx", ""],
)  # fmt: skip
def test_a_bad_place_for_an_export_is_refused_before_anything_is_written(home, full, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(QuickServeError):
        home.bundles.export("Lin", path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_told_before_anything_is_written(home, other, full, tmp_path, monkeypatch):
    home.bundles.export("Lin", str(tmp_path / "a.qsml"))
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 100}))
    for action in (
        lambda: home.bundles.export("Lin", str(tmp_path / "b.qsml")),
        lambda: home.bundles.export("Lin", str(tmp_path / "b.onnx")),
        lambda: other.bundles.import_bundle(str(tmp_path / "a.qsml")),
    ):
        with pytest.raises(StoreError) as caught:
            action()
        assert caught.value.code == "store.full"
    assert sorted(tmp_path.glob("b.*")) == []
    assert other.registry.models() == ()


def test_a_cancel_keeps_nothing(home, other, full, tmp_path):
    home.bundles.export("Lin", str(tmp_path / "a.qsml"))
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError):
        home.bundles.export("Lin", str(tmp_path / "b.qsml"), cancel=token)
    with pytest.raises(CancelledError):
        other.bundles.import_bundle(str(tmp_path / "a.qsml"), cancel=token)
    assert not (tmp_path / "b.qsml").exists()
    assert other.registry.models() == ()
    assert not [path for path in (other.home / "blobs").rglob("*") if path.is_file() and path.suffix != ".lock"]
