"""`/monitor`: the server at one moment, and as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.monitoring import ServerSnapshot
from quickserveml_tui.server.api.work_calls import may, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.events import MEDIA_TYPE, Streams, event
from quickserveml_tui.server.openapi import answers
from quickserveml_tui.server.permissions import requires
from quickserveml_tui.server.totals import Sees, ServerTotals


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Monitor"])
    totals = ServerTotals(context)
    streams = Streams(lambda: context.serving.draining)

    @routes.get(
        "/monitor",
        dependencies=requires(Permission.METRICS),
        responses=answers(ServerSnapshot, text="Counters since the start of the server, over all workers"),
    )
    def monitor(request: Request) -> Response:
        """The server now. Rates and percentiles come from the difference of two snapshots."""
        return reply(totals.snapshot(_sight(request), _url(request)))

    @routes.get(
        "/monitor/events",
        dependencies=requires(Permission.METRICS),
        responses=answers(text="`snapshot` with the document of `/monitor`, again and again", media_type=MEDIA_TYPE),
    )
    async def watch(
        request: Request, interval: Annotated[float, Query(ge=0.25, le=60, description="Seconds between two")] = 1.0
    ) -> Response:
        """The server again and again, as server-sent events."""
        return streams.response(request, _snapshots(totals, request, interval))

    return routes


def _sight(request: Request) -> Sees:
    return lambda name: may(request, Permission.METRICS, name)


def _url(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


async def _snapshots(totals: ServerTotals, request: Request, interval: float) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    sees, url = _sight(request), _url(request)
    due = loop.time()
    while True:
        snapshot = await asyncio.to_thread(totals.snapshot, sees, url)
        yield event("snapshot", msgspec.to_builtins(snapshot))
        due = max(due + interval, loop.time())
        await asyncio.sleep(due - loop.time())
