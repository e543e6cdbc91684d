"""Requests off the hot path: uvicorn's own protocol, one request at a time, on a connection of ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from quickserveml_tui.server.heads import Head
from quickserveml_tui.server.permissions import CALLER

MAX_AROUND_BYTES = 64 * 1024
"""Bytes that may come in a row without any of the body, where that is chunked: what parsers keep of them has an end."""
REQUEST_ID = "qsml.request_id"
"""Where the connection leaves the id of a request in its scope."""


class ColdRequest:
    """A request for uvicorn: its head, its name, header lines for its answer, and whether it is the last one."""

    __slots__ = ("arrived", "head", "last", "lines", "name")

    def __init__(self, head: Head, name: bytes, lines: Sequence[tuple[str, str]], *, last: bool) -> None:
        self.head = head
        self.name = name
        self.lines = [(b"x-request-id", name), *((key.lower().encode(), text.encode()) for key, text in lines)]
        self.last = last
        self.arrived = time.perf_counter_ns()


class _FedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, fed by `ColdSide`; the connection and its timeouts stay with the feeder.

    `on_idle` is called when a response is complete, `on_too_large` when a chunked body exceeds its limit,
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
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self.app = self._noting(self.app)
        self._on_idle = on_idle
        self._on_too_large = on_too_large
        self._on_malformed = on_malformed
        self.request: ColdRequest | None = None
        """The request under way, or the last one."""
        self.body_bytes = self.status = self.sent = 0
        self.last_request = False
        """Whether the connection closes after the request under way."""
        self._in_body = False
        self._is_over = False
        """Whether the end of a chunked body was read: nothing behind it is a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Use the transport without counting as a connection of its own."""
        super().connection_made(transport)
        self.connections.discard(self)

    def on_message_begin(self) -> None:
        """Begin a head; none is taken behind a chunked body, as the connection has looked at one only."""
        if self._is_over:
            raise ValueError("The connection ends with this request.")
        self._in_body = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are dropped: they must not pass for headers, which were checked, nor pile up."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._in_body = True
        self.body_bytes = self.status = self.sent = 0
        super().on_headers_complete()
        request = self.request
        if request is not None and self.cycle is not None:  # its task has not begun to run yet
            scope = cast("dict[str, Any]", self.scope)
            scope[CALLER], scope[REQUEST_ID] = request.head.caller, request.name.decode("ascii")
            self.cycle.default_headers = [*self.cycle.default_headers, *request.lines]
        if self.last_request and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, within the limit."""
        self.body_bytes += len(body)
        if self.request is not None and self.body_bytes > self.request.head.body_limit:
            self._on_too_large()
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is complete."""
        self._is_over = self.request is not None and self.request.head.chunked
        super().on_message_complete()

    def _noting(self, app: Any) -> Any:
        """The application, with a look at what it sends."""

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            async def noted(message: Any) -> None:
                if message["type"] == "http.response.start":
                    self.status = message["status"]
                elif message["type"] == "http.response.body":
                    self.sent += len(message.get("body", b""))
                await send(message)

            await app(scope, receive, noted)

        return noting

    def on_response_complete(self) -> None:
        """Give the connection back."""
        super().on_response_complete()
        self._on_idle()

    def send_400_response(self, _msg: str) -> None:
        """Leave the answer to the owner; what follows the last request gets none."""
        if not self._is_over:
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
    body exceeds the limit, `on_malformed` when what surrounds its chunks has no end.
    """

    def __init__(
        self,
        make: Callable[[Callable[[], None], Callable[[], None]], _FedProtocol],
        loop: asyncio.AbstractEventLoop,
        *,
        on_done: Callable[[], None],
        on_too_large: Callable[[], None],
        on_malformed: Callable[[], None],
    ) -> None:
        self._make = make
        self._loop = loop
        self._on_done = on_done
        self._on_too_large = on_too_large
        self._on_malformed = on_malformed
        self._fed: _FedProtocol | None = None
        self._answered = False
        """Whether the response to the request under way is complete."""
        self._around = 0
        """Bytes in a row that framed a chunked body and were none of it: extensions, trailers."""
        self.active = False
        """Whether a request is under way."""
        self.body_left = 0
        """Bytes that its body still lacks, if it has a content length."""
        self.chunked = False
        """Whether its end is not known: then all that follows on the connection belongs to it."""
        self.protocol = False
        """Whether errors of it take the form of the inference protocol."""
        self.request: ColdRequest | None = None
        """The request under way, or the last one."""

    def begin(self, transport: asyncio.Transport, request: ColdRequest) -> None:
        """Start a request."""
        head, fed = request.head, self._fed
        self.request = request
        if fed is None:
            fed = self._fed = self._make(self._response_complete, self._on_too_large)
            fed.connection_made(transport)
        self.active = True
        self._answered, self._around = False, 0
        self.chunked = head.chunked
        self.protocol = head.protocol
        self.body_left = head.content_length
        fed.request = request
        fed.last_request = head.chunked or request.last
        fed.data_received(head.raw)

    def feed(self, data: bytes, position: int) -> int:
        """Hand on bytes of the body; returns the position after them."""
        end = len(data) if self.chunked else min(len(data), position + self.body_left)
        if not self.chunked:
            self.body_left -= end - position
        fed = self._fed
        if end > position and fed is not None and not fed.transport.is_closing():
            before = fed.body_bytes
            fed.data_received(data[position:end])
            if self.chunked:
                self._around = self._around + end - position if fed.body_bytes == before else 0
                if self._around > MAX_AROUND_BYTES and self.waits_for_body:
                    self._on_malformed()
        self._finish()
        return end

    @property
    def head(self) -> Head | None:
        """The head of the request under way."""
        return self.request.head if self.active and self.request is not None else None

    @property
    def body_limit(self) -> int:
        """The most bytes that its body may have."""
        return self.request.head.body_limit if self.request is not None else 0

    @property
    def status(self) -> int:
        """Status of the response."""
        return self._fed.status if self._fed is not None else 0

    @property
    def sent(self) -> int:
        """Bytes of its body."""
        return self._fed.sent if self._fed is not None else 0

    @property
    def received(self) -> int:
        """Bytes of the request's body."""
        return self._fed.body_bytes if self._fed is not None else 0

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
        self._answered = True
        self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        if self.active and self._answered and not self.body_left:
            self.active = False
            self._on_done()


def cold_side(
    config: Config,
    state: ServerState,
    app_state: dict[str, Any],
    loop: asyncio.AbstractEventLoop,
    *,
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
        )

    return ColdSide(make, loop, on_done=on_done, on_too_large=on_too_large, on_malformed=on_malformed)
