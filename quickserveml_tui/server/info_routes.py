"""Health, metadata, statistics and repository of the inference protocol, and Prometheus metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from quickserveml_tui import __version__
from quickserveml_tui.core.access import Permission
from quickserveml_tui.server import schemas
from quickserveml_tui.server.access import visible
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.permissions import CALLER, requires
from quickserveml_tui.server.replies import json_reply
from quickserveml_tui.services.serving_documents import (
    EXTENSIONS,
    model_config,
    model_metadata,
    model_statistics,
)

if TYPE_CHECKING:
    from quickserveml_tui.server.context import ServerContext
    from quickserveml_tui.services.serving_stats import Counters

_RETRY = {"Retry-After": "1"}


def router(engine: Engine, context: ServerContext | None = None) -> APIRouter:
    """The routes."""
    routes = APIRouter(responses=schemas.PROTOCOL_ERRORS)
    _add_server_routes(routes, engine)
    _add_model_routes(routes, engine, context.counters if context is not None else ())
    return routes


def _add_server_routes(routes: APIRouter, engine: Engine) -> None:
    serving = engine.serving

    @routes.get("/v2/health/live", tags=["Health"], dependencies=requires(Permission.PUBLIC))
    async def live() -> Response:
        """Whether the process answers."""
        return json_reply({"live": True})

    @routes.get("/v2/health/ready", tags=["Health"], dependencies=requires(Permission.PUBLIC))
    async def ready() -> Response:
        """Whether requests are welcome: 503 while the server drains."""
        if not serving.ready:
            return json_reply({"ready": False, "live": True}, 503, _RETRY)
        return json_reply({"ready": True, "live": True})

    @routes.get("/v2", tags=["Metadata"], dependencies=requires(Permission.INFER))
    @routes.get("/v2/", include_in_schema=False, dependencies=requires(Permission.INFER))
    async def server_metadata() -> Response:
        """Name, version and extensions of the server."""
        return json_reply({"name": "quickserveml", "version": __version__, "extensions": list(EXTENSIONS)})


def _add_model_routes(routes: APIRouter, engine: Engine, counters: Sequence[Counters]) -> None:
    serving = engine.serving

    async def metadata(model: str, version: str = "") -> Response:
        """Inputs and outputs of a model; a free dimension is -1."""
        return json_reply(model_metadata(serving, serving.find(model, version)))

    async def ready(model: str, version: str = "") -> Response:
        """Whether a model takes requests."""
        found = serving.find(model, version)
        if not serving.ready:
            return json_reply({"name": found.name, "ready": False}, 503, _RETRY)
        return json_reply({"name": found.name, "ready": True})

    async def config(model: str, version: str = "") -> Response:
        """Configuration in Triton's form."""
        return json_reply(model_config(serving.find(model, version)))

    async def statistics(model: str, version: str = "") -> Response:
        """Statistics in Triton's form."""
        if version:
            return json_reply({"model_stats": [model_statistics(serving.find(model, version), counters)]})
        found = [serving.find(model, number) for number in serving.versions(model)]
        return json_reply({"model_stats": [model_statistics(item, counters) for item in found]})

    @routes.get("/v2/models/stats", tags=["Metadata"], dependencies=requires(Permission.INFER))
    async def all_statistics(request: Request) -> Response:
        """Statistics of all models."""
        caller = request.scope.get(CALLER)
        found = [item for item in serving.models if visible(caller, item.name)]
        return json_reply({"model_stats": [model_statistics(item, counters) for item in found]})

    endpoints: list[tuple[str, Any, str]] = [
        ("", metadata, "Metadata"),
        ("/ready", ready, "Health"),
        ("/config", config, "Metadata"),
        ("/stats", statistics, "Metadata"),
    ]
    for suffix, endpoint, tag in endpoints:
        for base, kind in (("/v2/models/{model}", ""), ("/v2/models/{model}/versions/{version}", "_version")):
            routes.add_api_route(
                base + suffix,
                endpoint,
                methods=["GET"],
                tags=[tag],
                operation_id=f"{endpoint.__name__}_model{kind}",
                dependencies=requires(Permission.INFER, model="model"),
            )
