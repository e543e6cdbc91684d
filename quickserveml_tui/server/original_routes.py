"""The short routes for the default model."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from quickserveml_tui import __version__
from quickserveml_tui.core.access import Permission
from quickserveml_tui.server import schemas
from quickserveml_tui.server.access import visible
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.permissions import CALLER, requires
from quickserveml_tui.server.replies import json_reply
from quickserveml_tui.services.schema import model_schema
from quickserveml_tui.services.serving_documents import model_info, repository_index


def router(engine: Engine) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Short form"], responses=schemas.PROBLEMS)
    serving = engine.serving
    default_model = requires(Permission.INFER, of=lambda: serving.default().name)

    @routes.get("/", dependencies=requires(Permission.INFER))
    async def root(request: Request) -> Response:
        """What this server is and where to go."""
        caller = request.scope.get(CALLER)
        default = serving.default()
        shown = default if visible(caller, default.name) else None
        return json_reply(
            {
                "name": "quickserveml",
                "version": __version__,
                "default_model": shown and {"name": shown.name, "version": shown.version},
                "models": [item for item in repository_index(serving) if visible(caller, item["name"])],
                "links": {
                    "docs": "/docs",
                    "openapi": "/openapi.json",
                    "health": "/health",
                    "metrics": "/metrics",
                    "predict": "/predict",
                    "infer": f"/v2/models/{shown.name}/infer" if shown else "/v2/repository/index",
                },
            }
        )

    @routes.get("/health", dependencies=requires(Permission.PUBLIC))
    async def health() -> Response:
        """Whether requests are welcome: 503 while the server drains."""
        ready = serving.ready
        document = {"status": "healthy" if ready else "draining", "ready": ready, "models": len(serving.models)}
        return json_reply(document, 200 if ready else 503, None if ready else {"Retry-After": "1"})

    @routes.get("/model/info", dependencies=default_model)
    async def info() -> Response:
        """What the default model is and how it is run."""
        return json_reply(model_info(serving, serving.default()))

    @routes.get("/model/schema", dependencies=default_model)
    async def schema() -> Response:
        """JSON Schema of the default model's request and response, with an example."""
        return json_reply(model_schema(serving.default().session))

    return routes
