"""Bulk changes: one transaction, a sentence for each item, and a dry run that says the same and writes nothing."""

from __future__ import annotations

import pytest
from catalog_builders import UNRUNNABLE, PoolDouble, RunnerDouble, make_model, make_version

from quickserveml_tui.core.catalog import BulkAction
from quickserveml_tui.core.errors import FilterError, NotFoundError, StoreError, UsageError
from quickserveml_tui.core.models import MetadataPatch, VersionState
from quickserveml_tui.services import catalog_bulk
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.registry_edit import RegistryLimits
from quickserveml_tui.storage.state import SqliteState


@pytest.fixture
def registry(tmp_path):
    return TinyDbRegistry(tmp_path / "registry.json")


@pytest.fixture
def catalog(tmp_path, registry):
    artifacts = BlobArtifactStore(tmp_path / "blobs", tmp_path / "cache")
    service = CatalogService(registry, artifacts, SqliteState(tmp_path / "state.db"), PoolDouble(RunnerDouble()))
    for number in (1, 2):
        artifacts.put_bytes(b"model %d" % number)
    for name in ("a", "b", "c"):
        versions = (make_version(1), make_version(2, trial=UNRUNNABLE if name == "c" else make_version().trial))
        registry.put(
            name, lambda _old, name=name, versions=versions: make_model(name, versions=versions, next_version=3)
        )
    service.tag("a", ["vision"])
    service.set_alias("b@1", "prod")
    return service


def items(report):
    return [(item.ref, item.change, item.code) for item in report.items]


def revs(catalog):
    return {view.model.name: view.model.rev for view in catalog.list_models().models}


def test_each_item_says_what_changes(catalog):
    before = catalog._registry.generation()
    action = BulkAction(add_tags=("vision", "new"), add_categories=("x/y",), patch=MetadataPatch(author="Ada"))
    expected = [
        ("a", "adds tag new, adds category x/y, sets author", ""),
        ("b", "adds tags new and vision, adds category x/y, sets author", ""),
        ("nothing", "", "model.not_found"),
    ]
    dry = catalog.bulk(["a", "b", "nothing"], action, dry_run=True)
    assert (dry.dry_run, dry.changed, dry.refused, items(dry)) == (True, 2, 1, expected)
    assert catalog._registry.generation() == before
    done = catalog.bulk(["a", "b", "nothing"], action)
    assert (done.dry_run, done.changed, done.refused, items(done)) == (False, 2, 1, expected)
    assert catalog.show("b").model.tags == ("new", "vision")
    assert catalog.show("b").model.author == "Ada"
    assert items(catalog.bulk(["a"], action)) == [("a", "", "")]


def test_label_state_notes_and_lineage_go_to_the_named_version(catalog):
    patch = MetadataPatch(state=VersionState.ARCHIVED, label="1.0.0", notes="n", made_from="x", parent="a@2")
    report = catalog.bulk(["a@1", "b"], BulkAction(patch=patch))
    assert [item.change for item in report.items] == [
        "sets label to 1.0.0, sets state to archived, sets notes, sets made from, sets parent to a@2",
        "sets label to 1.0.0, sets state to archived, sets notes, sets made from, sets parent to a@2",
    ]
    assert [version.label for version in catalog.show("a").model.versions] == ["1.0.0", ""]
    assert [version.label for version in catalog.show("b").model.versions] == ["", "1.0.0"]


def test_what_is_refused_for_one_leaves_the_others_alone(catalog):
    report = catalog.bulk(["a", "b", "b@1", "c", "c@9"], BulkAction(delete=True))
    assert items(report) == [
        ("a", "moves a with 2 versions to the trash", ""),
        ("b", "", "alias.protected"),
        ("b@1", "", "alias.protected"),
        ("c", "moves c with 2 versions to the trash", ""),
        ("c@9", "", "model.not_found"),
    ]
    assert list(revs(catalog)) == ["b"]
    assert {entry.id for entry in catalog.trash()} == {item.trash_id for item in report.items if item.trash_id}
    for item in report.items:
        if item.trash_id:
            catalog.restore(item.trash_id)
    assert list(revs(catalog)) == ["a", "b", "c"]


def test_a_dry_run_of_a_deletion_says_what_the_deletion_says(catalog):
    refs = ["a@1", "a@2", "b@2", "b", "c"]
    dry = catalog.bulk(refs, BulkAction(delete=True, force=True), dry_run=True)
    assert catalog.trash() == ()
    assert not any(item.trash_id for item in dry.items)
    done = catalog.bulk(refs, BulkAction(delete=True, force=True))
    assert items(dry) == items(done)
    assert [item[1] for item in items(done)[:3]] == [
        "moves a@1 to the trash",
        "moves a with 1 version to the trash",
        "moves b@2 to the trash",
    ]
    assert catalog.list_models().models == ()


def test_a_filter_selects_like_the_list(catalog):
    report = catalog.bulk("tag = vision", BulkAction(remove_tags=("vision",)))
    assert items(report) == [("a", "removes tag vision", "")]
    assert catalog.bulk("tag = vision", BulkAction(remove_tags=("vision",))).items == ()
    with pytest.raises(FilterError):
        catalog.bulk("tag = ((", BulkAction(add_tags=("x",)))


def test_a_version_named_twice_is_changed_once(catalog):
    assert len(catalog.bulk(["a", "a"], BulkAction(delete=True)).items) == 1


@pytest.mark.parametrize(
    "action",
    [
        BulkAction(),
        BulkAction(patch=MetadataPatch()),
        BulkAction(delete=True, add_tags=("x",)),
        BulkAction(delete=True, patch=MetadataPatch(task="x")),
        BulkAction(add_tags=("bad tag",)),
        BulkAction(add_categories=("a//b",)),
    ],
    ids=str,
)
def test_an_action_that_is_not_valid_is_refused_as_a_whole(catalog, action):
    before = revs(catalog)
    with pytest.raises(UsageError):
        catalog.bulk(["a", "b"], action)
    assert revs(catalog) == before


@pytest.mark.parametrize("ref", ["../a", "a b", "a#node", "a@", "a@01"])
def test_a_selection_that_is_not_valid_is_refused_as_a_whole(catalog, ref):
    with pytest.raises((UsageError, NotFoundError)):
        catalog.bulk(["a", ref], BulkAction(add_tags=("x",)))
    assert catalog.show("a").model.tags == ("vision",)


def test_a_selection_is_bounded(catalog, monkeypatch):
    monkeypatch.setattr(catalog_bulk, "MAX_ITEMS", 2)
    with pytest.raises(UsageError) as caught:
        catalog.bulk(["a", "b", "c"], BulkAction(add_tags=("x",)))
    assert caught.value.code == "bulk.too_many"


def test_when_the_store_fails_on_the_way_nothing_was_changed(catalog, registry, monkeypatch):
    before = revs(catalog)
    edit = registry.edit

    def failing(work):
        def broken(transaction):
            put, calls = transaction.put, []

            def put_once(record):
                calls.append(record)
                if len(calls) == 2:
                    raise StoreError("The disk is full.", code="store.full")
                return put(record)

            transaction.put = put_once
            return work(transaction)

        return edit(broken)

    monkeypatch.setattr(registry, "edit", failing)
    with pytest.raises(StoreError):
        catalog.bulk(["a", "b", "c"], BulkAction(add_tags=("x",)))
    assert revs(catalog) == before


def test_all_changes_are_one_transaction(catalog, registry, monkeypatch):
    calls = []
    edit = registry.edit
    monkeypatch.setattr(registry, "edit", lambda work: calls.append(1) or edit(work))
    catalog.bulk(["a", "b", "c"], BulkAction(add_tags=("x",)))
    assert calls == [1]


@pytest.mark.parametrize("is_dry", [True, False])
def test_a_dry_run_says_that_the_trash_will_be_full(tmp_path, catalog, is_dry):
    small = TinyDbRegistry(tmp_path / "registry.json", limits=RegistryLimits(max_trash=2))
    targets = catalog_bulk.targets_of(["a", "c@1", "b", "b@9"])
    with pytest.raises(StoreError) as refused:
        catalog_bulk.run_bulk(small, targets, BulkAction(delete=True, force=True), dry_run=is_dry)
    assert (refused.value.code, "room for 2 more" in refused.value.message) == ("trash.full", True)
    assert catalog.trash() == ()
    report = catalog_bulk.run_bulk(small, targets[:2], BulkAction(delete=True), dry_run=is_dry)
    assert report.changed == 2


def test_a_tag_for_a_version_that_is_not_there_is_refused_with_and_without_a_dry_run(catalog):
    action = BulkAction(add_tags=("x",))
    assert items(catalog.bulk(["a@9"], action, dry_run=True)) == [("a@9", "", "version.not_found")]
    for change in (catalog.tag, catalog.categorise):
        with pytest.raises(NotFoundError):
            change("a@9", ["x"])
        assert change("a@2", ["x"]).name == "a"
