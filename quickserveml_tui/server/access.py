"""Who a request comes from: API keys in its headers, looked up in memory that follows the file of keys."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from quickserveml_tui.core.access import Permission, Principal
from quickserveml_tui.core.errors import NotPermittedError
from quickserveml_tui.server.context import Admission, Caller, Gatekeeper
from quickserveml_tui.server.options import ServeOptions, is_loopback
from quickserveml_tui.server.permissions import CALLER

Headers = Sequence[tuple[bytes, bytes]]

ADMITTED = Admission(allowed=True)
"""For callers whose requests are not counted."""


class Anonymous:
    """The caller of a server that asks for no keys: may do everything."""

    id = "anonymous"
    limited = False

    def allows(self, permission: Permission, model: str = "") -> bool:  # noqa: ARG002
        """Always."""
        return True

    def admit(self, now: float) -> Admission:  # noqa: ARG002
        """Always."""
        return ADMITTED


ANONYMOUS = Anonymous()


class Unknown:
    """A caller without a key that holds: may use what is public. `refusal` says what was wrong with it."""

    id = "-"
    limited = False

    def __init__(self, refusal: NotPermittedError) -> None:
        self.refusal = refusal

    def allows(self, permission: Permission, model: str = "") -> bool:  # noqa: ARG002
        """Whether it needs no permission."""
        return permission is Permission.PUBLIC

    def admit(self, now: float) -> Admission:  # noqa: ARG002
        """Its requests are not counted here: what may be done without a key costs next to nothing."""
        return ADMITTED


class OpenGatekeeper:
    """`Gatekeeper` of a server that asks for no keys."""

    version = 0

    def identify(self, headers: Headers) -> Caller:  # noqa: ARG002
        """The anonymous caller."""
        return ANONYMOUS


def caller_of(gatekeeper: Gatekeeper, headers: Headers) -> Caller:
    """The caller of a request, or an `Unknown` one with what was wrong: public routes answer it all the same."""
    try:
        return gatekeeper.identify(headers)
    except NotPermittedError as error:
        return Unknown(error)


def visible(caller: Principal | None, model: str, permission: Permission = Permission.INFER) -> bool:
    """Whether a caller may know that there is a model of that name."""
    return caller is not None and caller.allows(permission, model)


def asks_for_keys(options: ServeOptions) -> bool:
    """Whether a server with these options asks for keys: `auto` does wherever it can be reached from elsewhere."""
    return options.auth == "keys" or (options.auth == "auto" and not is_loopback(options.host))


class Doorman:
    """ASGI middleware: finds out the caller where the connection has not, as in tests and under other servers."""

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper) -> None:
        self._app = app
        self._gatekeeper = gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the caller in the scope."""
        if scope["type"] == "http" and CALLER not in scope:
            scope[CALLER] = caller_of(self._gatekeeper, scope["headers"])
        await self._app(scope, receive, send)
