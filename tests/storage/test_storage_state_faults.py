"""A fault at every file call of every operation leaves the old or the new state, and the next write works."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest
from storage_faults import every_call
from storage_kills import Nursery
from storage_sqlite import sqlite_vfs
from storage_state_operations import Bench, operate

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage import fs, state_copies, state_migrate, state_repair
from quickserveml_tui.storage.state import SqliteState

IN_DEPTH = ["create", "runs", "change", "acquire", "prune", "migrate", "daily"]
OTHERS = ["batch", "jobs", "progress", "remove", "renew", "release", "repair", "read"]
FAULTS = [(errno.EIO, False), (errno.ENOSPC, True)]
MORE_FAULTS = [(errno.EINTR, False), ("short", False), (errno.EIO, True)]
BROKEN = [(kind, *fault) for kind in IN_DEPTH for fault in FAULTS]
BROKEN += [(kind, *fault) for kind in ("create", "runs", "acquire") for fault in MORE_FAULTS]
OURS = [fs, state_copies, state_migrate, state_repair]
HAS_CALLS = sqlite_vfs() is not None


@pytest.fixture(scope="module")
def nursery():
    with Nursery("storage_state_operations") as nursery:
        yield nursery


@pytest.fixture
def folder():
    """A folder in memory where there is one: a fault needs no real disk, and thousands of fsyncs take long."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Path(name)


def run(nursery, function, *args):
    """What a child found broken, and how many faults it tried and how many of them were reported."""
    lines = nursery.start(f"storage_state_operations:{function}", *args).lines()
    tried, refused = next(line.split()[1:] for line in lines if line.startswith("tried"))
    return [line for line in lines if line.startswith("broken")], int(tried), int(refused)


@pytest.mark.parametrize(("kind", "error", "stays"), BROKEN)
def test_a_broken_file_call_within_sqlite_leaves_the_old_or_the_new_state(nursery, folder, kind, error, stays):
    broken, tried, refused = run(nursery, "break_every_call", str(folder), kind, error, stays)
    assert broken == []
    if HAS_CALLS:
        assert tried >= 8
        assert refused >= (0 if error == errno.EINTR else tried // 4)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_broken_disk_within_any_other_operation_does_too(nursery, folder, kind):
    broken, tried, _refused = run(nursery, "break_every_call", str(folder), kind, errno.EIO, False)
    assert broken == []
    assert tried >= 4


def test_the_faults_bite_a_database_without_a_journal(nursery, folder):
    broken, _tried, _refused = run(nursery, "break_every_call", str(folder), "runs", errno.ENOSPC, True, "OFF")
    assert broken or not HAS_CALLS  # a limit on file sizes, which stands in elsewhere, breaks no rollback


@pytest.mark.parametrize("kind", IN_DEPTH if HAS_CALLS else [])
def test_a_kill_at_any_file_call_within_sqlite_leaves_the_old_or_the_new_state(nursery, folder, kind):
    broken, tried, _ = run(nursery, "kill_at_every_call", str(folder), kind)
    assert broken == []
    assert tried >= 8


@pytest.mark.parametrize("kind", IN_DEPTH if HAS_CALLS else [])
def test_an_acknowledged_write_is_synced_with_its_folder(nursery, folder, kind):
    calls = [
        tuple(line.split(" ", 1)) for line in nursery.start("storage_state_operations:trace", str(folder), kind).lines()
    ]
    is_write = [name.startswith(("write", "pwrite")) for name, _ in calls]
    last = {
        path: number for number, (_name, path) in enumerate(calls) if is_write[number] and path.startswith("state.db")
    }
    assert set(last) == {"state.db", "state.db-journal"}
    for path, number in last.items():
        assert ("sync", path) in calls[number:]
    assert ("sync", "folder state.db-journal") in calls[last["state.db"] :]


def test_the_journal_is_synced_before_the_database_is_touched(nursery, folder):
    calls = nursery.start("storage_state_operations:trace", str(folder), "runs").lines() if HAS_CALLS else []
    touched = [number for number, call in enumerate(calls) if call.startswith("pwrite") and call.endswith(" state.db")]
    assert not HAS_CALLS or "sync state.db-journal" in calls[: touched[0]]


# ---- our own calls --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EINTR])
@pytest.mark.parametrize("kind", ["create", "migrate", "repair", "daily"])
def test_a_broken_call_of_ours_leaves_the_old_or_the_new_state(monkeypatch, folder, kind, error):
    bench = Bench(folder, kind)

    def attempt(faulty):
        bench.reset()
        is_acknowledged = False
        try:
            faulty.is_armed = True
            operate(bench.path, kind)
            is_acknowledged = True
        except StoreError:
            pass
        finally:
            faulty.is_armed = False
        assert bench.judge(is_acknowledged=is_acknowledged) == ""

    count = every_call(monkeypatch, OURS, attempt, error)
    assert count >= (2 if kind == "create" else 6)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_snapshot_that_fails_leaves_nothing(monkeypatch, folder, error):
    bench = Bench(folder, "runs")
    bench.reset()
    target = folder / "copies" / "copy.db"
    target.parent.mkdir()

    def attempt(faulty):
        bench.reset()
        target.unlink(missing_ok=True)
        try:
            faulty.is_armed = True
            SqliteState(bench.path).snapshot(target)
        except StoreError:
            pass
        finally:
            faulty.is_armed = False
        assert bench.judge(is_acknowledged=False) == ""
        left = {item.name for item in target.parent.iterdir()}
        assert left <= {"copy.db"} or faulty.calls[-1] == "unlink"
        if target.exists():
            assert SqliteState(target).check() == ()

    assert every_call(monkeypatch, OURS, attempt, error) >= 5
