"""`/models/{id}/versions`: list, look at, change, delete."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from msgspec import UNSET, UnsetType
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.catalog import BulkAction
from quickserveml_tui.core.models import MetadataPatch, ModelRecord, VersionRecord
from quickserveml_tui.server.api.catalog_calls import (
    NOT_FOUND,
    WRITE_ERRORS,
    CatalogRoute,
    IfMatch,
    IfNoneMatch,
    ModelId,
    Version,
    caller_id,
    catalog_of,
    check_parent,
    etag_of,
    expected_rev,
    is_known,
    model_of,
    unchanged,
    version_of,
)
from quickserveml_tui.server.api.catalog_documents import (
    DeletionDocument,
    VersionChange,
    VersionDocument,
    VersionPage,
    version_document,
)
from quickserveml_tui.server.api.models import Token
from quickserveml_tui.server.api.paging import open_token, seal_token
from quickserveml_tui.server.api.work_calls import Limit, may, read_json, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers, body
from quickserveml_tui.server.permissions import requires

_ONE = "/models/{model_id}/versions/{version}"


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Versions"], route_class=CatalogRoute)
    _add_reading(routes, context)
    _add_writing(routes, context)
    return routes


def shown_version(request: Request, model: ModelRecord, version: VersionRecord) -> Response:
    """A version with the ETag of its model."""
    return reply(_document(request, model, version), 200, {"ETag": etag_of(model)})


def _document(request: Request, model: ModelRecord, version: VersionRecord) -> VersionDocument:
    name, at, _selector = version.lineage.parent.partition("@")
    hide = bool(at) and not may(request, Permission.READ, name)
    return version_document(model, version, hide_parent=hide)


def _add_reading(routes: APIRouter, context: ServerContext) -> None:
    @routes.get(
        "/models/{model_id}/versions",
        dependencies=requires(Permission.READ),
        responses=answers(VersionPage, errors=NOT_FOUND),
    )
    def list_versions(request: Request, model_id: ModelId, limit: Limit = 100, page_token: Token = "") -> Response:
        """The versions of a model, newest first."""
        model = model_of(context, request, Permission.READ, model_id)
        scope = f"versions {caller_id(request)} {model.id}"
        before = open_token(scope, page_token) if page_token else 2**62
        left = [item for item in reversed(model.versions) if item.version < before]
        chosen = left[:limit]
        token = seal_token(scope, chosen[-1].version) if len(left) > limit else ""
        return reply(VersionPage([_document(request, model, item) for item in chosen], token))

    @routes.get(
        _ONE,
        dependencies=requires(Permission.READ),
        responses=answers(
            VersionDocument, errors={**NOT_FOUND, 304: "It is what `If-None-Match` names"}, headers=["ETag"]
        ),
    )
    def get_version(request: Request, model_id: ModelId, version: Version, if_none_match: IfNoneMatch = "") -> Response:
        """A version by number, label or alias; its ETag is that of the model."""
        model = model_of(context, request, Permission.READ, model_id)
        found, _ref = version_of(model, version)
        etag = etag_of(model)
        return unchanged(etag) if is_known(etag, if_none_match) else shown_version(request, model, found)


def _add_writing(routes: APIRouter, context: ServerContext) -> None:
    @routes.patch(
        _ONE,
        dependencies=requires(Permission.WRITE),
        responses=answers(VersionDocument, errors=WRITE_ERRORS, headers=["ETag"]),
        openapi_extra=body(VersionChange, example={"state": "validated", "label": "1.2.0"}),
    )
    async def change_version(request: Request, model_id: ModelId, version: Version, if_match: IfMatch = "") -> Response:
        """Change the label, state, notes, metadata or lineage of a version."""
        change = await read_json(request, VersionChange)

        def work() -> Response:
            model = model_of(context, request, Permission.WRITE, model_id)
            rev = expected_rev(model, if_match)
            found, ref = version_of(model, version)
            patch = _patch(change)
            check_parent(request, patch.parent)
            if patch == MetadataPatch():
                return shown_version(request, model, found)
            changed = catalog_of(context).catalog.revise(ref, BulkAction(patch=patch), expected_rev=rev)
            return shown_version(request, changed, changed.version(found.version) or found)

        return await run_in_threadpool(work)

    @routes.delete(
        _ONE,
        dependencies=requires(Permission.WRITE),
        responses=answers(DeletionDocument, text="It is in the trash", errors=WRITE_ERRORS),
    )
    def delete_version(
        request: Request, model_id: ModelId, version: Version, force: bool = False, if_match: IfMatch = ""
    ) -> Response:
        """Move a version to the trash; the last one takes the model along."""
        model = model_of(context, request, Permission.WRITE, model_id)
        rev = expected_rev(model, if_match)
        _found, ref = version_of(model, version)
        gone = catalog_of(context).catalog.delete(ref, force=force, expected_rev=rev)
        left = len(gone.left.versions) if gone.left else 0
        return reply(DeletionDocument(gone.entry.title, gone.entry.id, left))


def _patch(change: VersionChange) -> MetadataPatch:
    fields: dict[str, Any] = {
        name: value or ""
        for name in ("label", "notes", "made_from", "converted_by", "parent")
        if not isinstance(value := getattr(change, name), UnsetType)
    }
    state = None if isinstance(change.state, UnsetType) else change.state
    metadata = None if change.metadata is UNSET or not change.metadata else change.metadata
    return MetadataPatch(state=state, version_metadata=metadata, **fields)
