"""Answers as plain data, and as bytes on a connection."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

import orjson

from quickserveml_tui.core.errors import QuickServeError

JSON = "application/json"
PROBLEM = "application/problem+json"
BINARY = "application/octet-stream"
RETRY_AFTER_S = 1


class Answer(NamedTuple):
    """What goes back for one request."""

    status: int
    body: bytes
    content_type: str = JSON
    json_length: int | None = None
    """Length of the JSON part where binary tensors follow it."""

    def headers(self) -> dict[str, str]:
        """Headers beyond content type and length."""
        headers = {}
        if self.json_length is not None:
            headers["Inference-Header-Content-Length"] = str(self.json_length)
        if self.status in (503, 429):
            headers["Retry-After"] = str(RETRY_AFTER_S)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


def is_protocol_path(path: str) -> bool:
    """Whether errors of this path take the form of the Open Inference Protocol."""
    return path == "/v2" or path.startswith("/v2/")


def error_answer(error: QuickServeError, *, protocol: bool) -> Answer:
    """An error as `{"error": …}` for the inference protocol, as RFC 9457 problem details elsewhere."""
    status = error.http_status
    if protocol:
        text = f"{error.message} {error.hint}".rstrip() if error.hint else error.message
        return Answer(status, orjson.dumps({"error": text}))
    return problem(status, error.code, error.message, error.hint)


def problem(status: int, code: str, detail: str, hint: str = "") -> Answer:
    """Problem details: `type`, `title`, `status`, `code`, `detail`, `hint`."""
    document = {"type": "about:blank", "title": _phrase(status), "status": status, "code": code, "detail": detail}
    return Answer(status, orjson.dumps(document | {"hint": hint}), PROBLEM)


def plain_error(status: int, code: str, detail: str, hint: str, *, protocol: bool) -> Answer:
    """An error that is not the models' but HTTP's: too large, too slow, malformed."""
    if protocol:
        return Answer(status, orjson.dumps({"error": f"{detail} {hint}".rstrip()}))
    return problem(status, code, detail, hint)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _head(status: int, content_type: str) -> bytes:
    return f"HTTP/1.1 {status} {_phrase(status)}\r\ncontent-type: {content_type}\r\n".encode()


_HEADS: dict[tuple[int, str], bytes] = {(200, kind): _head(200, kind) for kind in (JSON, BINARY)}


def json_prefix(date_line: bytes) -> bytes:
    """The beginning of every plain JSON response while the date lasts: the request id comes next."""
    return b"%b%bx-request-id: " % (_HEADS[200, JSON], date_line)


def header_lines(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Header lines as bytes, each with its line end."""
    return b"".join(f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in pairs)


def to_bytes(answer: Answer, date_line: bytes, *, close: bool, lines: bytes = b"") -> bytes:
    """The whole HTTP/1.1 response; `date_line` and `lines` are header lines with their line ends."""
    head = _HEADS.get((answer.status, answer.content_type)) or _head(answer.status, answer.content_type)
    extra = lines
    if close:
        extra += b"connection: close\r\n"
    if answer.json_length is not None:
        extra += b"inference-header-content-length: %d\r\n" % answer.json_length
    if answer.status == 503 or (answer.status == 429 and b"retry-after" not in lines.lower()):
        extra += b"retry-after: %d\r\n" % RETRY_AFTER_S
    if answer.status == 401:
        extra += b"www-authenticate: Bearer\r\n"
    return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (head, date_line, extra, len(answer.body), answer.body)
