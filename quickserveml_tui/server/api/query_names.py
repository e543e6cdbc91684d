"""Query parameters by name: one that a route does not declare is refused, not passed over."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIRouter
from starlette.requests import Request

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text


class KnownQuery:
    """Dependency of a route: lets requests pass whose query parameters the route has."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    async def __call__(self, request: Request) -> None:
        """Raise `UsageError` (`query.unknown`) that names the first other parameter and those that there are."""
        unknown = next((name for name in request.query_params if name not in self._names), None)
        if unknown is None:
            return
        near = get_close_matches(unknown[:60], self._names, 1)
        guess = f"Did you mean “{near[0]}”? " if near else ""
        known = ", ".join(self._names) or "none"
        raise UsageError(
            f"This route has no query parameter “{safe_text(unknown, 60)}”.",
            hint=f"{guess}Leave it out; the parameters are: {known}.",
            code="query.unknown",
        )


def close_query(routes: APIRouter) -> None:
    """Let every route of a router refuse parameters that it does not declare, once its permission is given."""
    for route in routes.routes:
        if isinstance(route, APIRoute):
            names = tuple(dict.fromkeys(_declared(route.dependant)))
            route.dependencies.append(Depends(KnownQuery(names)))


def _declared(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _declared(inner)
