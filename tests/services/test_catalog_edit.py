"""Changing models: metadata, tags, aliases with history, deletion that respects protected aliases."""

from __future__ import annotations

import threading

import pytest
from catalog_builders import UNRUNNABLE, PoolDouble, RunnerDouble, make_model, make_version

from quickserveml_tui.core.errors import ConflictError, ModelUnrunnableError, NotFoundError, UsageError
from quickserveml_tui.core.models import Lineage, MetadataPatch, VersionState
from quickserveml_tui.services import catalog_aliases
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState


@pytest.fixture
def catalog(tmp_path):
    artifacts = BlobArtifactStore(tmp_path / "blobs", tmp_path / "cache")
    registry = TinyDbRegistry(tmp_path / "registry.json")
    service = CatalogService(registry, artifacts, SqliteState(tmp_path / "state.db"), PoolDouble(RunnerDouble()))
    versions = (make_version(1), make_version(2, label="2.0.0"), make_version(3, trial=UNRUNNABLE))
    registry.put("m", lambda _old: make_model("m", versions=versions, next_version=4, metadata={"a": "1"}))
    return service


def version(model, number):
    return model.version(number)


def test_fields_that_are_not_named_stay(catalog):
    catalog.update("m", MetadataPatch(task="x", author="Ada"))
    model = catalog.update("m", MetadataPatch(author="", metadata={"b": "2", "a": None}))
    assert (model.task, model.author, model.metadata) == ("x", "", {"b": "2"})


def test_label_state_and_notes_go_to_the_version_that_is_named(catalog):
    model = catalog.update("m@1", MetadataPatch(label="1.0.0", state=VersionState.VALIDATED, notes="good\nvery"))
    assert (version(model, 1).label, version(model, 1).state, version(model, 1).notes) == (
        "1.0.0",
        VersionState.VALIDATED,
        "good\nvery",
    )
    assert (version(model, 3).label, version(model, 3).state) == ("", VersionState.DRAFT)
    assert version(catalog.update("m", MetadataPatch(notes="latest")), 3).notes == "latest"
    assert version(catalog.update("m@1.0.0", MetadataPatch(label="")), 1).label == ""


def test_a_label_is_unique_in_its_model(catalog):
    with pytest.raises(ConflictError):
        catalog.update("m@1", MetadataPatch(label="2.0.0"))
    assert version(catalog.update("m@2", MetadataPatch(label="2.0.0")), 2).label == "2.0.0"


@pytest.mark.parametrize(
    "patch",
    [
        MetadataPatch(task="x" * 201),
        MetadataPatch(author="a\nb"),
        MetadataPatch(description="\x1b]0;x\x07"),
        MetadataPatch(license="\u202egnp"),
        MetadataPatch(notes="\0"),
        MetadataPatch(label="latest"),
        MetadataPatch(metadata={"k": "\x9b"}),
        MetadataPatch(metadata={"k" * 129: "v"}),
    ],
)
def test_a_text_that_is_too_long_or_unsafe_is_refused(catalog, patch):
    before = catalog.show("m").model
    with pytest.raises(UsageError) as caught:
        catalog.update("m", patch)
    assert caught.value.hint
    assert catalog.show("m").model == before


def test_an_update_of_an_unknown_version_is_refused(catalog):
    with pytest.raises(NotFoundError):
        catalog.update("m@9", MetadataPatch(task="x"))
    assert catalog.show("m").model.task == ""


def test_tags_are_a_sorted_set(catalog):
    assert catalog.tag("m", add=["b", "a", "b"]).tags == ("a", "b")
    assert catalog.tag("m", add=["c"], remove=["a", "not-there"]).tags == ("b", "c")
    rev = catalog.show("m").model.rev
    assert catalog.tag("m", add=["c"]).rev == rev


def test_tags_are_bounded_and_checked(catalog):
    for tags in (["bad tag"], ["[/]"], [f"t{number}" for number in range(51)]):
        with pytest.raises(UsageError):
            catalog.tag("m", add=tags)
    catalog.tag("m", add=[f"t{number}" for number in range(50)])
    with pytest.raises(UsageError):
        catalog.tag("m", add=["one-more"])


def test_the_case_of_letters_makes_no_other_tag_or_category(catalog):
    catalog.tag("m", add=["Vision"])
    assert catalog.tag("m", add=["vision", "VISION"]).tags == ("Vision",)
    assert catalog.tag("m", remove=["viSion"]).tags == ()
    catalog.categorise("m", add=["Vision/OCR"])
    assert catalog.categorise("m", add=["vision/ocr"]).categories == ("Vision/OCR",)


def test_categories_have_levels(catalog):
    model = catalog.categorise("m", add=["vision/ocr/latin/print", "audio", "audio"])
    assert model.categories == ("audio", "vision/ocr/latin/print")
    assert catalog.categorise("m", remove=["audio"]).categories == ("vision/ocr/latin/print",)


@pytest.mark.parametrize(
    "category", ["", "/", "a/", "/a", "a//b", "a/../b", "a/./b", "a/b/c/d/e", "a b", "CON/x", "a" * 129]
)
def test_a_category_whose_levels_are_no_names_is_refused(catalog, category):
    with pytest.raises(UsageError) as caught:
        catalog.categorise("m", add=[category])
    assert caught.value.code == "category.invalid"
    assert catalog.show("m").model.categories == ()


def test_categories_are_bounded(catalog):
    catalog.categorise("m", add=[f"c{number}" for number in range(50)])
    with pytest.raises(UsageError) as caught:
        catalog.categorise("m", add=["one-more"])
    assert caught.value.code == "category.too_many"


def test_lineage_goes_to_the_version_and_its_parent_is_kept_in_canonical_form(catalog):
    catalog.set_alias("m@1", "base")
    model = catalog.update("m@2.0.0", MetadataPatch(made_from="run 7", converted_by="torch 2.9", parent="m@base"))
    assert version(model, 2).lineage == Lineage("run 7", "torch 2.9", "m@1")
    model = catalog.update("m@2", MetadataPatch(parent="AB" * 32))
    assert version(model, 2).lineage == Lineage("run 7", "torch 2.9", "ab" * 32)
    assert version(catalog.update("m@2", MetadataPatch(parent="")), 2).lineage == Lineage("run 7", "torch 2.9")
    assert version(model, 3).lineage == Lineage()


@pytest.mark.parametrize(
    ("parent", "error"),
    [
        ("m@2", UsageError), ("m@9", NotFoundError), ("other@1", NotFoundError), ("./m.onnx", UsageError),
        ("m#node", UsageError), ("m@", UsageError), ("a b", UsageError), ("ab" * 31, NotFoundError),
    ],
)  # fmt: skip
def test_a_parent_that_is_no_other_version_is_refused(catalog, parent, error):
    with pytest.raises(error) as caught:
        catalog.update("m@2", MetadataPatch(parent=parent))
    assert caught.value.hint
    assert version(catalog.show("m").model, 2).lineage == Lineage()


def test_an_alias_has_no_twin_that_differs_only_in_case(catalog):
    catalog.set_alias("m@1", "canary")
    with pytest.raises(ConflictError) as caught:
        catalog.set_alias("m@2", "Canary")
    assert caught.value.code == "alias.twin"
    assert catalog.show("m").model.aliases == {"canary": 1}


def test_an_alias_that_is_protected_behaves_like_prod(catalog):
    catalog.set_alias("m@1", "canary")
    assert catalog.protect_alias("m", "canary").protected == ("canary",)
    for call in (
        lambda: catalog.delete("m@1"),
        lambda: catalog.delete("m"),
        lambda: catalog.remove_alias("m", "canary"),
    ):
        with pytest.raises(ConflictError) as caught:
            call()
        assert caught.value.code == "alias.protected"
    with pytest.raises(ModelUnrunnableError):
        catalog.set_alias("m@3", "canary")
    assert catalog.set_alias("m@2", "canary").aliases == {"canary": 2}
    assert catalog.protect_alias("m", "canary", protected=False).protected == ()
    assert catalog.remove_alias("m", "canary").aliases == {}


def test_protection_goes_with_an_alias_that_is_taken_away_by_force(catalog):
    catalog.set_alias("m@1", "canary")
    catalog.protect_alias("m", "canary")
    assert catalog.remove_alias("m", "canary", force=True).protected == ()


def test_prod_cannot_lose_its_protection(catalog):
    catalog.set_alias("m@1", "prod")
    before = catalog.show("m").model
    assert catalog.protect_alias("m", "prod") == before
    with pytest.raises(ConflictError) as caught:
        catalog.protect_alias("m", "prod", protected=False)
    assert caught.value.code == "alias.always_protected"


def test_only_an_alias_that_is_there_and_runs_can_be_protected(catalog):
    catalog.set_alias("m@3", "odd")
    with pytest.raises(ModelUnrunnableError):
        catalog.protect_alias("m", "odd")
    with pytest.raises(NotFoundError):
        catalog.protect_alias("m", "nothing")


def test_an_alias_moves_and_keeps_its_history(catalog):
    catalog.set_alias("m@1", "prod")
    model = catalog.set_alias("m@2.0.0", "prod")
    assert model.aliases == {"prod": 2}
    assert catalog.show("m@prod").model.aliases_of(2) == ("prod",)
    with pytest.raises(ConflictError) as caught:
        catalog.remove_alias("m", "prod")
    assert caught.value.code == "alias.protected"
    model = catalog.remove_alias("m", "prod", force=True)
    assert model.aliases == {}
    moves = [(event.alias, event.previous, event.version) for event in model.alias_history]
    assert moves == [("prod", 0, 1), ("prod", 1, 2), ("prod", 2, 0)]


def test_an_alias_that_stays_is_no_event(catalog):
    catalog.set_alias("m@1", "x")
    assert len(catalog.set_alias("m@x", "x").alias_history) == 1


def test_alias_history_is_bounded(catalog, monkeypatch):
    monkeypatch.setattr(catalog_aliases, "MAX_HISTORY", 3)
    for number in (1, 2, 1, 2, 1):
        model = catalog.set_alias(f"m@{number}", "x")
    assert [event.version for event in model.alias_history] == [1, 2, 1]


@pytest.mark.parametrize("alias", ["prod", "staging", "PROD"])
def test_a_protected_alias_needs_a_version_that_runs(catalog, alias):
    with pytest.raises(ModelUnrunnableError):
        catalog.set_alias("m@3", alias)
    assert catalog.set_alias("m@3", "candidate").aliases == {"candidate": 3}


@pytest.mark.parametrize("alias", ["latest", "1", "1.0.0", "a b", ""])
def test_an_alias_that_reads_as_a_version_is_refused(catalog, alias):
    with pytest.raises(UsageError):
        catalog.set_alias("m", alias)


def test_an_alias_that_is_not_there_cannot_be_removed(catalog):
    with pytest.raises(NotFoundError) as caught:
        catalog.remove_alias("m", "prod")
    assert "none" in caught.value.hint


def test_a_deleted_version_takes_its_aliases_along(catalog):
    catalog.set_alias("m@1", "old")
    model = catalog.delete("m@1").left
    assert [item.version for item in model.versions] == [2, 3]
    assert model.aliases == {}
    assert (model.alias_history[-1].alias, model.alias_history[-1].version) == ("old", 0)
    assert model.next_version == 4


def test_latest_names_one_version_and_not_the_model(catalog):
    assert [item.version for item in catalog.delete("m@latest").left.versions] == [1, 2]


def test_the_last_version_takes_the_model_along(catalog):
    for number in (1, 2):
        assert catalog.delete(f"m@{number}").left is not None
    assert catalog.delete("m@3").left is None
    assert catalog.list_models().models == ()


def test_a_whole_model_is_deleted_by_its_name(catalog):
    assert catalog.delete("m").left is None
    with pytest.raises(NotFoundError):
        catalog.show("m")


@pytest.mark.parametrize("ref", ["m", "m@1", "m@prod"])
def test_what_a_protected_alias_points_at_is_kept_unless_forced(catalog, ref):
    catalog.set_alias("m@1", "prod")
    with pytest.raises(ConflictError) as caught:
        catalog.delete(ref)
    assert caught.value.code == "alias.protected"
    assert "prod" in caught.value.message
    assert len(catalog.show("m").model.versions) == 3
    catalog.delete("m@2")
    catalog.delete(ref, force=True)


def test_what_is_not_there_cannot_be_deleted(catalog):
    for ref in ("nothing", "m@9", "m@canary"):
        with pytest.raises(NotFoundError):
            catalog.delete(ref)
    with pytest.raises(UsageError):
        catalog.delete("m#node")


def test_changes_made_at_once_all_count(catalog):
    threads = [threading.Thread(target=catalog.tag, args=("m", [f"t{number}"])) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert catalog.show("m").model.tags == tuple(f"t{number}" for number in range(8))
