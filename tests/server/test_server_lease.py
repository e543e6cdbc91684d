"""What is served is not collected: the server holds a lease that names its files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from server_process import DEADLINE_S, ENVIRONMENT

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.services.home import open_workbench

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture
def home(model_paths, tmp_path):
    workbench = open_workbench(tmp_path / "home")
    workbench.catalog.add(AddRequest(str(model_paths["tiny"]), name="tiny"))
    workbench.close()
    return tmp_path / "home"


def served(home, **environment):
    """A server of the model, once it takes requests."""
    process = subprocess.Popen(
        [sys.executable, "-m", "quickserveml_tui", "serve", "tiny", "--port", "0", "--home", str(home), "--json"],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT | environment,
    )
    assert json.loads(process.stdout.readline())["url"]
    return process


def end(process):
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    return process.returncode


def test_the_files_of_a_served_model_are_held_and_collection_leaves_them(home):
    workbench = open_workbench(home)
    version = workbench.catalog.resolve("tiny").version
    process = served(home)
    try:
        (lease,) = workbench.state.leases()
        assert lease.note == "serve"
        assert version.blobs <= set(lease.digests)
        workbench.registry.put("tiny", lambda _old: None)
        workbench.maintenance.collect(grace_s=0.0)
        assert all(workbench.artifacts.has(digest) for digest in version.blobs)
        assert end(process) == 0
    finally:
        process.kill()
        process.communicate()
    assert workbench.state.leases() == ()
    workbench.maintenance.collect(grace_s=0.0)
    assert not any(workbench.artifacts.has(digest) for digest in version.blobs)
    workbench.close()


def test_a_home_for_reading_is_served_without_a_lease(home):
    before = {path: path.stat().st_mtime_ns for path in [home, *home.glob("*.*")]}
    process = served(home, QSML_READ_ONLY="1")
    try:
        workbench = open_workbench(home)
        assert workbench.state.leases() == ()
        workbench.close()
        assert end(process) == 0
    finally:
        process.kill()
        process.communicate()
    assert {path: path.stat().st_mtime_ns for path in [home, *home.glob("*.*")]} == before
