"""Who a request comes from, and whether a server may be started as it is asked to. Imports no web framework."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from quickserveml_tui.core.access import Permission, Principal
from quickserveml_tui.core.errors import NotPermittedError, UsageError
from quickserveml_tui.server.answers import plain_error
from quickserveml_tui.server.context import Admission, Caller, Gatekeeper
from quickserveml_tui.server.logs import REQUEST_ID
from quickserveml_tui.server.options import ServeOptions, is_loopback
from quickserveml_tui.server.refusals import CALLER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from quickserveml_tui.core.ports import KeysPort
    from quickserveml_tui.server.limits import FailureLimit

Headers = Sequence[tuple[bytes, bytes]]

ADMITTED = Admission(allowed=True)
"""For callers whose requests are not counted."""
REQUEST_ID_KEY = "qsml.request_id"
"""Where the connection leaves the id of a request in its scope."""
TOO_MANY_FAILURES = Admission(allowed=False, headers=(("Retry-After", "1"),), code="auth.too_many")
_QUERY_NAMES = frozenset(
    {b"key", b"api_key", b"api-key", b"apikey", b"x-api-key", b"access_token", b"token", b"authorization"}
)


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
    """A caller without a key that holds: may use what is public. `refusal` says what was wrong with it.

    With `failures` each of its requests counts as an attempt; one without any key is none.
    """

    id = "-"

    def __init__(self, refusal: NotPermittedError, failures: FailureLimit | None = None) -> None:
        self.refusal = refusal
        self._failures = failures
        self.limited = failures is not None
        """Whether its requests are counted."""

    def allows(self, permission: Permission, model: str = "") -> bool:  # noqa: ARG002
        """Whether it needs no permission."""
        return permission is Permission.PUBLIC

    def admit(self, now: float) -> Admission:
        """Refused (`auth.too_many`) when there were too many attempts."""
        return ADMITTED if self._failures is None or self._failures.admit(now) else TOO_MANY_FAILURES


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
        failures = None if error.code == "auth.missing" else getattr(gatekeeper, "failures", None)
        return Unknown(error, failures)


def visible(caller: Principal | None, model: str, permission: Permission = Permission.INFER) -> bool:
    """Whether a caller may know that there is a model of that name."""
    return caller is not None and caller.allows(permission, model)


def key_in_query(query: bytes) -> bool:
    """Whether a query string (without `?`) carries a key, which then stands in logs, histories and referrers."""
    if not query:
        return False
    if b"qsml_" in unquote_to_bytes(query):
        return True
    names = (unquote_to_bytes(part.partition(b"=")[0]).lower() for part in query.split(b"&") if b"=" in part)
    return any(name in _QUERY_NAMES for name in names)


class Doorman:
    """ASGI middleware: refuses keys in the query, and finds out the caller where the connection has not.

    The connection finds it out in our own server; elsewhere, as in tests, this does.
    """

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper) -> None:
        self._app = app
        self._gatekeeper = gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the caller in the scope."""
        if scope["type"] == "http":
            if key_in_query(scope["query_string"]):
                await _refuse_query(scope["path"], send)
                return
            if CALLER not in scope:
                scope[CALLER] = caller_of(self._gatekeeper, scope["headers"])
            REQUEST_ID.set(scope.get(REQUEST_ID_KEY, ""))
        await self._app(scope, receive, send)


async def _refuse_query(path: str, send: Send) -> None:
    answer = plain_error(
        400,
        "auth.in_query",
        "A key does not belong into the address: it is kept in logs and histories.",
        "Send it as “Authorization: Bearer KEY”, and rotate this one: who reads those has it now.",
        protocol=path == "/v2" or path.startswith("/v2/"),
    )
    headers: list[Any] = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def asks_for_keys(options: ServeOptions) -> bool:
    """Whether a server with these options asks for keys: `auto` does wherever it can be reached from elsewhere."""
    return options.auth == "keys" or (options.auth == "auto" and not is_loopback(options.host))


def require_safe(options: ServeOptions, keys: KeysPort | None) -> None:
    """Refuse what would open the server to others by mistake.

    Beyond loopback it takes `allow_remote`, API keys, and at least one key that holds in the home. Raises
    `NotPermittedError`: `serve.not_loopback`, `serve.no_auth`, `serve.no_keys`; `UsageError` (`usage.serve`) for
    settings that are none; what `keys` raises where its file cannot be read.
    """
    from quickserveml_tui.server.host_policy import HostPolicy
    from quickserveml_tui.server.tls import check_files_named

    if options.auth not in ("auto", "keys", "none"):
        raise UsageError(
            "The server's settings are out of range.", hint="Auth is one of auto, keys, none.", code="usage.serve"
        )
    HostPolicy(options)
    check_files_named(options)
    is_local = is_loopback(options.host)
    if not is_local and not options.allow_remote:
        raise NotPermittedError(
            f"Serving on {options.host[:80]} would open the models to the network without authentication.",
            hint="Add --allow-remote if that is what you want; it asks for API keys (`quickserveml keys create NAME`).",
            code="serve.not_loopback",
        )
    if not is_local and options.auth == "none":
        raise NotPermittedError(
            "Beyond this machine nothing is served without API keys.",
            hint="Leave out --auth none, or serve on 127.0.0.1 behind an authenticating proxy.",
            code="serve.no_auth",
        )
    if not asks_for_keys(options):
        return
    if keys is None:
        raise no_home()
    live = any(_is_live(key.expires_at) for key in keys.list())
    if not live and not is_local:
        raise NotPermittedError(
            "This home has no API key that holds, so nobody could use the server.",
            hint="Make one first: `quickserveml keys create NAME`.",
            code="serve.no_keys",
        )


def no_home() -> UsageError:
    """The error of a server that is to ask for keys and has nowhere to look for them."""
    return UsageError("API keys need a home to live in.", hint="Name one with --home or QSML_HOME.", code="usage.serve")


def _is_live(expires_at: str) -> bool:
    from quickserveml_tui.core.clock import unix_time

    return not expires_at or unix_time(expires_at) > time.time()


def advice(options: ServeOptions) -> tuple[str, ...]:
    """Sentences on what is allowed and still not wise."""
    if is_loopback(options.host) or options.tls_cert:
        return ()
    return ("Keys and data cross the network in the clear: add --tls-cert and --tls-key, or put a TLS proxy in front.",)
