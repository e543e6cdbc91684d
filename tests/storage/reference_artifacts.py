"""The artifact store in memory: what every back end must behave like."""

from __future__ import annotations

import hashlib
import itertools
import stat
import time
from contextlib import contextmanager
from pathlib import Path

from quickserveml_tui.core.care import BlobInfo, CollectReport
from quickserveml_tui.core.errors import ModelError, StoreError
from quickserveml_tui.core.jobs import Progress, ignore_progress
from quickserveml_tui.core.models import ArtifactManifest, FileEntry, FileLink


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read_source(source):
    try:
        mode = source.lstat().st_mode
    except FileNotFoundError as error:
        raise ModelError("missing", code="model.missing") from error
    if not stat.S_ISREG(mode):
        raise ModelError("not a file", code="model.not_a_file")
    return source.read_bytes()


class MemoryStaging:
    """`Staging` that reads plainly."""

    def __init__(self, folder, store):
        self.folder = folder
        self._store = store
        self._files = {}
        self._links = {}

    def _check(self, name):
        if not name or name.startswith("/") or "\\" in name or "\0" in name or {"", ".", ".."} & set(name.split("/")):
            raise ModelError("unsafe", code="model.unsafe_path")
        if name in self._files:
            raise ModelError("twice", code="model.unsafe_path")

    def _read(self, source, phase, cancel, on_progress):
        data = read_source(source)
        if cancel is not None:
            cancel.raise_if_cancelled()
        on_progress(Progress(phase, len(data), len(data), "B"))
        return data

    def add(
        self, source, name, *, beneath=None, folder=None, descriptor=None, cancel=None, on_progress=ignore_progress
    ):
        self._check(name)
        if self._links:
            raise ModelError("mixed", code="model.misplaced")
        data = self._read(source, "copying", cancel, on_progress)
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self._files[name] = data
        return target

    def link(self, source, name, *, cancel=None, on_progress=ignore_progress):
        self._check(name)
        path = source.parent.resolve() / source.name
        model = next(iter(self._links.values()), None)
        if (self._files and model is None) or (model is not None and path != Path(model.path).parent / name):
            raise ModelError("misplaced", code="model.misplaced")
        self._files[name] = self._read(source, "hashing", cancel, on_progress)
        status = path.stat()
        self._links[name] = FileLink(str(path), status.st_mtime_ns, status.st_ino, status.st_dev)
        return path

    def commit(self):
        if not self._files:
            raise StoreError("empty", code="artifact.empty")
        for name, data in self._files.items():
            if name not in self._links:
                self._store.put_bytes(data)
        entries = [
            FileEntry(name, sha256(data), len(data), self._links.get(name)) for name, data in self._files.items()
        ]
        lines = sorted(f"{entry.digest} {entry.size_bytes} {entry.path}\n" for entry in entries)
        whole = sha256("".join(lines).encode())
        return ArtifactManifest(entries[0].digest if len(entries) == 1 else whole, tuple(entries))


class MemoryArtifacts:
    """`ArtifactStore` in a dict by digest for one thread; opened models are written out to a folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._count = itertools.count()
        self._publishing = 0
        self._guards = []
        self.contents = {}
        self.written_at = {}

    @contextmanager
    def stage(self):
        folder = self._folder / f"stage-{next(self._count)}"
        folder.mkdir(parents=True)
        yield MemoryStaging(folder, self)

    @contextmanager
    def publishing(self):
        self._publishing += 1
        try:
            yield
        finally:
            self._publishing -= 1

    @contextmanager
    def guard(self, purpose):
        if self._publishing:
            raise StoreError("publishing", code="store.locked")
        self._guards.append(purpose)
        try:
            yield
        finally:
            self._guards.pop()

    def open_path(self, manifest):
        if manifest.is_linked:
            for file in manifest.files:
                if not Path(file.link.path).exists():
                    raise StoreError("gone", code="artifact.missing")
                if self._is_wrong(file):
                    raise StoreError("changed", code="artifact.changed")
            return Path(manifest.files[0].link.path)
        folder = self._folder / f"open-{next(self._count)}"
        for file in manifest.files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read_bytes(file.digest))
        return folder / manifest.files[0].path

    def put_bytes(self, data):
        digest = sha256(data)
        self.contents[digest] = bytes(data)
        self.written_at[digest] = time.time()
        return digest

    def put_file(self, source, *, cancel=None):
        data = read_source(source)
        if cancel is not None:
            cancel.raise_if_cancelled()
        return self.put_bytes(data), len(data)

    def read_bytes(self, digest):
        if digest not in self.contents:
            raise StoreError("missing", code="artifact.missing")
        data = self.contents[digest]
        if sha256(data) != digest:
            raise StoreError("corrupt", code="artifact.corrupt")
        return data

    def blob_path(self, digest):
        if digest not in self.contents:
            raise StoreError("missing", code="artifact.missing")
        path = self._folder / f"blob-{next(self._count)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.contents[digest])
        return path

    def has(self, digest):
        return digest in self.contents

    def blobs(self):
        for digest, data in self.contents.items():
            yield BlobInfo(digest, len(data), self.written_at[digest])

    def check(self, digest, *, full=True, cancel=None):
        if digest not in self.contents:
            return "missing"
        return "damaged" if full and sha256(self.contents[digest]) != digest else ""

    def verify(self, manifest):
        return tuple(file.path for file in manifest.files if self._is_wrong(file))

    def _is_wrong(self, file):
        if file.link is None:
            return bool(self.check(file.digest))
        try:
            return sha256(read_source(Path(file.link.path))) != file.digest
        except ModelError:
            return True

    def collect(self, needed, *, grace_s, cache_budget_bytes, pinned=frozenset(), dry_run=False, cancel=None):
        if self._publishing or self._guards:
            raise StoreError("busy", code="store.locked")
        keep, oldest = needed(), time.time() - grace_s
        unneeded = [blob for blob in self.blobs() if blob.digest not in keep]
        gone = [blob for blob in unneeded if blob.modified_at <= oldest]
        kept = [blob for blob in self.blobs() if blob not in gone]
        if not dry_run:
            for blob in gone:
                del self.contents[blob.digest]
        return CollectReport(
            dry_run,
            blobs=len(gone),
            blob_bytes=sum(blob.size_bytes for blob in gone),
            young=len(unneeded) - len(gone),
            kept_blobs=len(kept),
            kept_bytes=sum(blob.size_bytes for blob in kept),
            digests=tuple(sorted(blob.digest for blob in gone)),
        )
