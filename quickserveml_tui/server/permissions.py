"""The permission that every route declares; an application with a route that does not refuses to start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, routing
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import BaseRoute

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import NotFoundError, QuickServeError
from quickserveml_tui.server.refusals import CALLER, missing_key, neutral, refusal, unknown_model

__all__ = (
    "CALLER",
    "Check",
    "declared",
    "missing_key",
    "neutral",
    "refusal",
    "require_declared",
    "requires",
    "routes_of",
    "unknown_model",
)


class Check:
    """Dependency of a route: lets callers with the permission pass.

    `model` names the path parameter that holds a model's name, where the route is about one; `of` gives that name where
    the path does not.
    """

    def __init__(self, permission: Permission, model: str = "", of: Callable[[], str] | None = None) -> None:
        self.permission = permission
        self.model = model
        self.of = of

    async def __call__(self, request: Request) -> None:  # a plain function would get a thread, on every request
        """Raise what `refusal` says of the caller."""
        if self.permission is Permission.PUBLIC:
            return
        name = request.path_params.get(self.model, "") if self.model else ""
        if self.of is not None:
            name = self.of()
        error = refusal(request.scope.get(CALLER), self.permission, name)
        if error is not None:
            if self.of is not None and error.code == "model.unknown":
                error = NotFoundError("No model is served.", hint="Start the server with a model.", code=error.code)
            raise error


def requires(permission: Permission, *, model: str = "", of: Callable[[], str] | None = None) -> list[Any]:
    """What goes into `dependencies` of a route: `@routes.get(path, dependencies=requires(Permission.READ))`."""
    return [Depends(Check(permission, model, of))]


def declared(route: APIRoute) -> Permission | None:
    """The permission that a route declares; None without one."""
    for item in route.dependencies:
        if isinstance(item.dependency, Check):
            return item.dependency.permission
    return None


def routes_of(app: FastAPI) -> list[tuple[str, BaseRoute]]:
    """Every route of an application with its whole path, those of included routers too."""
    walk = getattr(routing, "iter_route_contexts", None)
    if walk is None:  # FastAPI that copies the routes of routers into the application
        return [(getattr(route, "path", "?"), route) for route in app.routes]
    return [(item.path or "?", item.original_route) for item in walk(app.routes)]


def require_declared(app: FastAPI) -> None:
    """Raise `QuickServeError` (`server.undeclared`) when a route declares no permission."""
    for path, route in routes_of(app):
        if not isinstance(route, APIRoute) or declared(route) is None:
            raise QuickServeError(
                f"The route {path} declares no permission.",
                hint="Give it one with `requires`.",
                code="server.undeclared",
            )
