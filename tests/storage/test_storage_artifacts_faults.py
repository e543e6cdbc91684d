"""A fault at any file operation of the artifact store leaves the old or the new state, and the next call works."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from pathlib import Path

import pytest
from artifact_homes import BULK, KEPT, MODULES, Home, make_sources
from storage_faults import ERRORS, break_os, every_call
from storage_memory import memory_folder

from quickserveml_tui.core.errors import QuickServeError

faults = pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)


@pytest.fixture
def homes(tmp_path):
    with memory_folder(tmp_path) as folder:
        sources = make_sources(folder / "sources")
        yield (Home(folder / f"home{number}", sources) for number in range(10_000))


def break_everywhere(monkeypatch, homes, error, operation, *, prepare=lambda home: None, capacity=0):
    """Fail `operation(home)` at each of its calls on a home of its own; returns how many calls it makes."""
    outcomes, said = [], []

    def attempt(faulty):
        home = next(homes)
        prepared = prepare(home)
        faulty.is_armed = True
        try:
            result = operation(home) if prepared is None else operation(home, prepared)
        except QuickServeError as failure:  # and nothing else
            said.append(failure.message)
            result = None
        faulty.is_armed = False
        outcomes.append(result is not None)
        if result is not None:
            verify(home, result)
        home.check()

    def verify(home, result):
        if isinstance(result, str):
            assert home.store.check(result) == ""
        elif isinstance(result, Path):
            assert result.read_bytes() == b"model"
            assert (result.parent / "weights.bin").read_bytes() == BULK
        elif hasattr(result, "files"):
            assert home.store.verify(result) == ()

    calls = every_call(monkeypatch, MODULES, attempt, error, capacity=capacity)
    assert outcomes[-1], "without a fault it succeeds"
    assert all(message.endswith(".") and "/" not in message for message in said)
    return calls


@faults
def test_adding_a_model(monkeypatch, homes, error):
    assert break_everywhere(monkeypatch, homes, error, Home.add) >= 25


@faults
def test_linking_a_model(monkeypatch, homes, error):
    assert break_everywhere(monkeypatch, homes, error, Home.link) >= 15


@faults
def test_putting_bytes(monkeypatch, homes, error):
    put = break_everywhere(monkeypatch, homes, error, Home.put_bytes)
    assert put >= 8


@faults
def test_putting_a_file(monkeypatch, homes, error):
    put = break_everywhere(monkeypatch, homes, error, Home.put_file)
    assert put >= 10


@faults
def test_putting_a_model_together(monkeypatch, homes, error):
    opened = break_everywhere(
        monkeypatch, homes, error, lambda home, manifest: home.store.open_path(manifest), prepare=Home.add
    )
    assert opened >= 30


@faults
def test_collecting(monkeypatch, homes, error):
    assert break_everywhere(monkeypatch, homes, error, Home.collect, prepare=Home.make_garbage) >= 40


def test_a_disk_that_fills_up_at_any_byte_of_an_import(monkeypatch, homes):
    def add(home):
        return home.store.put_bytes(b"0123456789" * 3)

    for capacity in (0, 7, 29):
        break_everywhere(monkeypatch, homes, "short", add, capacity=capacity)


def test_short_writes_are_continued(monkeypatch, homes):
    home = next(homes)
    with monkeypatch.context() as patch:
        faulty = break_os(patch, MODULES, fail_at=1, error="short", capacity=100_000)
        manifest = home.add()
        assert faulty.calls.count("write") >= len(BULK)
    assert home.store.verify(manifest) == ()


def test_a_failed_fsync_is_reported_and_nothing_was_published(monkeypatch, homes):
    home = next(homes)
    with monkeypatch.context() as patch:
        faulty = break_os(patch, MODULES)
        plain = faulty.__getattr__("fsync")

        def fsync(descriptor):
            plain(descriptor)
            raise OSError(errno.EIO, "Input/output error")

        faulty.fsync = fsync
        with pytest.raises(QuickServeError, match="disk reported an error"):
            home.store.put_bytes(b"new")
        assert faulty.calls.count("fsync") == 1
        assert "replace" not in faulty.calls
    assert [blob.digest for blob in home.store.blobs()] == [home.kept]


def test_content_is_synced_before_it_is_named_and_its_folder_after(monkeypatch, homes):
    home = next(homes)
    for operation, syncs in ((lambda: home.store.put_bytes(KEPT), 1), (home.add, 2)):
        with monkeypatch.context() as patch:
            faulty = break_os(patch, MODULES)
            operation()
            calls = [name for name in faulty.calls if name in ("fsync", "replace")]
        first = calls.index("replace")
        assert calls[:first].count("fsync") >= syncs
        assert calls[first + 1] == "fsync"


class CopyingStore:
    """What one would write first: copies straight to their place under their digest."""

    def __init__(self, root):
        self._root = root

    def put_bytes(self, data):
        path = self._root / hashlib.sha256(data).hexdigest()
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view[:1000]) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def test_a_store_that_copies_in_place_fails_the_same_test(monkeypatch, tmp_path):
    damaged = []

    def attempt(faulty):
        store = CopyingStore(tmp_path)
        faulty.is_armed = True
        try:
            store.put_bytes(b"new" * 1000)
        except OSError:
            faulty.is_armed = False
            damaged.extend(
                path for path in tmp_path.iterdir() if hashlib.sha256(path.read_bytes()).hexdigest() != path.name
            )
        faulty.is_armed = False

    assert every_call(monkeypatch, [sys.modules[__name__]], attempt, errno.ENOSPC) >= 4
    assert len(damaged) >= 3
