"""The permission that every route declares; an application with a route that does not refuses to start."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request

from quickserveml_tui.core.access import Permission, Principal
from quickserveml_tui.core.errors import NotPermittedError, QuickServeError

CALLER = "qsml.caller"
"""Where the connection leaves the caller in a request's scope."""


class Check:
    """Dependency of a route: lets callers with the permission pass.

    `model` names the path parameter that holds a model's name, where the route is about one.
    """

    def __init__(self, permission: Permission, model: str = "") -> None:
        self.permission = permission
        self.model = model

    def __call__(self, request: Request) -> None:
        """Raise `NotPermittedError` (`auth.forbidden`) unless the caller may."""
        if self.permission is Permission.PUBLIC:
            return
        caller: Principal | None = request.scope.get(CALLER)
        name = request.path_params.get(self.model, "") if self.model else ""
        if caller is None or not caller.allows(self.permission, name):
            raise NotPermittedError(
                f"This key may not do this: it lacks the scope “{self.permission}” here.",
                hint="Ask for a key with that scope.",
                code="auth.forbidden",
            )


def requires(permission: Permission, *, model: str = "") -> list[Any]:
    """What goes into `dependencies` of a route: `@routes.get(path, dependencies=requires(Permission.READ))`."""
    return [Depends(Check(permission, model))]


def declared(route: APIRoute) -> Permission | None:
    """The permission that a route declares; None without one."""
    for item in route.dependencies:
        if isinstance(item.dependency, Check):
            return item.dependency.permission
    return None


def require_declared(app: FastAPI) -> None:
    """Raise `QuickServeError` (`server.undeclared`) when a route declares no permission."""
    for route in app.routes:
        if not isinstance(route, APIRoute) or declared(route) is None:
            path = getattr(route, "path", "?")
            raise QuickServeError(
                f"The route {path} declares no permission.",
                hint="Give it one with `requires`.",
                code="server.undeclared",
            )
