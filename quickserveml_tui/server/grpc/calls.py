"""Around every call: who asks, whether they may, what it costs them, how errors end it, and a line in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import DataError, QuickServeError, UnavailableError
from quickserveml_tui.server.access import caller_of
from quickserveml_tui.server.batcher import internal_error
from quickserveml_tui.server.context import Asked
from quickserveml_tui.server.grpc.inference import GrpcJob, answer_of, submit
from quickserveml_tui.server.grpc.methods import Method
from quickserveml_tui.server.grpc.statuses import CallError, call_error
from quickserveml_tui.server.heads import trace_id
from quickserveml_tui.server.refusals import neutral, refusal
from quickserveml_tui.wire.grpc_messages import message_class

if TYPE_CHECKING:
    from quickserveml_tui.server.context import Caller, ServerContext
    from quickserveml_tui.server.engine import Engine
    from quickserveml_tui.server.grpc.information import Handler

logger = logging.getLogger(__name__)

COUNTED_BYTES = 16 * 1024
"""Size from which requests count among the bytes under way."""

_COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
_COMPRESSION_KEY = "qsml-response-compression"

Headers: TypeAlias = "list[tuple[bytes, bytes]]"
Work: TypeAlias = "Callable[[Any, Caller, Any, int], Awaitable[bytes]]"
"""From a request, its caller, gRPC's context and the time of its arrival (`time.perf_counter_ns`) to the answer."""


class Room:
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


class Calls:
    """Makes the handlers of methods. Used in the event loop."""

    def __init__(self, engine: Engine, context: ServerContext) -> None:
        self.engine = engine
        self._gatekeeper = context.gatekeeper
        self._log = context.access_log or getattr(engine, "access_log", None)

    # ---- handlers

    def unary(self, method: Method, handler: Handler) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """A handler of calls with one answer; `handler` makes it."""

        async def work(message: Any, caller: Caller, _context: Any, _arrived: int) -> bytes:
            encoded: bytes = (await handler(message, caller)).SerializeToString()
            return encoded

        return self.guarded(method, message_class(f"{method.name}Request"), work)

    def infer(self, method: Method) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """The handler of `ModelInfer`."""

        async def work(message: Any, _caller: Caller, context: Any, arrived: int) -> bytes:
            room = Room(self.engine, message.ByteSize())
            try:
                answer = await self.wait(submit(self.engine, message, context.time_remaining(), arrived))
            finally:
                room.give_back()
            await begin_answers(context)
            return answer

        return self.guarded(method, message_class("ModelInferRequest"), work)

    async def wait(self, job: GrpcJob) -> bytes:
        """The encoded answer. Raises `CallError`; a cancelled call takes its request out of the queue."""
        try:
            return await answer_of(job)
        except asyncio.CancelledError:
            self.engine.batcher(job.model).forget(job)
            raise

    # ---- what every call passes

    def guarded(self, method: Method, request: Any, work: Work) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """A handler that reads messages of the class `request` and answers by `work`, with all that a call passes."""

        async def call(raw: bytes, context: Any) -> bytes:
            started = time.perf_counter_ns()
            headers = headers_of(context)
            caller: Caller | None = None
            answer = b""
            failed: CallError | None = None
            try:
                caller = self.admit(headers, limited=method.permission is not Permission.PUBLIC)
                message = parse(request, raw)
                if method.name.startswith("RepositoryModel") and not message.model_name:
                    message.model_name = message.repository_name  # KServe has the name in this field
                self.check(method, message, caller)
                answer = await work(message, caller, context, started)
            except QuickServeError as error:
                failed = call_error(neutral(error, caller))
            except CallError as error:
                failed = error
            except asyncio.CancelledError:
                self.note(method, 499, started, len(raw), 0, caller, headers)
                raise
            except Exception:
                logger.exception("A call of %s failed", method.name)
                failed = call_error(internal_error())
            self.note(method, failed.status if failed else 200, started, len(raw), len(answer), caller, headers)
            if failed is not None:
                await context.abort(failed.code, failed.text, failed.metadata)
            return answer

        return call

    def admit(self, headers: Headers, *, limited: bool = True) -> Caller:
        """Who asks. Raises `QuickServeError` for a bad key, `CallError` for one that asks too often."""
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

    def check(self, method: Method, message: Any, caller: Caller) -> None:
        """Raise `QuickServeError` unless the caller may call the method for the model in its request."""
        model = getattr(message, method.model_field) if method.model_field else ""
        error = refusal(caller, method.permission, model)
        if error is not None:
            raise error

    def note(  # noqa: PLR0917 - as `AccessLog.note`
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
        self.engine.requests += 1
        if self._log is None:
            return
        known = dict(headers)
        name, trace = known.get(b"x-request-id", b""), trace_id(known.get(b"traceparent", b""))
        asked = Asked(b"POST", method.path.encode(), caller.id if caller is not None else "-", trace, named=True)
        self._log.note(asked, status, time.perf_counter_ns() - started, received, sent, name)


def headers_of(context: Any) -> Headers:
    """The metadata of a call as headers."""
    return [
        (key.encode(), value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
        for key, value in context.invocation_metadata() or ()
    ]


def parse(kind: Any, raw: bytes) -> Any:
    """The message in bytes. Raises `DataError`."""
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise DataError("The request is not the message that this method takes.", code="request.protobuf") from error


async def begin_answers(context: Any) -> None:
    """Compress the answers of a call whose metadata asks for it; they are sent as they are otherwise."""
    for key, value in context.invocation_metadata() or ():
        if key == _COMPRESSION_KEY and value in _COMPRESSIONS:
            context.set_compression(_COMPRESSIONS[value])
            # grpc.aio heeds the wish only where the metadata is sent on its own: grpc/grpc issue 34690.
            await context.send_initial_metadata(())
            return
