"""Any number of processes may write at once, and be killed, without an acknowledged write being lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from storage_samples import make_model

from quickserveml_tui.storage import fs
from quickserveml_tui.storage.registry import TinyDbRegistry

WRITER = """
import os, sys
from dataclasses import replace
from pathlib import Path
from quickserveml_tui.core.models import ModelRecord
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.artifacts import BlobArtifactStore
path, worker, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
registry = TinyDbRegistry(path, lock_timeout_s=60)
store = BlobArtifactStore(path.parent / "blobs", path.parent / "cache")
os.write(1, b"ready\\n")
sys.stdin.readline()
for number in range(count):
    name = f"{worker}-{number}"
    digest = store.put_bytes(name.encode() * 1000)
    registry.put(name, lambda old: ModelRecord(f"model-{name}", name, "t", "t", metadata={"blob": digest}))
    os.write(1, f"{name}\\n".encode())
    shared = registry.put("shared", lambda old: replace(old, task=f"{int(old.task) + 1}"))
    os.write(1, f"shared {shared.task}\\n".encode())
"""


def start_writer(path, worker, count):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), worker, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "home" / "registry.json"
    TinyDbRegistry(path).put("shared", lambda _old: make_model("shared", task="0"))
    return path


def check(path, acknowledged):
    """All acknowledged writes are there, each counted once, and every blob that a model names is whole."""
    registry = TinyDbRegistry(path)
    names = {model.name for model in registry.models()}
    written = {line for line in acknowledged if not line.startswith("shared ")}
    counts = [int(line.split()[1]) for line in acknowledged if line.startswith("shared ")]
    assert written <= names
    assert len(set(counts)) == len(counts)
    assert max(counts, default=0) <= int(registry.find("shared").task)
    from quickserveml_tui.storage.artifacts import BlobArtifactStore

    store = BlobArtifactStore(path.parent / "blobs", path.parent / "cache")
    for model in registry.models():
        if model.name != "shared":
            assert store.read_bytes(model.metadata["blob"]) == model.name.encode() * 1000
    return registry


def test_processes_that_write_at_once_lose_nothing(path):
    writers = [start_writer(path, f"w{number}", 15) for number in range(3)]
    for writer in writers:
        go(writer)
    acknowledged = [line for writer in writers for line in writer.communicate(timeout=60)[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    registry = check(path, acknowledged)
    assert len(registry.models()) == 3 * 15 + 1
    assert registry.find("shared").task == "45"
    assert registry.find("shared").rev == 46


def kill_rounds(path, rounds, seed):
    chance = random.Random(seed)
    acknowledged = []
    for number in range(rounds):
        writer = start_writer(path, f"k{number}", 100_000)
        go(writer)
        lines = [writer.stdout.readline().strip() for _ in range(chance.randint(1, 20))]
        writer.kill()
        acknowledged += lines + [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.stdin.close()
        writer.stdout.close()
        writer.wait(60)
        registry = check(path, acknowledged)
        # At most the write under way is there without having been acknowledged.
        assert len(registry.models()) - 1 <= len([line for line in acknowledged if "shared" not in line]) + number + 1
        registry.put("after", lambda old: old or make_model("after", metadata={"blob": ""}))
        registry.put("after", lambda _old: None)
        assert not list(path.parent.glob(f"{fs.TEMP_PREFIX}*"))


def test_a_killed_writer_loses_no_acknowledged_write(path):
    kill_rounds(path, rounds=4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(40))
def test_a_thousand_killed_writers_lose_no_acknowledged_write(path, seed):
    kill_rounds(path, rounds=25, seed=seed)
