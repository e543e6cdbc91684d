"""`/models/{id}/aliases` and `/models/{id}/promote`: what points at which version."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi import Path as PathParameter
from msgspec import json
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import NotFoundError
from quickserveml_tui.core.models import ModelRecord
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server.api.catalog_calls import (
    NOT_FOUND,
    WRITE_ERRORS,
    CatalogRoute,
    IfMatch,
    ModelId,
    catalog_of,
    etag_of,
    expected_rev,
    model_of,
    version_of,
)
from quickserveml_tui.server.api.catalog_documents import (
    AliasDocument,
    AliasList,
    AliasTarget,
    Promotion,
    alias_document,
)
from quickserveml_tui.server.api.once import ONCE_ERRORS, IdempotencyKey, once
from quickserveml_tui.server.api.uploads import Slots
from quickserveml_tui.server.api.work_calls import read_json, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers, body
from quickserveml_tui.server.permissions import requires

_ONE = "/models/{model_id}/aliases/{alias}"
_ALIAS = PathParameter(max_length=200, description="A name such as `prod`")


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Aliases"], route_class=CatalogRoute)
    _add_reading(routes, context)
    _add_writing(routes, context)
    return routes


def _shown(model: ModelRecord, alias: str, status: int = 200) -> Response:
    if alias not in model.aliases:
        raise NotFoundError(
            f"{model.name} has no alias “{safe_text(alias, 60)}”.",
            hint=f"Its aliases: {', '.join(sorted(model.aliases)) or 'none'}.",
            code="alias.not_found",
        )
    return reply(alias_document(model, alias), status, {"ETag": etag_of(model)})


def _add_reading(routes: APIRouter, context: ServerContext) -> None:
    @routes.get(
        "/models/{model_id}/aliases",
        dependencies=requires(Permission.READ),
        responses=answers(AliasList, errors=NOT_FOUND, headers=["ETag"]),
    )
    def list_aliases(request: Request, model_id: ModelId) -> Response:
        """The aliases of a model, by name."""
        model = model_of(context, request, Permission.READ, model_id)
        found = [alias_document(model, alias) for alias in sorted(model.aliases)]
        return reply(AliasList(found), 200, {"ETag": etag_of(model)})

    @routes.get(
        _ONE,
        dependencies=requires(Permission.READ),
        responses=answers(AliasDocument, errors=NOT_FOUND, headers=["ETag"]),
    )
    def get_alias(request: Request, model_id: ModelId, alias: str = _ALIAS) -> Response:
        """Where an alias points, and pointed."""
        return _shown(model_of(context, request, Permission.READ, model_id), alias)


def _add_writing(routes: APIRouter, context: ServerContext) -> None:
    slots = Slots()  # a protected alias waits until golden outputs are run

    @routes.put(
        _ONE,
        dependencies=requires(Permission.WRITE),
        responses=answers(AliasDocument, errors={**WRITE_ERRORS, **_RUN}, headers=["ETag"]),
        openapi_extra=body(AliasTarget, example={"version": 2}),
    )
    async def set_alias(request: Request, model_id: ModelId, alias: str = _ALIAS, if_match: IfMatch = "") -> Response:
        """Point an alias at a version; a protected one only at a version that gives its golden outputs."""
        target = await read_json(request, AliasTarget)
        return await slots.run(lambda: _set(context, request, model_id, alias, target, if_match))

    @routes.delete(
        _ONE,
        status_code=204,
        dependencies=requires(Permission.WRITE),
        responses=answers(None, 204, text="It is gone", errors=WRITE_ERRORS),
    )
    def remove_alias(
        request: Request, model_id: ModelId, alias: str = _ALIAS, force: bool = False, if_match: IfMatch = ""
    ) -> Response:
        """Take an alias away; a protected one only with `force`."""
        model = model_of(context, request, Permission.WRITE, model_id)
        rev = expected_rev(model, if_match)
        catalog_of(context).catalog.remove_alias(model.id, alias, force=force, expected_rev=rev)
        return Response(status_code=204)

    @routes.post(
        "/models/{model_id}/promote",
        dependencies=requires(Permission.WRITE),
        responses=answers(AliasDocument, errors={**WRITE_ERRORS, **ONCE_ERRORS}, headers=["ETag"]),
        openapi_extra=body(Promotion, required=False, example={"version": "latest", "alias": "prod"}),
    )
    async def promote(
        request: Request, model_id: ModelId, if_match: IfMatch = "", idempotency_key: IdempotencyKey = ""
    ) -> Response:
        """Point `prod`, or another alias, at a version that gives its golden outputs."""
        asked = await read_json(request, Promotion, Promotion)
        target = AliasTarget(asked.version)

        async def work() -> Response:
            return await slots.run(lambda: _set(context, request, model_id, asked.alias, target, if_match))

        return await once(context, request, idempotency_key, json.encode(asked), work)


_RUN = {422: "The model breaks what runs its golden outputs"}


def _set(  # noqa: PLR0917 - all of a request
    context: ServerContext, request: Request, model_id: str, alias: str, target: AliasTarget, if_match: str
) -> Response:
    model = model_of(context, request, Permission.WRITE, model_id)
    rev = expected_rev(model, if_match)
    _version, ref = version_of(model, str(target.version))
    catalog = catalog_of(context).catalog
    changed = catalog.set_alias(ref, alias, expected_rev=rev)
    if target.protected is not None:
        changed = catalog.protect_alias(model.id, alias, protected=target.protected)
    return _shown(changed, alias)
