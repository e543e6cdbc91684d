"""The stores in memory: what every back end must behave like."""

from __future__ import annotations

import hashlib
import itertools
import stat
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, ModelError, StoreError
from quickserveml_tui.core.jobs import Progress, ignore_progress
from quickserveml_tui.core.models import ArtifactManifest, FileEntry


class MemoryRegistry:
    """`RegistryStore` in a dict by id."""

    def __init__(self):
        self._models = {}
        self._writes = 0

    def generation(self):
        return str(self._writes)

    def models(self):
        return tuple(sorted(self._models.values(), key=lambda model: model.name))

    def find(self, name):
        by_name = {model.name: model for model in self._models.values()}
        return by_name.get(name) or self._models.get(name)

    def put(self, name, change, *, expected_rev=None):
        old = self.find(name)
        if expected_rev is not None and (old is None or old.rev != expected_rev):
            raise ConflictError("changed", code="model.changed")
        new = change(old)
        if new is None:
            if old is not None:
                del self._models[old.id]
                self._writes += 1
            return None
        if old is not None and replace(new, rev=old.rev, updated_at=old.updated_at) == old:
            return old
        if any(model.name == new.name and model is not old for model in self._models.values()):
            raise ConflictError("taken", code="name.taken")
        record = replace(new, rev=old.rev + 1 if old else 1, updated_at=utc_now())
        if old is not None:
            del self._models[old.id]
        self._models[record.id] = record
        self._writes += 1
        return record


class MemoryStaging:
    """`Staging` that reads plainly."""

    def __init__(self, folder, blobs):
        self.folder = folder
        self._blobs = blobs
        self._files = {}

    def add(self, source, name, *, cancel=None, on_progress=ignore_progress):
        if not name or name.startswith("/") or "\\" in name or "\0" in name or {"", ".", ".."} & set(name.split("/")):
            raise ModelError("unsafe", code="model.unsafe_path")
        try:
            mode = source.lstat().st_mode
        except FileNotFoundError as error:
            raise ModelError("missing", code="model.missing") from error
        if not stat.S_ISREG(mode):
            raise ModelError("not a file", code="model.not_a_file")
        if cancel is not None:
            cancel.raise_if_cancelled()
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        data = source.read_bytes()
        target.write_bytes(data)
        self._files[name] = data
        on_progress(Progress("copying", len(data), len(data), "B"))
        return target

    def commit(self):
        entries = []
        for name, data in self._files.items():
            digest = hashlib.sha256(data).hexdigest()
            self._blobs[digest] = data
            entries.append(FileEntry(name, digest, len(data)))
        lines = sorted(f"{entry.digest} {entry.size_bytes} {entry.path}\n" for entry in entries)
        whole = hashlib.sha256("".join(lines).encode()).hexdigest()
        return ArtifactManifest(entries[0].digest if len(entries) == 1 else whole, tuple(entries))


class MemoryArtifacts:
    """`ArtifactStore` in a dict by digest; opened models are written out to a folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._count = itertools.count()
        self.blobs = {}

    @contextmanager
    def stage(self):
        folder = self._folder / f"stage-{next(self._count)}"
        folder.mkdir(parents=True)
        yield MemoryStaging(folder, self.blobs)

    def open_path(self, manifest):
        folder = self._folder / f"open-{next(self._count)}"
        for file in manifest.files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read_bytes(file.digest))
        return folder / manifest.files[0].path

    def put_bytes(self, data):
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def read_bytes(self, digest):
        if digest not in self.blobs:
            raise StoreError("missing", code="artifact.missing")
        data = self.blobs[digest]
        if hashlib.sha256(data).hexdigest() != digest:
            raise StoreError("corrupt", code="artifact.corrupt")
        return data

    def verify(self, manifest):
        return tuple(
            file.path
            for file in manifest.files
            if hashlib.sha256(self.blobs.get(file.digest, b"?")).hexdigest() != file.digest
        )


class MemoryState:
    """`StateStore` in dicts by id."""

    def __init__(self):
        self._runs = {}
        self._batches = {}
        self._writes = 0

    def generation(self):
        return str(self._writes)

    def add_benchmark(self, run):
        self._runs[run.id] = run
        self._writes += 1

    def benchmark(self, run_id):
        return self._runs.get(run_id)

    def benchmarks(self, model=None, version=None, limit=100):
        runs = [run for run in self._runs.values() if model in (None, run.model) and version in (None, run.version)]
        return tuple(self._newest_first(runs)[:limit])

    def newest_benchmarks(self):
        newest = {}
        for run in self._newest_first(self._runs.values()):
            if run.model and run.version is not None and not run.summary.cancelled:
                newest.setdefault(run.model, {}).setdefault(run.version, run)
        return newest

    def add_batch(self, result):
        self._batches[result.id] = result
        self._writes += 1

    def batches(self, limit=100):
        return tuple(self._newest_first(self._batches.values())[:limit])

    @staticmethod
    def _newest_first(items):
        return sorted(items, key=lambda item: item.created_at)[::-1]
