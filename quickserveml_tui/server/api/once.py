"""Requests that come once more under the same idempotency key get the answer that they had."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.errors import QuickServeError, UsageError
from quickserveml_tui.server.answers import error_answer
from quickserveml_tui.server.api.catalog_calls import caller_id, catalog_of, for_others
from quickserveml_tui.server.context import ServerContext

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=255,
        description="A name for this request: the same request under it is done once and answered alike for a day",
    ),
]
ONCE_ERRORS = {
    409: "It is in the way of something else, or the first request with this key is under way",
    422: "The key was used for another request, or the model breaks what looks at it",
}
_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_PASSING = frozenset({401, 403, 408, 429})
_KEPT_HEADERS = ("etag", "location", "content-type")


async def once(
    context: ServerContext, request: Request, key: str, content: bytes, work: Callable[[], Awaitable[Response]]
) -> Response:
    """The answer of `work`, or the one that the same request had under this key.

    `content` identifies the body. Answers that may be others a moment later are not kept. Raises `UsageError`
    (`idempotency.key`, `idempotency.mismatch`) and `ConflictError` (`idempotency.busy`).
    """
    if not key:
        return await work()
    if _KEY.fullmatch(key) is None:
        raise UsageError(
            "The idempotency key is not 1 to 255 visible ASCII characters.",
            hint="Use a random UUID.",
            code="idempotency.key",
        )
    answers, caller = catalog_of(context).answers, caller_id(request)
    known = await run_in_threadpool(answers.claim, caller, key, _digest(request, content))
    if known is not None:
        status, headers, body = known
        return Response(body, status, {**headers, "Idempotency-Replayed": "true"})
    is_kept = False
    try:
        response = await _answered(work)
        if response.status_code < 500 and response.status_code not in _PASSING:
            kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            await run_in_threadpool(answers.keep, caller, key, response.status_code, kept, bytes(response.body))
            is_kept = True
        return response
    finally:
        if not is_kept:
            await run_in_threadpool(answers.release, caller, key)


async def _answered(work: Callable[[], Awaitable[Response]]) -> Response:
    try:
        return await work()
    except QuickServeError as error:
        answer = error_answer(for_others(error), protocol=False)
        return Response(answer.body, answer.status, answer.headers(), media_type=answer.content_type)


def _digest(request: Request, content: bytes) -> str:
    parts = (request.method, request.url.path, request.url.query, request.headers.get("if-match", ""))
    found = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass"))
    found.update(b"\0" + content)
    return found.hexdigest()
