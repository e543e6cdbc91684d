"""One server through what operators do to it: its start, SIGHUP, bad versions, a worker that fails, and its end."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest
from live_server import BODY, live
from onnx import helper, save
from server_models import model, value, weight
from server_process import DEADLINE_S, ENVIRONMENT, RawConnection, eventually, request

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.models import GoldenOutput
from quickserveml_tui.runtime.value_files import save_values
from quickserveml_tui.services.home import open_workbench

pytestmark = pytest.mark.xdist_group("server")


def add(home, name, factor, **more):
    """The next version of a model that multiplies by a factor."""
    nodes = [helper.make_node("Mul", ["x", "f"], ["y"])]
    path = home.home.parent / f"{name}-{factor}.onnx"
    save(model(nodes, [value("x")], [value("y")], [weight("f", np.float32(factor))]), path)
    home.catalog.add(AddRequest(str(path), name=name, **more))


def expect_golden(home, name, number, output):
    """Let a version have a golden output: this value for four ones."""
    with home.artifacts.publishing():
        values = {"x": np.ones((1, 4), np.float32)}, {"y": np.full((1, 4), output, np.float32)}
        golden = GoldenOutput("four ones", *(home.artifacts.put_bytes(save_values(item)) for item in values), utc_now())

        def change(record):
            versions = [replace(item, golden=(golden,)) if item.version == number else item for item in record.versions]
            return replace(record, versions=tuple(versions))

        home.registry.put(name, change)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    workbench = open_workbench(tmp_path_factory.mktemp("operations") / "home")
    add(workbench, "moved", 1, alias="prod")
    add(workbench, "moved", 2)
    add(workbench, "checked", 1)
    expect_golden(workbench, "checked", 1, 1)
    add(workbench, "uneven", 1)
    yield workbench
    workbench.close()


@pytest.fixture(scope="module")
def server(home):
    with live(home.home, home.home.parent / "log", "--all", "--no-follow", "--workers", 2) as running:
        yield running


def command(home, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "quickserveml_tui", "serve", *map(str, arguments), "--home", str(home.home), "--json"],
        capture_output=True, env=ENVIRONMENT, check=False, timeout=DEADLINE_S,
    )  # fmt: skip
    error = json.loads(done.stdout)["error"]  # exactly one document
    return done.returncode, error | {"stderr": done.stderr.decode()}


def test_all_serves_prod_of_every_model_else_the_newest(server):
    assert server.said["models"] == ["checked@1", "moved@1", "uneven@1"]


def test_a_taken_port_ends_the_command_with_one_error(server, home):
    code, error = command(home, "moved", "--port", server.port)
    assert (code, error["code"]) == (4, "serve.port_taken")
    assert f"Port {server.port} is taken" in error["message"]
    assert "--port" in error["hint"]


def test_a_worker_that_cannot_serve_ends_the_command_with_its_reason_alone(home):
    code, error = command(home, "moved", "--port", 0, "--access-log", home.home / "no folder" / "log")
    assert (code, error["code"]) == (2, "serve.access_log")
    assert "is gone" not in error["stderr"]
    assert error["stderr"].count("cannot serve") == 1


def test_golden_outputs_that_fail_keep_a_server_from_starting(home):
    add(home, "checked", 2)
    expect_golden(home, "checked", 2, 99)
    code, error = command(home, "checked@2", "--port", 0)
    assert (code, error["code"]) == (1, "golden.differs")
    assert "golden output four ones" in error["message"]
    assert "not served" in error["message"]


def test_sighup_takes_up_a_moved_alias_and_leaves_out_a_version_whose_golden_outputs_fail(server, home):
    assert server.index()["checked", "1"]["state"] == "READY"
    home.catalog.set_alias("moved@2", "prod")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: ("moved", "2") in server.index() and ("moved", "1") not in server.index(), "the swap")
    found = eventually(lambda: ("checked", "2") in (index := server.index()) and index, "the reason")
    assert found["checked", "1"]["state"] == "READY"
    assert found["checked", "2"]["state"] == "UNAVAILABLE"
    assert "golden output four ones" in found["checked", "2"]["reason"]
    assert server.ask("/v2/models/checked").json()["versions"] == ["1"]
    assert "Not served: checked version 2: " in server.log.read_text()
    reply = server.ask("/v2/repository/models/checked/versions/2/load", b"", "POST")
    assert reply.status >= 400
    assert "golden output four ones" in reply.json()["error"]
    assert server.index()["checked", "1"]["state"] == "READY"


@contextlib.contextmanager
def without_files(process):
    """A process that can open nothing more."""
    before = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, before)


def each_worker(server, ask):
    """What each worker answers while the others are stopped."""
    found = []
    for worker in server.workers():
        others = [item for item in server.workers() if item.pid != worker.pid]
        for other in others:
            other.suspend()
        try:
            found.append(ask())
        finally:
            for other in others:
                other.resume()
    return found


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_NOFILE"), reason="needs limits of other processes")
def test_a_version_that_one_worker_cannot_load_changes_nothing_in_any(server, home):
    add(home, "uneven", 2)
    revision = server.ask("/api/v1/server").json()["revision"]
    pids = {worker.pid for worker in server.workers()}
    with RawConnection(server.port) as connection:
        connection.send(request("/v2/health/live", method="GET"))
        assert connection.reply().status == 200
        with without_files(server.workers()[1]):
            connection.send(request("/v2/repository/models/uneven/versions/2/load"))
            reply = connection.reply()
    assert reply.status == 503, reply.body
    assert "uneven version 2 cannot be loaded by worker" in reply.json()["error"]

    def state():
        return server.ask("/api/v1/server").json()["revision"], server.ask("/v2/models/uneven").json()["versions"]

    assert each_worker(server, state) == [(revision, ["1"])] * 2
    assert {worker.pid for worker in server.workers()} == pids
    reply = server.ask("/v2/repository/models/uneven/versions/2/load", b"", "POST")
    assert reply.status == 200, reply.body
    ((first, versions), second) = each_worker(server, state)
    assert (first, versions) == second
    assert first > revision
    assert "2" in versions


def test_a_second_sigint_ends_a_server_at_once_with_the_code_of_an_interruption(server):
    half = RawConnection(server.port)
    half.send(request("/v2/models/moved/infer", BODY)[:-5])
    server.ask("/v2/health/live")
    server.process.send_signal(signal.SIGINT)
    eventually(lambda: "Told to end" in server.log.read_text(), "the drain")
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(DEADLINE_S / 2) == 130  # the drain would have waited for the request for longer
    assert "Told to end at once" in server.log.read_text()
    assert half.closed()
    half.socket.close()
