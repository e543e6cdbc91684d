"""Older schemas are migrated, older states are kept, and a damaged file is shown from them and mended."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from storage_samples import make_model, make_version

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.core.models import TrashEntry, TrashKind
from quickserveml_tui.storage import fs, registry_generations
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.registry_generations import KEPT, stamp

SCHEMA_1 = Path(__file__).parent / "data" / "registry-schema1.json"
DAY_NS = 86_400 * 10**9


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "registry.json"


def old_file(path):
    path.parent.mkdir(mode=0o700)
    shutil.copyfile(SCHEMA_1, path)
    return path.read_bytes()


def written_days_ago(path, days):
    moment = datetime.now(UTC) - timedelta(days=days)
    nanoseconds = int(moment.timestamp() * 1e9)
    os.utime(path, ns=(nanoseconds, nanoseconds))


def kept(path):
    return sorted(entry.name for entry in path.with_name("backups").glob("*"))


def names(registry):
    return [model.name for model in registry.models()]


def set_task(registry, name, task):
    return registry.put(name, lambda old: replace(old or make_model(name), task=task))


def in_trash(model):
    return TrashEntry(new_id("trash"), TrashKind.MODEL, model.id, model.name, "2026-01-01T00:00:00.000Z", model=model)


# ---- migration


def test_a_file_of_schema_1_is_read_without_being_written(path):
    before = old_file(path)
    registry = TinyDbRegistry(path)
    assert names(registry) == ["bert-base", "digits", "resnet50"]
    assert registry.find("digits").author == "me"
    assert [head.name for head in registry.heads()] == names(registry)
    assert registry.trash() == ()
    assert len(registry.blobs()) == 2
    assert registry.problem() is None
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["registry.json"]


def test_the_first_write_migrates_and_keeps_the_old_file_for_good(path):
    before = old_file(path)
    registry = TinyDbRegistry(path)
    old = registry.models()
    set_task(registry, "digits", "x")
    assert orjson.loads(path.read_bytes())["_meta"] == {"1": {"schema": 2, "reads": 1}}
    (backup,) = kept(path)
    assert backup.startswith("registry-schema1-")
    assert path.with_name("backups").joinpath(backup).read_bytes() == before
    now = TinyDbRegistry(path)
    assert [replace(m, task="", rev=0, updated_at="") for m in now.models()] == [
        replace(m, task="", rev=0, updated_at="") for m in old
    ]
    for number in range(KEPT + 3):
        written_days_ago(path, 50 - number)
        set_task(registry, "digits", str(number))
    assert backup in kept(path)


def test_a_write_that_changes_nothing_does_not_migrate(path):
    before = old_file(path)
    registry = TinyDbRegistry(path)
    assert registry.put("digits", lambda old: old)
    assert path.read_bytes() == before


def test_a_newer_file_that_says_so_can_be_read_and_not_written(path):
    path.parent.mkdir()
    set_task(TinyDbRegistry(path), "a", "x")
    content = path.read_bytes().replace(b'"schema":2,"reads":1', b'"schema":3,"reads":2')
    path.write_bytes(content)
    registry = TinyDbRegistry(path)
    problem = registry.problem()
    assert problem.code == "store.newer_schema"
    assert "schema 3" in problem.message
    assert "Upgrade" in problem.hint
    assert names(registry) == ["a"]
    assert registry.find("a").task == "x"
    for refused in (lambda: set_task(registry, "b", ""), registry.blobs):
        with pytest.raises(StoreError) as caught:
            refused()
        assert caught.value.code == "store.newer_schema"
    assert path.read_bytes() == content


# ---- kept generations


def test_the_state_at_the_end_of_a_day_and_before_the_last_write_are_kept(path):
    registry = TinyDbRegistry(path)
    set_task(registry, "a", "yesterday")
    set_task(registry, "a", "yesterday evening")
    written_days_ago(path, 1)
    yesterday = path.read_bytes()
    name = f"registry-{stamp(path.stat().st_mtime_ns)}.json"
    for number in range(3):
        before = path.read_bytes()
        set_task(registry, "a", f"today {number}")
    assert len(kept(path)) == 2
    assert kept(path)[0] == name
    assert [path.with_name("backups").joinpath(entry).read_bytes() for entry in kept(path)] == [yesterday, before]


def test_a_write_that_fails_forgets_no_generation(path, monkeypatch):
    registry = TinyDbRegistry(path)
    for number in range(3):
        set_task(registry, "a", str(number))
    older = kept(path)

    def refuse(*_args, **_options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(fs.os, "replace", refuse)
        with pytest.raises(StoreError):
            set_task(registry, "a", "refused")
    assert set(older) <= set(kept(path))
    path.write_bytes(b"{")  # the newest generation shares the file that is damaged here
    assert TinyDbRegistry(path).find("a").task == "1"


def test_only_the_newest_generations_are_kept(path):
    registry = TinyDbRegistry(path)
    set_task(registry, "a", "first")
    stamps = []
    for days in range(12, 0, -1):
        written_days_ago(path, days)
        stamps.append(stamp(path.stat().st_mtime_ns))
        set_task(registry, "a", f"{days} days ago")
    path.with_name("backups").joinpath("notes.txt").write_text("mine")
    assert kept(path) == ["notes.txt", *(f"registry-{text}.json" for text in stamps[-KEPT:])]


@pytest.mark.parametrize("error", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_where_files_cannot_be_linked_a_copy_is_kept(path, monkeypatch, error):
    registry = TinyDbRegistry(path)
    set_task(registry, "a", "old")
    before = path.read_bytes()

    def refuse(*_args, **_options):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(registry_generations.os, "link", refuse)
    set_task(registry, "a", "new")
    (backup,) = kept(path)
    assert path.with_name("backups").joinpath(backup).read_bytes() == before
    assert path.with_name("backups").joinpath(backup).stat().st_ino != path.stat().st_ino


# ---- damage


@pytest.fixture
def damaged(path):
    """Generations of yesterday (a, b) and of today (a changed), and a registry (c new) that ends in the middle of b."""
    registry = TinyDbRegistry(path)
    for name in ("a", "b"):
        set_task(registry, name, "yesterday")
    shutil.rmtree(path.with_name("backups"))
    written_days_ago(path, 1)
    set_task(registry, "a", "today")
    set_task(registry, "c", "today")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b'"name":"b"') + 1000])
    return path


@pytest.mark.parametrize("opened_before", [True, False])
def test_a_damaged_file_is_shown_from_the_newest_generation_and_refuses_writes(damaged, opened_before):
    content = damaged.read_bytes()
    registry = TinyDbRegistry(damaged)
    if opened_before:
        assert registry.heads()
    problem = registry.problem()
    assert problem.code == "store.corrupt"
    assert kept(damaged)[-1] in problem.message
    assert problem.command == "quickserveml fsck --repair"
    assert problem.command in problem.hint
    assert names(registry) == ["a", "b"]
    assert [head.task for head in registry.heads()] == ["today", "yesterday"]
    assert registry.find("b")
    for refused in (lambda: set_task(registry, "a", "x"), lambda: registry.edit(lambda edit: edit.remove("a"))):
        with pytest.raises(StoreError) as caught:
            refused()
        assert caught.value.code == "store.corrupt"
        assert "fsck --repair" in caught.value.hint
    assert damaged.read_bytes() == content


def test_what_is_needed_is_unknown_while_the_file_is_damaged(damaged):
    with pytest.raises(StoreError) as caught:
        TinyDbRegistry(damaged).blobs()
    assert caught.value.code == "store.corrupt"


def test_a_generation_that_is_damaged_itself_is_passed_over(damaged):
    folder = damaged.with_name("backups")
    good = folder / kept(damaged)[-1]
    for number, content in enumerate((b"", b"{", b'{"_meta":{"1":{"schema":2}},"models":{"1":{"id":"x"}}}')):
        folder.joinpath(f"registry-2999010{number + 1}T000000000Z.json").write_bytes(content)
    folder.joinpath("registry-29990109T000000000Z.json").mkdir()
    registry = TinyDbRegistry(damaged)
    assert names(registry) == ["a", "b"]
    assert good.name in registry.problem().message


def test_one_damaged_document_shows_the_generation_too(damaged):
    registry = TinyDbRegistry(damaged)
    registry.repair()
    text = damaged.read_bytes()
    damaged.write_bytes(text.replace(b'"task":"today"', b'"task":12345678'))
    assert [model.task for model in registry.models()] == ["today", "yesterday"]
    assert registry.problem().code == "store.corrupt"
    with pytest.raises(StoreError):
        set_task(registry, "z", "x")


def test_repair_takes_what_parses_and_the_rest_from_the_generation(damaged):
    content = damaged.read_bytes()
    registry = TinyDbRegistry(damaged)
    sentence = registry.repair()
    assert sentence == (
        f"1 model could be read from the damaged registry; 1 model came from the generation {kept(damaged)[-1]}, "
        f"without what was changed later; the damaged file is kept as {next(damaged.parent.glob('*.damaged-*')).name}."
    )
    assert [(model.name, model.task) for model in registry.models()] == [("a", "today"), ("b", "yesterday")]
    assert registry.problem() is None
    (aside,) = damaged.parent.glob("registry.json.damaged-*")
    assert aside.read_bytes() == content
    assert set_task(registry, "a", "after").task == "after"
    assert registry.repair() == "The registry is whole; nothing had to be repaired."


def test_blobs_named_in_a_damaged_file_stay_needed(damaged):
    lost = make_version(9, b"named in what was cut")
    registry = TinyDbRegistry(damaged)
    registry.repair()
    registry.put("z", lambda _old: make_model("z", versions=(lost,)))
    damaged.write_bytes(damaged.read_bytes().replace(b'"name":"z"', b'"name":{}}'))
    assert "registry" in registry.repair()
    assert registry.find("z") is None
    assert lost.artifact.digest in registry.blobs()


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.1, 0.0])
def test_every_document_before_a_cut_is_salvaged(path, keep):
    registry = TinyDbRegistry(path)
    hostile = '"1":{"id":"x"} ü \u2028 \\" {"2":{'
    registry.edit(lambda edit: [edit.put(make_model(f"m{number}", description=hostile)) for number in range(20)])
    registry.edit(lambda edit: edit.put_trash(in_trash(make_model("gone"))))
    shutil.rmtree(path.with_name("backups"))
    whole = path.read_bytes()
    content = whole[: int(len(whole) * keep)]
    path.write_bytes(content)
    expected = [
        model for model in registry_at(whole, path) if content.count(model.id.encode()) and complete(model, content)
    ]
    if not expected:
        with pytest.raises(StoreError) as caught:
            registry.repair()
        assert caught.value.code == "store.corrupt"
        assert path.read_bytes() == content
        return
    registry.repair()
    assert registry.models() == tuple(expected)
    assert bool(registry.trash()) == (keep == 0.999 and b'"kind":"model"' in content and content.endswith(b"}}"))


def registry_at(content, path):
    other = path.with_name("whole.json")
    other.write_bytes(content)
    return TinyDbRegistry(other).models()


def complete(model, content):
    start = content.index(model.id.encode())
    return b'"next_version":3}' in content[start : start + 4000]


def test_garbage_in_the_middle_costs_only_what_it_covers(path):
    registry = TinyDbRegistry(path)
    registry.edit(lambda edit: [edit.put(make_model(f"m{number}")) for number in range(5)])
    registry.edit(lambda edit: edit.put_trash(in_trash(make_model("gone"))))
    shutil.rmtree(path.with_name("backups"))
    content = bytearray(path.read_bytes())
    at = content.index(b'"name":"m2"')
    content[at : at + 40] = b"\0\xff" * 20
    path.write_bytes(content)
    said = registry.repair()
    assert said.startswith("4 models and 1 trash entry could be read")
    assert "1 model that it names could not be saved" in said
    assert names(registry) == ["m0", "m1", "m3", "m4"]
    assert [entry.name for entry in registry.trash()] == ["gone"]


def test_a_name_that_was_given_away_meanwhile_comes_back_in_the_trash(path):
    registry = TinyDbRegistry(path)
    first = set_task(registry, "a", "first")
    shutil.rmtree(path.with_name("backups"), ignore_errors=True)
    written_days_ago(path, 1)
    registry.put("a", lambda old: replace(old, name="b"))
    second = set_task(registry, "a", "second")
    path.with_name("backups").joinpath(kept(path)[-1]).unlink()
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"name":"b"', b'"name":{}}'))
    registry.repair()
    assert registry.models() == (second,)
    assert [entry.model_id for entry in registry.trash()] == [first.id]


def test_a_model_that_was_deleted_does_not_come_back_from_a_generation(path):
    registry = TinyDbRegistry(path)
    model = set_task(registry, "a", "x")
    set_task(registry, "b", "x")
    shutil.rmtree(path.with_name("backups"))
    written_days_ago(path, 1)

    def delete(edit):
        edit.remove(model.id)
        edit.put_trash(in_trash(model))

    registry.edit(delete)
    path.write_bytes(path.read_bytes()[:-1])
    registry.repair()
    assert names(registry) == ["b"]
    assert [entry.model_id for entry in registry.trash()] == [model.id]


# ---- a file that is gone


@pytest.fixture
def gone(path):
    """A registry (a, b and one entry in the trash, b changed last) that was moved away after its last write."""
    registry = TinyDbRegistry(path)
    registry.edit(lambda edit: edit.put_trash(in_trash(make_model("old"))))
    for name, task in (("a", "x"), ("b", "x"), ("b", "changed")):
        set_task(registry, name, task)
    path.rename(path.with_name("moved.json"))
    return path


@pytest.mark.parametrize("opened_before", [True, False])
def test_a_file_that_is_gone_is_shown_from_the_newest_generation_and_refuses_writes(path, opened_before):
    registry = TinyDbRegistry(path)
    for task in ("x", "y"):
        set_task(registry, "a", task)
    if not opened_before:
        registry = TinyDbRegistry(path)
    path.unlink()
    problem = registry.problem()
    assert problem.code == "store.gone"
    assert problem.message.startswith(f"registry.json is gone: the kept generation {kept(path)[-1]} is shown")
    assert problem.command == "quickserveml fsck --repair"
    assert problem.command in problem.hint
    assert [model.task for model in registry.models()] == [head.task for head in registry.heads()] == ["x"]
    for refused in (lambda: set_task(registry, "b", "x"), registry.blobs):
        with pytest.raises(StoreError) as caught:
            refused()
        assert caught.value.code == "store.gone"
    assert not path.exists()


def test_the_newest_good_generation_is_put_back(gone):
    folder = gone.with_name("backups")
    name = kept(gone)[-1]
    folder.joinpath("registry-29990101T000000000Z.json").write_bytes(b"{")
    registry = TinyDbRegistry(gone)
    assert name in registry.problem().message
    assert registry.repair() == (
        f"2 models and 1 trash entry came back from the generation {name}; what was changed after it is lost."
    )
    assert registry.problem() is None
    assert [(model.name, model.task) for model in registry.models()] == [("a", "x"), ("b", "x")]
    assert [entry.name for entry in registry.trash()] == ["old"]
    assert set_task(registry, "b", "after").task == "after"
    assert registry.repair() == "The registry is whole; nothing had to be repaired."


def test_a_file_that_is_gone_with_no_good_generation_is_not_taken_for_empty(gone):
    for entry in gone.with_name("backups").iterdir():
        entry.write_bytes(b"{")
    registry = TinyDbRegistry(gone)
    assert registry.problem().code == "store.gone"
    assert "restore-backup" in registry.problem().hint
    for refused in (registry.models, registry.blobs, registry.repair, lambda: set_task(registry, "c", "x")):
        with pytest.raises(StoreError) as caught:
            refused()
        assert caught.value.code == "store.gone"
    assert not gone.exists()


def test_a_file_that_comes_back_is_read_again(gone):
    registry = TinyDbRegistry(gone)
    assert registry.problem()
    gone.with_name("moved.json").rename(gone)
    assert registry.problem() is None
    assert registry.find("b").task == "changed"


def test_what_was_never_written_is_empty_and_no_problem(path):
    registry = TinyDbRegistry(path)
    assert registry.models() == registry.trash() == ()
    assert registry.problem() is None
    assert registry.blobs() == frozenset()
    assert not path.parent.exists()
    assert registry.repair() == "The registry is whole; nothing had to be repaired."
    assert not path.exists()


# ---- what a repair says


def test_a_repair_counts_what_came_into_the_trash_and_what_was_lost(path):
    registry = TinyDbRegistry(path)
    registry.edit(lambda edit: edit.put_trash(in_trash(make_model("early"))))
    set_task(registry, "a", "x")
    set_task(registry, "b", "x")
    registry.edit(lambda edit: (edit.put(make_model("c")), edit.put_trash(in_trash(make_model("late")))))
    content = path.read_bytes()
    for name in (b"c", b"early"):
        content = content.replace(b'"name":"%b"' % name, b'"name":{}')
    path.write_bytes(content)
    (aside, generation) = (registry.repair(), kept(path)[-1])
    assert aside == (
        "2 models and 1 trash entry could be read from the damaged registry; 0 models and 1 trash entry came from the "
        f"generation {generation}, without what was changed later; 1 model that it names could not be saved; "
        f"the damaged file is kept as {next(path.parent.glob('*.damaged-*')).name}."
    )
