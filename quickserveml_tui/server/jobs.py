"""A request of the hot path, from its last byte to its answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from quickserveml_tui.server.answers import Answer
from quickserveml_tui.server.runs import Job

if TYPE_CHECKING:
    from quickserveml_tui.server.cache import Key
    from quickserveml_tui.server.heads import Head, Route
    from quickserveml_tui.server.protocol import HotProtocol


class HotJob(Job):
    """A request that came over the hot path."""

    __slots__ = ("answer", "batcher", "connection", "head", "held", "keep_alive", "key", "lines", "name", "received")

    def __init__(self, connection: HotProtocol, head: Head, route: Route, received: int) -> None:
        self.batcher = batcher = route.batcher
        self.model = batcher.model
        self.dialect = route.dialect
        self.arrived = time.perf_counter_ns()
        self.deadline = 0
        self.finite = self.gone = False
        self.form = None
        self.text = b""
        self.connection = connection
        self.head = head
        self.answer: Answer | None = None
        self.key: Key | None = None
        """Where the answer is to be kept."""
        self.held = 0
        """Bytes of the body that count as in flight."""
        self.received = received
        self.lines = head.lines
        """Header lines for the answer."""
        self.name = head.request_id
        self.keep_alive = head.keep_alive

    @property
    def request_id(self) -> str:
        """What the request is called in logs and in its answer."""
        if not self.name:
            self.name = self.connection.engine.next_id()
        return self.name.decode("ascii")

    def deliver(self, answer: Answer) -> None:
        """Send the answer once those before it are sent."""
        engine = self.connection.engine
        if self.held:
            engine.release(self.held)
            self.held = 0
        if self.key is not None and engine.cache is not None:
            engine.cache.put(self.key, answer)
        self.answer = answer
        self.connection.flush()
