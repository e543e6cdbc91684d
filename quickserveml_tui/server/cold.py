"""Requests off the hot path: uvicorn's own protocol, one request at a time, on a connection of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from quickserveml_tui.server.heads import Head


class _FedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, fed by `ColdSide`; the connection and its timeouts stay with the feeder.

    `on_idle` is called when a response is complete, `on_too_large` when a chunked body exceeds `max_body_bytes`,
    `on_malformed` when it cannot be read.
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
        on_malformed: Callable[[], None],
        max_body_bytes: int,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._on_idle = on_idle
        self._on_too_large = on_too_large
        self._on_malformed = on_malformed
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

    def send_400_response(self, _msg: str) -> None:
        """Leave the answer to the owner."""
        self._on_malformed()

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


class ColdSide:
    """The requests of one connection that uvicorn answers, one at a time.

    `on_done` is called when a response is complete and its request's body is through, `on_too_large` when a chunked
    body exceeds the limit.
    """

    def __init__(
        self,
        make: Callable[[Callable[[], None], Callable[[], None]], _FedProtocol],
        loop: asyncio.AbstractEventLoop,
        *,
        on_done: Callable[[], None],
        on_too_large: Callable[[], None],
    ) -> None:
        self._make = make
        self._loop = loop
        self._on_done = on_done
        self._on_too_large = on_too_large
        self._fed: _FedProtocol | None = None
        self.active = False
        """Whether a request is under way."""
        self.body_left = 0
        """Bytes that its body still lacks, if it has a content length."""
        self.chunked = False
        """Whether its end is not known: then all that follows on the connection belongs to it."""
        self.protocol = False
        """Whether errors of it take the form of the inference protocol."""

    def begin(self, transport: asyncio.Transport, head: Head, *, last: bool) -> None:
        """Start a request; with `last`, the connection closes after the response."""
        fed = self._fed
        if fed is None:
            fed = self._fed = self._make(self._response_complete, self._on_too_large)
            fed.connection_made(transport)
        self.active = True
        self.chunked = head.chunked
        self.protocol = head.protocol
        self.body_left = head.content_length
        fed.last_request = head.chunked or last
        fed.data_received(head.raw)

    def feed(self, data: bytes, position: int) -> int:
        """Hand on bytes of the body; returns the position after them."""
        end = len(data) if self.chunked else min(len(data), position + self.body_left)
        if not self.chunked:
            self.body_left -= end - position
        if end > position and self._fed is not None and not self._fed.transport.is_closing():
            self._fed.data_received(data[position:end])
        self._finish()
        return end

    @property
    def takes_bytes(self) -> bool:
        """Whether the next bytes of the connection belong to the request under way."""
        return self.active and (self.chunked or self.body_left > 0)

    @property
    def waits_for_body(self) -> bool:
        """Whether the request under way is not complete yet."""
        fed = self._fed
        return self.active and (self.body_left > 0 or (self.chunked and fed is not None and fed.waits_for_body))

    @property
    def response_started(self) -> bool:
        """Whether bytes of the response are on their way."""
        return self.active and self._fed is not None and self._fed.response_started

    @property
    def last_request(self) -> bool:
        """Whether the connection closes after the request."""
        return self._fed is not None and self._fed.last_request

    def close_after_response(self) -> None:
        """Make the response under way the last one."""
        if self._fed is not None:
            self._fed.close_after_response()

    def pause_reading(self) -> None:
        """Stop the transport's reading until the response is complete."""
        if self._fed is not None:
            self._fed.flow.pause_reading()

    def pause_writing(self) -> None:
        """Let the response wait for a slow reader."""
        if self._fed is not None:
            self._fed.pause_writing()

    def resume_writing(self) -> None:
        """Let the response go on."""
        if self._fed is not None:
            self._fed.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._fed is not None:
            self._fed.connection_lost(exc)

    def _response_complete(self) -> None:
        # Called inside of uvicorn's send(): the connection goes back once that has returned.
        self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        fed = self._fed
        if not self.active or self.body_left or self.chunked or fed is None:
            return
        if fed.cycle is not None and fed.cycle.response_complete:
            self.active = False
            self._on_done()


def cold_side(
    config: Config,
    state: ServerState,
    app_state: dict[str, Any],
    loop: asyncio.AbstractEventLoop,
    *,
    max_body_bytes: int,
    on_done: Callable[[], None],
    on_too_large: Callable[[], None],
    on_malformed: Callable[[], None],
) -> ColdSide:
    """A cold side whose protocol is made when the first request needs it."""

    def make(on_idle: Callable[[], None], on_excess: Callable[[], None]) -> _FedProtocol:
        return _FedProtocol(
            config,
            state,
            app_state,
            loop,
            on_idle=on_idle,
            on_too_large=on_excess,
            on_malformed=on_malformed,
            max_body_bytes=max_body_bytes,
        )

    return ColdSide(make, loop, on_done=on_done, on_too_large=on_too_large)
