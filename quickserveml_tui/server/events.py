"""Server-sent events: bounded streams that end when the server drains or the client goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from quickserveml_tui.core.errors import NotPermittedError, QuickServeError, UnavailableError
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from quickserveml_tui.server.context import Gatekeeper

MEDIA_TYPE = "text/event-stream"
MAX_STREAMS = 64
HEARTBEAT_S = 15.0
"""After so long without an event a comment goes out: it keeps balancers from closing the connection."""
_LOOK_S = 0.25
"""Longest time in which a stream does not notice that the server drains."""
HEAD_ONLY = "qsml.head"
"""Key of a request's scope: whether it is a HEAD request that is answered as GET."""


class Streams:
    """The event streams of a worker; there is a most of them."""

    def __init__(self, draining: Callable[[], bool], most: int = MAX_STREAMS, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._draining = draining
        self._most = most
        self._heartbeat_s = heartbeat_s
        self.active = 0
        """Streams now."""

    def response(self, request: Request, events: AsyncIterator[bytes]) -> Response:
        """Send events until there are no more, the client goes or the server drains.

        Raises `UnavailableError` (`events.too_many`).
        """
        if request.scope.get(HEAD_ONLY):
            return Response(media_type=MEDIA_TYPE, headers=_HEADERS)
        if self.active >= self._most:
            raise UnavailableError(
                "There are too many event streams.",
                hint="Close some, or ask again from time to time instead.",
                code="events.too_many",
            )
        return _CountedStream(self, self._bounded(events, _Welcome(request)))

    @property
    def draining(self) -> bool:
        """Whether streams are to end."""
        return self._draining()

    async def _bounded(self, events: AsyncIterator[bytes], welcome: _Welcome) -> AsyncIterator[bytes]:
        waiting: asyncio.Task[bytes] | None = None
        sent = time.monotonic()
        try:
            yield b": connected\n\n"
            while not self.draining:
                welcome.check()
                waiting = waiting or asyncio.ensure_future(anext(events))
                done, _ = await asyncio.wait((waiting,), timeout=_LOOK_S)
                if done:
                    ready, waiting = waiting, None
                    welcome.check()  # the key may have ended while the event was waited for
                    try:
                        yield ready.result()
                    except StopAsyncIteration:
                        return
                    except QuickServeError as error:
                        yield failure(error)
                        return
                    sent = time.monotonic()
                elif time.monotonic() - sent >= self._heartbeat_s:
                    yield b": alive\n\n"
                    sent = time.monotonic()
            yield event("drain", {"reason": "The server is about to stop."})
        except NotPermittedError as error:
            yield failure(error)
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.wait((waiting,))
            if hasattr(events, "aclose"):
                await events.aclose()


class _Welcome:
    """Whether the key of a stream still holds: it may be revoked or expire while the stream goes on."""

    def __init__(self, request: Request) -> None:
        self._gatekeeper: Gatekeeper | None = getattr(request.app.state, "gatekeeper", None)
        self._headers = request.scope["headers"]
        self._version: int | None = None
        """Version of the keys that was looked at: none yet, since the keys may have changed while the request came."""

    def check(self) -> None:
        """Raise `NotPermittedError` where it does not."""
        if self._gatekeeper is not None and self._gatekeeper.version != self._version:
            self._version = self._gatekeeper.version
            self._gatekeeper.identify(self._headers)


class _CountedStream(StreamingResponse):
    """Counts among the streams for as long as it is being sent."""

    def __init__(self, streams: Streams, content: AsyncIterator[bytes]) -> None:
        super().__init__(content, media_type=MEDIA_TYPE, headers=_HEADERS)
        self._streams = streams
        self._content = content

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._streams.active += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.active -= 1
            await self._content.aclose()  # type: ignore[attr-defined] # a generator of ours


_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event(name: str, document: Any, number: str = "") -> bytes:
    """An event with a JSON document; `number` is what `Last-Event-ID` says when the client comes back."""
    head = b"id: %b\n" % number.encode() if number else b""
    return b"%bevent: %b\ndata: %b\n\n" % (head, name.encode(), orjson.dumps(document))


def failure(error: QuickServeError) -> bytes:
    """The event that tells of an error and ends a stream."""
    document = {"code": error.code, "detail": safe_text(error.message, 500), "hint": safe_text(error.hint, 500)}
    return event("error", document)
