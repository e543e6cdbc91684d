"""What a version is made of: its graph, layers, schema, and the file itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.server.api.catalog_calls import (
    NOT_FOUND,
    CatalogRoute,
    ModelId,
    Version,
    caller_id,
    catalog_of,
    model_of,
    version_of,
)
from quickserveml_tui.server.api.catalog_documents import GraphDocument, LayersDocument
from quickserveml_tui.server.api.files import Asked, file_answers, file_reply
from quickserveml_tui.server.api.models import Token
from quickserveml_tui.server.api.paging import open_token, seal_token
from quickserveml_tui.server.api.uploads import Slots
from quickserveml_tui.server.api.work_calls import Limit, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers
from quickserveml_tui.server.permissions import requires

_ONE = "/models/{model_id}/versions/{version}"
_ERRORS = {**NOT_FOUND, 422: "The model breaks what looks at it"}
_AT_ONCE = 4
"""Requests of a worker that look into models at once, and as many that make bundles; the rest waits its turn."""


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Versions"], route_class=CatalogRoute)
    _add_inspection(routes, context)
    slots = Slots(_AT_ONCE)

    @routes.get(f"{_ONE}/artifact", dependencies=requires(Permission.READ), responses=file_answers(NOT_FOUND))
    async def get_artifact(
        request: Request,
        model_id: ModelId,
        version: Version,
        asked: Asked,
        format: Literal["", "onnx", "bundle"] = "",  # noqa: A002 - the name of the parameter
    ) -> Response:
        """The model file; a model with external data comes as a bundle, others do with `format=bundle`."""

        def work() -> Response:
            model = model_of(context, request, Permission.READ, model_id)
            _found, ref = version_of(model, version)
            bundle = {"onnx": False, "bundle": True}.get(format)
            stream = catalog_of(context).transfers.open_artifact(ref, bundle=bundle)
            return file_reply(stream, asked)

        return await slots.run(work)

    return routes


def _add_inspection(routes: APIRouter, context: ServerContext) -> None:
    slots = Slots(_AT_ONCE)

    @routes.get(
        f"{_ONE}/graph", dependencies=requires(Permission.READ), responses=answers(GraphDocument, errors=_ERRORS)
    )
    async def get_graph(request: Request, model_id: ModelId, version: Version) -> Response:
        """What the file says about itself, and its totals."""

        def work() -> Response:
            model = model_of(context, request, Permission.READ, model_id)
            _found, ref = version_of(model, version)
            inspect = catalog_of(context).inspect
            return reply(GraphDocument(inspect.header(ref), inspect.totals(ref)))

        return await slots.run(work)

    @routes.get(
        f"{_ONE}/schema",
        dependencies=requires(Permission.READ),
        responses={**answers(None, errors=_ERRORS), 200: _ANY_JSON},
    )
    async def get_schema(request: Request, model_id: ModelId, version: Version) -> Response:
        """JSON Schema of request and response, with examples."""

        def work() -> Response:
            model = model_of(context, request, Permission.READ, model_id)
            _found, ref = version_of(model, version)
            return reply(catalog_of(context).inspect.schema(ref))

        return await slots.run(work)

    @routes.get(
        f"{_ONE}/layers", dependencies=requires(Permission.READ), responses=answers(LayersDocument, errors=_ERRORS)
    )
    async def list_layers(  # noqa: PLR0917 - the parts of a request
        request: Request,
        model_id: ModelId,
        version: Version,
        limit: Limit = 100,
        page_token: Token = "",
        shapes: Annotated[bool, Query(description="Whether to wait for shape inference")] = True,
    ) -> Response:
        """The layers of the graph, in its order."""

        def work() -> Response:
            model = model_of(context, request, Permission.READ, model_id)
            found, ref = version_of(model, version)
            scope = f"layers {caller_id(request)} {model.id} {found.artifact.digest}"
            offset = open_token(scope, page_token) if page_token else 0
            page = catalog_of(context).inspect.layers(ref, offset, limit, shapes=shapes)
            behind = offset + len(page.rows)
            token = seal_token(scope, behind) if page.rows and behind < page.total else ""
            return reply(LayersDocument(list(page.rows), offset, page.total, page.shapes, token))

        return await slots.run(work)


_ANY_JSON: dict[str, Any] = {
    "description": "Done",
    "content": {"application/json": {"schema": {"type": "object", "required": ["request", "response"]}}},
}
