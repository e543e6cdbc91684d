"""A version is replaced while requests for it are still being read: none is lost, and the version goes afterwards."""

from __future__ import annotations

import asyncio
import gc
import weakref

import numpy as np
import pytest
from live_server import live
from onnx import helper, save
from server_models import model, value, weight
from server_process import RawConnection, eventually, infer_body, request

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.serving import ServedEntry
from quickserveml_tui.server.batcher import Batcher
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.slow import SlowLog
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.services.serving_stats import Counters, ModelStats

pytestmark = pytest.mark.xdist_group("server")

ROWS = 10_000
PATHS = {
    "hot": "/v2/models/m/infer",
    "hot version": "/v2/models/m/versions/1/infer",
    "cold": "/v2/models/m/infer?cold",
    "cold version": "/v2/models/m/versions/1/infer?cold",
}


def scaled(factor: float):
    nodes = [helper.make_node("Mul", ["x", "f"], ["y"])]
    return model(nodes, [value("x")], [value("y")], [weight("f", np.float32(factor))])


def test_requests_whose_bodies_come_during_a_swap_are_all_answered(tmp_path):
    workbench = open_workbench(tmp_path / "home")
    for number in (1, 2):
        save(scaled(number), tmp_path / f"v{number}.onnx")
        workbench.catalog.add(AddRequest(str(tmp_path / f"v{number}.onnx"), name="m", alias="prod" * (number == 1)))
    body = infer_body(np.ones((ROWS, 4)).tolist())
    with live(tmp_path / "home", tmp_path / "log", "m@prod") as server:
        connections = {name: RawConnection(server.port) for name in PATHS}
        left = {}
        for name, path in PATHS.items():
            sent = request(path, body)
            connections[name].send(sent[: len(sent) // 2])
            left[name] = sent[len(sent) // 2 :]
            # Its head was read once the same connection's bytes are no longer in the kernel: ask on another after it.
            assert server.ask("/v2/health/live").status == 200
        workbench.catalog.set_alias("m@2", "prod")
        eventually(lambda: ("m", "2") in server.index() and ("m", "1") not in server.index(), "the swap")
        answers = {}
        for name, connection in connections.items():
            with connection:
                connection.send(left[name])
                answers[name] = connection.reply()
        assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(PATHS, 200)
        for name, answer in answers.items():
            said = answer.json()
            version = int(said["model_version"])
            assert said["outputs"][0]["data"] == [float(version)] * (4 * ROWS)
            assert version == (1 if "version" in name else 2)
        for path in (PATHS["hot version"], PATHS["cold version"]):
            assert server.ask(path, infer_body([[1, 2, 3, 4]]), "POST").status == 404
        assert server.end() == 0
    workbench.close()


def test_a_version_that_goes_stays_until_what_is_being_read_for_it_is_there(model_paths):
    entry = ServedEntry(name="tiny", version="1", path=str(model_paths["tiny"]), digest="", slot=0, ref="tiny")
    served = ServedModel(entry, ModelStats())

    async def main():
        idle = []
        loop = asyncio.get_running_loop()
        batcher = Batcher(served, loop, ServeOptions(), SlowLog(Counters.create(None)), idle.append)
        batcher.expect()
        batcher.retire()
        for _ in range(3):
            await asyncio.sleep(0)
        batcher.tick()
        assert idle == []
        batcher.expected()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert idle == [batcher]

    asyncio.run(main())
    served.close()


def test_a_model_goes_when_it_is_let_go_of_without_help_of_the_collector(model_paths):
    entry = ServedEntry(name="tiny", version="1", path=str(model_paths["tiny"]), digest="", slot=0, ref="tiny")
    gc.disable()  # what exists when a worker begins to take requests is out of the collector's sight
    try:
        served = ServedModel(entry, ModelStats())
        model, session = weakref.ref(served), weakref.ref(served.session)
        served.close()
        del served
        assert model() is None
        assert session() is None
    finally:
        gc.enable()
