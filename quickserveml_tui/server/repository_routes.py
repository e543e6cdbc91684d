"""The repository of the inference protocol: what is served, and loading and unloading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import DataError, UnavailableError
from quickserveml_tui.server import repository, schemas
from quickserveml_tui.server.permissions import CALLER, requires
from quickserveml_tui.server.replies import json_reply
from quickserveml_tui.wire.encodings import decompress
from quickserveml_tui.wire.oip_documents import parse_document

if TYPE_CHECKING:
    from quickserveml_tui.server.context import ServerContext
    from quickserveml_tui.server.engine import Engine

_CHANGE_BODY = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "parameters": {
                            "type": "object",
                            "properties": {
                                "version": {"type": ["string", "integer"], "description": "Number, label or alias"},
                                "config": {
                                    "type": "string",
                                    "description": "JSON with a version_policy of specific versions, as Triton's",
                                },
                            },
                        }
                    },
                }
            }
        },
    }
}


def router(engine: Engine, context: ServerContext | None) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Repository"], responses=schemas.PROTOCOL_ERRORS)
    limit = engine.options.max_body_bytes

    @routes.post("/v2/repository/index", openapi_extra=schemas.INDEX_BODY, dependencies=requires(Permission.INFER))
    async def index(request: Request) -> Response:
        """All models with their versions and states; with “ready” only those that take requests."""
        question = await _document(request, limit)
        ready = question.get("ready", False)
        if type(ready) is not bool:
            raise DataError("“ready” is true or false.", code="request.invalid")
        control = context.control if context is not None else None
        return json_reply(repository.index(engine.serving, control, request.scope.get(CALLER), ready_only=ready))

    async def load(model: str, request: Request, version: str = "") -> Response:
        """Load a model of the catalog or the repository folder, or look again at what has changed of one."""
        parameters = await _parameters(request, limit)
        await repository.load(_required(context), model, parameters, version)
        return json_reply({})

    async def unload(model: str, request: Request, version: str = "") -> Response:
        """Stop serving a model, or one version of it; requests that it has are answered first."""
        parameters = await _parameters(request, limit)
        await repository.unload(_required(context), model, parameters, version)
        return json_reply({})

    for endpoint in (load, unload):
        for base, kind in (("{model}", ""), ("{model}/versions/{version}", "_version")):
            routes.add_api_route(
                f"/v2/repository/models/{base}/{endpoint.__name__}",
                endpoint,
                methods=["POST"],
                operation_id=f"{endpoint.__name__}_model{kind}",
                openapi_extra=_CHANGE_BODY,
                dependencies=requires(Permission.OPERATE, model="model"),
            )
    return routes


def _required(context: ServerContext | None) -> ServerContext:
    if context is None:
        raise UnavailableError("This server cannot change what it serves.", code="server.fixed")
    return context


async def _document(request: Request, limit: int) -> dict[str, Any]:
    body = decompress(await request.body(), request.headers.get("content-encoding", ""), limit)
    document = parse_document(body) if body.strip() else {}
    if not isinstance(document, dict):
        raise DataError("The request must be a JSON object.", code="request.invalid")
    return document


async def _parameters(request: Request, limit: int) -> dict[str, Any]:
    found = (await _document(request, limit)).get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise DataError("“parameters” must be an object.", code="request.invalid")
    return found
