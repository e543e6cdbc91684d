"""What the routes about work share: the workbench, who may see what, JSON bodies, pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
import orjson
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import DataError, NotFoundError, UsageError
from quickserveml_tui.core.models import ModelRecord
from quickserveml_tui.core.ports import Workbench
from quickserveml_tui.core.refs import ModelRef, check_name, parse_ref
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server.api.json_bodies import check_fields
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.permissions import CALLER

T = TypeVar("T")
MAX_JSON_BYTES = 1 << 20
ALL = 10_000
"""Most entries that a list of work goes over."""

Limit = Annotated[int, Query(ge=1, le=1000, description="Most entries of the answer")]
PageToken = Annotated[str, Query(max_length=400, description="`next_page_token` of the page before")]


def workbench_of(context: ServerContext) -> Workbench:
    """The workbench. Raises `NotFoundError` (`catalog.none`) on a server that serves files only."""
    if context.workbench is None:
        raise NotFoundError(
            "This server has no catalog: it serves files only.",
            hint="Start it on a home: quickserveml serve --home FOLDER.",
            code="catalog.none",
        )
    return context.workbench


def may(request: Request, permission: Permission, model: str) -> bool:
    """Whether the caller may, on the model of that name."""
    caller = request.scope.get(CALLER)
    return caller is not None and bool(caller.allows(permission, model))


def find_model(context: ServerContext, request: Request, permission: Permission, model_id: str) -> ModelRecord:
    """The model of the catalog with this id or name.

    Raises `NotFoundError` (`model.not_found`), also for one that the caller may not reach.
    """
    catalog = workbench_of(context).catalog
    unknown = NotFoundError(
        f"There is no model “{safe_text(model_id, 80)}”.",
        hint="GET /api/v1/models lists the models.",
        code="model.not_found",
    )
    try:
        check_name(model_id)  # a path or a reference with a version is no id
        model = catalog.show(model_id).model
    except (NotFoundError, UsageError):
        raise unknown from None
    if not may(request, permission, model.name):
        raise unknown
    return model


def ref_to(model: ModelRecord, selector: str) -> str:
    """The reference to a version by number, label or alias, or to the latest one.

    Raises `UsageError` (`version.invalid`) for what would read as something else, such as a path.
    """
    if not selector:
        return model.name
    parsed = parse_ref(f"{model.name}@{selector}") if selector.isprintable() else None
    if not isinstance(parsed, ModelRef) or parsed.name != model.name or parsed.node is not None:
        raise UsageError(
            f"“{safe_text(selector, 60)}” is not a version.",
            hint="Give a number, a label or an alias.",
            code="version.invalid",
        )
    return str(parsed)


def reply(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A dataclass as JSON; what JSON has no number for becomes null."""
    return Response(orjson.dumps(msgspec.to_builtins(document)), status, headers, media_type="application/json")


async def read_json(request: Request, kind: type[T], default: Callable[[], T] | None = None) -> T:
    """The JSON body as a dataclass.

    Raises `DataError` (`request.invalid`, `request.unknown_field`) and `TooLargeError`.
    """
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MAX_JSON_BYTES:
            raise too_large(MAX_JSON_BYTES)
    if not data.strip() and default is not None:
        return default()
    try:
        document = msgspec.json.decode(bytes(data))
        check_fields(document, kind)
        return msgspec.json.decode(bytes(data), type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as error:
        raise DataError(
            f"The body does not fit: {safe_text(error, 200)}.", hint="See /docs.", code="request.invalid"
        ) from error


class TooLargeError(DataError):
    """A body beyond the limit."""

    default_code = "http.too_large"
    http_status = 413


def too_large(limit: int) -> TooLargeError:
    """The error for a body beyond `limit` bytes."""
    return TooLargeError(f"The body is larger than {limit:,} bytes.", hint="Send less at once.", code="http.too_large")
