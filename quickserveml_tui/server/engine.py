"""What all connections of a server share."""

from __future__ import annotations

import asyncio
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

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the queues and routes and start the clock."""
        for model in self.serving.models:
            self._batchers[model] = Batcher(model, loop, self.options.queue_limit)
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
        for batcher in self._batchers.values():
            batcher.close()
