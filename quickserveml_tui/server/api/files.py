"""Files that go out: whole, a range of bytes, or word that they are known."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from quickserveml_tui.core.ports.transfers import ArtifactStream
from quickserveml_tui.server.answers import problem
from quickserveml_tui.server.api.catalog_calls import IfNoneMatch, is_known, unchanged
from quickserveml_tui.server.events import HEAD_ONLY
from quickserveml_tui.server.openapi import answers

_BYTES = "application/octet-stream"
_PIECE = 1 << 18
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}


def file_answers(
    errors: Mapping[int, str], media_type: str = _BYTES, text: str = "The file"
) -> dict[int | str, dict[str, Any]]:
    """What goes into `responses` of a route that answers with `file_reply`."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    found = answers(None, errors={**errors, 416: "There are no bytes in that range"})
    found[416]["headers"] = {"Content-Range": _TEXT}
    return found | {
        200: {"description": text, "content": content, "headers": {"ETag": _TEXT}},
        206: {
            "description": "The range of it that was asked for",
            "content": content,
            "headers": {"ETag": _TEXT, "Content-Range": _TEXT},
        },
        304: {"description": "It is what `If-None-Match` names"},
    }


@dataclass(frozen=True, slots=True)
class AskedFile:
    """What a request says about the file that it wants."""

    range: str
    if_range: str
    if_none_match: str


async def _asked(
    request: Request,
    range: Annotated[  # noqa: A002 - the name of the header
        str, Header(alias="Range", description="One range of bytes, such as `bytes=0-1023`")
    ] = "",
    if_range: Annotated[str, Header(alias="If-Range", description="The `ETag` that a range belongs to")] = "",
    if_none_match: IfNoneMatch = "",
) -> AskedFile:
    is_head = request.scope.get(HEAD_ONLY)  # ranges are defined for GET alone: HEAD tells of the whole file
    return AskedFile("" if is_head else range, if_range, if_none_match)


Asked = Annotated[AskedFile, Depends(_asked)]


class FileReply(StreamingResponse):
    """Bytes of an open file, which is closed when they are sent, or cannot be."""

    def __init__(self, descriptor: int, part: range, status: int, headers: dict[str, str], media_type: str) -> None:
        self._descriptor = descriptor
        super().__init__(_pieces(descriptor, part.start, part.stop), status, headers, media_type)

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


def file_reply(stream: ArtifactStream, asked: AskedFile, media_type: str = _BYTES) -> Response:
    """A file, a range of it, word that it is known, or a problem (`range.invalid`, 416) that tells its size."""
    etag, size = f'"{stream.digest}"', stream.size_bytes
    if is_known(etag, asked.if_none_match):
        os.close(stream.descriptor)
        return unchanged(etag)
    part = _range(asked.range, size) if asked.range and asked.if_range.strip() in ("", etag) else None
    if part is not None and not part:
        os.close(stream.descriptor)
        return _beyond(size)
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(stream.file_name)}",
        "X-Content-Type-Options": "nosniff",
    }
    sent = range(size) if part is None else part
    headers["Content-Length"] = str(len(sent))
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return FileReply(stream.descriptor, sent, 200 if part is None else 206, headers, media_type)


def _beyond(size: int) -> Response:
    detail = f"There is nothing in that range: the file has {size:,} bytes."
    answer = problem(416, "range.invalid", detail, "Ask for a range within it.")
    headers = {"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"}
    return Response(answer.body, answer.status, headers, media_type=answer.content_type)


def _range(wanted: str, size: int) -> range | None:
    """The bytes that are asked for, empty where there are none of them.

    None for what is to be passed over: other units, several ranges, a range that ends before it begins.
    """
    match = _RANGE.fullmatch(wanted.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return range(max(size - int(match[2]), 0), size)
    if match[2] and int(match[2]) < int(match[1]):
        return None
    return range(int(match[1]), min(int(match[2]) + 1 if match[2] else size, size))
