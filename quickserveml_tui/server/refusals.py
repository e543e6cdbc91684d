"""Why a caller may not do something: one answer for the hot path, the routes and gRPC. Imports no web framework."""

from __future__ import annotations

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
