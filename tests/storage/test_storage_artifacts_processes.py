"""Any number of processes may add and collect at once, and be killed: nothing that is named is ever missing."""

from __future__ import annotations

import random

import pytest
from artifact_writers import References
from storage_kills import Nursery
from storage_memory import memory_folder

from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifacts import BlobArtifactStore

MODULES = ("artifact_writers", "filelock", "numpy")


@pytest.fixture
def home(tmp_path):
    with memory_folder(tmp_path) as folder:
        home, chance = folder / "home", random.Random(5)
        (home / "sources").mkdir(parents=True)
        for number in range(24):
            (home / "sources" / f"{number:02}").write_bytes(chance.randbytes(chance.randint(1, 30_000)))
        yield home


def check(home, acknowledged):
    """Everything that was acknowledged is named and whole, and so is everything else that is named."""
    store, named = BlobArtifactStore(home / "blobs", home / "cache"), References(home).read()
    lines = [line.split() for line in acknowledged]
    dropped = {words[1] for words in lines if words[0] == "dropping"}
    for words in lines:
        if words[0] == "named" and words[1] not in dropped:
            assert named.get(words[1]) == words[2:]
    digests = {digest for digests in named.values() for digest in digests}
    assert {digest: store.check(digest) for digest in digests} == dict.fromkeys(digests, "")
    assert {blob.digest: store.check(blob.digest) for blob in store.blobs() if store.check(blob.digest)} == {}
    return len(digests)


def kill_rounds(home, rounds, seed):
    chance = random.Random(seed)
    acknowledged = []
    with Nursery(*MODULES) as nursery:
        for number in range(rounds):
            child = nursery.start("artifact_writers:work", str(home), f"r{number}", seed + number, 100_000, 24)
            for _ in range(chance.randint(1, 25)):
                acknowledged.append(child.readline())
            child.kill()
            acknowledged += child.lines()
            check(home, acknowledged)
    assert not [line for line in acknowledged if line.startswith("error")]
    store = BlobArtifactStore(home / "blobs", home / "cache", wait_s=0.0)
    store.collect(References(home).blobs, grace_s=0.0, cache_budget_bytes=None)
    check(home, acknowledged)
    assert {blob.digest for blob in store.blobs()} == References(home).blobs()
    return acknowledged


def test_a_killed_writer_loses_no_acknowledged_blob_in_a_hundred_rounds(home):
    acknowledged = kill_rounds(home, rounds=100, seed=1)
    assert len([line for line in acknowledged if line.startswith("named")]) > 100


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1000, 11_000, 1000))
def test_a_killed_writer_loses_no_acknowledged_blob_in_a_thousand_rounds(home, seed):
    kill_rounds(home, rounds=100, seed=seed)


def run_together(home, processes, steps, function="artifact_writers:work"):
    with Nursery(*MODULES) as nursery:
        children = [nursery.start(function, str(home), f"w{seed}", seed, steps, 6) for seed in range(processes)]
        return [child.lines() for child in children]


def test_processes_that_add_and_collect_at_once_never_miss_what_is_named(home):
    said = run_together(home, processes=8, steps=200)
    assert [lines[-1] for lines in said] == ["done"] * 8
    assert sum(line == "step" for lines in said for line in lines) == 8 * 200
    assert check(home, [line for lines in said for line in lines]) > 0
    store = BlobArtifactStore(home / "blobs", home / "cache")
    assert list((home / "blobs" / "staging").iterdir()) == []
    assert not list((home / "blobs").glob(f"{fs.TEMP_PREFIX}*"))
    store.collect(References(home).blobs, grace_s=0.0, cache_budget_bytes=None)
    assert {blob.digest for blob in store.blobs()} == References(home).blobs()
