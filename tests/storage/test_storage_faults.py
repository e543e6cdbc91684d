"""A fault at any system call leaves the old or the new state, and the next write works."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from storage_faults import ERRORS, FaultyOs, break_os, every_call
from storage_samples import make_model
from tinydb import TinyDB

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage import fs
from quickserveml_tui.storage import registry as registry_module
from quickserveml_tui.storage.registry import TinyDbRegistry


def check_says_why(error, path):
    assert error.message.endswith(".")
    assert error.hint
    assert str(path) not in error.message


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_fault_at_any_call_of_a_registry_write_leaves_the_old_or_the_new_state(tmp_path, monkeypatch, error):
    path = tmp_path / "registry.json"
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a", task="0"))

    def attempt(faulty):
        old = TinyDbRegistry(path).find("a")
        faulty.is_armed = True
        try:
            written = registry.put("a", lambda model: replace(model, task=f"{int(model.task) + 1}"))
        except StoreError as error:
            check_says_why(error, path)
            written = None
        faulty.is_armed = False
        now = TinyDbRegistry(path).find("a")
        assert now == written if written else now.task in (old.task, f"{int(old.task) + 1}")
        assert registry.put("a", lambda model: replace(model, author=f"after {now.rev}")).author == f"after {now.rev}"
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["backups", "registry.json", "registry.json.lock"]

    assert every_call(monkeypatch, [fs, registry_module], attempt, error) >= 8


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_fault_at_any_call_of_the_first_write_leaves_no_registry_or_a_whole_one(tmp_path, monkeypatch, error):
    homes = iter(tmp_path / f"deep{number}" / "home" for number in range(1000))

    def attempt(faulty):
        path = next(homes) / "registry.json"
        registry = TinyDbRegistry(path)
        faulty.is_armed = True
        try:
            registry.put("a", lambda _old: make_model("a"))
            is_acknowledged = True
        except StoreError:
            is_acknowledged = False
        faulty.is_armed = False
        names = [model.name for model in TinyDbRegistry(path).models()]
        assert names == ["a"] if is_acknowledged else names in ([], ["a"])
        registry.put("b", lambda _old: make_model("b"))
        assert TinyDbRegistry(path).find("b")

    assert every_call(monkeypatch, [fs, registry_module], attempt, error) >= 8


def test_a_disk_that_fills_up_in_the_middle_of_a_write_keeps_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "registry.json"
    registry = TinyDbRegistry(path)
    registry.put("a", lambda _old: make_model("a"))
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        faulty = break_os(patch, [fs, registry_module], fail_at=1, error="short", capacity=300)
        with pytest.raises(StoreError) as caught:
            registry.put("b", lambda _old: make_model("b"))
        assert faulty.calls.count("write") == 301
    assert caught.value.code == "store.full"
    assert "full" in caught.value.message
    assert path.read_bytes() == before
    registry.put("b", lambda _old: make_model("b"))
    assert len(registry.models()) == 2


def test_short_writes_are_continued(tmp_path, monkeypatch):
    path = tmp_path / "file"
    break_os(monkeypatch, [fs], fail_at=1, error="short", capacity=10_000)
    fs.write_atomic(path, b"x" * 5000)
    assert path.read_bytes() == b"x" * 5000


def test_content_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    faulty = break_os(monkeypatch, [fs])
    fs.write_atomic(tmp_path / "file", b"new")
    assert faulty.calls == ["open", "write", "fstat", "fsync", "replace", "open", "fsync"]


def test_a_failed_fsync_is_reported_and_never_repeated(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    faulty = FaultyOs(fail_at=4, error=errno.EIO, only={"fsync"})
    monkeypatch.setattr(fs, "os", faulty)
    with pytest.raises(OSError, match="Input/output"):
        fs.write_atomic(path, b"new")
    assert faulty.calls == ["open", "write", "fstat", "fsync", "unlink"]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


LIMITED_WRITER = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kind, path, limit = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from quickserveml_tui.core.errors import QuickServeError, StoreError
from quickserveml_tui.core.models import ModelRecord
from quickserveml_tui.storage.registry import TinyDbRegistry
from tinydb import TinyDB
try:
    if kind == "ours":
        record = ModelRecord("model-2", "b", "t", "t", description="x" * 5000)
        TinyDbRegistry(path).put("b", lambda _old: record)
    else:
        TinyDB(path).insert({"name": "b", "description": "x" * 5000})
except (StoreError, OSError) as error:
    print("refused:", error)
"""


def write_beyond_limit(kind, path):
    """Let a process write more than the kernel lets it; returns what it said."""
    limit = path.stat().st_size + 1000
    done = subprocess.run(
        [sys.executable, "-c", LIMITED_WRITER, kind, str(path), str(limit)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    return done.stdout + done.stderr


def test_a_write_that_the_kernel_cuts_off_keeps_the_old_state(tmp_path):
    path = tmp_path / "registry.json"
    TinyDbRegistry(path).put("a", lambda _old: make_model("a"))
    before = path.read_bytes()
    assert "refused: The registry could not be written" in write_beyond_limit("ours", path)
    assert path.read_bytes() == before


def test_tinydbs_own_storage_loses_everything_in_the_same_test(tmp_path):
    path = tmp_path / "registry.json"
    with TinyDB(path) as db:
        db.insert({"name": "a"})
    assert "refused" in write_beyond_limit("stock", path)
    with pytest.raises(json.JSONDecodeError), TinyDB(path) as db:
        db.all()


def test_tinydbs_own_storage_loses_the_write_of_a_second_writer(tmp_path):
    path = tmp_path / "registry.json"
    with TinyDB(path) as first, TinyDB(path) as second:
        first.insert({"name": "a"})
        first.update(lambda _document: second.insert({"name": "b"}))  # b is written while a is being changed
    with TinyDB(path) as db:
        assert [document["name"] for document in db.all()] == ["a"]


def test_ours_makes_a_second_writer_wait_in_the_same_order_of_events(tmp_path):
    path = tmp_path / "registry.json"
    first, second = TinyDbRegistry(path), TinyDbRegistry(path)
    first.put("a", lambda _old: make_model("a"))
    writer = threading.Thread(target=second.put, args=("b", lambda _old: make_model("b")))

    def change(old):
        writer.start()  # b is asked to be written while a is being changed
        return replace(old, task="x")

    first.put("a", change)
    writer.join(30)
    assert [(model.name, model.task) for model in first.models()] == [("a", "x"), ("b", "classification")]
