"""`/server`: what this server is and what it serves."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui import __version__
from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.serving import ServedStatus
from quickserveml_tui.server.api.work_calls import may, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers
from quickserveml_tui.server.permissions import requires


@dataclass(frozen=True, slots=True)
class ServerDocument:
    """A server."""

    name: str
    version: str
    started_at: float
    """Unix time."""
    uptime_s: float
    ready: bool
    revision: int
    """Of the desired state that this worker follows."""
    workers: int
    worker: int
    """Index of the worker that answered."""
    has_home: bool
    """Whether there is a catalog behind it."""
    default_model: str
    """`name@version` behind the short routes; empty for none, or one that this key may not see."""
    versions: tuple[ServedStatus, ...]
    """Everything that is served, comes, goes, or could not be loaded."""


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Server"])

    @routes.get(
        "/server", dependencies=requires(Permission.READ), responses=answers(ServerDocument, text="This server")
    )
    async def server(request: Request) -> Response:
        """What this server is and what it serves."""
        serving = context.serving
        default = serving.default() if serving.models else None
        is_visible = default is not None and may(request, Permission.READ, default.name)
        document = ServerDocument(
            name="quickserveml",
            version=__version__,
            started_at=context.started_at,
            uptime_s=max(time.time() - context.started_at, 0.0),
            ready=serving.ready,
            revision=context.control.revision,
            workers=max(len(context.counters), 1),
            worker=context.worker,
            has_home=context.workbench is not None,
            default_model=f"{default.name}@{default.version}" if default is not None and is_visible else "",
            versions=tuple(item for item in context.control.statuses() if may(request, Permission.READ, item.name)),
        )
        return reply(document)

    return routes
