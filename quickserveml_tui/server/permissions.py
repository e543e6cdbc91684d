"""The permission that every route declares; an application with a route that does not refuses to start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, routing
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import BaseRoute

from quickserveml_tui.core.access import Permission, Principal
from quickserveml_tui.core.errors import NotFoundError, NotPermittedError, QuickServeError, UnauthenticatedError
from quickserveml_tui.core.text import safe_text

CALLER = "qsml.caller"
"""Where the connection leaves the caller in a request's scope."""


def refusal(caller: Principal | None, permission: Permission, model: str = "") -> QuickServeError | None:
    """Why a caller may not do this (on the model of that name); None where it may.

    One answer for every front: `UnauthenticatedError` without a key that holds, `NotFoundError` (`model.unknown`) for a
    model that its key does not reach, in the very words for one that is not there, `NotPermittedError`
    (`auth.forbidden`) for a scope that it lacks.
    """
    if permission is Permission.PUBLIC or (caller is not None and caller.allows(permission, model)):
        return None
    failed: QuickServeError | None = missing_key() if caller is None else getattr(caller, "refusal", None)
    if failed is not None:
        return failed
    if model and caller is not None and caller.allows(permission):
        return unknown_model(model)
    return NotPermittedError(
        f"This key may not do this: it lacks the scope “{permission}”.",
        hint="Ask for a key with that scope.",
        code="auth.forbidden",
    )


def missing_key() -> UnauthenticatedError:
    """The error for a request without a key."""
    return UnauthenticatedError(
        "This server asks for an API key.",
        hint="Send it as “Authorization: Bearer KEY” or “X-API-Key: KEY”; `quickserveml keys create` makes one.",
        code="auth.missing",
    )


def unknown_model(name: str) -> NotFoundError:
    """The error for a model that is not there, or that the caller may not know of; it suggests no other name."""
    return NotFoundError(
        f"Unknown model: “{safe_text(name, 80)}” is not served here.",
        hint="POST /v2/repository/index lists the models.",
        code="model.unknown",
    )


def neutral(error: QuickServeError, caller: Principal | None) -> QuickServeError:
    """An error as the caller may see it: one about an unknown model suggests no other to a key that reaches only some.

    A key says by its attribute `patterns` that it does.
    """
    if error.code == "model.unknown" and getattr(caller, "patterns", None):
        error.hint = unknown_model("").hint
    return error


class Check:
    """Dependency of a route: lets callers with the permission pass.

    `model` names the path parameter that holds a model's name, where the route is about one; `of` gives that name where
    the path does not.
    """

    def __init__(self, permission: Permission, model: str = "", of: Callable[[], str] | None = None) -> None:
        self.permission = permission
        self.model = model
        self.of = of

    def __call__(self, request: Request) -> None:
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
