"""Nothing that was deleted is lost before it is purged: restoring gives back what was there."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from catalog_builders import PoolDouble, RunnerDouble, make_model, make_version, save_linear

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import ConflictError, NotFoundError, StoreError, UsageError
from quickserveml_tui.core.models import Lineage, MetadataPatch, TrashKind
from quickserveml_tui.services import catalog_trash
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.services.catalog_trash import lost_on_return
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState


@pytest.fixture
def artifacts(tmp_path):
    return BlobArtifactStore(tmp_path / "blobs", tmp_path / "cache")


@pytest.fixture
def registry(tmp_path):
    return TinyDbRegistry(tmp_path / "registry.json")


@pytest.fixture
def catalog(tmp_path, registry, artifacts):
    service = CatalogService(registry, artifacts, SqliteState(tmp_path / "state.db"), PoolDouble(RunnerDouble()))
    for number in (1, 2, 3):
        content = b"model %d" % number
        artifacts.put_bytes(content)
    versions = (
        make_version(1, label="1.0.0", notes="first", lineage=Lineage("run 7")),
        make_version(2),
        make_version(3, metadata={"k": "v"}),
    )
    record = make_model("m", versions=versions, next_version=4, tags=("t",), categories=("a/b",), metadata={"x": "y"})
    registry.put("m", lambda _old: record)
    for alias in ("prod", "old"):
        service.set_alias("m@1", alias)
    return service


@pytest.fixture(autouse=True)
def _ticking_clock(monkeypatch):
    """No two deletions in one millisecond: their order would be left to chance."""
    ticks = itertools.count()
    start = datetime.now(UTC)

    def tick():
        moment = start + timedelta(milliseconds=next(ticks))
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    monkeypatch.setattr(catalog_trash, "utc_now", tick)


def plain(model):
    """A record without what every write changes."""
    return replace(model, rev=0, updated_at="")


def as_deleted(entry, seconds_ago):
    moment = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return replace(entry, deleted_at=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"))


# ---- deleting -------------------------------------------------------------------------------------------------------


def test_a_deleted_version_lies_in_the_trash_with_its_aliases(catalog):
    before = catalog.show("m").model
    deletion = catalog.delete("m@old", force=True)
    assert catalog.trash() == (deletion.entry,)
    entry = deletion.entry
    assert (entry.kind, entry.title, entry.aliases) == (TrashKind.VERSION, "m@1", ("old", "prod"))
    assert (entry.version, entry.model_id, entry.model) == (before.version(1), before.id, None)
    assert deletion.left == catalog.show("m").model


def test_a_deleted_model_lies_in_the_trash_as_a_whole(catalog):
    before = catalog.show("m").model
    deletion = catalog.delete("m", force=True)
    entry = deletion.entry
    assert (entry.kind, entry.title, entry.model, entry.version) == (TrashKind.MODEL, "m", before, None)
    assert deletion.left is None


def test_the_last_version_goes_with_its_model(catalog):
    for ref in ("m@1", "m@2"):
        catalog.delete(ref, force=True)
    assert catalog.delete("m@3").entry.kind is TrashKind.MODEL
    assert [entry.title for entry in catalog.trash()] == ["m", "m@2", "m@1"]


def test_what_was_refused_leaves_no_trash(catalog):
    for ref, error in (("m", ConflictError), ("m@1", ConflictError), ("m@9", NotFoundError), ("x", NotFoundError)):
        with pytest.raises(error):
            catalog.delete(ref)
    assert catalog.trash() == ()


def test_a_deleted_models_name_points_at_the_trash(catalog):
    catalog.delete("m", force=True)
    with pytest.raises(NotFoundError) as caught:
        catalog.show("m")
    assert "restore m" in caught.value.hint


# ---- restoring ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["id", "m"])
def test_a_model_comes_back_as_it_was(catalog, what):
    before = catalog.show("m").model
    entry = catalog.delete("m", force=True).entry
    model = catalog.restore(entry.id if what == "id" else what)
    assert plain(model) == plain(before)
    assert model.rev > before.rev  # an old ETag stays stale
    assert catalog.show("m").model == model
    assert catalog.trash() == ()


@pytest.mark.parametrize("what", ["id", "m@1", "m@1.0.0", "m@prod"])
def test_a_version_comes_back_with_its_label_and_aliases(catalog, what):
    before = catalog.show("m").model
    entry = catalog.delete("m@1", force=True).entry
    model = catalog.restore(entry.id if what == "id" else what)
    assert (model.versions, model.aliases, model.next_version) == (before.versions, before.aliases, 4)
    assert lost_on_return(entry, model) == ()
    moves = [(event.alias, event.previous, event.version) for event in model.alias_history[-2:]]
    assert sorted(moves) == [("old", 0, 1), ("prod", 0, 1)]
    assert catalog.trash() == ()


def test_an_alias_or_label_that_is_elsewhere_now_stays_there(catalog):
    entry = catalog.delete("m@1", force=True).entry
    catalog.set_alias("m@2", "prod")
    catalog.update("m@3", MetadataPatch(label="1.0.0"))
    model = catalog.restore("m@1")
    assert model.aliases == {"prod": 2, "old": 1}
    assert (model.version(1).label, model.version(3).label) == ("", "1.0.0")
    lost = " ".join(lost_on_return(entry, model))
    assert "1.0.0" in lost
    assert "prod points at version 2" in lost


def test_protection_outlives_a_deleted_version(catalog):
    catalog.protect_alias("m", "old")
    catalog.delete("m@1", force=True)
    catalog.restore("m@1")
    with pytest.raises(ConflictError):
        catalog.remove_alias("m", "old")


def test_the_newest_entry_of_a_title_comes_back(catalog, registry):
    first = catalog.delete("m", force=True).entry
    registry.put("m", lambda _old: make_model("m", author="second"))
    catalog.delete("m")
    assert catalog.restore("m").author == "second"
    with pytest.raises(ConflictError) as caught:
        catalog.restore("m")
    assert caught.value.code == "name.taken"
    assert f"{first.id} --name" in caught.value.hint
    renamed = catalog.restore("m", name="other")
    assert plain(replace(renamed, name="m")) == plain(first.model)


def test_a_version_finds_its_model_under_another_name(catalog):
    catalog.delete("m@2")
    whole = catalog.delete("m", force=True).entry
    with pytest.raises(NotFoundError) as caught:
        catalog.restore("m@2")
    assert whole.id in caught.value.hint
    catalog.restore("m", name="other")
    assert [item.version for item in catalog.restore("m@2").versions] == [1, 2, 3]
    assert catalog.show("other").model.version(2) is not None


def test_a_version_whose_model_was_purged_can_become_a_model(catalog):
    entry = catalog.delete("m@1", force=True).entry
    catalog.delete("m")
    catalog.purge(["m"])
    with pytest.raises(NotFoundError) as caught:
        catalog.restore("m@1")
    assert "--name" in caught.value.hint
    model = catalog.restore("m@1", name="saved")
    assert (model.versions, model.aliases, model.next_version) == ((entry.version,), {"old": 1, "prod": 1}, 2)


def test_nothing_is_restored_whose_files_are_gone(catalog, artifacts):
    entry = catalog.delete("m@1", force=True).entry
    digest = entry.version.artifact.digest
    artifacts.blob_path(digest).unlink()
    with pytest.raises(StoreError) as caught:
        catalog.restore("m@1")
    assert caught.value.code == "artifact.missing"
    assert "add" in caught.value.hint
    assert catalog.trash() == (entry,)
    artifacts.put_bytes(b"model 1")
    assert catalog.restore("m@1").version(1) == entry.version


def test_collection_keeps_what_the_trash_needs(catalog, registry, artifacts):
    entry = catalog.delete("m@1", force=True).entry
    artifacts.collect(registry.blobs, grace_s=0.0, cache_budget_bytes=None)
    assert catalog.restore(entry.id).version(1) == entry.version
    catalog.delete("m@1", force=True)
    catalog.purge(["m@1"])
    artifacts.collect(registry.blobs, grace_s=0.0, cache_budget_bytes=None)
    assert not artifacts.has(entry.version.artifact.digest)


def test_a_model_that_runs_is_the_same_after_it_came_back(tmp_path, catalog):
    added = catalog.add(AddRequest(str(save_linear(tmp_path / "real.onnx")), alias="prod"))
    catalog.delete("real@1", force=True)
    catalog.restore("real")
    assert catalog.resolve("real@prod", runnable=True).digest == added.version.artifact.digest


def test_a_version_number_is_not_used_again_after_a_purge(tmp_path, catalog):
    path = save_linear(tmp_path / "m.onnx")
    assert catalog.add(AddRequest(str(path), name="m")).version.version == 4
    catalog.delete("m@4")
    catalog.purge(["m@4"])
    assert catalog.add(AddRequest(str(path), name="m")).version.version == 5


@pytest.mark.parametrize("what", ["nothing", "m@2", "m", "trash-000000000000", "./m.onnx", "m#node"])
def test_what_is_not_in_the_trash_cannot_be_restored_or_purged(catalog, what):
    entry = catalog.delete("m@1", force=True).entry
    for call in (catalog.restore, lambda what: catalog.purge([entry.id, what])):
        with pytest.raises(NotFoundError) as caught:
            call(what)
        assert caught.value.code == "trash.not_found"
        assert caught.value.hint
    assert catalog.trash() == (entry,)


def test_a_restore_under_a_bad_name_changes_nothing(catalog):
    entry = catalog.delete("m", force=True).entry
    with pytest.raises(UsageError):
        catalog.restore("m", name="../m")
    assert catalog.trash() == (entry,)


def test_of_two_who_restore_at_once_one_does(catalog):
    entry = catalog.delete("m", force=True).entry
    outcomes = []

    def restore():
        try:
            outcomes.append(catalog.restore(entry.id).name)
        except NotFoundError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=restore) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["m", "trash.not_found", "trash.not_found", "trash.not_found"]


# ---- purging --------------------------------------------------------------------------------------------------------


def test_purging_forgets_by_id_by_title_or_all(catalog):
    first, second = (catalog.delete(ref, force=True).entry for ref in ("m@1", "m@2"))
    assert catalog.purge([first.id, "m@1"], dry_run=True) == (first,)
    assert catalog.trash() == (second, first)
    assert catalog.purge([first.id, "m@1"]) == (first,)
    assert catalog.purge() == (second,)
    assert catalog.trash() == catalog.purge() == ()


def test_a_title_purges_all_that_bear_it(catalog, registry):
    first = catalog.delete("m", force=True).entry
    registry.put("m", lambda _old: make_model("m"))
    second = catalog.delete("m").entry
    assert catalog.purge(["m"]) == (second, first)


def test_purging_by_age_spares_what_is_younger(catalog, registry):
    old, new = (catalog.delete(ref, force=True).entry for ref in ("m@1", "m@2"))

    def age(edit):
        edit.remove_trash(old.id)
        edit.put_trash(as_deleted(old, 3600))

    registry.edit(age)
    assert [entry.id for entry in catalog.purge(older_than_s=1800)] == [old.id]
    assert catalog.trash() == (new,)
    assert catalog.purge(["m@2"], older_than_s=1800) == ()
    assert catalog.purge(older_than_s=1e300) == ()
    with pytest.raises(UsageError):
        catalog.purge(older_than_s=-1.0)


def test_the_id_of_a_model_is_no_name_for_another(tmp_path, catalog):
    owner = catalog.show("m").model
    path = str(save_linear(tmp_path / "other.onnx"))
    with pytest.raises(ConflictError) as refused:
        catalog.add(AddRequest(path, name=owner.id))
    assert refused.value.code == "name.taken"
    catalog.add(AddRequest(path))
    entry = catalog.delete("other").entry
    with pytest.raises(ConflictError):
        catalog.restore(entry.id, name=owner.id)
    assert [view.model.name for view in catalog.list_models().models] == ["m"]


def test_thousands_of_ids_are_purged_in_one_look_at_the_trash(catalog, monkeypatch):
    entries = [catalog.delete(f"m@{number}", force=True).entry for number in (1, 2)]
    monkeypatch.setattr(catalog_trash, "_matching", lambda *_: pytest.fail("looked for one by one"))
    assert catalog.purge([entry.id for entry in entries]) == tuple(reversed(entries))
