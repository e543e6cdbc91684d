"""The registry file: private, self-describing, never overwritten when it cannot be understood."""

from __future__ import annotations

import gc
import os
import stat
from dataclasses import replace

import orjson
import pytest
from storage_samples import make_facts, make_model, make_version

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage import fs
from quickserveml_tui.storage import registry as registry_module
from quickserveml_tui.storage.registry import TinyDbRegistry


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
    assert tables["_meta"] == {"1": {"schema": 1}}
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
        (b'{"_meta": {"1": {"schema": 2}}, "models": {"1": {"later": 1}}}', "store.newer_schema"),
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


def test_a_full_registry_says_so(path, monkeypatch):
    monkeypatch.setattr(registry_module, "MAX_MODELS", 2)
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a"))
    registry.put("b", lambda _old: make_model("b"))
    with pytest.raises(StoreError) as caught:
        registry.put("c", lambda _old: make_model("c"))
    assert caught.value.code == "registry.full"
    assert registry.put("a", lambda old: replace(old, task="x")).task == "x"
