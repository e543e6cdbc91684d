"""Every registry back end keeps the promises of `RegistryStore`."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from reference_registry import MemoryRegistry
from storage_samples import make_model, make_version

from quickserveml_tui.core.errors import ConflictError
from quickserveml_tui.core.models import AliasEvent
from quickserveml_tui.storage.registry import TinyDbRegistry


@pytest.fixture(params=["memory", "file"])
def registry(request, tmp_path):
    return MemoryRegistry() if request.param == "memory" else TinyDbRegistry(tmp_path / "home" / "registry.json")


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
    registry.put("a", lambda _old: make_model("a", rev=77))
    assert registry.find("a").rev == 1
    registry.put("a", lambda old: replace(old, task="x"))
    assert registry.find("a").rev == 2


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
