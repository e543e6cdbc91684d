"""Workers die alone: the others serve on, what is to blame is named, and the server comes back."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from live_server import live, loading
from onnx import TensorProto, helper, save
from server_models import model, tiny, value, weight
from server_process import RawConnection, eventually, infer_body, request

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.services.home import open_workbench

pytestmark = pytest.mark.xdist_group("server")
LONG = TensorProto.INT64


def dividing():
    """Ends its process by SIGFPE for −1 and the smallest integer: inputs that nobody makes up."""
    nodes = [helper.make_node("Div", ["low", "x"], ["y"])]
    return model(nodes, [value("x", (1,), LONG)], [value("y", (1,), LONG)], [weight("low", np.array([-(2**63)]))])


def division(divisor):
    return infer_body([[divisor]], datatype="INT64").replace(b"[1, 1]", b"[1]")


@pytest.fixture
def home(tmp_path):
    workbench = open_workbench(tmp_path / "home")
    for name, build in (("tiny", tiny), ("div", dividing)):
        save(build(), tmp_path / f"{name}.onnx")
    workbench.catalog.add(AddRequest(str(tmp_path / "tiny.onnx"), name="tiny"))
    workbench.catalog.add(AddRequest(str(tmp_path / "div.onnx"), name="div"))
    yield workbench
    workbench.close()


def test_a_killed_worker_is_replaced_and_the_others_lose_no_request(home, tmp_path):
    with live(home.home, tmp_path / "log", "tiny", "--workers", 2) as server:
        before = {worker.pid for worker in server.workers()}
        with loading(server, "/v2/models/tiny/infer", 8) as clients:
            for client in clients:
                client.progress()
            os.kill(min(before), signal.SIGKILL)
            eventually(lambda: len({item.pid for item in server.workers()} - {min(before)}) == 2, "a new worker")
            eventually(lambda: server.ask("/api/v1/server").json()["ready"], "all ready")
            for client in clients:
                if not client.wrong:
                    client.progress()
        lost = [client.wrong for client in clients if client.wrong]
        assert len(lost) < len(clients)  # connections of the other worker
        assert all(isinstance(problem, AssertionError | OSError) for wrong in lost for problem in wrong), lost
        assert server.end() == 0


def test_an_input_that_crashes_a_worker_is_counted_by_model_and_the_model_stays(home, tmp_path):
    with live(home.home, tmp_path / "log", "tiny", "div@1") as server:
        if ("div", "1") not in server.index() or server.index()["div", "1"]["state"] != "READY":
            pytest.fail((tmp_path / "log").read_text())
        with RawConnection(server.port) as connection:
            connection.send(request("/v2/models/div/infer", division(-1)))
            with pytest.raises((AssertionError, OSError)):
                connection.reply()
        found = eventually(lambda: server.metric("qsml_worker_crashes_total{"), "the count")
        assert any('model="div"' in line and 'signal="SIGFPE"' in line for line in found), found
        assert server.index()["div", "1"]["state"] == "READY"
        assert server.ask("/v2/models/div/infer", division(1), "POST").status == 200


def test_every_request_is_counted_at_once_over_all_workers(home, tmp_path):
    with live(home.home, tmp_path / "log", "tiny", "--workers", 2) as server:
        counted = lambda: sum(int(line.rpartition(" ")[2]) for line in server.metric("qsml_requests_total{"))  # noqa: E731
        before = counted()
        for _ in range(6):
            assert server.ask("/v2/models/tiny/infer", infer_body([[1, 2, 3, 4]]), "POST").status == 200
        assert counted() - before == 7  # and the question itself
        workers = server.ask("/api/v1/monitor").json()["workers"]
        assert sum(item["requests"] for item in workers) == counted() - 1


def test_an_isolated_model_takes_nobody_down_and_comes_back(home, tmp_path):
    with live(home.home, tmp_path / "log", "tiny", "div", "--isolate", "div") as server:
        (worker,) = server.workers()
        reply = server.ask("/v2/models/div/infer", division(-1), "POST")
        assert reply.status == 500
        assert b"SIGFPE" in reply.body
        assert server.ask("/v2/models/div/infer", division(2), "POST").status == 200
        assert [item.pid for item in server.workers()] == [worker.pid]


def test_workers_end_when_their_supervisor_is_killed(home, tmp_path):
    with live(home.home, tmp_path / "log", "tiny", "--workers", 2) as server:
        workers = server.workers()
        server.process.kill()
        eventually(lambda: not any(item.is_running() and item.status() != "zombie" for item in workers), "their end")


def test_a_version_that_ends_its_worker_while_it_is_loaded_is_quarantined_and_the_rest_serves(home, tmp_path):
    # −1 comes out of the 2 that calibration makes up, not out of the one value of the trial.
    nodes = [helper.make_node("Sub", ["x", "three"], ["d"]), helper.make_node("Div", ["low", "d"], ["y"])]
    weights = [weight("low", np.array([-(2**63)])), weight("three", np.array([3]))]
    save(model(nodes, [value("x", ("n",), LONG)], [value("y", ("n",), LONG)], weights), tmp_path / "trap.onnx")
    home.catalog.add(AddRequest(str(tmp_path / "trap.onnx"), name="trap"))
    with live(home.home, tmp_path / "log", "trap", "tiny") as server:
        assert server.said["models"] == ["tiny@1"]
        found = server.index()
        assert found["tiny", "1"]["state"] == "READY"
        assert found["trap", "1"]["state"] == "UNAVAILABLE"
        assert "SIGFPE" in found["trap", "1"]["reason"]
        eventually(lambda: home.catalog.show("trap").model.versions[0].trial.quarantined, "the record")
        assert server.end() == 0
