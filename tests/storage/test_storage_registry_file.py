"""The registry file: private, self-describing, never overwritten when it cannot be understood."""

from __future__ import annotations

import gc
import os
import stat
import subprocess
import sys
from dataclasses import replace

import orjson
import pytest
from storage_samples import make_facts, make_model, make_version
from tinydb import where
from tinydb.table import Table

from quickserveml_tui.core.errors import ReadOnlyError, StoreError
from quickserveml_tui.storage import fs, registry_snapshot
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.registry_edit import RegistryLimits


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "registry.json"


def test_reading_an_absent_registry_creates_nothing(path):
    registry = TinyDbRegistry(path)
    assert registry.models() == ()
    assert registry.generation() == "0"
    assert not path.parent.exists()


def test_the_home_and_the_file_are_private(path):
    TinyDbRegistry(path).put("a", lambda _old: make_model("a"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_is_a_tinydb_document_with_its_schema(path):
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a"))
    tables = orjson.loads(path.read_bytes())
    assert tables["_meta"] == {"1": {"schema": 2, "reads": 1}}
    assert [document["name"] for document in tables["models"].values()] == ["a"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "store.corrupt"),
        (b"{", "store.corrupt"),
        (b"[]", "store.corrupt"),
        (b"{}", "store.corrupt"),
        (b"\xff\xfe", "store.corrupt"),
        (b'{"_meta": {"1": {"schema": 0}}}', "store.corrupt"),
        (b'{"_meta": {"1": {"schema": true}}}', "store.corrupt"),
        (b'{"_meta": {"1": {"schema": 1}}, "models": []}', "store.corrupt"),
        (b'{"_meta": {"1": {"schema": 1}}, "models": {"1": 5}}', "store.corrupt"),
        (b'{"_meta": {"1": {"schema": 1}}, "models": {"one": {}}}', "store.corrupt"),
        (b'{"_meta": {"1": {"schema": 1}}, "models": {"1": {"name": "a", "id": []}}}', "store.corrupt"),
        (b'{"_meta": {"1": {"schema": 1}}, "models": {"01": {"name": "a", "id": "a"}}}', "store.corrupt"),
        (b'{"_meta": {"1": {"schema": 2, "reads": 1}}, "models": {"1": {"name": "a", "id": "i"}}}', "store.corrupt"),
        (b'{"_meta": {"1": {"schema": 3}}, "models": {"1": {"later": 1}}}', "store.newer_schema"),
        (b'{"_meta": {"1": {"schema": 4, "reads": 3}}, "models": {"1": {"later": 1}}}', "store.newer_schema"),
    ],
)
def test_a_file_that_cannot_be_understood_is_reported_and_left_alone(path, content, code):
    path.parent.mkdir()
    path.write_bytes(content)
    registry = TinyDbRegistry(path)
    for operation in (
        registry.models,
        lambda: registry.find("a"),
        lambda: registry.put("a", lambda old: replace(old or make_model("a"), task="x")),
    ):
        with pytest.raises(StoreError) as caught:
            operation()
        assert caught.value.code == code
        assert caught.value.hint
        assert str(path) not in caught.value.message
    assert path.read_bytes() == content
    assert registry.problem().code == code


@pytest.mark.parametrize("kind", ["folder", "fifo", "link"])
def test_only_a_regular_file_is_a_registry(path, kind):
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("elsewhere.json")
    with pytest.raises(StoreError):
        TinyDbRegistry(path).models()


@pytest.mark.parametrize(
    "facts",
    [
        make_facts(params=2**64),
        make_facts(macs=-(2**63) - 1),
        make_facts(doc="\ud800"),
        make_facts(metadata={"\udfff": "x"}),
    ],
)
def test_what_json_would_change_is_refused(path, facts):
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a"))
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        registry.put("a", lambda old: replace(old, versions=(make_version(facts=facts),)))
    assert caught.value.code == "store.unrepresentable"
    assert path.read_bytes() == before


def test_the_largest_integers_come_back_exactly(path):
    registry = TinyDbRegistry(path)
    facts = make_facts(params=2**64 - 1, macs=-(2**63))
    registry.put("a", lambda _old: make_model("a", versions=(make_version(facts=facts),)))
    assert TinyDbRegistry(path).find("a").versions[0].facts == facts


def test_a_later_write_looks_later_whatever_the_clock_says(path):
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a"))
    future_ns = path.stat().st_mtime_ns + 10**15
    os.utime(path, ns=(future_ns, future_ns))
    for number in range(3):
        before = path.stat().st_mtime_ns
        registry.put("a", lambda old, number=number: replace(old, task=str(number)))
        assert path.stat().st_mtime_ns > before


def test_the_collector_runs_again_after_a_transaction(path):
    registry = TinyDbRegistry(path)
    with registry.transaction(), TinyDbRegistry(path.with_name("other.json")).transaction():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_very_many_heads_are_spared_the_collector_and_still_freed(path, monkeypatch):
    monkeypatch.setattr(registry_snapshot, "MANY_HEADS", 3)
    registry = TinyDbRegistry(path)
    try:
        registry.edit(lambda edit: [edit.put(make_model(f"m{number}")) for number in range(3)])
        before = gc.get_freeze_count()
        for reader in (TinyDbRegistry(path), registry):  # in one pass, and from documents
            heads = reader.heads()
            assert len(heads) == 3
            assert gc.get_freeze_count() > before
            before = gc.get_freeze_count()
        del heads, reader, registry
        assert gc.get_freeze_count() < before
    finally:
        gc.unfreeze()


def test_a_reader_sees_what_another_process_wrote(path):
    reader, writer = TinyDbRegistry(path), TinyDbRegistry(path)
    assert reader.models() == ()
    writer.put("a", lambda _old: make_model("a"))
    assert reader.find("a").rev == 1
    for number in range(30):  # faster than the clock of the file system, of the same size, on reused inodes
        writer.put("a", lambda old, number=number: replace(old, task=f"{number % 2}"))
        assert reader.find("a") == writer.find("a")
        assert reader.find("a").task == str(number % 2)


def test_an_unchanged_record_is_decoded_once(path):
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a"))
    registry.put("b", lambda _old: make_model("b"))
    a, b = registry.find("a"), registry.find("b")
    registry.put("b", lambda old: replace(old, task="x"))
    assert registry.find("a") is a
    assert registry.find("b") is not b


def test_what_a_killed_writer_left_is_cleaned_by_the_next(path):
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a"))
    stale = path.with_name(f"{fs.TEMP_PREFIX}0123")
    stale.write_bytes(b"half")
    registry.put("b", lambda _old: make_model("b"))
    assert not stale.exists()


def test_a_lock_that_is_not_freed_is_reported(path):
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a"))
    impatient = TinyDbRegistry(path, lock_timeout_s=0.05)
    with registry.transaction(), pytest.raises(StoreError) as caught:
        impatient.put("a", lambda _old: None)
    assert caught.value.code == "store.locked"
    assert impatient.put("a", lambda old: replace(old, task="x")).task == "x"


def test_several_documents_change_together_or_not_at_all(path):
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a"))
    with registry.transaction() as db:
        db.table("specs").insert({"n": 1})
        db.table("suites").insert({"n": 2})

    def break_off():
        with registry.transaction() as db:
            db.table("specs").insert({"n": 3})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    with registry.transaction() as db:
        assert [document["n"] for name in ("specs", "suites") for document in db.table(name).all()] == [1, 2]
    assert registry.find("a") is not None


def test_a_registry_that_could_not_be_read_again_is_not_written(path):
    registry = TinyDbRegistry(path, limits=RegistryLimits(max_bytes=6_000))
    registry.put("a", lambda _old: make_model("a"))
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        registry.put("a", lambda old: replace(old, description="x" * 6_000))
    assert caught.value.code == "registry.full"
    assert path.read_bytes() == before
    assert registry.find("a").rev == 1


def test_a_large_edit_is_few_table_operations(path, monkeypatch):
    registry = TinyDbRegistry(path)
    registry.edit(lambda edit: [edit.put(make_model(f"m{number}")) for number in range(60)])
    operations = []
    update = Table._update_table
    monkeypatch.setattr(Table, "_update_table", lambda self, work: (operations.append(self.name), update(self, work)))

    def work(edit):
        for number in range(20):
            edit.remove(edit.find(f"m{number}").id)
            edit.put(replace(edit.find(f"m{number + 20}"), task="changed"))
            edit.put(make_model(f"new{number}"))

    registry.edit(work)
    assert operations == ["models"] * 3
    models = TinyDbRegistry(path).models()
    assert {model.name: model.task for model in models if model.name.startswith("m")} == {
        f"m{number}": "changed" if number < 40 else "classification" for number in range(20, 60)
    }
    assert sum(model.name.startswith("new") for model in models) == 20


def test_a_write_leaves_the_documents_it_does_not_touch_byte_for_byte(path):
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a"))
    registry.put("b", lambda _old: make_model("b"))
    text = path.read_bytes().replace(b'"task":"classification"', b'"task": "classification", "unknown": [1.50]', 1)
    path.write_bytes(text)
    registry.put("b", lambda old: replace(old, task="x"))
    assert b'"task": "classification", "unknown": [1.50]' in path.read_bytes()
    with registry.transaction() as db:  # a query touches them all, and changes none
        assert db.table("models").get(where("task") == "x")["name"] == "b"
        db.table("specs").insert({"n": 1})
    assert orjson.loads(path.read_bytes())["models"]["1"]["unknown"] == [1.5]


def test_finding_one_model_decodes_no_other(path):
    TinyDbRegistry(path).edit(lambda edit: [edit.put(make_model(name)) for name in ("a", "b")])
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"next_version":3', b'"next_version":"x"', 1))
    registry = TinyDbRegistry(path)
    assert registry.find("b").next_version == 3
    with pytest.raises(StoreError):
        registry.find("a")


def test_listing_before_and_after_reading_gives_the_same(path):
    writer = TinyDbRegistry(path)
    writer.edit(lambda edit: [edit.put(make_model(name)) for name in ("b", "a")])
    listed, found = TinyDbRegistry(path), TinyDbRegistry(path)
    assert listed.heads()
    assert found.find("a")
    assert listed.heads() == found.heads()
    assert listed.find("a") == found.find("a")
    writer.put("c", lambda _old: make_model("c"))
    assert listed.heads() == found.heads() == writer.heads()
    assert listed.heads()[0] is listed.heads()[0]


def test_after_another_ones_write_only_changed_heads_are_new(path):
    reader, writer = TinyDbRegistry(path), TinyDbRegistry(path)
    writer.edit(lambda edit: [edit.put(make_model(name)) for name in ("a", "b")])
    before = reader.heads()
    writer.put("b", lambda old: replace(old, task="x"))
    after = reader.heads()
    assert after[0] is before[0]
    assert after[1].task == "x"


def test_a_registry_opened_for_reading_only_refuses_every_write_and_creates_nothing(path):
    reader = TinyDbRegistry(path, read_only=True)
    for write in (
        lambda: reader.put("a", lambda _old: make_model("a")),
        lambda: reader.edit(lambda edit: edit.remove("a")),
        reader.repair,
        lambda: reader.transaction().__enter__(),
    ):
        with pytest.raises(ReadOnlyError):
            write()
    assert not path.parent.exists()
    TinyDbRegistry(path).put("a", lambda _old: make_model("a"))
    assert [model.name for model in reader.models()] == ["a"]
    assert reader.problem() is None


def test_a_folder_that_may_not_be_written_is_named_as_the_problem(path):
    TinyDbRegistry(path).put("a", lambda _old: make_model("a"))
    assert TinyDbRegistry(path).problem() is None
    # As somebody else than the owner, in a process of its own: permissions do not bind root.
    code = (
        "import os, sys; from pathlib import Path\n"
        "from quickserveml_tui.storage.registry import TinyDbRegistry\n"
        "registry = TinyDbRegistry(Path(sys.argv[1]))\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "problem = registry.problem(); print(problem.code, problem.hint != '', registry.find('a').name)\n"
    )
    for folder in (path.parent, *path.parent.parents):
        if folder.owner() != "root" or str(folder) == "/tmp":
            break
        folder.chmod(folder.stat().st_mode | 0o055)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    path.parent.chmod(0o755)
    assert done.stdout == "store.read_only True a\n", done.stderr


def test_while_the_lock_is_held_reads_go_on_and_writes_say_why_not(path):
    TinyDbRegistry(path).put("a", lambda _old: make_model("a"))
    other = TinyDbRegistry(path, lock_timeout_s=0.02)
    with fs.locked(path.with_name("registry.json.lock"), "test"):
        assert other.find("a")
        assert other.heads()
        assert other.problem() is None
        for write in (lambda: other.put("a", lambda _old: None), other.repair):
            with pytest.raises(StoreError) as caught:
                write()
            assert caught.value.code == "store.locked"
            assert caught.value.hint
