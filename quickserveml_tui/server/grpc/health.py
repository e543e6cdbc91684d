"""Health by gRPC's own protocol: of the whole server, or of a model by `name` or `name@version`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import NotFoundError, QuickServeError
from quickserveml_tui.server.grpc.calls import Calls, Headers, headers_of, parse
from quickserveml_tui.server.grpc.methods import CHECK, WATCH
from quickserveml_tui.server.grpc.statuses import CallError, call_error
from quickserveml_tui.server.refusals import refusal
from quickserveml_tui.wire.grpc_health import HEALTH_SERVICE, health_request, health_response
from quickserveml_tui.wire.grpc_tables import SERVICE

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from quickserveml_tui.server.context import Caller, ServerContext

LOOK_S = 0.2
"""Between two looks for those who watch; nobody looks when nobody watches."""

_WHOLE = ("", SERVICE, HEALTH_SERVICE)
"""Names that mean the server: anybody may ask for it. Models need the permission that inference needs."""


class Health:
    """Answers `Check` and `Watch`. Used in the event loop."""

    def __init__(self, calls: Calls, context: ServerContext) -> None:
        self._calls = calls
        self._serving = context.serving
        self._look: asyncio.Event | None = None
        """Set at the next look, while somebody watches: one timer for all."""
        self._ended = False

    def check(self) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """The handler of `Check`: an unknown name is NOT_FOUND."""

        async def work(message: Any, caller: Caller, _context: Any, _arrived: int) -> bytes:
            return health_response(self._status(message.service, caller))

        return self._calls.guarded(CHECK, health_request(), work)

    def watch(self) -> Callable[[bytes, Any], AsyncIterator[bytes]]:
        """The handler of `Watch`: the status now and whenever it has changed, until the caller or the server ends."""

        async def call(raw: bytes, context: Any) -> AsyncIterator[bytes]:
            started, headers = time.perf_counter_ns(), headers_of(context)
            failed: CallError | None = None
            sent, status = 0, 499
            try:
                service = parse(health_request(), raw).service
                async for answer in self._changes(service, headers):
                    sent += len(answer)
                    yield answer
                status = 200
            except QuickServeError as error:
                failed = call_error(error)
            except CallError as error:
                failed = error
            finally:
                status = failed.status if failed is not None else status
                self._calls.note(WATCH, status, started, len(raw), sent, None, headers)
            if failed is not None:
                await context.abort(failed.code, failed.text, failed.metadata)

        return call

    def end(self) -> None:
        """Tell those who watch that the server ends, and end their calls."""
        self._ended = True
        self._wake()

    # ---- what is asked

    async def _changes(self, service: str, headers: Headers) -> AsyncIterator[bytes]:
        told = ""
        while True:
            ended = self._ended
            # Asked anew for every look: a key may be revoked while its holder watches.
            caller = self._calls.admit(headers, limited=False)
            try:
                status = self._status(service, caller)
            except NotFoundError:
                status = "SERVICE_UNKNOWN"
            if status != told:
                told = status
                yield health_response(status)
            if ended:
                return
            await self._next_look().wait()

    def _status(self, service: str, caller: Caller) -> str:
        """Raises `QuickServeError`: `NotFoundError` for a model that is not there or that the caller does not reach."""
        serving = self._serving
        if service not in _WHOLE:
            name, _, version = service.partition("@")
            error = refusal(caller, Permission.INFER, name)
            if error is not None:
                raise error
            try:
                serving.find(name, version)
            except NotFoundError:
                if not any(item.name == name and version in ("", item.version) for item in serving.statuses):
                    raise
                return "NOT_SERVING"
        return "SERVING" if serving.ready and not self._ended else "NOT_SERVING"

    # ---- looks

    def _next_look(self) -> asyncio.Event:
        if self._look is None:
            self._look = asyncio.Event()
            asyncio.get_running_loop().call_later(LOOK_S, self._wake)
        return self._look

    def _wake(self) -> None:
        look, self._look = self._look, None
        if look is not None:
            look.set()
