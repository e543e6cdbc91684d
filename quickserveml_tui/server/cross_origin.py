"""Answers to pages of allowed origins, as browsers ask for them (the Fetch standard's CORS protocol)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quickserveml_tui.server.host_policy import EXPOSED, HostPolicy

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS = (
    b"authorization, x-api-key, content-type, content-encoding, inference-header-content-length, if-match, "
    b"if-none-match, idempotency-key, x-request-id, traceparent, tracestate"
)
_PREFLIGHT_S = b"600"
"""How long a browser may remember a preflight: a key of the options that is taken away counts soon."""


class CrossOrigin:
    """ASGI middleware: answers preflights and lets pages of allowed origins read responses.

    Credentials are never allowed: there are no cookies, and keys are sent by name. Foreign origins do not come this
    far: the connection refuses them.
    """

    def __init__(self, app: ASGIApp, policy: HostPolicy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, else hand on."""
        if scope["type"] != "http" or not self._policy.has_foreign_origins:
            await self._app(scope, receive, send)
            return
        origin = self._policy.foreign_origin(scope["headers"])
        if origin is not None and self._policy.is_preflight(scope["method"].encode(), scope["headers"]):
            await _answer_preflight(origin, send)
            return

        async def send_with_lines(message: Message) -> None:
            if message["type"] == "http.response.start":
                lines = [*message.get("headers", ()), (b"vary", b"origin")]
                if origin is not None:
                    lines += [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED)]
                message = {**message, "headers": lines}
            await send(message)

        await self._app(scope, receive, send_with_lines)


async def _answer_preflight(origin: bytes, send: Send) -> None:
    headers = [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", _REQUEST_HEADERS),
        (b"access-control-max-age", _PREFLIGHT_S),
        (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
