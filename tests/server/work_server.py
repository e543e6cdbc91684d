"""An application with a home under a plain uvicorn in a thread: for routes that need neither workers nor the hot path."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from pathlib import Path

import httpx
import uvicorn
from server_models import save, tiny

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.monitoring import WorkerSnapshot
from quickserveml_tui.core.serving import ServedEntry, ServedState, ServedStatus
from quickserveml_tui.server.access import OpenGatekeeper
from quickserveml_tui.server.app import create_app
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_stats import Counters

DEADLINE_S = 30


class OneProcess:
    """`Control` of a server that is one process."""

    revision = 7

    def __init__(self, serving):
        self._serving = serving

    async def load(self, name, versions=()):
        """Everything that is there is served already."""
        for version in versions or ("",):
            self._serving.find(name, version)

    async def unload(self, name, version=""):
        """Nothing is served less: other tests want it."""
        self._serving.find(name, version)

    def statuses(self):
        return tuple(ServedStatus(item.name, item.version, ServedState.READY) for item in self._serving.models)

    def crashes(self):
        return ()

    def workers(self):
        return (WorkerSnapshot(0, restarts=2), WorkerSnapshot(1, restarts=0))


class _Uvicorn(uvicorn.Server):
    def __init__(self, config, engine, ready):
        super().__init__(config)
        self._engine, self._ready = engine, ready

    async def startup(self, sockets=None):
        self._engine.start(asyncio.get_running_loop())
        await super().startup(sockets)
        self._ready.set()


class WorkServer:
    """Serves `tiny@1` of a home; `home` may be None: then a file."""

    def __init__(self, folder: Path, *, gatekeeper=None, with_home=True, **options):
        model = folder / "tiny.onnx"
        save(tiny(), model)
        self.home = folder / "home"
        self.workbench = open_workbench(self.home)
        if with_home:
            self.workbench.catalog.add(AddRequest(str(model), name="tiny"))
        resolved = self.workbench.catalog.resolve("tiny@1" if with_home else str(model))
        self.options = ServeOptions(port=0, **options)
        entry = ServedEntry(
            "tiny",
            "1",
            str(resolved.path),
            resolved.digest,
            slot=3,
            ref="tiny@1",
            registered=resolved.model is not None,
        )
        self.counters = [Counters.create(), Counters.create()]
        self.serving = ServingService(lambda chosen: self.counters[0].model(chosen.slot))
        self.serving.publish([self.serving.load(entry)])
        self.engine = Engine(self.serving, self.options)
        self.context = ServerContext(
            options=self.options,
            serving=self.serving,
            control=OneProcess(self.serving),
            gatekeeper=gatekeeper or OpenGatekeeper(),
            counters=self.counters,
            worker=0,
            started_at=time.time(),
            workbench=self.workbench if with_home else None,
        )
        self.app = create_app(self.engine, self.context)

    def start(self):
        """Listen."""
        ready = threading.Event()
        config = uvicorn.Config(self.app, port=0, loop="asyncio", lifespan="off", log_config=None, access_log=False)
        self._server = _Uvicorn(config, self.engine, ready)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        assert ready.wait(DEADLINE_S)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=DEADLINE_S)

    def get(self, path, **more):
        return self.client.get(f"/api/v1{path}", **more)

    def post(self, path, **more):
        return self.client.post(f"/api/v1{path}", **more)

    def delete(self, path, **more):
        return self.client.delete(f"/api/v1{path}", **more)

    def ended(self, job_id):
        """The document of a job once it has ended: by its events, not by the clock."""
        with self.client.stream("GET", f"/api/v1/jobs/{job_id}/events") as stream:
            for _ in stream.iter_lines():
                pass
        return self.get(f"/jobs/{job_id}").json()

    def close(self):
        self.client.close()
        self.serving.draining = True
        self._server.should_exit = True
        self._thread.join(DEADLINE_S)
        self.engine.stop()
        for record in self.workbench.jobs.list():
            if record.live:
                self.workbench.jobs.cancel(record.id)
        self.workbench.close()


@contextlib.contextmanager
def work_server(folder, **options):
    server = WorkServer(folder, **options)
    server.start()
    try:
        yield server
    finally:
        server.close()


def described(folder):
    """The OpenAPI document of a server that need not listen for it."""
    server = WorkServer(folder)
    try:
        return server.app.openapi()
    finally:
        server.workbench.close()
