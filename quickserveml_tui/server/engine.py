"""What all connections of a server share."""

from __future__ import annotations

import asyncio
import threading
import time
from email.utils import formatdate
from typing import Protocol

from quickserveml_tui.server.answers import json_prefix
from quickserveml_tui.server.batcher import Batcher
from quickserveml_tui.server.dialects import INFERENCE_PROTOCOL, SHORT_FORM
from quickserveml_tui.server.heads import HeadReader, Route
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_models import ServedModel

READ_BUFFER_BYTES = 256 * 1024
TICK_S = 1.0
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

    Made before the event loop runs; `start` belongs inside.
    """

    def __init__(self, serving: ServingService, options: ServeOptions) -> None:
        self.serving = serving
        self.options = options
        self.routes: dict[bytes, Route] = {}
        self.heads = HeadReader(options, self.routes)
        self.connections: set[Connection] = set()
        self.read_buffer = memoryview(bytearray(READ_BUFFER_BYTES))
        """One for all connections: it is read into and emptied within one callback of the loop."""
        self.date_line = b""
        self.json_prefix = b""
        self._batchers: dict[ServedModel, Batcher] = {}
        self._clock: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the queues and routes and start the clock."""
        for model in self.serving.models:
            self._batchers[model] = Batcher(model, loop, self.options.queue_limit, self.options.run_timeout_s)
        for model in self.serving.models:
            route = Route(self._batchers[model], INFERENCE_PROTOCOL)
            base = f"/v2/models/{model.name}"
            for selector in model.selectors:
                self.routes[f"{base}/versions/{selector}/infer".encode()] = route
            if self.serving.find(model.name) is model:
                self.routes[f"{base}/infer".encode()] = route
        self.routes[b"/predict"] = Route(self._batchers[self.serving.default()], SHORT_FORM)
        self.heads.forget()
        self._tick(loop)
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def _watch(self) -> None:
        """Stop runs that take too long. A thread: where one runs in the event loop, nothing there can."""
        while not self._stopped.wait(_WATCH_S):
            now = time.monotonic()
            for batcher in self._batchers.values():
                batcher.watch(now)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.date_line = f"date: {formatdate(usegmt=True)}\r\n".encode()
        self.json_prefix = json_prefix(self.date_line)
        for connection in tuple(self.connections):
            connection.tick()
        self._clock = loop.call_later(TICK_S, self._tick, loop)

    def batcher(self, model: ServedModel) -> Batcher:
        """The queue of a model."""
        return self._batchers[model]

    def stop(self) -> None:
        """Stop the clock and the worker threads."""
        if self._clock is not None:
            self._clock.cancel()
        self._stopped.set()
        for batcher in self._batchers.values():
            batcher.close()
        end = time.monotonic() + _END_S
        for batcher in self._batchers.values():
            batcher.join(max(end - time.monotonic(), 0.0))
