"""`POST /models` and `POST /models/{id}/versions`: files streamed to disk, tried, then registered."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import APIRouter, Depends, Header, Query
from msgspec import json
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.catalog import AddRequest, AddResult
from quickserveml_tui.core.errors import ConflictError, DataError, NotFoundError, UnavailableError
from quickserveml_tui.core.models import Lineage
from quickserveml_tui.core.ports.transfers import IncomingFile
from quickserveml_tui.core.refs import check_name
from quickserveml_tui.server.api.catalog_calls import (
    WRITE_ERRORS,
    CatalogRoute,
    IfMatch,
    ModelId,
    catalog_of,
    check_new_name,
    check_parent,
    etag_of,
    expected_rev,
    model_of,
)
from quickserveml_tui.server.api.catalog_documents import Added, model_document, version_document
from quickserveml_tui.server.api.models import hides_parent
from quickserveml_tui.server.api.once import ONCE_ERRORS, IdempotencyKey, once
from quickserveml_tui.server.api.work_calls import TooLargeError, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers
from quickserveml_tui.server.permissions import requires

T = TypeVar("T")
MAX_UPLOADS = 8
"""Uploads of a worker that may be under way; further ones are refused with 503."""
MAX_TRIALS = 2
"""Trials and other runs for the catalog that a worker has under way; the rest of the uploads waits its turn."""
_PIECE = 1 << 20
_TAKEN = ("application/octet-stream", "application/x-onnx", "application/onnx", "application/zip", "")
_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]*):")
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of an ONNX file, or of a bundle (`.qsml`), which holds external data too",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_ERRORS = {
    **WRITE_ERRORS,
    **ONCE_ERRORS,
    413: "The file is larger than uploads may be",
    415: "The body is not sent as plain bytes",
}


class UnsupportedBodyError(DataError):
    """The body comes in a form that is not taken."""

    default_code = "upload.type"
    http_status = 415


class Slots:
    """How much slow work a worker does at once, so that threads are left for all else; used in the event loop."""

    def __init__(self, at_once: int = MAX_TRIALS) -> None:
        self._uploads = 0
        self._trials = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[None]:
        """Room for an upload. Raises `UnavailableError` (`upload.busy`)."""
        if self._uploads >= MAX_UPLOADS:
            raise UnavailableError(
                f"{MAX_UPLOADS} uploads and checks are under way.", hint="Try again later.", code="upload.busy"
            )
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, run in a thread when its turn comes."""
        async with self._trials:
            return await run_in_threadpool(work)


async def _details(  # noqa: PLR0917 - the fields of a form
    label: Annotated[str, Query(max_length=128, description="Such as 1.2.0")] = "",
    alias: Annotated[str, Query(max_length=128, description="Is pointed at the version")] = "",
    task: Annotated[str, Query(max_length=200)] = "",
    author: Annotated[str, Query(max_length=200)] = "",
    description: Annotated[str, Query(max_length=10_000)] = "",
    framework: Annotated[str, Query(max_length=200)] = "",
    license: Annotated[str, Query(max_length=200)] = "",  # noqa: A002 - the name of the field
    notes: Annotated[str, Query(max_length=10_000)] = "",
    parent: Annotated[str, Query(max_length=200, description="Version that it was derived from")] = "",
    tag: Annotated[list[str] | None, Query(max_length=50)] = None,
    category: Annotated[list[str] | None, Query(max_length=50)] = None,
) -> AddRequest:
    """What is said about a version; a bundle brings that itself."""
    return AddRequest(
        "",
        label=label,
        alias=alias,
        task=task,
        author=author,
        description=description,
        framework=framework,
        license=license,
        notes=notes,
        tags=tuple(tag or ()),
        categories=tuple(category or ()),
        lineage=Lineage(parent=parent),
    )


Details = Annotated[AddRequest, Depends(_details)]


async def _wanted(
    content_digest: Annotated[
        str, Header(alias="Content-Digest", description="`sha-256=:BASE64:` of the body; checked")
    ] = "",
    x_content_sha256: Annotated[
        str, Header(alias="X-Content-SHA256", description="SHA-256 of the body as hex digits; checked")
    ] = "",
) -> str:
    """The SHA-256 that a request says its body has; empty where it says none."""
    found = _DIGEST.search(content_digest)
    sha256 = x_content_sha256.strip().lower()
    given = {sha256} if sha256 else set()
    try:
        given |= {base64.b64decode(found[1], validate=True).hex()} if found else set()
    except binascii.Error:
        given.add("")
    if not given and "sha-256" in content_digest:
        given.add("")
    if len(given) > 1 or any(_HEX.fullmatch(item) is None for item in given):
        raise DataError(
            "The digest in X-Content-SHA256 or Content-Digest is no SHA-256, or they are two different ones.",
            hint="Send 64 hex digits in X-Content-SHA256, as `sha256sum FILE` prints them, or Content-Digest: "
            "sha-256=:BASE64:.",
            code="upload.digest",
        )
    return next(iter(given), "")


Digest = Annotated[str, Depends(_wanted)]
Name = Annotated[str, Query(min_length=1, max_length=128, description="Name of the new model")]


def _taking(tag: str) -> dict[str, Any]:
    """What routes that take a file declare."""
    return {
        "status_code": 201,
        "tags": [tag],
        "dependencies": requires(Permission.WRITE),
        "responses": answers(Added, 201, text="It is added", errors=_ERRORS, headers=["ETag", "Location"]),
        "openapi_extra": _BODY,
    }


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=CatalogRoute)
    uploads = Uploads(context)

    @routes.post("/models", **_taking("Models"))
    async def create_model(
        request: Request,
        name: Name,
        details: Details,
        digest: Digest,
        idempotency_key: IdempotencyKey = "",
    ) -> Response:
        """Upload a file as the first version of a new model."""
        asked = replace(details, name=check_name(name), onto="")
        check_new_name(request, name)
        check_parent(request, asked.lineage.parent)
        if not idempotency_key:
            await run_in_threadpool(_check_free, context, name)
        return await uploads.take(request, asked, digest, idempotency_key)

    @routes.post("/models/{model_id}/versions", **_taking("Versions"))
    async def add_version(  # noqa: PLR0917 - the parts of a request
        request: Request,
        model_id: ModelId,
        details: Details,
        digest: Digest,
        if_match: IfMatch = "",
        idempotency_key: IdempotencyKey = "",
    ) -> Response:
        """Upload a file as the next version; a file that is one already only gets the details."""
        model = await run_in_threadpool(model_of, context, request, Permission.WRITE, model_id)
        if not idempotency_key:
            expected_rev(model, if_match)
        asked = replace(details, name=model.name, onto=model.id)
        check_parent(request, asked.lineage.parent)
        return await uploads.take(request, asked, digest, idempotency_key)

    return routes


def _check_free(context: ServerContext, name: str) -> None:
    """Refuse a name that is taken before a byte of the body is read."""
    try:
        catalog_of(context).catalog.show(name)
    except NotFoundError as error:
        if error.code == "catalog.none":
            raise
        return
    raise ConflictError(
        f"There is already a model called {name}.",
        hint=f"Add a version to it: POST /api/v1/models/{name}/versions.",
        code="name.taken",
    )


class Uploads:
    """Uploads of a worker."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._slots = Slots()

    async def take(self, request: Request, asked: AddRequest, wanted: str, key: str) -> Response:
        """Read the body to disk, then add it, unless this is the request of a key that has its answer."""
        _check_form(request)
        async with self._slots.upload(), _entered(catalog_of(self._context).transfers.receive()) as incoming:
            await self._read(request, incoming)
            if wanted and incoming.digest != wanted:
                raise DataError(
                    f"The body has the SHA-256 {incoming.digest}, but the request says {wanted}, so nothing was kept.",
                    hint="It changed on its way, or the digest is that of another file: `sha256sum FILE` prints it.",
                    code="upload.digest",
                )
            content = json.encode((asked, incoming.digest))
            return await once(self._context, request, key, content, self._adding(request, asked, incoming))

    async def _read(self, request: Request, incoming: IncomingFile) -> None:
        limit = self._context.options.max_upload_bytes
        piece = bytearray()
        async for part in request.stream():
            piece += part
            if incoming.size_bytes + len(piece) > limit:
                raise TooLargeError(
                    f"The file is larger than {limit:,} bytes.", hint="The server can be started with --max-upload-mb."
                )
            if len(piece) >= _PIECE:
                await run_in_threadpool(incoming.write, bytes(piece))
                piece.clear()
        await run_in_threadpool(incoming.write, bytes(piece))

    def _adding(self, request: Request, asked: AddRequest, incoming: IncomingFile) -> Callable[[], Awaitable[Response]]:
        async def work() -> Response:
            return _added(request, await self._slots.run(lambda: incoming.add(asked)))

        return work


def _added(request: Request, result: AddResult) -> Response:
    model, version = result.model, result.version
    hide = hides_parent(request, model)
    document = Added(
        model_document(model, hide_parent=hide),
        version_document(model, version, hide_parent=hide),
        result.existed,
        result.warning,
    )
    location = f"/api/v1/models/{model.name}/versions/{version.version}"
    return reply(document, 200 if result.existed else 201, {"ETag": etag_of(model), "Location": location})


def _check_form(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedBodyError(
            "Uploads are taken without a content encoding.", hint="Send the plain bytes.", code="upload.encoding"
        )
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TAKEN:
        raise UnsupportedBodyError(
            "The body must be the bytes of the file.",
            hint="Send it as application/octet-stream: curl --data-binary @FILE -H 'Content-Type: …'.",
        )


@asynccontextmanager
async def _entered(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """A context manager that blocks, entered and left in a thread, also when the request is cancelled."""
    value = await run_in_threadpool(manager.__enter__)
    try:
        yield value
    finally:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(manager.__exit__, None, None, None)
