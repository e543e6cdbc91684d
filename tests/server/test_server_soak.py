"""A server under load keeps every promise while its model is swapped, its workers are killed and clients are slow."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from live_server import live
from onnx import helper, save
from server_models import model, value, weight
from server_process import eventually
from soak import Soak, infer_request

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.services.home import open_workbench

pytestmark = pytest.mark.xdist_group("soak")


@pytest.fixture
def home(tmp_path):
    workbench = open_workbench(tmp_path / "home")
    for number in (1, 2):
        path = tmp_path / f"v{number}.onnx"
        nodes = [helper.make_node("Mul", ["x", "f"], ["y"])]
        save(model(nodes, [value("x")], [value("y")], [weight("f", np.float32(number))]), path)
        workbench.catalog.add(AddRequest(str(path), name="m", alias="prod" if number == 1 else ""))
    yield workbench
    workbench.close()


def soak(home, tmp_path, *, growth_mb, **load):
    """The account of a run; what must hold for every run is asserted."""
    with live(home.home, tmp_path / "log", "m@prod", "--workers", 2, "--queue-limit", 4096) as server:
        run = Soak(
            server.port,
            server.process.pid,
            infer_request("m", [1, 2, 3, 4]),
            {b'"data":[1.0,2.0,3.0,4.0]': "1", b'"data":[2.0,4.0,6.0,8.0]': "2"},
            swap=lambda count: home.catalog.set_alias(f"m@{2 - count % 2}", "prod"),
            **load,
        )
        account = asyncio.run(run.run())
        eventually(lambda: len(server.workers()) == 2 and server.ask("/api/v1/server").json()["ready"], "all ready")
        restarts = [float(line.rsplit(" ", 1)[1]) for line in server.metric("qsml_worker_restarts_total")]
        assert sum(restarts) == account.kills
        assert server.end() == 0
    log = (tmp_path / "log").read_text()
    assert not account.lost, (account.lost[:5], log[-3000:])
    assert not account.undocumented, account.undocumented[:5]
    assert "Traceback" not in log, log
    assert set(account.by_answer) == {"1", "2"}
    assert account.swaps >= load["seconds"] / load["swap_every_s"] - 2
    assert account.kills
    settled = [memory for at, memory in account.memory_mb if at > load["seconds"] / 10]
    half = len(settled) // 2
    # The most of each half: right after a kill a worker is missing.
    assert max(settled[half:]) - max(settled[:half]) < growth_mb, account.memory_mb
    print(
        json.dumps(
            {
                "answered": account.answered,
                "refused": account.refused,
                "ended by kills": account.ended_by_kill,
                "swaps": account.swaps,
                "kills": account.kills,
                "slowest s": account.slowest_s,
                "memory MB": account.memory_mb[:: max(len(account.memory_mb) // 20, 1)],
            }
        )
    )
    return account


def test_a_minute_of_swaps_kills_and_slow_clients_loses_no_request_of_a_worker_that_lives(home, tmp_path):
    soak(
        home, tmp_path, growth_mb=15, connections=150, slow=10, seconds=60, pause_s=0.4, swap_every_s=5, kill_every_s=15
    )


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_ten_minutes_at_a_thousand_connections_lose_no_request_of_a_worker_that_lives(home, tmp_path):
    soak(home, tmp_path, growth_mb=30, connections=1000, slow=50, seconds=600, swap_every_s=5, kill_every_s=30)
