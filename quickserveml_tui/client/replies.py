"""What goes wrong with servers: the errors, and what their own error documents say."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from quickserveml_tui.core.errors import (
    DataError,
    NotFoundError,
    NotPermittedError,
    QuickServeError,
    UnavailableError,
)
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_bytes, plain_number

_MAX_SAID = 300


def host_of(url: str) -> str:
    """Host and port of an address, as messages show them."""
    return safe_text(urlsplit(url).netloc, 80)


def timed_out(url: str, limit_s: float) -> UnavailableError:
    """The error for a server that did not answer in time."""
    return UnavailableError(
        f"The server at {host_of(url)} did not answer within {plain_number(round(limit_s, 3))} s.",
        hint="Check that it is up and not overloaded, or give it more time.",
        code="server.unreachable",
    )


def connection_error(url: str, error: Exception) -> UnavailableError:
    """The error for a connection that could not be made, broke off, or does not speak HTTP."""
    import httpx

    cause = _words(error)
    if isinstance(error, httpx.RemoteProtocolError | ValueError) and not isinstance(error, OSError):
        if "without sending" in cause or "closed connection" in cause:
            return wrong_answer(url, "broke off its answer", cause)
        return wrong_answer(url, "does not speak HTTP", cause)
    if "CERTIFICATE" in cause.upper():
        return UnavailableError(
            f"The certificate of {host_of(url)} cannot be trusted.",
            hint="SSL_CERT_FILE names a file with the certificate of your own authority.",
            code="server.unreachable",
            detail=cause,
        )
    return UnavailableError(
        f"The server at {host_of(url)} cannot be reached.",
        hint="Check the address, and that the server runs.",
        code="server.unreachable",
        detail=cause,
    )


def _words(error: BaseException) -> str:
    return safe_text(f"{type(error).__name__}: {error}", _MAX_SAID)


def too_large(url: str, limit: int) -> UnavailableError:
    """The error for an answer that has no end, or none within the limit."""
    return UnavailableError(
        f"The server at {host_of(url)} answers with more than {format_bytes(limit)}.",
        hint="Check that the address is that of an inference server.",
        code="server.answer",
    )


def wrong_answer(url: str, problem: str, detail: str = "") -> UnavailableError:
    """The error for an answer that makes no sense."""
    return UnavailableError(
        f"The server at {host_of(url)} {problem}.",
        hint="Check that the address is that of an inference server.",
        code="server.answer",
        detail=safe_text(detail, _MAX_SAID),
    )


def refused(url: str, status: int, body: bytes) -> NotPermittedError:
    """The error for 401 and 403."""
    if status == 401:
        return NotPermittedError(
            f"The server at {host_of(url)} wants an API key, or another one.",
            hint="Give one with --key or QSML_API_KEY.",
            code="server.refused",
            detail=said(body),
        )
    return NotPermittedError(
        f"The server at {host_of(url)} does not permit this.",
        hint="Ask for a key that may do it.",
        code="server.refused",
        detail=said(body),
    )


def failed(url: str, status: int, body: bytes) -> QuickServeError:
    """The error for an answer with an error status, with the server's own words."""
    words = said(body)
    told = f": {words}" if words else f" ({status})."
    if status in (401, 403):
        return refused(url, status, body)
    if status == 404:
        return NotFoundError(
            f"The server at {host_of(url)} has nothing there{told}",
            hint="Check the name of the model and its version.",
            code="server.not_there",
        )
    if status in (429, 503):
        return UnavailableError(
            f"The server at {host_of(url)} takes no more requests now{told}", hint="Try again.", code="server.busy"
        )
    if 400 <= status < 500:
        return DataError(
            f"The server at {host_of(url)} does not take the request{told}",
            hint="Compare the inputs with the metadata of the model.",
            code="server.rejected",
        )
    return UnavailableError(
        f"The server at {host_of(url)} failed on the request{told}", hint="Look into its log.", code="server.failed"
    )


def said(body: bytes) -> str:
    """What an error document says, in any of the usual forms; empty where it says nothing readable."""
    try:
        document = msgspec.json.decode(body[:65536])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    for name in ("error", "detail", "message", "title"):
        text = document.get(name)
        if isinstance(text, dict):
            text = text.get("message")
        if isinstance(text, str) and text:
            return safe_text(text, _MAX_SAID)
    return ""


def parse_json(url: str, body: bytes) -> Any:
    """The JSON value of an answer. Raises `UnavailableError` (`server.answer`)."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise wrong_answer(url, "sent an answer that is not valid JSON", str(error)) from error
