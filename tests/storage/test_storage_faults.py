"""A fault at any system call leaves the old or the new state, and the next write works."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from dataclasses import replace

import pytest
from storage_faults import ERRORS, FaultyOs, break_os, every_call
from storage_kills import Nursery, folder_in_memory
from storage_operations import (
    MODULES,
    OPERATIONS,
    act_on_stock,
    contents,
    prepare_stock,
    stock_contents,
)
from storage_samples import make_model
from tinydb import TinyDB

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.registry import TinyDbRegistry


@pytest.fixture(autouse=True, scope="module")
def handles_are_given_back():
    """What the tests opened and left is closed with them, so that no run needs more files than a system gives."""
    yield
    gc.collect()


def check_says_why(error, path):
    assert error.message.endswith(".")
    assert error.hint
    assert str(path) not in error.message


FAULTS = [*ERRORS, "short"]


@pytest.fixture(scope="module")
def memory_folder():
    with folder_in_memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def homes(memory_folder):
    """Makes a copy of the home that is prepared for an operation; also tells what it holds before and after it."""
    folder = memory_folder / "homes"
    folder.mkdir()
    prepared = {}

    def copy(name):
        if name not in prepared:
            template = folder / name
            OPERATIONS[name].prepare(template / "registry.json")
            trial = folder / f"{name} done"
            if template.exists():
                shutil.copytree(template, trial)
            before = contents(trial / "registry.json")
            OPERATIONS[name].act(TinyDbRegistry(trial / "registry.json"))
            prepared[name] = template, before, contents(trial / "registry.json")
        template, before, after = prepared[name]
        home = folder / uuid.uuid4().hex
        if template.exists():
            shutil.copytree(template, home)
        return home / "registry.json", before, after

    return copy


def check_home(path, name):
    """The next write works, and nothing half-made is left."""
    registry = TinyDbRegistry(path)
    if name == "repair":
        registry.repair()
    registry.put("after", lambda old: replace(old or make_model("after"), task=(old.task if old else "") + "x"))
    assert "after" in [model.name for model in TinyDbRegistry(path).models()]
    assert registry.problem() is None
    assert not list(path.parent.rglob(f"{fs.TEMP_PREFIX}*"))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("error", FAULTS, ids=lambda error: errno.errorcode.get(error, error))
def test_a_fault_at_any_call_leaves_the_old_or_the_new_registry(homes, monkeypatch, name, error):
    seen = set()

    def attempt(faulty):
        path, before, after = homes(name)
        registry = TinyDbRegistry(path, lock_timeout_s=0.5)
        faulty.is_armed = True
        try:
            OPERATIONS[name].act(registry)
            is_acknowledged = True
        except StoreError as caught:
            check_says_why(caught, path)
            is_acknowledged = False
        faulty.is_armed = False
        now = contents(path)
        assert now == contents_of(registry)
        assert now == after if is_acknowledged else now in (before, after)
        seen.add(is_acknowledged)
        check_home(path, name)

    calls = every_call(monkeypatch, MODULES, attempt, error, capacity=40)
    assert calls >= (OPERATIONS[name].calls if error != "short" else 3)
    assert seen == {True, False}


def contents_of(registry):
    return [(model.name, model.task, model.rev) for model in registry.models()], [e.name for e in registry.trash()]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: errno.errorcode.get(error, error))
def test_tinydbs_own_storage_loses_everything_in_the_same_loop(tmp_path, monkeypatch, error):
    paths = iter(tmp_path / f"home{number}" / "db.json" for number in range(1000))
    found = []

    def attempt(faulty):
        path = next(paths)
        prepare_stock(path)
        faulty.is_armed = True
        with contextlib.suppress(OSError):
            act_on_stock(path, faulty)
        faulty.is_armed = False
        found.append(stock_contents(path))

    every_call(monkeypatch, [], attempt, error, capacity=60)
    assert None in found  # for one call at least the file cannot be read any more


@pytest.fixture(scope="module")
def nursery():
    with Nursery("storage_operations") as nursery:
        yield nursery


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_kill_before_any_call_leaves_the_old_or_the_new_registry(homes, nursery, name):
    for fail_at in range(1, 400):
        path, before, after = homes(name)
        lines = nursery.start("storage_operations:die_at", name, str(path), fail_at).lines()
        now = contents(path)
        assert now == after if lines else now in (before, after)
        check_home(path, name)
        if lines:
            break
    assert lines == ["done"]
    assert fail_at > OPERATIONS[name].calls


def test_tinydbs_own_storage_loses_everything_to_the_same_kills(tmp_path, nursery):
    found = []
    for fail_at in range(1, 400):
        path = tmp_path / f"home{fail_at}" / "db.json"
        prepare_stock(path)
        lines = nursery.start("storage_operations:stock_dies_at", str(path), fail_at).lines()
        found.append(stock_contents(path))
        if lines:
            break
    assert found[-1] == [("a", "new"), ("b", "two")]
    assert None in found


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_fault_at_any_call_of_reading_gives_an_error_or_what_is_there(homes, monkeypatch, error):
    path, before, _after = homes("put")

    def attempt(faulty):
        registry = TinyDbRegistry(path)
        for read in (registry.heads, registry.models, registry.trash, registry.blobs, registry.problem):
            faulty.is_armed = True
            with contextlib.suppress(StoreError):
                read()
            faulty.is_armed = False
        assert contents_of(registry) == before
        assert registry.problem() is None

    assert every_call(monkeypatch, MODULES, attempt, error) >= 8


def test_short_writes_are_continued(tmp_path, monkeypatch):
    path = tmp_path / "file"
    break_os(monkeypatch, [fs], fail_at=1, error="short", capacity=10_000)
    fs.write_atomic(path, b"x" * 5000)
    assert path.read_bytes() == b"x" * 5000


def test_content_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    faulty = break_os(monkeypatch, [fs])
    fs.write_atomic(tmp_path / "file", b"new")
    assert faulty.calls == ["open", "write", "fstat", "fsync", "replace", "open", "fsync"]


@pytest.mark.parametrize("name", ["generation", "migration", "repair"])
def test_what_was_is_durable_before_it_is_replaced(homes, monkeypatch, name):
    path, _before, _after = homes(name)
    registry = TinyDbRegistry(path)
    registry.problem()
    faulty = break_os(monkeypatch, MODULES)
    OPERATIONS[name].act(registry)
    calls = [call for call in faulty.calls if call in {"link", "fsync", "replace"}]
    # Syncs of the link's folder (which a migration makes first), of the file, and of its folder.
    assert calls[-5:] == ["link", "fsync", "fsync", "replace", "fsync"]


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
