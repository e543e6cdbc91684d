"""Every operation that writes the registry, on a home prepared for it, for loops that break or kill each of its calls."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import _unix as filelock_module
from storage_faults import FaultyOs
from storage_samples import make_model
from tinydb import TinyDB, where
from tinydb import storages as stock_module

from quickserveml_tui.core.models import TrashEntry, TrashKind
from quickserveml_tui.storage import fs, registry, registry_generations, registry_reader
from quickserveml_tui.storage.registry import TinyDbRegistry

MODULES = [fs, registry, registry_generations, registry_reader, filelock_module]
SCHEMA_1 = Path(__file__).parent / "data" / "registry-schema1.json"
DAY_NS = 86_400 * 10**9


def contents(path):
    """What a fresh store shows: names, tasks and revs of models, names in the trash."""
    store = TinyDbRegistry(path)
    return [(model.name, model.task, model.rev) for model in store.models()], [entry.name for entry in store.trash()]


def _two_models(path):
    store = TinyDbRegistry(path)
    store.edit(lambda edit: [edit.put(make_model(name, task="long " * 40)) for name in ("a", "b")])
    store.put("b", lambda old: replace(old, task="two"))


def _written_yesterday(path):
    _two_models(path)
    folder = path.with_name("backups")
    for day in range(1, 10):
        shutil.copyfile(path, folder / f"registry-2020010{day}T000000000Z.json")
    yesterday = time.time_ns() - DAY_NS
    os.utime(path, ns=(yesterday, yesterday))


def _of_schema_1(path):
    path.parent.mkdir(mode=0o700)
    shutil.copyfile(SCHEMA_1, path)


def _damaged(path):
    _two_models(path)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b'"name":"b"') + 100])


def _put(store):
    store.put("a", lambda old: replace(old or make_model("a", id="model-a"), task="new"))


def _edit(store):
    def work(edit):
        old = edit.find("a")
        edit.put_trash(TrashEntry("trash-1", TrashKind.MODEL, old.id, old.name, "2026-01-01T00:00:00.000Z", model=old))
        edit.remove(old.id)
        edit.put(replace(edit.find("b"), name="a"))
        edit.put(make_model("c"))

    store.edit(work)


def _migrate(store):
    store.put("digits", lambda old: replace(old, task="new"))


@dataclass(frozen=True)
class Operation:
    """How a home is made ready, and what is then done to it."""

    prepare: object
    act: object
    calls: int
    """How many file operations it has at least."""


OPERATIONS = {
    "put": Operation(_two_models, _put, 12),
    "edit": Operation(_two_models, _edit, 12),
    "first write": Operation(lambda _path: None, _put, 12),
    "generation": Operation(_written_yesterday, _put, 20),
    "migration": Operation(_of_schema_1, _migrate, 18),
    "repair": Operation(_damaged, TinyDbRegistry.repair, 18),
}


def die_at(say, name, path, fail_at):
    """Do an operation in this process, which dies before its call number `fail_at`."""
    faulty = FaultyOs(fail_at=fail_at, error="kill")
    store = TinyDbRegistry(Path(path))
    for module in MODULES:
        module.os = faulty
    OPERATIONS[name].act(store)
    faulty.is_armed = False
    say("done")


# ---- the same for TinyDB's own storage


class FaultyFile(io.RawIOBase):
    """An unbuffered file all of whose calls go through a `FaultyOs`."""

    def __init__(self, path, faulty):
        super().__init__()
        self._os = faulty
        self._descriptor = os.open(path, os.O_RDWR)

    def readable(self):
        return True

    def writable(self):
        return True

    def seekable(self):
        return True

    def fileno(self):
        return self._descriptor

    def readinto(self, buffer):
        data = self._os.read(self._descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data):
        return self._os.write(self._descriptor, bytes(data))

    def seek(self, offset, whence=0):
        return os.lseek(self._descriptor, offset, whence)

    def truncate(self, size=None):
        self._os.ftruncate(self._descriptor, os.lseek(self._descriptor, 0, os.SEEK_CUR) if size is None else size)
        return size

    def give_up(self):
        """Close the descriptor as the death of the process does: nothing more is written."""
        os.close(self._descriptor)
        self._descriptor = os.open(os.devnull, os.O_RDWR)


def prepare_stock(path):
    """A database of TinyDB's own, with two documents."""
    path.parent.mkdir(exist_ok=True)
    with TinyDB(path) as db:
        db.insert_multiple([{"name": "a", "task": "long " * 40}, {"name": "b", "task": "two"}])


def act_on_stock(path, faulty):
    """Change one document with TinyDB's own storage; raises `OSError` where a call breaks."""
    file = None

    def open_faulty(name, mode, encoding=None):
        nonlocal file
        file = FaultyFile(name, faulty)
        return io.TextIOWrapper(io.BufferedRandom(file), encoding=encoding)

    real = os
    stock_module.open = open_faulty
    stock_module.os = faulty
    try:
        db = TinyDB(path)
        db.update({"task": "new"}, where("name") == "a")
    finally:
        if file is not None:
            file.give_up()
        stock_module.os = real
        del stock_module.open


def stock_contents(path):
    """Names and tasks; None when the file cannot be read any more."""
    try:
        with TinyDB(path) as db:
            return [(document["name"], document["task"]) for document in db.all()]
    except json.JSONDecodeError:
        return None


def stock_dies_at(say, path, fail_at):
    """Change a document with TinyDB's own storage in this process, which dies before its call number `fail_at`."""
    act_on_stock(Path(path), FaultyOs(fail_at=fail_at, error="kill"))
    say("done")
