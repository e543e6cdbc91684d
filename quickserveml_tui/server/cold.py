"""Requests off the hot path: uvicorn's own protocol, one request at a time, on a connection of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState


class ColdProtocol(HttpToolsProtocol):
    """uvicorn's protocol, fed by `HotProtocol`, which keeps the connection and its timeouts.

    `on_idle` is called when a response is complete, `on_too_large` when a chunked body exceeds `max_body_bytes`.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        *,
        on_idle: Callable[[], None],
        on_too_large: Callable[[], None],
        max_body_bytes: int,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._on_idle = on_idle
        self._on_too_large = on_too_large
        self._max_body_bytes = max_body_bytes
        self._body_bytes = 0
        self.last_request = False
        """Whether the connection closes after the request under way."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Use the transport without counting as a connection of its own."""
        super().connection_made(transport)
        self.connections.discard(self)

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._body_bytes = 0
        super().on_headers_complete()
        if self.last_request and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, within the limit."""
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            self._on_too_large()
        else:
            super().on_body(body)

    def on_response_complete(self) -> None:
        """Give the connection back."""
        super().on_response_complete()
        self._on_idle()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing: the owner closes idle connections."""

    @property
    def waits_for_body(self) -> bool:
        """Whether the request under way is not complete yet."""
        return self.cycle is None or (self.cycle.more_body and not self.cycle.response_complete)

    @property
    def response_started(self) -> bool:
        """Whether bytes of the response are on their way."""
        return self.cycle is not None and self.cycle.response_started

    def close_after_response(self) -> None:
        """Make the response under way the last one."""
        self.last_request = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
