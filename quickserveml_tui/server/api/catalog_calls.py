"""What the routes of the catalog share: the workbench, versions, revisions, page tokens, errors without paths."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

from fastapi import Header
from fastapi import Path as PathParameter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import (
    NotFoundError,
    NotPermittedError,
    PreconditionError,
    QuickServeError,
    RunnerError,
    UsageError,
)
from quickserveml_tui.core.models import ModelRecord, VersionRecord
from quickserveml_tui.core.refs import parse_ref
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server.api.work_calls import find_model, may, ref_to, workbench_of
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.permissions import CALLER
from quickserveml_tui.services.catalog_lookup import select_version

_TAGS = re.compile(r'\s*(W/)?"([\x21\x23-\x7e]*)"\s*(?:,|$)')
_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_NO_CATALOG = {404: "There is no such thing, none that this key may see, or no catalog here"}

ModelId = Annotated[str, PathParameter(max_length=200, description="Id or name of a model")]
Version = Annotated[str, PathParameter(max_length=200, description="Number, label or alias of a version, or `latest`")]
IfMatch = Annotated[str, Header(alias="If-Match", description="The `ETag` that was seen: refused if it is another now")]
IfNoneMatch = Annotated[str, Header(alias="If-None-Match", description="An `ETag` that is known already")]
NOT_FOUND = _NO_CATALOG
WRITE_ERRORS = {
    **_NO_CATALOG,
    409: "It is in the way of something else, such as a protected alias",
    412: "It is not what `If-Match` names any more",
}
"""What writes to a model can be refused with."""


class PreconditionRequiredError(UsageError):
    """The request must say what it was made for."""

    default_code = "precondition.required"
    http_status = 428


class UnprocessableModelError(QuickServeError):
    """The model breaks whatever looks at it."""

    default_code = "runtime.failed"
    http_status = 422


class CatalogRoute(APIRoute):
    """A route whose errors say nothing about the server's disk."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with errors as others may see them."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except QuickServeError as error:
                raise for_others(error) from error

        return handle


def for_others(error: QuickServeError) -> QuickServeError:
    """An error as another machine may see it: without paths of this one; a model that breaks its runner is a 422."""
    if isinstance(error, RunnerError):
        return UnprocessableModelError(without_paths(error.message), hint=without_paths(error.hint), code=error.code)
    error.message = without_paths(error.message)
    error.hint = without_paths(error.hint).replace("--force", "force=true")  # the words of this front
    return error


def without_paths(text: str) -> str:
    """A text with the paths below folders of this server cut down to the names of their files."""
    if "/" not in text:
        return text
    return _paths().sub(lambda found: f"…/{found[0].rstrip('/').rpartition('/')[2]}", text)


def _paths() -> re.Pattern[str]:
    places = {str(Path.home()), tempfile.gettempdir(), str(Path.cwd()), sys.prefix, sys.base_prefix}
    roots = [re.escape(place) for place in sorted(places, key=len, reverse=True) if len(place) > 1]
    return re.compile(
        rf"(?:{'|'.join([*roots, '/(?:home|root|usr|var|etc|opt|proc|dev|tmp|srv|mnt)'])})/[^\s“”\"',;:]*"
    )


catalog_of = workbench_of
"""The workbench; raises `NotFoundError` (`catalog.none`) on a server that serves files only."""


def caller_id(request: Request) -> str:
    """Id of the caller's key."""
    return str(getattr(request.scope.get(CALLER), "id", "anonymous"))


def model_of(context: ServerContext, request: Request, permission: Permission, model_id: str) -> ModelRecord:
    """The model with this id or name. Raises `NotFoundError` (`model.not_found`), also where the caller may not."""
    catalog_of(context)
    return find_model(context, request, permission, model_id)


def version_of(model: ModelRecord, selector: str) -> tuple[VersionRecord, str]:
    """The version that a path names, and the reference to it by ids.

    Raises `NotFoundError` (`version.not_found`) and `UsageError` for what names none.
    """
    if not selector:
        raise UsageError(
            "An empty text names no version.", hint="Give a number, a label or an alias.", code="version.invalid"
        )
    parsed = parse_ref(ref_to(model, selector))
    version = select_version(model, getattr(parsed, "selector", ""))
    return version, f"{model.id}@{version.version}"


def check_new_name(request: Request, name: str) -> None:
    """Raise `NotPermittedError` where a caller's key does not reach models of that name; whether there is one or not.

    It says nothing about what there is.
    """
    if not may(request, Permission.WRITE, name):
        raise NotPermittedError(
            "This key does not reach models of that name.", hint="Choose a name that it reaches.", code="auth.forbidden"
        )


def check_parent(request: Request, parent: str | None) -> None:
    """Raise what a parent that is not there raises, where it is one that the caller may not know of."""
    name = (parent or "").partition("@")[0]
    if parent and _SHA256.fullmatch(parent) is None and not may(request, Permission.READ, name):
        raise NotFoundError(
            f"The parent {safe_text(parent, 80)} is not in the catalog.",
            hint="Name a version that is, or give the sha256 of the artifact.",
            code="model.not_found",
        )


# ---- revisions ------------------------------------------------------------------------------------------------------


def etag_of(model: ModelRecord) -> str:
    """The ETag of a model and of everything in it: it changes with every write."""
    return f'"{model.id}.{model.rev}"'


def expected_rev(model: ModelRecord, if_match: str, *, required: bool = False) -> int | None:
    """The revision that a write expects; None where the request names none.

    Raises `PreconditionError` (412) for another one, `PreconditionRequiredError` (428) where one is `required`.
    """
    if not if_match:
        if required:
            raise PreconditionRequiredError(
                "This replaces all of it, so the request must name what it replaces.",
                hint="Send the ETag of what you read in If-Match.",
            )
        return None
    if if_match.strip() != "*" and etag_of(model) not in _strong_tags(if_match):
        raise PreconditionError(
            f"{model.name} was changed in the meantime.", hint="Read it again, then repeat the change."
        )
    return model.rev


def is_known(etag: str, if_none_match: str) -> bool:
    """Whether a client has what this ETag names already."""
    return if_none_match.strip() == "*" or etag.removeprefix("W/") in _all_tags(if_none_match)


def _strong_tags(header: str) -> set[str]:
    found, position = set(), 0
    while position < len(header):
        match = _TAGS.match(header, position)
        if match is None:
            raise UsageError(
                "If-Match is not a list of entity tags.",
                hint='Send the ETag as it came, with its quotes: If-Match: "…".',
                code="precondition.invalid",
            )
        if match[1] is None:
            found.add(f'"{match[2]}"')
        position = match.end()
    return found


def _all_tags(header: str) -> set[str]:
    return {f'"{match[2]}"' for match in _TAGS.finditer(header)}


def unchanged(etag: str) -> Response:
    """The answer to who has it already."""
    return Response(status_code=304, headers={"ETag": etag})
