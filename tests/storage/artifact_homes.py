"""A home on which one operation of the artifact store may fail, or be killed, at any of its calls."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from storage_faults import FaultyOs

from quickserveml_tui.storage import (
    artifact_cache,
    artifact_collect,
    artifact_files,
    artifact_links,
    artifact_locks,
    artifact_staging,
    artifacts,
    fs,
)
from quickserveml_tui.storage.artifacts import BlobArtifactStore

MODULES = [
    fs, artifacts, artifact_cache, artifact_collect, artifact_files, artifact_links, artifact_locks, artifact_staging,
]  # fmt: skip
KEPT = b"kept from before"
BULK = bytes(range(256)) * 20


def make_sources(folder):
    """A model with external data in a new folder."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"model")
    (folder / "weights.bin").write_bytes(BULK)
    return folder


class Home:
    """A store with a blob from before, and one operation that may fail."""

    def __init__(self, folder, sources, *, is_new=True):
        folder, sources = Path(folder), Path(sources)
        self.root, self.cache, self.sources = folder / "blobs", folder / "cache", sources
        self.store = BlobArtifactStore(self.root, self.cache, wait_s=0.0)
        self.kept = self.store.put_bytes(KEPT) if is_new else hashlib.sha256(KEPT).hexdigest()

    def add(self):
        with self.store.stage() as staging:
            staging.add(self.sources / "model.onnx", "model.onnx")
            staging.add(self.sources / "weights.bin", "weights.bin")
            with self.store.publishing():
                return staging.commit()

    def link(self):
        with self.store.stage() as staging:
            staging.link(self.sources / "model.onnx", "model.onnx")
            staging.link(self.sources / "weights.bin", "weights.bin")
            manifest = staging.commit()
        assert self.store.open_path(manifest) == self.sources / "model.onnx"
        return manifest

    def put_bytes(self):
        return self.store.put_bytes(b"new" * 1000)

    def put_file(self):
        return self.store.put_file(self.sources / "weights.bin")[0]

    def put_together(self):
        return self.store.open_path(self.add())

    def make_garbage(self):
        """Something for each step of a collection to take."""
        manifest = self.add()
        opened = self.store.open_path(manifest)
        for number in range(3):
            self.store.put_bytes(b"garbage %d" % number)
        upload = self.root / "staging" / "dead" / "files"
        upload.mkdir(parents=True)
        (upload / "half").write_bytes(b"half")
        (self.root / ".tmp-dead").write_bytes(b"half")
        for path in (opened.parent, upload.parent, self.root / ".tmp-dead"):
            os.utime(path, (time.time() - 100 * 3600,) * 2)

    def collect(self):
        return self.store.collect(lambda: frozenset({self.kept}), grace_s=0.0, cache_budget_bytes=0)

    def check(self):
        """Nothing is half there, nothing is locked, and all goes well from here."""
        assert self.store.read_bytes(self.kept) == KEPT
        assert {blob.digest: self.store.check(blob.digest) for blob in self.store.blobs()} == {
            blob.digest: "" for blob in self.store.blobs()
        }
        manifest = self.add()
        assert self.store.verify(manifest) == ()
        assert self.store.open_path(manifest).read_bytes() == b"model"
        for path in self.root.glob("staging/*"):
            os.utime(path, (time.time() - 100 * 3600,) * 2)
        for path in (*self.root.glob(f"{fs.TEMP_PREFIX}*"), *self.cache.glob(f"{fs.TEMP_PREFIX}*")):
            os.utime(path, (time.time() - 100 * 3600,) * 2)
        self.collect()
        assert [blob.digest for blob in self.store.blobs()] == [self.kept]
        assert list(self.root.glob("staging/*")) == []
        assert list(self.root.rglob(f"{fs.TEMP_PREFIX}*")) == []
        assert list(self.cache.glob(f"{fs.TEMP_PREFIX}*")) == []


def die_at(say, folder, sources, operation, call):
    """Do it in a child that is killed before its `call`-th file operation; says `done` when there are not as many."""
    home = Home(folder, sources, is_new=False)
    faulty = FaultyOs(fail_at=call, error="kill")
    for module in MODULES:
        module.os = faulty
    getattr(home, operation)()
    faulty.is_armed = False
    say("done")
