"""Streams of inference: answers in the order of the requests, errors as messages among them, ended by a drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import QuickServeError, UnavailableError
from quickserveml_tui.server.batcher import internal_error
from quickserveml_tui.server.grpc.calls import Calls, Headers, Room, begin_answers, headers_of, parse
from quickserveml_tui.server.grpc.inference import GrpcJob, submit
from quickserveml_tui.server.grpc.methods import Method
from quickserveml_tui.server.grpc.statuses import CallError, call_error
from quickserveml_tui.server.refusals import neutral
from quickserveml_tui.wire.grpc_infer import stream_error, stream_response, wants_final
from quickserveml_tui.wire.grpc_messages import message_class

if TYPE_CHECKING:
    from quickserveml_tui.server.context import Caller
    from quickserveml_tui.server.engine import Engine

logger = logging.getLogger(__name__)

STREAM_WINDOW = 64
"""Requests of one stream that may be under way; further ones stay with the client."""

_STRICT = (b"triton_grpc_error", b"true")
"""Metadata by which Triton's clients ask that the first error ends the stream, with its status."""


class _Streamed:
    """One request of a stream."""

    __slots__ = ("arrived", "caller", "error", "final", "job", "request_id", "room", "size")

    def __init__(self, raw: bytes) -> None:
        self.size = len(raw)
        self.arrived = time.perf_counter_ns()
        self.caller: Caller | None = None
        self.request_id = ""
        self.final = False
        """Whether its answer is to be marked as its last: there is one for every request."""
        self.job: GrpcJob | None = None
        """Set where the request is on its way; otherwise `error` is."""
        self.error: CallError | None = None
        self.room: Room | None = None

    def give_back(self) -> None:
        """Free its bytes."""
        if self.room is not None:
            self.room.give_back()

    def forget(self, engine: Engine) -> None:
        """Nobody waits for it any more."""
        self.give_back()
        if self.job is not None and not self.job.answer.done():
            engine.batcher(self.job.model).forget(self.job)


class _Stream:
    """One open stream: a task reads and submits its requests, the call itself answers them."""

    def __init__(self, calls: Calls, method: Method, requests: AsyncIterator[bytes], context: Any) -> None:
        self._calls = calls
        self._method = method
        self._requests = aiter(requests)
        self._context = context
        self._headers: Headers = headers_of(context)
        self._strict = _STRICT in self._headers
        self._started: asyncio.Queue[_Streamed | CallError | None] = asyncio.Queue(STREAM_WINDOW)
        self._ending = False
        self._waiting = False
        """Whether the reader waits for the client: the one place where it may be stopped."""
        self._reader = asyncio.create_task(self._read())

    def end(self) -> None:
        """Take no further request; those that were taken are answered, and the client is told to go elsewhere."""
        self._ending = True
        if self._waiting:
            self._reader.cancel()

    async def answers(self) -> AsyncIterator[bytes]:
        """Answers in the order of the requests. Raises `CallError` where the stream is to end with a status."""
        while (item := await self._started.get()) is not None:
            if isinstance(item, CallError):
                raise item
            yield await self._answer(item)

    async def close(self) -> None:
        """Stop reading, and forget what nobody waits for."""
        self._ending = False  # cancelled for good
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        while not self._started.empty():
            left = self._started.get_nowait()
            if isinstance(left, _Streamed):
                left.forget(self._calls.engine)

    # ---- requests

    async def _read(self) -> None:
        try:
            while not self._ending and (raw := await self._next()) is not None:
                item = self._submit(raw)
                try:
                    await self._started.put(item)
                except asyncio.CancelledError:
                    item.forget(self._calls.engine)
                    raise
            await self._started.put(call_error(_ending()) if self._ending else None)
        except Exception:
            logger.exception("A stream of gRPC failed")
            await self._started.put(call_error(internal_error()))

    async def _next(self) -> bytes | None:
        """The next request; None when there are no more, or when the server ends."""
        self._waiting = True
        try:
            return await anext(self._requests, None)
        except asyncio.CancelledError:
            if not self._ending:
                raise
            return None
        finally:
            self._waiting = False

    def _submit(self, raw: bytes) -> _Streamed:
        calls, item = self._calls, _Streamed(raw)
        try:
            # Asked anew for every request: a key may be revoked while its stream goes on.
            item.caller = calls.admit(self._headers)
            message = parse(message_class("ModelInferRequest"), raw)
            item.request_id, item.final = message.id, wants_final(message)
            calls.check(self._method, message, item.caller)
            item.room = Room(calls.engine, item.size)
            item.job = submit(calls.engine, message, self._context.time_remaining(), item.arrived)
        except QuickServeError as error:
            item.error = call_error(neutral(error, item.caller))
        except CallError as error:
            item.error = error
        return item

    # ---- answers

    async def _answer(self, item: _Streamed) -> bytes:
        failed, answer = item.error, b""
        try:
            if item.job is not None:
                answer = await self._calls.wait(item.job)
        except CallError as error:
            failed = error
        finally:
            item.give_back()
        status = failed.status if failed else 200
        self._calls.note(self._method, status, item.arrived, item.size, len(answer), item.caller, self._headers)
        if failed is None:
            return stream_response(answer, final=item.final)
        if self._strict:
            raise failed
        return stream_error(failed.text, item.request_id, final=item.final)


class Streams:
    """All open streams of a server. Used in the event loop."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._open: set[_Stream] = set()

    def handler(self, method: Method) -> Callable[[AsyncIterator[bytes], Any], AsyncIterator[bytes]]:
        """The handler of `ModelStreamInfer`."""

        async def call(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            await begin_answers(context)
            stream = _Stream(self._calls, method, requests, context)
            self._open.add(stream)
            failed: CallError | None = None
            try:
                async for answer in stream.answers():
                    yield answer
            except CallError as error:
                failed = error
            finally:
                self._open.discard(stream)
                await stream.close()
            if failed is not None:
                await context.abort(failed.code, failed.text, failed.metadata)

        return call

    def end(self) -> None:
        """End every stream once what it was sent is answered; an idle one would hold up the drain to its limit."""
        for stream in tuple(self._open):
            stream.end()


def _ending() -> QuickServeError:
    return UnavailableError(
        "The server is ending.", hint="Open the stream again elsewhere, or later.", code="overloaded"
    )
