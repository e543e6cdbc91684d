"""`/models/{id}/aliases` and `/models/{id}/promote`: what points at which version."""

from __future__ import annotations

from dataclasses import dataclass

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
    AliasMoved,
    AliasTarget,
    Promotion,
    alias_document,
    alias_moved,
)
from quickserveml_tui.server.api.once import ONCE_ERRORS, IdempotencyKey, once
from quickserveml_tui.server.api.uploads import Slots
from quickserveml_tui.server.api.work_calls import read_json, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers, body
from quickserveml_tui.server.permissions import requires
from quickserveml_tui.services.alias_moves import last_move, move_warnings

_ONE = "/models/{model_id}/aliases/{alias}"
_ALIAS = PathParameter(max_length=200, description="A name such as `prod`")


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Aliases"], route_class=CatalogRoute)
    _add_reading(routes, context)
    _add_writing(routes, context)
    return routes


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
        model = model_of(context, request, Permission.READ, model_id)
        if alias not in model.aliases:
            raise _no_alias(model, alias)
        return reply(alias_document(model, alias), 200, {"ETag": etag_of(model)})


def _add_writing(routes: APIRouter, context: ServerContext) -> None:
    slots = Slots()  # a protected alias waits until golden outputs are run

    @routes.put(
        _ONE,
        dependencies=requires(Permission.WRITE),
        responses=answers(AliasMoved, errors={**WRITE_ERRORS, **_RUN}, headers=["ETag"]),
        openapi_extra=body(AliasTarget, example={"version": 2}),
    )
    async def set_alias(request: Request, model_id: ModelId, alias: str = _ALIAS, if_match: IfMatch = "") -> Response:
        """Point an alias at a version; a protected one only at a version that gives its golden outputs."""
        target = await read_json(request, AliasTarget)
        setting = _Setting(alias, target, if_match)
        return await slots.run(lambda: _set(context, request, model_id, setting))

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
        responses=answers(AliasMoved, errors={**WRITE_ERRORS, **ONCE_ERRORS}, headers=["ETag"]),
        openapi_extra=body(Promotion, required=False, example={"version": "latest", "alias": "prod"}),
    )
    async def promote(
        request: Request, model_id: ModelId, if_match: IfMatch = "", idempotency_key: IdempotencyKey = ""
    ) -> Response:
        """Point `prod`, or another alias, at a version that runs and gives its golden outputs."""
        asked = await read_json(request, Promotion, Promotion)
        setting = _Setting(asked.alias, AliasTarget(asked.version), if_match, checked=True)

        async def work() -> Response:
            return await slots.run(lambda: _set(context, request, model_id, setting))

        return await once(context, request, idempotency_key, json.encode(asked), work)


_RUN = {422: "The model breaks what runs its golden outputs"}


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a request wants of an alias."""

    alias: str
    target: AliasTarget
    if_match: str
    checked: bool = False


def _set(context: ServerContext, request: Request, model_id: str, setting: _Setting) -> Response:
    model, alias = model_of(context, request, Permission.WRITE, model_id), setting.alias
    rev = expected_rev(model, setting.if_match)
    _version, ref = version_of(model, str(setting.target.version))
    catalog = catalog_of(context).catalog
    changed = catalog.set_alias(ref, alias, expected_rev=rev, checked=setting.checked)
    warnings = move_warnings(changed, last_move(model, changed, alias))
    if setting.target.protected is not None:
        changed = catalog.protect_alias(model.id, alias, protected=setting.target.protected)
    if alias not in changed.aliases:  # taken away in this moment
        raise _no_alias(changed, alias)
    return reply(alias_moved(changed, alias, warnings), 200, {"ETag": etag_of(changed)})


def _no_alias(model: ModelRecord, alias: str) -> NotFoundError:
    return NotFoundError(
        f"{model.name} has no alias “{safe_text(alias, 60)}”.",
        hint=f"Its aliases: {', '.join(sorted(model.aliases)) or 'none'}.",
        code="alias.not_found",
    )
