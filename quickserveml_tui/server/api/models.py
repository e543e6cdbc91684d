"""`/models` and `/models/{id}`: list, look at, change, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from msgspec import UNSET, UnsetType
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.catalog import BulkAction, CatalogQuery
from quickserveml_tui.core.errors import PreconditionError, UsageError
from quickserveml_tui.core.models import MetadataPatch, ModelRecord
from quickserveml_tui.server.api.catalog_calls import (
    NOT_FOUND,
    WRITE_ERRORS,
    CatalogRoute,
    IfMatch,
    IfNoneMatch,
    ModelId,
    caller_id,
    catalog_of,
    etag_of,
    expected_rev,
    is_known,
    model_of,
    unchanged,
)
from quickserveml_tui.server.api.catalog_documents import (
    DeletionDocument,
    ModelChange,
    ModelContent,
    ModelDocument,
    ModelPage,
    model_document,
)
from quickserveml_tui.server.api.paging import bad_token, open_token, seal_token
from quickserveml_tui.server.api.work_calls import Limit, may, read_json, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers, body
from quickserveml_tui.server.permissions import requires

_TEXTS = ("task", "author", "description", "framework", "license")
_TRIES = 5

Filter = Annotated[
    str, Query(alias="filter", max_length=4000, description="A filter, such as `params < 10M AND tag:vision`")
]
Sort = Annotated[
    str, Query(max_length=64, description="A column, such as `name` or `updated`; a leading `-` sorts down")
]
Token = Annotated[str, Query(max_length=4000, description="`next_page_token` of the page before")]


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Models"], route_class=CatalogRoute)
    _add_reading(routes, context)
    _add_writing(routes, context)
    return routes


def shown(request: Request, model: ModelRecord, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A model with its ETag."""
    document = model_document(model, hide_parent=hides_parent(request, model))
    return reply(document, status, {"ETag": etag_of(model), **(headers or {})})


def hides_parent(request: Request, model: ModelRecord) -> bool:
    """Whether a version of the model comes from a model that the caller may not know of."""
    parents = {item.lineage.parent.partition("@")[0] for item in model.versions if "@" in item.lineage.parent}
    return any(not may(request, Permission.READ, name) for name in parents)


def _add_reading(routes: APIRouter, context: ServerContext) -> None:
    @routes.get("/models", dependencies=requires(Permission.READ), responses=answers(ModelPage, errors=NOT_FOUND))
    def list_models(
        request: Request,
        chosen: Filter = "",
        sort: Sort = "name",
        limit: Limit = 100,
        page_token: Token = "",
    ) -> Response:
        """Models that match, sorted; those that the key does not reach are left out."""
        scope = f"models {caller_id(request)} {sort} {chosen}"
        inner = open_token(scope, page_token) if page_token else ""
        query = CatalogQuery(chosen, sort, limit, inner)
        try:
            found = catalog_of(context).catalog.list_models(
                query, visible=lambda name: may(request, Permission.READ, name)
            )
        except UsageError as error:
            raise bad_token() if error.code == "usage.page_token" else error from error
        documents = [model_document(view.model, hide_parent=hides_parent(request, view.model)) for view in found.models]
        token = seal_token(scope, found.next_page_token) if found.next_page_token else ""
        return reply(ModelPage(documents, token, found.total))

    @routes.get(
        "/models/{model_id}",
        dependencies=requires(Permission.READ),
        responses=answers(
            ModelDocument, errors={**NOT_FOUND, 304: "It is what `If-None-Match` names"}, headers=["ETag"]
        ),
    )
    def get_model(request: Request, model_id: ModelId, if_none_match: IfNoneMatch = "") -> Response:
        """A model with its latest version."""
        model = model_of(context, request, Permission.READ, model_id)
        etag = etag_of(model)
        return unchanged(etag) if is_known(etag, if_none_match) else shown(request, model)


def _add_writing(routes: APIRouter, context: ServerContext) -> None:
    @routes.put(
        "/models/{model_id}",
        dependencies=requires(Permission.WRITE),
        responses=answers(ModelDocument, errors={**WRITE_ERRORS, 428: "`If-Match` is missing"}, headers=["ETag"]),
        openapi_extra=body(ModelContent),
    )
    async def replace_model(request: Request, model_id: ModelId, if_match: IfMatch = "") -> Response:
        """Replace all that is written about a model; `If-Match` must say what is replaced."""
        content = await read_json(request, ModelContent)

        def work() -> Response:
            model = model_of(context, request, Permission.WRITE, model_id)
            rev = expected_rev(model, if_match, required=True)
            action = _replacement(model, content)
            return shown(request, catalog_of(context).catalog.revise(model.id, action, expected_rev=rev))

        return await run_in_threadpool(work)

    @routes.patch(
        "/models/{model_id}",
        dependencies=requires(Permission.WRITE),
        responses=answers(ModelDocument, errors=WRITE_ERRORS, headers=["ETag"]),
        openapi_extra=body(ModelChange, example={"task": "image classification", "tags": ["vision"]}),
    )
    async def change_model(request: Request, model_id: ModelId, if_match: IfMatch = "") -> Response:
        """Change what is written about a model."""
        change = await read_json(request, ModelChange)
        return await run_in_threadpool(_changed, context, request, model_id, change, if_match)

    @routes.delete(
        "/models/{model_id}",
        dependencies=requires(Permission.WRITE),
        responses=answers(DeletionDocument, text="It is in the trash", errors=WRITE_ERRORS),
    )
    def delete_model(request: Request, model_id: ModelId, force: bool = False, if_match: IfMatch = "") -> Response:
        """Move a model with all its versions to the trash; `force` also while protected aliases point at it."""
        model = model_of(context, request, Permission.WRITE, model_id)
        rev = expected_rev(model, if_match)
        gone = catalog_of(context).catalog.delete(model.id, force=force, expected_rev=rev)
        return reply(DeletionDocument(gone.entry.title, gone.entry.id, 0))


def _changed(context: ServerContext, request: Request, model_id: str, change: ModelChange, if_match: str) -> Response:
    """Make a change; without If-Match again and again until no other writer came between."""
    for attempt in range(_TRIES):
        model = model_of(context, request, Permission.WRITE, model_id)
        rev = expected_rev(model, if_match)
        action = _action(model, change)
        if action == BulkAction(patch=MetadataPatch()):
            return shown(request, model)
        try:
            changed = catalog_of(context).catalog.revise(model.id, action, expected_rev=model.rev)
        except PreconditionError:
            if rev is not None or attempt == _TRIES - 1:
                raise
            continue
        return shown(request, changed)
    raise AssertionError  # pragma: no cover


def _action(model: ModelRecord, change: ModelChange) -> BulkAction:
    texts: dict[str, Any] = {
        name: value or "" for name in _TEXTS if not isinstance(value := getattr(change, name), UnsetType)
    }
    metadata = None if change.metadata is UNSET or not change.metadata else change.metadata
    tags = _words(model.tags, change.tags)
    categories = _words(model.categories, change.categories)
    return BulkAction(
        add_tags=tags[0],
        remove_tags=tags[1],
        add_categories=categories[0],
        remove_categories=categories[1],
        patch=MetadataPatch(metadata=metadata, **texts),
    )


def _words(old: tuple[str, ...], new: list[str] | UnsetType | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What to add and what to remove for `new` to be all there is."""
    if isinstance(new, UnsetType):
        return (), ()
    return tuple(new or ()), old


def _replacement(model: ModelRecord, content: ModelContent) -> BulkAction:
    metadata: dict[str, str | None] = {**dict.fromkeys(model.metadata), **content.metadata}
    return BulkAction(
        add_tags=tuple(content.tags),
        remove_tags=model.tags,
        add_categories=tuple(content.categories),
        remove_categories=model.categories,
        patch=MetadataPatch(metadata=metadata, **{name: getattr(content, name) for name in _TEXTS}),
    )
