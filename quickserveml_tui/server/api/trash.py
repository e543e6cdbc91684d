"""`/models/trash` and `/models/{id}/restore`: what was deleted."""

from __future__ import annotations

from fastapi import APIRouter
from msgspec import json
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import NotFoundError
from quickserveml_tui.core.models import TrashEntry
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server.api.catalog_calls import (
    NOT_FOUND,
    CatalogRoute,
    ModelId,
    caller_id,
    catalog_of,
    check_new_name,
)
from quickserveml_tui.server.api.catalog_documents import (
    ModelDocument,
    RestoreRequest,
    TrashPage,
    trash_document,
)
from quickserveml_tui.server.api.models import Token, shown
from quickserveml_tui.server.api.once import ONCE_ERRORS, IdempotencyKey, once
from quickserveml_tui.server.api.paging import open_token, seal_token
from quickserveml_tui.server.api.work_calls import Limit, may, read_json, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers, body
from quickserveml_tui.server.permissions import requires


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Models"], route_class=CatalogRoute)

    @routes.get("/models/trash", dependencies=requires(Permission.READ), responses=answers(TrashPage, errors=NOT_FOUND))
    def list_trash(request: Request, limit: Limit = 100, page_token: Token = "") -> Response:
        """Deleted models and versions, newest first."""
        scope = f"trash {caller_id(request)}"
        entries = sorted(_visible(context, request, Permission.READ), key=_key, reverse=True)
        if page_token:
            last = tuple(open_token(scope, page_token))
            entries = [entry for entry in entries if _key(entry) < last]
        chosen = entries[:limit]
        token = seal_token(scope, _key(chosen[-1])) if len(entries) > limit else ""
        return reply(TrashPage([trash_document(entry) for entry in chosen], token))

    @routes.post(
        "/models/{model_id}/restore",
        dependencies=requires(Permission.WRITE),
        responses=answers(ModelDocument, errors={**NOT_FOUND, **ONCE_ERRORS}, headers=["ETag"]),
        openapi_extra=body(RestoreRequest, required=False),
    )
    async def restore(request: Request, model_id: ModelId, idempotency_key: IdempotencyKey = "") -> Response:
        """Bring back what was deleted: by its id in the trash, or the newest of a model's id, name or title."""
        asked = await read_json(request, RestoreRequest, RestoreRequest)

        async def work() -> Response:
            return await run_in_threadpool(_restored, context, request, model_id, asked.name)

        return await once(context, request, idempotency_key, json.encode(asked), work)

    return routes


def _key(entry: TrashEntry) -> tuple[str, str]:
    return entry.deleted_at, entry.id


def _visible(context: ServerContext, request: Request, permission: Permission) -> list[TrashEntry]:
    return [entry for entry in catalog_of(context).catalog.trash() if may(request, permission, entry.name)]


def _restored(context: ServerContext, request: Request, what: str, name: str) -> Response:
    for entry in _visible(context, request, Permission.WRITE):
        if what in (entry.id, entry.title, entry.model_id, entry.name):
            break
    else:
        raise NotFoundError(
            f"“{safe_text(what, 80)}” is not in the trash.",
            hint="GET /api/v1/models/trash lists what is there.",
            code="trash.not_found",
        )
    if name:
        check_new_name(request, name)
    return shown(request, catalog_of(context).catalog.restore(entry.id, name=name))
