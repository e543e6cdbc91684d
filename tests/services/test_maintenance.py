"""`fsck` finds what is wrong with a home, mends what it can, and never makes anything worse."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from dataclasses import replace

import pytest
from maintenance_homes import add_model, add_run, damage, remove

from quickserveml_tui.core.care import Severity
from quickserveml_tui.core.errors import ReadOnlyError, StoreError
from quickserveml_tui.services.home import LocalWorkbench
from quickserveml_tui.storage.artifacts import blob_path


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def workbench(home):
    workbench = LocalWorkbench(home)
    yield workbench
    workbench.close()


@pytest.fixture
def models(workbench, tmp_path):
    """One model of a single file, one with external data, a run with samples."""
    single = add_model(workbench, tmp_path, "single", {"model.onnx": b"single"})
    spread = add_model(workbench, tmp_path, "spread", {"model.onnx": b"spread", "data/w.bin": b"w" * 100_000})
    add_run(workbench, single)
    return single, spread


def codes(report, *, severity=Severity.ERROR):
    return sorted(item.code for item in report.findings if item.severity is severity and not item.repaired)


def test_a_home_in_order_is_clean(workbench, models):
    quick, full = workbench.maintenance.check(), workbench.maintenance.check(full=True)
    assert quick.clean
    assert full.clean
    assert quick.findings == full.findings == ()
    assert (quick.models, quick.versions, quick.blobs) == (2, 2, 4)
    assert quick.bytes_read == 0
    assert full.bytes_read > 100_000
    assert quick.content_digest == full.content_digest != ""


def test_a_missing_file_is_found_without_reading_anything(workbench, home, models):
    remove(blob_path(home / "blobs", models[0].versions[0].artifact.digest))
    report = workbench.maintenance.check()
    assert not report.clean
    assert codes(report) == ["blob.missing"]
    assert "single@1" in report.findings[0].message
    assert report.findings[0].hint


def test_a_cut_file_is_found_by_the_quick_check_a_changed_one_by_the_full(workbench, home, models):
    path = blob_path(home / "blobs", models[0].versions[0].artifact.digest)
    damage(path, b"SINGLE")
    assert workbench.maintenance.check().clean
    assert codes(workbench.maintenance.check(full=True)) == ["blob.damaged"]
    damage(path, b"SING")
    assert codes(workbench.maintenance.check()) == ["blob.damaged"]


def test_a_damaged_file_is_healed_from_an_equal_copy_in_the_cache(workbench, home, models):
    spread = models[1].versions[0].artifact
    workbench.artifacts.open_path(spread)
    weights = blob_path(home / "blobs", spread.files[1].digest)
    damage(weights, b"x" * 100_000)
    report = workbench.maintenance.check(full=True, repair=True)
    assert report.clean
    assert [item.repaired for item in report.findings] == [True]
    assert weights.read_bytes() == b"w" * 100_000
    assert workbench.maintenance.check(full=True).findings == ()


def test_a_copy_that_differs_heals_nothing(workbench, home, models):
    spread = models[1].versions[0].artifact
    opened = workbench.artifacts.open_path(spread)
    damage(opened.parent / "data" / "w.bin", b"y" * 100_000)
    remove(blob_path(home / "blobs", spread.files[1].digest))
    report = workbench.maintenance.check(full=True, repair=True)
    assert codes(report) == ["blob.missing"]


def test_missing_samples_are_a_warning_because_the_figures_remain(workbench, home, models):
    (run,) = workbench.state.benchmarks()
    remove(blob_path(home / "blobs", run.samples_digest))
    report = workbench.maintenance.check()
    assert report.clean
    assert codes(report, severity=Severity.WARNING) == ["blob.samples"]


def test_files_that_nothing_needs_are_no_fault(workbench, models):
    workbench.artifacts.put_bytes(b"nobody asked for this")
    report = workbench.maintenance.check()
    assert report.clean
    assert codes(report, severity=Severity.INFO) == ["blob.stray"]


def test_aliases_and_counters_that_contradict_the_versions_are_straightened_out(workbench, models):
    workbench.registry.put("single", lambda old: replace(old, aliases={"prod": 7, "best": 1}, next_version=1))
    report = workbench.maintenance.check()
    assert codes(report) == ["registry.dangling_alias", "registry.next_version"]
    mended = workbench.maintenance.check(repair=True)
    assert mended.clean
    model = workbench.registry.find("single")
    assert model.aliases == {"best": 1}
    assert model.next_version == 2
    assert (model.alias_history[-1].alias, model.alias_history[-1].version) == ("prod", 0)
    assert workbench.maintenance.check().findings == ()


def test_a_file_list_that_does_not_fit_its_digest_is_found_in_models_and_trash(workbench, models):
    def spoil(old):
        version = old.versions[0]
        wrong = replace(version.artifact, digest=hashlib.sha256(b"else").hexdigest())
        return replace(old, versions=(replace(version, artifact=wrong),))

    workbench.registry.put("single", spoil)
    assert codes(workbench.maintenance.check()) == ["registry.manifest"]


def test_a_linked_file_that_was_changed_is_found(workbench, tmp_path):
    model = add_model(workbench, tmp_path, "linked", {"model.onnx": b"linked"}, link=True)
    assert workbench.maintenance.check(full=True).clean
    source = model.versions[0].artifact.files[0].link.path
    damage(source, b"LINKED, changed")
    assert codes(workbench.maintenance.check()) == ["link.changed"]
    assert codes(workbench.maintenance.check(full=True)) == ["link.changed"]


@pytest.mark.parametrize("rest", [b"", b"{", b'{"_meta": {"1": {"schema": 2}}, "models": {"1": {"id"', b"\0" * 500])
def test_a_damaged_registry_is_set_aside_and_rebuilt(workbench, home, models, rest):
    registry = home / "registry.json"
    damage(registry, rest)
    again = LocalWorkbench(home)
    health = again.maintenance.health()
    assert health.read_only
    assert health.problems[0].code == "store.corrupt"
    assert "fsck --repair" in health.problems[0].command
    before = registry.read_bytes()
    report = again.maintenance.check()
    assert "store.corrupt" in codes(report)
    assert registry.read_bytes() == before
    mended = again.maintenance.check(repair=True)
    assert any(item.repaired and item.store == "registry" for item in mended.findings)
    assert list(home.glob("registry.json.damaged-*"))
    assert again.maintenance.health().problems == ()
    again.registry.put("after", lambda old: replace(models[0], id="model-after", name="after"))
    assert again.registry.find("after") is not None
    again.close()


def test_a_damaged_state_database_is_set_aside_and_what_can_be_read_is_kept(workbench, home, models):
    workbench.close()
    path = home / "state.db"
    data = path.read_bytes()
    damage(path, data[:50] + b"\xff" * 400 + data[450:])
    again = LocalWorkbench(home)
    assert [problem.code for problem in again.maintenance.health().problems] == ["store.corrupt"]
    assert not again.maintenance.check().clean
    mended = again.maintenance.check(repair=True)
    assert any(item.repaired and item.store == "state" for item in mended.findings)
    assert again.maintenance.health().problems == ()
    add_run(again, models[0])
    assert again.state.benchmarks()
    again.close()


def test_a_newer_registry_is_left_alone_even_by_a_repair(workbench, home, models):
    path = home / "registry.json"
    document = json.loads(path.read_bytes())
    document["_meta"]["1"] = {"schema": 999, "reads": 999}
    path.write_text(json.dumps(document), encoding="utf-8")
    before = path.read_bytes()
    again = LocalWorkbench(home)
    assert [problem.code for problem in again.maintenance.health().problems] == ["store.newer_schema"]
    assert "store.newer_schema" in codes(again.maintenance.check(repair=True))
    assert path.read_bytes() == before
    again.close()


def test_a_newer_state_database_is_left_alone_even_by_a_repair(workbench, home, models):
    workbench.close()
    path = home / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    again = LocalWorkbench(home)
    assert "store.newer_schema" in codes(again.maintenance.check(repair=True))
    again.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (999,)


def test_nothing_is_collected_while_it_is_not_known_what_is_needed(workbench, home, models):
    damage(home / "registry.json", b"{")
    again = LocalWorkbench(home)
    with pytest.raises(StoreError, match="Nothing was collected"):
        again.maintenance.collect(grace_s=0.0)
    again.close()
    assert sum(1 for blob in workbench.artifacts.blobs()) == 4


def test_a_home_opened_read_only_says_so_and_is_not_changed(workbench, home, models):
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    again = LocalWorkbench(home, read_only=True)
    assert again.maintenance.health().read_only
    assert again.maintenance.check(full=True).clean
    for refused in (
        lambda: again.maintenance.check(repair=True),
        again.maintenance.collect,
        lambda: again.catalog.tag("single", ["x"]),
        lambda: again.state.remove_jobs(["job-1"]),
        lambda: again.artifacts.put_bytes(b"new"),
    ):
        with pytest.raises(ReadOnlyError) as caught:
            refused()
        assert caught.value.hint == "Open it without --read-only, QSML_READ_ONLY or the setting read_only."
    again.close()
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()} == before


def test_the_overview_counts_what_the_home_holds(workbench, models):
    overview = workbench.maintenance.overview()
    assert (overview.models, overview.blobs, overview.trash) == (2, 4, 0)
    assert overview.blob_bytes >= 100_000
    assert overview.max_models == 10_000
    assert overview.warn_models == 5_000
    assert overview.sqlite == sqlite3.sqlite_version


def test_a_registry_that_is_gone_is_no_empty_one_when_copies_were_kept(workbench, home, models):
    workbench.registry.put("single", lambda old: replace(old, task="changed"))
    assert list((home / "backups").glob("registry-*"))
    blobs = sorted(path for path in (home / "blobs").rglob("*") if path.is_file())
    remove(home / "registry.json")
    again = LocalWorkbench(home)
    report = again.maintenance.check()
    assert codes(report) == ["store.gone"]
    assert report.models == 2
    assert "fsck --repair" in report.findings[0].hint
    for is_dry in (True, False):
        with pytest.raises(StoreError) as caught:
            again.maintenance.collect(dry_run=is_dry, grace_s=0.0)
        assert caught.value.code == "store.gone"
    assert sorted(path for path in (home / "blobs").rglob("*") if path.is_file()) == blobs
    mended = again.maintenance.check(repair=True)
    assert mended.clean
    (finding,) = mended.findings
    assert "2 models came back from the generation" in finding.message
    assert finding.message.endswith("quickserveml restore-backup brings back a whole backup.")
    assert again.maintenance.check(full=True).findings == ()
    assert [model.name for model in again.registry.models()] == ["single", "spread"]


def test_a_state_database_that_is_gone_is_told_where_copies_were_kept(workbench, home, models):
    workbench.close()
    (home / "backups").mkdir(exist_ok=True)
    (home / "state.db").rename(home / "backups" / "state-schema1-20260101T000000000Z.db")
    for _ in range(2):  # looking makes no new one
        report = LocalWorkbench(home, read_only=True).maintenance.check()
        assert codes(report) == ["store.gone"]
        assert "backups/state-schema1-20260101T000000000Z.db" in report.findings[0].hint


def test_a_linked_file_that_was_only_touched_is_no_fault(workbench, tmp_path):
    model = add_model(workbench, tmp_path, "linked", {"model.onnx": b"linked"}, link=True)
    os.utime(model.versions[0].artifact.files[0].link.path, ns=(1, 1))
    assert workbench.catalog.resolve("linked").version
    assert workbench.maintenance.check().findings == ()
    assert workbench.maintenance.check(full=True).findings == ()


def test_what_is_being_served_is_not_taken_for_missing_samples(workbench, models):
    with workbench.holding([workbench.catalog.resolve("spread")], "serve"):
        assert workbench.maintenance.check().findings == ()
        assert workbench.maintenance.check(full=True).findings == ()


@pytest.mark.parametrize("full", [False, True])
def test_an_empty_home_is_clean_and_stays_empty(workbench, home, full):
    assert workbench.maintenance.check(full=full).clean
    assert not home.exists()
