"""Around every call: who asks, whether they may, what it costs them, how errors end it, and a line in the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import DataError, QuickServeError, UnavailableError
from quickserveml_tui.server.access import caller_of
from quickserveml_tui.server.batcher import internal_error
from quickserveml_tui.server.grpc.inference import GrpcJob, answer_of, submit
from quickserveml_tui.server.grpc.methods import Method
from quickserveml_tui.server.grpc.statuses import CallError, call_error
from quickserveml_tui.server.refusals import neutral, refusal
from quickserveml_tui.wire.grpc_infer import stream_error, stream_response
from quickserveml_tui.wire.grpc_messages import message_class

if TYPE_CHECKING:
    from quickserveml_tui.server.context import Caller, ServerContext
    from quickserveml_tui.server.engine import Engine
    from quickserveml_tui.server.grpc.information import Handler

logger = logging.getLogger(__name__)

COUNTED_BYTES = 16 * 1024
"""Size from which requests count among the bytes under way."""
STREAM_WINDOW = 64
"""Requests of one stream that may be under way; further ones stay with the client."""

_COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
_COMPRESSION_KEY = "qsml-response-compression"


Headers: TypeAlias = "list[tuple[bytes, bytes]]"


class _Room:
    """What a request takes of the bytes that may be under way; small ones do not count, as over HTTP.

    Raises `UnavailableError` (`overloaded`) when there is too little.
    """

    __slots__ = ("_engine", "_size")

    def __init__(self, engine: Engine, size: int) -> None:
        self._engine = engine
        self._size = 0
        if size >= COUNTED_BYTES:
            if not engine.hold(size):
                raise UnavailableError(
                    "The server has too many large requests under way.", hint="Try again later.", code="overloaded"
                )
            self._size = size

    def give_back(self) -> None:
        """The request is answered, or nobody waits for it; safe to call twice."""
        size, self._size = self._size, 0
        if size:
            self._engine.release(size)


class _Streamed:
    """One request of a stream."""

    __slots__ = ("arrived", "caller", "error", "headers", "job", "method", "request_id", "room", "size")

    def __init__(self, method: Method, raw: bytes, headers: Headers) -> None:
        self.method = method
        self.size = len(raw)
        self.headers = headers
        self.arrived = time.perf_counter_ns()
        self.caller: Caller | None = None
        self.request_id = ""
        self.job: GrpcJob | None = None
        """Set where the request is on its way; otherwise `error` is."""
        self.error: CallError | None = None
        self.room: _Room | None = None

    def give_back(self) -> None:
        """Free its bytes."""
        if self.room is not None:
            self.room.give_back()

    def forget(self, engine: Engine) -> None:
        """Nobody waits for it any more."""
        self.give_back()
        if self.job is not None and not self.job.answer.done():
            engine.batcher(self.job.model).forget(self.job)


class Calls:
    """Makes the handlers of methods. Used in the event loop."""

    def __init__(self, engine: Engine, context: ServerContext) -> None:
        self._engine = engine
        self._gatekeeper = context.gatekeeper
        self._log = context.access_log or getattr(engine, "access_log", None)

    # ---- handlers

    def unary(self, method: Method, handler: Handler) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """A handler of calls with one answer; `handler` makes it."""

        async def work(message: Any, caller: Caller, _context: Any) -> bytes:
            encoded: bytes = (await handler(message, caller)).SerializeToString()
            return encoded

        return self._guarded(method, message_class(f"{method.name}Request"), work)

    def infer(self, method: Method) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """The handler of `ModelInfer`."""

        async def work(message: Any, _caller: Caller, context: Any) -> bytes:
            _set_compression(context)
            room = _Room(self._engine, message.ByteSize())
            try:
                return await self._wait(submit(self._engine, message, context.time_remaining()))
            finally:
                room.give_back()

        return self._guarded(method, message_class("ModelInferRequest"), work)

    def stream(self, method: Method) -> Callable[[AsyncIterator[bytes], Any], AsyncIterator[bytes]]:
        """The handler of `ModelStreamInfer`: answers in the order of the requests, errors as messages among them."""

        async def call(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            _set_compression(context)
            started: asyncio.Queue[_Streamed | CallError | None] = asyncio.Queue(STREAM_WINDOW)
            reader = asyncio.create_task(self._read_stream(method, requests, context, started))
            failed: CallError | None = None
            try:
                while (item := await started.get()) is not None:
                    if isinstance(item, CallError):
                        failed = item
                        break
                    yield await self._stream_answer(item)
            finally:
                reader.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reader
                while not started.empty():
                    left = started.get_nowait()
                    if isinstance(left, _Streamed):
                        left.forget(self._engine)
            if failed is not None:
                await context.abort(failed.code, failed.text, failed.metadata)

        return call

    async def _read_stream(
        self, method: Method, requests: AsyncIterator[bytes], context: Any, started: asyncio.Queue[Any]
    ) -> None:
        headers = _headers(context)
        try:
            async for raw in requests:
                item = _Streamed(method, raw, headers)
                try:
                    # Asked anew for every request: a key may be revoked while its stream goes on.
                    item.caller = self._admit(headers)
                    message = _parse(message_class("ModelInferRequest"), raw)
                    item.request_id = message.id
                    self._check(method, message, item.caller)
                    item.room = _Room(self._engine, item.size)
                    item.job = submit(self._engine, message, context.time_remaining())
                except QuickServeError as error:
                    item.error = call_error(neutral(error, item.caller))
                except CallError as error:
                    item.error = error
                try:
                    await started.put(item)
                except asyncio.CancelledError:
                    item.forget(self._engine)
                    raise
            await started.put(None)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("A stream of gRPC failed")
            await started.put(call_error(internal_error()))

    async def _stream_answer(self, item: _Streamed) -> bytes:
        failed, answer = item.error, b""
        try:
            if item.job is not None:
                answer = await self._wait(item.job)
        except CallError as error:
            failed = error
        finally:
            item.give_back()
        status = failed.status if failed else 200
        self._note(item.method, status, item.arrived, item.size, len(answer), item.caller, item.headers)
        return stream_error(failed.text, item.request_id) if failed else stream_response(answer)

    async def _wait(self, job: GrpcJob) -> bytes:
        try:
            return await answer_of(job)
        except asyncio.CancelledError:
            self._engine.batcher(job.model).forget(job)
            raise

    # ---- what every call passes

    def _guarded(
        self, method: Method, request: Any, work: Callable[[Any, Caller, Any], Awaitable[bytes]]
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def call(raw: bytes, context: Any) -> bytes:
            started = time.perf_counter_ns()
            headers = _headers(context)
            caller: Caller | None = None
            answer = b""
            failed: CallError | None = None
            try:
                caller = self._admit(headers, limited=method.permission is not Permission.PUBLIC)
                message = _parse(request, raw)
                if method.name.startswith("RepositoryModel") and not message.model_name:
                    message.model_name = message.repository_name  # KServe has the name in this field
                self._check(method, message, caller)
                answer = await work(message, caller, context)
            except QuickServeError as error:
                failed = call_error(neutral(error, caller))
            except CallError as error:
                failed = error
            except asyncio.CancelledError:
                self._note(method, 499, started, len(raw), 0, caller, headers)
                raise
            except Exception:
                logger.exception("A call of %s failed", method.name)
                failed = call_error(internal_error())
            self._note(method, failed.status if failed else 200, started, len(raw), len(answer), caller, headers)
            if failed is not None:
                await context.abort(failed.code, failed.text, failed.metadata)
            return answer

        return call

    def _admit(self, headers: Headers, *, limited: bool = True) -> Caller:
        caller = caller_of(self._gatekeeper, headers)
        if limited and caller.limited:
            admission = caller.admit(time.monotonic())
            if not admission.allowed:
                quota = admission.code == "rate.quota"
                text = "The quota of this key is used up." if quota else "This key asks too often."
                error = QuickServeError(text, hint="Send the request again later.", code=admission.code)
                raised = call_error(error, admission.headers)
                raised.status = 429
                raise raised
        return caller

    def _check(self, method: Method, message: Any, caller: Caller) -> None:
        model = getattr(message, method.model_field) if method.model_field else ""
        error = refusal(caller, method.permission, model)
        if error is not None:
            raise error

    def _note(  # noqa: PLR0917 - as `AccessLog.note`
        self,
        method: Method,
        status: int,
        started: int,
        received: int,
        sent: int,
        caller: Caller | None,
        headers: Headers,
    ) -> None:
        """Count a request and take note of it."""
        self._engine.requests += 1
        if self._log is None:
            return
        known = dict(headers)
        self._log.note(
            b"POST",
            method.path.encode(),
            status,
            time.perf_counter_ns() - started,
            received,
            sent,
            caller.id if caller is not None else "-",
            known.get(b"x-request-id", b"").decode("latin-1"),
            known.get(b"traceparent", b"").decode("latin-1"),
        )


def _headers(context: Any) -> Headers:
    """The metadata of a call as headers."""
    return [
        (key.encode(), value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
        for key, value in context.invocation_metadata() or ()
    ]


def _parse(kind: Any, raw: bytes) -> Any:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise DataError("The request is not the message that this method takes.", code="request.protobuf") from error


def _set_compression(context: Any) -> None:
    """Compress the answers of a call whose metadata asks for it; they are sent as they are otherwise."""
    for key, value in context.invocation_metadata() or ():
        if key == _COMPRESSION_KEY and value in _COMPRESSIONS:
            context.set_compression(_COMPRESSIONS[value])
