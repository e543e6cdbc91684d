"""`collect` over the real stores: what is needed stays, old trash and rows go, and doubt stops it."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from catalog_builders import make_model, make_version
from collect_machine import make_run

from quickserveml_tui.core.care import CarePolicy, StoreProblem
from quickserveml_tui.core.errors import CancelledError, ReadOnlyError, StoreError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import GoldenOutput, TrashEntry, TrashKind
from quickserveml_tui.services.collect import collect
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

NOW = CarePolicy(grace_s=0.0)


class Home:
    def __init__(self, folder, *, read_only=False):
        self.registry = TinyDbRegistry(folder / "registry.json", read_only=read_only)
        self.artifacts = BlobArtifactStore(folder / "blobs", folder / "cache", read_only=read_only, wait_s=0.0)
        self.state = SqliteState(folder / "state.db", read_only=read_only)

    def collect(self, policy=NOW, **options):
        return collect(self.registry, self.artifacts, self.state, policy, **options)

    def add(self, name, *contents, **changes):
        for content in contents:
            self.artifacts.put_bytes(content)
        versions = tuple(make_version(number, content) for number, content in enumerate(contents, 1))
        record = make_model(name, versions=versions, next_version=len(versions) + 1, **changes)
        return self.registry.put(name, lambda _old: record)

    def trash(self, name, content, days):
        self.artifacts.put_bytes(content)
        moment = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        model = make_model(name, versions=(make_version(1, content),))
        entry = TrashEntry(f"trash-{name}", TrashKind.MODEL, model.id, name, moment, model=model)
        self.registry.edit(lambda edit: edit.put_trash(entry))

    def contents(self):
        return {self.artifacts.read_bytes(blob.digest) for blob in self.artifacts.blobs()}


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    yield home
    home.state.close()


def test_what_versions_trash_golden_outputs_runs_and_leases_need_stays(home):
    model = home.add("m", b"one", b"two")
    golden = [home.artifacts.put_bytes(data) for data in (b"inputs", b"outputs")]
    output = GoldenOutput("g", *golden, created_at=model.created_at)
    home.registry.put(
        "m", lambda old: replace(old, versions=(replace(old.versions[0], golden=(output,)), *old.versions[1:]))
    )
    home.trash("gone", b"in the trash", days=1)
    home.state.add_benchmark(make_run(model.id, home.artifacts.put_bytes(b"samples")))
    home.state.acquire_lease("upload", "me", 60.0, digests=[home.artifacts.put_bytes(b"leased")])
    home.artifacts.put_bytes(b"unneeded")
    report = home.collect()
    assert (report.blobs, report.blob_bytes, report.kept_blobs, report.trash) == (1, 8, 7, 0)
    assert home.contents() == {b"one", b"two", b"inputs", b"outputs", b"in the trash", b"samples", b"leased"}


def test_a_lease_that_was_given_back_holds_nothing(home):
    home.state.acquire_lease("upload", "me", 60.0, digests=[home.artifacts.put_bytes(b"leased")])
    home.state.release_lease("upload", "me")
    assert home.collect().blobs == 1


def test_old_trash_is_purged_with_its_files_and_a_dry_run_says_so(home):
    home.add("m", b"kept")
    home.trash("old", b"old", days=31)
    home.trash("new", b"new", days=29)
    home.trash("shared", b"kept", days=40)
    dry = home.collect(dry_run=True)
    assert len(home.registry.trash()) == 3
    assert home.contents() == {b"kept", b"old", b"new"}
    report = home.collect()
    assert (report.trash, report.blobs, report.digests) == (2, 1, (make_version(1, b"old").artifact.digest,))
    assert report == replace(dry, dry_run=False)
    assert [entry.name for entry in home.registry.trash()] == ["new"]
    assert home.contents() == {b"kept", b"new"}


def test_runs_beyond_retention_go_and_then_their_samples(home):
    model = home.add("m", b"one")
    old = (datetime.now(UTC) - timedelta(days=400)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for number in range(4):
        digest = home.artifacts.put_bytes(b"samples %d" % number)
        home.state.add_benchmark(replace(make_run(model.id, digest), created_at=old[:-4] + f"{number:03}Z"))
    policy = replace(NOW, keep_runs=2)
    assert home.collect(policy, dry_run=True).rows == 2
    report = home.collect(policy)
    assert (report.rows, report.blobs) == (2, 2)
    assert home.contents() == {b"one", b"samples 2", b"samples 3"}


def test_the_grace_is_the_policys_unless_it_is_given(home):
    home.artifacts.put_bytes(b"young")
    assert home.collect(CarePolicy()).young == 1
    assert home.collect(CarePolicy(), grace_s=0.0).blobs == 1


def test_a_leased_model_stays_in_the_cache(home, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"model")
    (tmp_path / "w.bin").write_bytes(b"weights")
    with home.artifacts.stage() as staging:
        staging.add(tmp_path / "m.onnx", "m.onnx")
        staging.add(tmp_path / "w.bin", "w.bin")
        with home.artifacts.publishing():
            manifest = staging.commit()
            record = make_model("m", versions=(replace(make_version(1), artifact=manifest),))
            home.registry.put("m", lambda _old: record)
    folder = home.artifacts.open_path(manifest).parent
    os.utime(folder, (time.time() - 7200,) * 2)
    home.state.acquire_lease("serve", "me", 60.0, digests=[manifest.digest])
    tight = replace(NOW, cache_budget_bytes=0)
    assert home.collect(tight).cache_entries == 0
    home.state.release_lease("serve", "me")
    assert home.collect(tight).cache_entries == 1
    assert not folder.exists()


@pytest.mark.parametrize("store", ["registry", "state"])
def test_nothing_is_collected_while_a_store_cannot_be_read_in_full(home, monkeypatch, store):
    home.trash("old", b"old", days=31)
    problem = StoreProblem(store, "store.corrupt", "It is damaged.", command="quickserveml fsck --repair")
    monkeypatch.setattr(getattr(home, store), "problem", lambda: problem)
    with pytest.raises(StoreError, match="Nothing was collected: It is damaged") as caught:
        home.collect()
    assert "fsck --repair" in caught.value.hint
    assert home.contents() == {b"old"}
    assert len(home.registry.trash()) == 1


def test_a_store_that_breaks_between_the_check_and_the_question_stops_the_collection(home, monkeypatch):
    home.artifacts.put_bytes(b"unneeded")
    answers = iter([None, StoreProblem("registry", "store.corrupt", "It is damaged.")])
    monkeypatch.setattr(home.registry, "problem", lambda: next(answers))
    with pytest.raises(StoreError, match="damaged"):
        home.collect()
    assert home.contents() == {b"unneeded"}


def test_nothing_is_purged_while_a_backup_runs(home):
    home.trash("old", b"old", days=31)
    errors = []

    def try_to_collect():
        try:
            home.collect()
        except StoreError as error:
            errors.append(error)

    with home.artifacts.guard("backup"):
        thread = threading.Thread(target=try_to_collect)
        thread.start()
        thread.join(30)
    assert [error.code for error in errors] == ["store.locked"]
    assert "backup" in errors[0].message
    assert len(home.registry.trash()) == 1


def test_a_cancelled_collection_removes_no_file(home):
    home.artifacts.put_bytes(b"unneeded")
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError):
        home.collect(cancel=token)
    assert home.contents() == {b"unneeded"}


def test_a_read_only_home_can_be_asked_but_not_collected(home, tmp_path):
    home.add("m", b"one")
    home.artifacts.put_bytes(b"unneeded")
    frozen = Home(tmp_path / "home", read_only=True)
    assert frozen.collect(dry_run=True).blobs == 1
    with pytest.raises(ReadOnlyError):
        frozen.collect()
    frozen.state.close()
    assert home.contents() == {b"one", b"unneeded"}


def test_an_empty_home_has_nothing_to_collect(tmp_path):
    home = Home(tmp_path / "nothing")
    report = home.collect(dry_run=True)
    assert (report.blobs, report.rows, report.trash, report.kept_blobs) == (0, 0, 0, 0)
    assert not (tmp_path / "nothing").exists()
