"""Every registry back end keeps the promises of `RegistryStore`."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import msgspec
import pytest
from reference_registry import MemoryRegistry
from storage_samples import make_model, make_version

from quickserveml_tui.core.errors import ConflictError, StoreError
from quickserveml_tui.core.heads import ModelHead
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.core.models import (
    AliasEvent,
    ArtifactManifest,
    FileEntry,
    FileLink,
    GoldenOutput,
    TrashEntry,
    TrashKind,
)
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.registry_edit import RegistryLimits


@pytest.fixture(params=["memory", "file"])
def make_registry(request, tmp_path):
    def make(**limits):
        if request.param == "memory":
            return MemoryRegistry(**limits)
        return TinyDbRegistry(tmp_path / "home" / "registry.json", limits=RegistryLimits(**limits))

    return make


@pytest.fixture
def registry(make_registry):
    return make_registry()


def in_trash(model, deleted_at="2026-01-01T00:00:00.000Z", **fields):
    return TrashEntry(new_id("trash"), TrashKind.MODEL, model.id, model.name, deleted_at, model=model, **fields)


def without_time(record):
    return replace(record, updated_at="", rev=0)


def test_a_record_comes_back_as_it_was_written(registry):
    model = make_model()
    written = registry.put(model.name, lambda _old: model)
    assert without_time(written) == without_time(model)
    assert registry.find(model.name) == written
    assert registry.find(model.id) == written
    assert registry.models() == (written,)


def test_models_are_listed_by_name(registry):
    for name in ("b", "C", "a", "a.1"):
        registry.put(name, lambda _old, name=name: make_model(name))
    assert [model.name for model in registry.models()] == sorted(("b", "C", "a", "a.1"))


def test_what_is_not_there_is_none(registry):
    assert registry.models() == ()
    assert registry.find("nothing") is None
    assert registry.put("nothing", lambda old: old) is None


def test_every_write_raises_the_rev_by_one(registry):
    registry.put("a", lambda _old: make_model("a"))
    assert registry.find("a").rev == 1
    registry.put("a", lambda old: replace(old, task="x"))
    assert registry.find("a").rev == 2


def test_a_model_that_comes_back_goes_on_counting(registry):
    model = registry.put("a", lambda _old: make_model("a"))
    for _ in range(3):
        registry.put("a", lambda old: replace(old, author=old.author + "x"))
    last = registry.find("a")
    registry.put("a", lambda _old: None)
    assert registry.edit(lambda edit: edit.put(last)).rev > last.rev > model.rev


def test_a_change_that_changes_nothing_is_no_write(registry):
    registry.put("a", lambda _old: make_model("a"))
    before, generation = registry.find("a"), registry.generation()
    assert registry.put("a", lambda old: old) == before
    assert registry.generation() == generation


def test_every_write_changes_the_generation(registry):
    seen = [registry.generation()]
    for number in range(20):
        registry.put("a", lambda old, number=number: replace(old or make_model("a"), task=str(number % 2)))
        seen.append(registry.generation())
    assert len(set(seen)) == len(seen)


def test_none_deletes_a_model(registry):
    registry.put("a", lambda _old: make_model("a"))
    registry.put("b", lambda _old: make_model("b"))
    assert registry.put("a", lambda _old: None) is None
    assert [model.name for model in registry.models()] == ["b"]


def test_a_change_that_raises_writes_nothing(registry):
    registry.put("a", lambda _old: make_model("a"))
    before, generation = registry.models(), registry.generation()

    def fail(_old):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        registry.put("a", fail)
    assert (registry.models(), registry.generation()) == (before, generation)


def test_a_write_with_a_stale_rev_is_refused(registry):
    registry.put("a", lambda _old: make_model("a"))
    registry.put("a", lambda old: replace(old, task="x"), expected_rev=1)
    with pytest.raises(ConflictError) as caught:
        registry.put("a", lambda old: replace(old, task="y"), expected_rev=1)
    assert caught.value.code == "model.changed"
    with pytest.raises(ConflictError):
        registry.put("new", lambda _old: make_model("new"), expected_rev=1)
    assert registry.find("a").task == "x"
    assert registry.find("new") is None


def test_a_rename_keeps_the_id_and_frees_the_name(registry):
    model = registry.put("a", lambda _old: make_model("a"))
    registry.put(model.id, lambda old: replace(old, name="b"))
    assert registry.find("a") is None
    assert registry.find("b").id == model.id
    registry.put("a", lambda old: old or make_model("a"))
    assert len(registry.models()) == 2


def test_a_rename_to_a_taken_name_is_refused(registry):
    registry.put("a", lambda _old: make_model("a"))
    registry.put("b", lambda _old: make_model("b"))
    with pytest.raises(ConflictError) as caught:
        registry.put("a", lambda old: replace(old, name="b"))
    assert caught.value.code == "name.taken"
    assert [model.name for model in registry.models()] == ["a", "b"]


def test_fields_that_are_taken_away_do_not_come_back(registry):
    registry.put("a", lambda _old: make_model("a"))
    registry.put("a", lambda old: replace(old, aliases={}, tags=(), metadata={}, versions=()))
    model = registry.find("a")
    assert (model.aliases, model.tags, model.metadata, model.versions) == ({}, (), {}, ())


def test_versions_and_alias_history_keep_their_order(registry):
    registry.put("a", lambda _old: make_model("a", versions=()))
    for number in range(1, 12):
        registry.put(
            "a",
            lambda old, number=number: replace(
                old,
                versions=(*old.versions, make_version(number, b"%d" % number)),
                alias_history=(*old.alias_history, AliasEvent("x", number, number - 1, "t")),
            ),
        )
    model = registry.find("a")
    assert [version.version for version in model.versions] == list(range(1, 12))
    assert [event.version for event in model.alias_history[1:]] == list(range(1, 12))


# ---- heads and blobs


def test_a_head_says_what_the_model_says(registry):
    for name in ("b", "a"):
        registry.put(name, lambda _old, name=name: make_model(name, categories=("vision",)))
    heads, models = registry.heads(), registry.models()
    assert [head.name for head in heads] == ["a", "b"]
    for head, model in zip(heads, models, strict=True):
        assert msgspec.convert(msgspec.to_builtins(model), ModelHead) == head
        assert head.latest.artifact.size_bytes == model.latest.artifact.size_bytes
        assert head.latest.runnable == model.latest.runnable
    registry.put("a", lambda old: replace(old, task="x"))
    registry.put("b", lambda _old: None)
    assert [(head.name, head.task) for head in registry.heads()] == [("a", "x")]


def test_blobs_of_models_and_of_the_trash_are_needed_and_linked_files_are_not(registry):
    golden = GoldenOutput("g", "1" * 64, "2" * 64, "t")
    linked = ArtifactManifest("3" * 64, (FileEntry("model.onnx", "3" * 64, 5, FileLink("/models/x.onnx", 1)),))
    model = make_model(
        "a",
        versions=(
            make_version(1, b"one", golden=(golden,)),
            make_version(2, artifact=linked),
            make_version(3, b"three"),
        ),
    )
    gone = make_model("gone", versions=(make_version(1, b"gone"),))
    version = make_version(7, b"version")
    entry = TrashEntry("trash-1", TrashKind.VERSION, model.id, "a", "t", version=version)

    def work(edit):
        edit.put(model)
        edit.put_trash(in_trash(gone))
        edit.put_trash(entry)

    registry.edit(work)
    needed = {hashlib.sha256(content).hexdigest() for content in (b"one", b"three", b"gone", b"version")}
    assert registry.blobs() == needed | {"1" * 64, "2" * 64}
    registry.edit(lambda edit: edit.remove_trash("trash-1"))
    assert hashlib.sha256(b"version").hexdigest() not in registry.blobs()


# ---- transactions


def test_an_edit_sees_its_own_writes_and_others_see_them_together(registry):
    seen = []

    def work(edit):
        assert edit.find("a") is None
        written = edit.put(make_model("a"))
        assert edit.find("a") == edit.find(written.id) == written
        edit.put(replace(written, name="b"))
        assert edit.find("a") is None
        edit.put(make_model("a"))
        edit.put_trash(in_trash(make_model("c")))
        assert [entry.name for entry in edit.trash()] == ["c"]
        seen.append((registry.models(), registry.heads(), registry.trash()))
        return "result"

    before = registry.generation()
    assert registry.edit(work) == "result"
    assert seen == [((), (), ())]
    assert [(model.name, model.rev) for model in registry.models()] == [("a", 1), ("b", 2)]
    assert [entry.name for entry in registry.trash()] == ["c"]
    assert registry.generation() != before


def test_an_edit_that_fails_half_way_changes_nothing(registry):
    kept = registry.put("a", lambda _old: make_model("a"))
    generation = registry.generation()

    def work(edit):
        edit.put(replace(kept, task="x"))
        edit.put_trash(in_trash(kept))
        edit.remove(kept.id)
        edit.put(make_model("b"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        registry.edit(work)
    assert (registry.models(), registry.trash(), registry.generation()) == ((kept,), (), generation)


def test_an_edit_that_writes_nothing_is_no_write(registry):
    model = registry.put("a", lambda _old: make_model("a"))
    entry = in_trash(model)
    registry.edit(lambda edit: edit.put_trash(entry))
    generation = registry.generation()

    def work(edit):
        edit.put(model)
        edit.remove("nothing")
        edit.remove_trash("nothing")
        edit.put_trash(entry)

    registry.edit(work)
    assert registry.generation() == generation


def test_names_may_be_exchanged_in_one_edit(registry):
    first, second = (registry.put(name, lambda _old, name=name: make_model(name)) for name in ("a", "b"))

    def work(edit):
        third = edit.put(replace(first, name="c"))
        edit.put(replace(second, name="a"))
        edit.put(replace(third, name="b"))

    registry.edit(work)
    assert [(model.name, model.id) for model in registry.models()] == [("a", second.id), ("b", first.id)]


def test_a_model_moves_to_the_trash_and_back_in_one_transaction_each(registry):
    model = registry.put("a", lambda _old: make_model("a"))
    entry = in_trash(model)

    def delete(edit):
        edit.remove(model.id)
        edit.put_trash(entry)

    def restore(edit):
        (found,) = edit.trash()
        edit.remove_trash(found.id)
        return edit.put(found.model)

    registry.edit(delete)
    assert (registry.find("a"), registry.trash()) == (None, (entry,))
    back = registry.edit(restore)
    assert registry.trash() == ()
    assert registry.find("a") == back
    assert without_time(back) == without_time(model)


def test_the_trash_lists_the_newest_first(registry):
    entries = [in_trash(make_model(f"m{number}"), f"2026-01-0{number}T00:00:00.000Z") for number in (2, 3, 1)]
    registry.edit(lambda edit: [edit.put_trash(entry) for entry in entries])
    assert [entry.name for entry in registry.trash()] == ["m3", "m2", "m1"]


# ---- capacity


def test_a_full_registry_says_so_and_still_takes_changes(make_registry):
    registry = make_registry(warn_models=1, max_models=2)
    for name in ("a", "b"):
        registry.put(name, lambda _old, name=name: make_model(name))
    assert registry.capacity() == (2, 1, 2)
    with pytest.raises(StoreError) as caught:
        registry.put("c", lambda _old: make_model("c"))
    assert caught.value.code == "registry.full"
    assert registry.put("a", lambda old: replace(old, task="x")).task == "x"
    registry.put("a", lambda old: make_model("c"))  # in its place
    registry.put("b", lambda _old: None)
    assert registry.put("d", lambda _old: make_model("d"))
    assert registry.capacity()[0] == 2


def test_a_full_trash_says_so_and_changes_nothing(make_registry):
    registry = make_registry(max_trash=1)
    model = registry.put("a", lambda _old: make_model("a"))
    entry = in_trash(make_model("b"))
    registry.edit(lambda edit: edit.put_trash(entry))

    def delete(edit):
        edit.remove(model.id)
        edit.put_trash(in_trash(model))

    with pytest.raises(StoreError) as caught:
        registry.edit(delete)
    assert caught.value.code == "trash.full"
    assert (registry.models(), registry.trash()) == ((model,), (entry,))


def test_threads_lose_no_write(tmp_path):
    registry = TinyDbRegistry(tmp_path / "registry.json")

    def work(worker):
        for number in range(6):
            registry.put(f"m{worker}-{number}", lambda _old, number=number: make_model(f"m{worker}-{number}"))
            task = f"{worker} {number}"
            registry.put("shared", lambda old, task=task: replace(old or make_model("shared"), task=task))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(registry.models()) == 25
    assert registry.find("shared").rev == 24
