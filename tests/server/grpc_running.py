"""An engine with a gRPC server in a loop of its own, with keys; requests for its model."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import numpy as np
from access_homes import Clock, key_service, make_keys
from work_server import WorkServer

from quickserveml_tui.server.gatekeeper import KeyGatekeeper
from quickserveml_tui.server.grpc.server import GrpcServer
from quickserveml_tui.wire.grpc_messages import message

DEADLINE_S = 20


class Notes:
    def __init__(self):
        self.lines = []

    def note(self, *fields):
        self.lines.append(fields)


class Running:
    """An engine with a gRPC server in a loop of its own."""

    def __init__(self, folder, **options):
        (folder / "home").mkdir(parents=True)
        self.clock = Clock()
        self.keys = key_service(folder / "home", self.clock)
        self.texts = make_keys(self.keys, self.clock)
        self.server = WorkServer(folder, gatekeeper=KeyGatekeeper(self.keys, wall=self.clock), auth="keys", **options)
        self.notes = Notes()
        self.context = replace(self.server.context, access_log=self.notes)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = self.wait(self._start())

    async def _start(self):
        self.server.engine.start(self.loop)
        self.grpc = GrpcServer(self.server.engine, self.context)
        return await self.grpc.start("127.0.0.1", 0)

    def wait(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(DEADLINE_S)

    def close(self):
        self.wait(self.grpc.drain())
        self.loop.call_soon_threadsafe(self.server.engine.stop)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(DEADLINE_S)
        self.server.workbench.close()


def metadata(running, caller):
    return (("authorization", f"Bearer {running.texts[caller]}"),) if caller else ()


def infer_request(model="tiny", request_id="", *, typed=False):
    x = np.ones((1, 4), np.float32)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
    document = {"model_name": model, "id": request_id, "inputs": [tensor]}
    if typed:
        tensor["contents"] = {"fp32_contents": [1.0] * 4}
    else:
        document["raw_input_contents"] = [x.tobytes()]
    return message("ModelInferRequest", document)
