"""What a version is made of: its graph, layers, schema, and the file itself."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.ports.transfers import ArtifactStream
from quickserveml_tui.server.api.catalog_calls import (
    NOT_FOUND,
    CatalogRoute,
    IfNoneMatch,
    ModelId,
    Version,
    caller_id,
    catalog_of,
    is_known,
    model_of,
    unchanged,
    version_of,
)
from quickserveml_tui.server.api.catalog_documents import GraphDocument, LayersDocument
from quickserveml_tui.server.api.models import Token
from quickserveml_tui.server.api.paging import open_token, seal_token
from quickserveml_tui.server.api.uploads import Slots
from quickserveml_tui.server.api.work_calls import Limit, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.events import HEAD_ONLY
from quickserveml_tui.server.openapi import answers
from quickserveml_tui.server.permissions import requires

_ONE = "/models/{model_id}/versions/{version}"
_ERRORS = {**NOT_FOUND, 422: "The model breaks what looks at it"}
_PIECE = 1 << 18
_AT_ONCE = 4
"""Requests of a worker that look into models at once, and as many that make bundles; the rest waits its turn."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_FILE: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

Range = Annotated[str, Header(alias="Range", description="One range of bytes, such as `bytes=0-1023`")]
IfRange = Annotated[str, Header(alias="If-Range", description="The `ETag` that a range belongs to")]
FILE_ANSWERS: dict[int | str, dict[str, Any]] = {
    **answers(None, errors={**NOT_FOUND, 416: "There are no bytes in that range"}),
    200: {"description": "The file", "content": _FILE, "headers": {"ETag": {"schema": {"type": "string"}}}},
    206: {"description": "A part of the file", "content": _FILE},
    304: {"description": "It is what `If-None-Match` names"},
}


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Versions"], route_class=CatalogRoute)
    _add_inspection(routes, context)
    slots = Slots(_AT_ONCE)

    @routes.get(f"{_ONE}/artifact", dependencies=requires(Permission.READ), responses=FILE_ANSWERS)
    async def get_artifact(  # noqa: PLR0917 - the parts of a request
        request: Request,
        model_id: ModelId,
        version: Version,
        format: Literal["", "onnx", "bundle"] = "",  # noqa: A002 - the name of the parameter
        range: Range = "",  # noqa: A002
        if_range: IfRange = "",
        if_none_match: IfNoneMatch = "",
    ) -> Response:
        """The model file; a model with external data comes as a bundle, others do with `format=bundle`."""

        def work() -> Response:
            model = model_of(context, request, Permission.READ, model_id)
            _found, ref = version_of(model, version)
            bundle = {"onnx": False, "bundle": True}.get(format)
            stream = catalog_of(context).transfers.open_artifact(ref, bundle=bundle)
            return file_reply(stream, range, if_range, if_none_match)

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


class FileReply(StreamingResponse):
    """Bytes of an open file, which is closed when they are sent, or cannot be."""

    def __init__(self, stream: ArtifactStream, start: int, end: int, status: int, headers: dict[str, str]) -> None:
        self._descriptor = stream.descriptor
        super().__init__(_pieces(stream.descriptor, start, end), status, headers, "application/octet-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            if scope.get(HEAD_ONLY):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b""})
            else:
                await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)


async def _pieces(descriptor: int, start: int, end: int) -> AsyncIterator[bytes]:
    while start < end:
        piece = await run_in_threadpool(os.pread, descriptor, min(_PIECE, end - start), start)
        if not piece:
            return
        start += len(piece)
        yield piece


def file_reply(stream: ArtifactStream, wanted: str, if_range: str, if_none_match: str) -> Response:
    """A file, a range of it, or word that it is known. Raises `UsageError` (`range.invalid`, 416)."""
    etag = f'"{stream.digest}"'
    try:
        if is_known(etag, if_none_match):
            os.close(stream.descriptor)
            return unchanged(etag)
        part = _range(wanted, stream.size_bytes) if wanted and if_range in ("", etag) else None
    except UsageError:
        os.close(stream.descriptor)
        raise
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(stream.file_name)}",
        "X-Content-Type-Options": "nosniff",
    }
    start, end = part or (0, stream.size_bytes)
    headers["Content-Length"] = str(end - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{stream.size_bytes}"
    return FileReply(stream, start, end, 206 if part is not None else 200, headers)


class RangeError(UsageError):
    """A range beyond the file."""

    default_code = "range.invalid"
    http_status = 416


def _range(wanted: str, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last; None for what is to be passed over: other units, several ranges."""
    match = _RANGE.fullmatch(wanted.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(size - int(match[2]), 0), size
    else:
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
        if match[2] and int(match[2]) < start:
            return None
    if start >= end:
        raise RangeError(f"The file has {size:,} bytes.", hint="Ask for a range within it.")
    return start, end
