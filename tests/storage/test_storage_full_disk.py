"""A disk that is full: every store keeps what it had, says so, and works again once there is space."""

from __future__ import annotations

import pytest
from storage_small_disk import mount_prefix, run_on_small_disk

SCRIPT = "import sys, storage_full_disk as tests; getattr(tests, sys.argv[3])(print, sys.argv[1], sys.argv[2])"


@pytest.mark.parametrize("store", ["registry", "artifacts", "staging", "database", "migration"])
def test_a_full_disk_leaves_the_old_state_and_space_brings_the_store_back(tmp_path, store):
    disk = tmp_path / "disk"
    disk.mkdir()
    lines = run_on_small_disk(disk, SCRIPT, store)
    assert [line for line in lines if line.startswith("broken")] == []
    (done,) = [line for line in lines if line.startswith("done")]
    assert int(done.split()[1]) >= 2, "the disk was never full"
    assert mount_prefix() is None or list(disk.iterdir()) == [], "the small disk was not a mount of its own"
