"""The artifact store in memory: what every back end must behave like."""

from __future__ import annotations

import hashlib
import itertools
import stat
from contextlib import contextmanager
from pathlib import Path

from quickserveml_tui.core.errors import ModelError, StoreError
from quickserveml_tui.core.jobs import Progress, ignore_progress
from quickserveml_tui.core.models import ArtifactManifest, FileEntry


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
