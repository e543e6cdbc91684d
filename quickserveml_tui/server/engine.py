"""What all connections of a worker share."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from quickserveml_tui.core.errors import NotFoundError, QuickServeError
from quickserveml_tui.server.access import OpenGatekeeper
from quickserveml_tui.server.answers import json_prefix
from quickserveml_tui.server.batcher import Batcher
from quickserveml_tui.server.cache import AnswerCache
from quickserveml_tui.server.dialects import INFERENCE_PROTOCOL, SHORT_FORM
from quickserveml_tui.server.heads import HeadReader, Route
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.slow import SlowLog
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.services.serving_stats import Counters

if TYPE_CHECKING:
    from quickserveml_tui.server.context import AccessLog, Gatekeeper, ServerContext

logger = logging.getLogger(__name__)

READ_BUFFER_BYTES = 256 * 1024
TICK_S = 1.0
_EXPIRE_TICKS = 10
_WATCH_S = 0.25
_END_S = 2.0
"""Time for stopped runs to end."""


class Connection(Protocol):
    """A connection as the clock sees it."""

    def tick(self) -> None:
        """A second has passed."""
        ...


class Engine:
    """Models with their queues, the hot routes, and the clock of the connections.

    Made before the event loop runs; `start` belongs inside. `on_closed` is called in the loop for each model that is
    served no longer, once all of its requests are answered; without one the model is closed in a thread.
    """

    def __init__(self, serving: ServingService, options: ServeOptions, context: ServerContext | None = None) -> None:
        self.serving = serving
        self.options = options
        self.on_closed: Callable[[ServedModel], None] | None = None
        self.connections: set[Connection] = set()
        self.handshakes: set[object] = set()
        """Connections that are none yet: TLS is being agreed on."""
        self.read_buffer = memoryview(bytearray(READ_BUFFER_BYTES))
        """One for all connections: it is read into and emptied within one callback of the loop."""
        self.date_line = b""
        self.json_prefix = b""
        self.inflight = 0
        """Bytes of bodies that are being read or wait."""
        self.cache = AnswerCache(options.cache_bytes) if options.cache_bytes else None
        self.access_log: AccessLog | None = None
        self._ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(6).encode() + b"-%x"
        self._batchers: dict[ServedModel, Batcher] = {}
        self._clock: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticks = 0
        self._stopped = threading.Event()
        self._use(OpenGatekeeper(), Counters.create(None))
        if context is not None:
            self.attach(context)

    def _use(self, gatekeeper: Gatekeeper, counters: Counters) -> None:
        self.gatekeeper = gatekeeper
        self.counters = counters
        self.slow = SlowLog(counters)
        self.routes: dict[bytes, Route] = {}
        self.heads = HeadReader(self.options, self.routes, gatekeeper)

    def attach(self, context: ServerContext) -> None:
        """Take the gatekeeper, the counters and the access log of a context; before `start`."""
        self._use(context.gatekeeper, context.counters[context.worker])
        self.access_log = context.access_log

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the queues and routes and start the clock."""
        self._loop = loop
        self._route()
        self._tick(loop)
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    # ---- what is served

    def publish(self, models: Sequence[ServedModel], default: tuple[str, str] | None = None) -> None:
        """Serve exactly these models from now on; in the event loop, in one step.

        Those that are served no longer answer what they have accepted, then they are closed.
        """
        removed = self.serving.publish(models, default)
        if self._loop is None:
            return
        self._route()
        for model in removed:
            self._batchers[model].retire()

    def _route(self) -> None:
        """Make the queues and routes of what is served now."""
        loop, routes = self._loop, dict[bytes, Route]()
        assert loop is not None
        models = self.serving.models
        for model in models:
            if model not in self._batchers:
                self._batchers[model] = Batcher(model, loop, self.options, self.slow, self._closed)
                if self.cache is not None:
                    loop.run_in_executor(None, _look_for_chance, model)
        for model in models:
            route = Route(self._batchers[model], INFERENCE_PROTOCOL)
            base = f"/v2/models/{model.name}"
            for selector in model.selectors:
                routes.setdefault(f"{base}/versions/{selector}/infer".encode(), route)
            if self.serving.find(model.name) is model:
                routes[f"{base}/infer".encode()] = route
        for model in models:  # where a label of one version is the number of another, the number counts
            path = f"/v2/models/{model.name}/versions/{model.version}/infer".encode()
            routes[path] = Route(self._batchers[model], INFERENCE_PROTOCOL)
        if models:
            routes[b"/predict"] = Route(self._batchers[self.serving.default()], SHORT_FORM)
        self.routes = self.heads.routes = routes
        self.heads.forget()

    def _closed(self, batcher: Batcher) -> None:
        """A model that is served no longer has answered everything."""
        model = batcher.model
        self._batchers.pop(model, None)
        if self.cache is not None:
            self.cache.forget(model)
        if self.on_closed is not None:
            self.on_closed(model)
        elif self._loop is not None:
            self._loop.run_in_executor(None, model.close)

    def batcher(self, model: ServedModel) -> Batcher:
        """The queue of a model. Raises `NotFoundError` (`version.unknown`) when it is served no longer."""
        batcher = self._batchers.get(model)
        if batcher is None:
            raise NotFoundError(
                f"Model {model.name} version {model.version} is served no longer.",
                hint="POST /v2/repository/index lists the models.",
                code="version.unknown",
            )
        return batcher

    # ---- requests

    @property
    def requests(self) -> int:
        """Requests of all kinds that this worker and those before it in its place have had.

        Kept in the counters at once: whoever reads them after an answer finds its request there.
        """
        return self.counters.requests

    @requests.setter
    def requests(self, value: int) -> None:
        self.counters.requests = value

    def next_id(self) -> bytes:
        """A name for a request that came without one."""
        return self._id_prefix % next(self._ids)

    def hold(self, size: int) -> bool:
        """Take room for a body; False when too many bytes wait already."""
        if self.inflight + size > self.options.max_inflight_bytes:
            return False
        self.inflight += size
        return True

    def release(self, size: int) -> None:
        """Give the room of a body back."""
        self.inflight -= size

    # ---- time

    def _watch(self) -> None:
        """Stop runs that take too long. A thread: where one runs in the event loop, nothing there can."""
        while not self._stopped.wait(_WATCH_S):
            now = time.monotonic()
            for batcher in tuple(self._batchers.values()):
                batcher.watch(now)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.date_line = f"date: {formatdate(usegmt=True)}\r\n".encode()
        self.json_prefix = json_prefix(self.date_line)
        for connection in tuple(self.connections):
            connection.tick()
        for batcher in tuple(self._batchers.values()):
            batcher.tick()
        self._ticks += 1
        if self._ticks % _EXPIRE_TICKS == 0:
            self.slow.expire()
        self.count()
        self._clock = loop.call_later(TICK_S, self._tick, loop)

    def count(self) -> None:
        """Bring the worker's own counters up to date."""
        self.counters.connections = self.open_connections

    @property
    def open_connections(self) -> int:
        """Connections with those whose TLS is being agreed on."""
        return len(self.connections) + len(self.handshakes)

    def stop(self) -> None:
        """Stop the clock and the worker threads."""
        if self._clock is not None:
            self._clock.cancel()
        self._stopped.set()
        self.count()
        for batcher in self._batchers.values():
            batcher.close()
        end = time.monotonic() + _END_S
        for batcher in self._batchers.values():
            batcher.join(max(end - time.monotonic(), 0.0))


def _look_for_chance(model: ServedModel) -> None:
    """Let answers of a model be kept once its file has shown that they depend on the request only."""
    from quickserveml_tui.graph.chance import depends_on_inputs_only

    try:
        model.cacheable = depends_on_inputs_only(Path(model.entry.path))
    except QuickServeError:
        logger.info("Answers of %s are not kept: its operators cannot be read", model.name)
