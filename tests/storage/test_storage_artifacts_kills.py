"""A process that dies at any file operation of the artifact store leaves the old or the new state."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from artifact_homes import Home, make_sources
from storage_kills import Nursery
from storage_memory import memory_folder

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage.artifacts import BlobArtifactStore

OPERATIONS = ["add", "put_bytes", "put_file", "put_together", "collect"]


@pytest.fixture(scope="module")
def nursery():
    with Nursery("artifact_homes", "msgspec") as nursery:
        yield nursery


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_at_any_call_leaves_the_old_or_the_new_state(nursery, tmp_path, operation):
    with memory_folder(tmp_path) as folder:
        sources = make_sources(folder / "sources")
        for call in range(1, 400):
            home = Home(folder / f"home{call}", sources)
            if operation == "collect":
                home.make_garbage()
            said = nursery.start("artifact_homes:die_at", str(home.root.parent), str(sources), operation, call).lines()
            home.check()
            if said == ["done"]:
                break
        assert said == ["done"]
        assert call > 8


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB of its own; None where mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(place)]
    if not mount or not umount or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run([umount, str(place)], check=True)


def test_a_full_disk_keeps_what_was_there_and_takes_the_next_blob_once_there_is_room(small_disk, tmp_path):
    if small_disk is None:  # the same with injected faults, for every call: test_storage_artifacts_faults.py
        return
    sources = make_sources(tmp_path / "sources")
    home = Home(small_disk / "home", sources)
    (sources / "weights.bin").write_bytes(b"w" * 60_000)
    kept = []

    def fill():
        for number in range(100):
            kept.append(home.store.put_bytes(b"%03d" % number + b"x" * 10_000))

    too_much = [
        home.add,
        lambda: home.store.put_file(sources / "weights.bin"),
        lambda: home.store.put_bytes(bytes(9000)),
    ]
    for work in (fill, *too_much):
        with pytest.raises(StoreError) as caught:
            work()
        assert caught.value.code == "store.full"
    assert {digest: home.store.check(digest) for digest in kept} == dict.fromkeys(kept, "")
    fresh = BlobArtifactStore(home.root, home.cache, wait_s=0.0)
    assert {blob.digest for blob in fresh.blobs()} == {home.kept, *kept}
    report = fresh.collect(lambda: frozenset({home.kept, *kept[8:]}), grace_s=0.0, cache_budget_bytes=0)
    assert report.blobs == 8
    assert fresh.verify(home.add()) == ()
