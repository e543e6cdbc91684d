"""Small homes for backup tests, and work that a killed child does on them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from storage_faults import FaultyOs
from storage_samples import make_model, make_run, make_version

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.models import ArtifactManifest, FileEntry
from quickserveml_tui.services.backups import BackupService
from quickserveml_tui.storage import (
    artifact_files,
    artifacts,
    backup_folder,
    backup_places,
    fs,
    intent,
    registry,
    registry_transfer,
    set_aside,
    state_migrate,
    state_transfer,
)
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

MODULES = [
    fs, backup_folder, backup_places, intent, registry_transfer, state_transfer, set_aside, artifact_files, artifacts,
    registry, state_migrate,
]  # fmt: skip
"""Every module that makes file calls while a backup is made or restored."""


class Home:
    """The stores of a home and the backups of it; what is left of a restore is carried out first."""

    def __init__(self, path):
        self.path = Path(path)
        intent.finish_restore(self.path)
        self.registry = TinyDbRegistry(self.path / "registry.json")
        self.artifacts = BlobArtifactStore(self.path / "blobs", self.path / "cache")
        self.state = SqliteState(self.path / "state.db")
        self.backups = BackupService(self.path, self.registry, self.artifacts, self.state)

    def add(self, name, content=b""):
        """A model with one version and one benchmark with samples."""
        content = content or f"model {name}".encode()
        with self.artifacts.publishing():
            digest = self.artifacts.put_bytes(content)
            manifest = ArtifactManifest(digest, (FileEntry("model.onnx", digest, len(content)),))
            version = replace(make_version(1), artifact=manifest)
            model = make_model(name, versions=(version,), aliases={}, alias_history=(), next_version=2)
            self.registry.put(name, lambda _old: model)
            samples = self.artifacts.put_bytes(f"samples of {name}".encode())
            self.state.add_benchmark(make_run(model.id, 1, samples_digest=samples))
        return model

    def digest(self):
        """Digest of what it holds."""
        return self.backups.content_digest()

    def check_whole(self):
        """Everything that is named is there and is what it should be."""
        assert self.registry.problem() is None
        assert self.state.check() == ()
        needed = self.registry.blobs() | {run.samples_digest for run in self.state.benchmarks(limit=10_000)}
        for digest in needed:
            assert hashlib.sha256(self.artifacts.read_bytes(digest)).hexdigest() == digest


def back_up(say, home, folder, fail_at, keep):
    """Make a backup, and die at the k-th file call."""
    opened = Home(home)
    break_modules(fail_at)
    say(opened.backups.create(folder, keep=keep or None).id)


def restore(say, home, folder, fail_at, at):
    """Restore, and die at the k-th file call."""
    opened = Home(home)
    break_modules(fail_at)
    say(opened.backups.restore(folder, at=at).id)


def write_for_ever(say, home, start):
    """Register models, and say each that is acknowledged."""
    opened = Home(home)
    number = start
    while True:
        try:
            opened.add(f"m{number}")
            say(f"m{number}")
        except QuickServeError as error:
            if error.code not in ("store.locked", "restore.pending"):
                raise
        number += 1


def break_modules(fail_at):
    """Let this process die by SIGKILL before its k-th file call."""
    faulty = FaultyOs(fail_at=fail_at, error="kill")
    for module in MODULES:
        module.os = faulty
