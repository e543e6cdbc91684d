"""Adding, deleting and restoring while collection runs without any grace: no version ever lacks a file."""

from __future__ import annotations

import threading

import pytest
from catalog_builders import PoolDouble, RunnerDouble, save_linear

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

ROUNDS = 12


@pytest.fixture
def parts(tmp_path):
    registry = TinyDbRegistry(tmp_path / "registry.json")
    artifacts = BlobArtifactStore(tmp_path / "blobs", tmp_path / "cache")
    state = SqliteState(tmp_path / "state.db")
    yield CatalogService(registry, artifacts, state, PoolDouble(RunnerDouble())), registry, artifacts
    state.close()


def lost_files(registry, artifacts):
    versions = [version for model in registry.models() for version in model.versions]
    versions += [version for entry in registry.trash() for version in entry.versions]
    return [digest for version in versions for digest in version.blobs if not artifacts.has(digest)]


def test_no_version_ever_lacks_a_file(parts, tmp_path):
    catalog, registry, artifacts = parts
    done = threading.Event()
    problems = []

    def collect():
        while not done.is_set():
            try:
                artifacts.collect(registry.blobs, grace_s=0.0, cache_budget_bytes=0)
            except StoreError as error:
                problems.append(error)
            problems.extend(lost_files(registry, artifacts))

    def work(name):
        try:
            for number in range(ROUNDS):
                path = save_linear(tmp_path / name / f"{number % 3}.onnx", float(number % 3))
                catalog.add(AddRequest(str(path), name=name))
                if number % 2:
                    entry = catalog.delete(f"{name}@latest").entry
                    if number % 3:
                        catalog.restore(entry.id)
                    else:
                        catalog.purge([entry.id])
        except Exception as error:
            problems.append(error)

    collector = threading.Thread(target=collect)
    workers = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c")]
    for thread in (collector, *workers):
        thread.start()
    for thread in workers:
        thread.join(60)
    done.set()
    collector.join(30)
    assert problems == []
    assert lost_files(registry, artifacts) == []
    assert len(registry.models()) == 3
