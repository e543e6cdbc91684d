"""Request lines and headers: parsed by httptools, checked against the limits, remembered while they repeat."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httptools

from quickserveml_tui.core.access import Permission
from quickserveml_tui.server.access import ANONYMOUS, OpenGatekeeper, caller_of
from quickserveml_tui.server.answers import Answer, error_answer, is_protocol_path, plain_error
from quickserveml_tui.server.body_limits import body_limit
from quickserveml_tui.server.context import Asked
from quickserveml_tui.server.host_policy import HostPolicy, Refusal
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.permissions import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quickserveml_tui.server.batcher import Batcher
    from quickserveml_tui.server.context import Admission, Caller, Gatekeeper
    from quickserveml_tui.server.dialects import Dialect

_CACHE_ENTRIES = 1024
_CACHE_HEAD_BYTES = 2048
_LENGTH_HEADER = b"inference-header-content-length"
_COMPRESSED = frozenset({b"gzip", b"deflate"})
"""Who asks for one of them wants it; lists of several are what libraries send out of habit."""
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

_MALFORMED: Refusal = (400, "http.malformed", "The request is not valid HTTP/1.1.", "")


@dataclass(frozen=True, slots=True)
class Route:
    """A path that the hot path answers."""

    batcher: Batcher
    dialect: Dialect


@dataclass(slots=True)
class Head:
    """What a request line and its headers say."""

    raw: bytes
    """The head as it goes to uvicorn, upgrade offers left out."""
    protocol: bool = False
    """Whether errors take the form of the inference protocol."""
    route: Route | None = None
    """Set for the common form of a hot request."""
    error: Answer | None = None
    """What is answered before the connection closes."""
    denied: Answer | None = None
    """What is answered instead of running the model: the caller may not use it."""
    content_length: int = 0
    body_limit: int = 0
    """The most bytes that a body of unknown length may have."""
    chunked: bool = False
    keep_alive: bool = True
    json_length: int | None = None
    method: bytes = b""
    target: bytes = b""
    """Path with query, as it was sent."""
    caller: Caller = ANONYMOUS
    limited: bool = False
    """Whether requests of the caller are counted."""
    request_id: bytes = b""
    """By which the client calls the request; empty where it has no name for it."""
    trace: str = ""
    """Trace id of a W3C `traceparent`."""
    asked: Asked = Asked()  # noqa: RUF009 - cannot be changed
    """What the access log says of it."""
    lines: bytes = b""
    """Header lines that its answer gets: what lets pages of allowed origins read it."""
    admission: Admission | None = None
    """The last one of a limited caller, and the lines with what it says: a caller gives out one for many requests."""
    admitted_lines: bytes = b""


@dataclass(slots=True)
class _Parsed:
    """Callbacks of httptools: collects one head."""

    url: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    complete: int = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete += 1

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    def one(self, name: bytes) -> bytes | None:
        """The header's value; the last one where it is repeated."""
        found = self.all(name)
        return found[-1] if found else None


class HeadReader:
    """Reads heads. `routes` maps the paths of the hot path; call `forget()` when it changes.

    Who a request comes from is found out once per head that is remembered, and again when the gatekeeper says that
    what it said may not hold any more.
    """

    def __init__(
        self, options: ServeOptions, routes: Mapping[bytes, Route], gatekeeper: Gatekeeper | None = None
    ) -> None:
        self._options = options
        self._hosts = HostPolicy(options)
        self.routes = routes
        self._gatekeeper: Gatekeeper = gatekeeper or OpenGatekeeper()
        self._version = self._gatekeeper.version
        self._known: dict[bytes, Head] = {}

    def forget(self) -> None:
        """Drop remembered heads."""
        self._known.clear()

    def read(self, raw: bytes) -> Head:
        """The head in `raw`, which ends with an empty line. Equal bytes give the same head, from memory."""
        if self._gatekeeper.version != self._version:
            self._version = self._gatekeeper.version
            self._known.clear()
        head = self._known.get(raw)
        if head is None:
            head = self._parse(raw)
            # Heads with an id or a trace do not come again.
            if len(raw) <= _CACHE_HEAD_BYTES and not head.request_id and not head.trace:
                if len(self._known) >= _CACHE_ENTRIES:
                    self._known.clear()
                self._known[raw] = head
        return head

    def _parse(self, raw: bytes) -> Head:
        parsed = _Parsed()
        parser = httptools.HttpRequestParser(parsed)
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # offers to change the protocol are passed over: RFC 9110 section 7.8 allows it
        except httptools.HttpParserError:
            return _refuse(raw, parsed, b"", _MALFORMED)
        if parsed.complete != 1:
            return _refuse(raw, parsed, b"", _MALFORMED)
        version, method = parser.get_http_version(), parser.get_method()
        limit = body_limit(self._options, method, parsed.url)
        refused = self._refusal(parsed, version, method, limit)
        if refused is not None:
            return _refuse(raw, parsed, method, refused)
        head = _head(raw, parsed, method)
        head.body_limit = limit
        head.chunked = parsed.one(b"transfer-encoding") is not None
        head.content_length = int(parsed.one(b"content-length") or b"0")
        # uvicorn closes after every HTTP/1.0 response, so both paths do.
        head.keep_alive = parser.should_keep_alive() and version == "1.1"
        head.caller = caller_of(self._gatekeeper, parsed.headers)
        head.limited = head.caller.limited
        head.asked = Asked(method, parsed.url, head.caller.id, head.trace, bool(head.request_id))
        head.lines = self._hosts.response_lines(parsed.headers)
        if parsed.one(b"upgrade") is not None:
            head.raw = _without_upgrade(parsed, method, version)
        self._find_route(head, parsed, version)
        return head

    def _find_route(self, head: Head, parsed: _Parsed, version: str) -> None:
        route = self.routes.get(parsed.url)
        if route is None or head.method != b"POST" or version != "1.1" or head.chunked:
            return
        if parsed.one(b"content-length") is None or parsed.one(b"expect") or parsed.one(b"content-encoding"):
            return
        if parsed.one(b"accept-encoding") in _COMPRESSED:
            return
        length = parsed.one(_LENGTH_HEADER)
        if length is not None:
            if not length.isdigit() or len(length) > 10:  # bytes.isdigit() knows ASCII digits only
                head.error = plain_error(
                    400,
                    "request.length",
                    "Inference-Header-Content-Length must be a whole number.",
                    "",
                    protocol=head.protocol,
                )
                return
            head.json_length = int(length)
        error = refusal(head.caller, Permission.INFER, route.batcher.model.name)
        if error is not None:
            head.denied = error_answer(error, protocol=head.protocol)
        head.route = route

    def _refusal(self, parsed: _Parsed, version: str, method: bytes, limit: int) -> Refusal | None:
        """Status, code, detail and hint for a request that goes no further."""
        options = self._options
        if version not in ("1.0", "1.1"):
            return 505, "http.version", f"HTTP/{version} is not spoken here.", "Use HTTP/1.1."
        if len(parsed.headers) > options.max_headers:
            return 431, "http.too_many_headers", f"The request has more than {options.max_headers} headers.", ""
        if not parsed.url.startswith(b"/") and parsed.url != b"*":
            return 400, "http.target", "The request target must be a path.", ""
        if method == b"CONNECT":
            return 405, "http.method", "CONNECT is not offered here.", ""
        coding = parsed.one(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or len(parsed.all(b"transfer-encoding")) > 1):
            return 501, "http.transfer_encoding", "Only the transfer encoding “chunked” is known here.", ""
        length = parsed.one(b"content-length")
        if length is not None and int(length) > limit:
            return (
                413,
                "http.too_large",
                f"The body has {int(length)} bytes; at most {limit} are taken.",
                "Send smaller batches, or start the server with a higher limit.",
            )
        return self._hosts.refuse(parsed.headers, version)


def trace_id(traceparent: bytes) -> str:
    """The trace id in a W3C `traceparent`; empty where it holds none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return found[1].decode() if found else ""


def _head(raw: bytes, parsed: _Parsed, method: bytes) -> Head:
    """A head with what does not depend on whether it is taken."""
    path = parsed.url.partition(b"?")[0].decode("latin-1")
    head = Head(raw, is_protocol_path(path), method=method, target=parsed.url)
    given = parsed.one(b"x-request-id") or b""
    if _REQUEST_ID.fullmatch(given):
        head.request_id = given
    head.trace = trace_id(parsed.one(b"traceparent") or b"")
    head.asked = Asked(method, parsed.url, head.caller.id, head.trace, bool(given))
    return head


def _refuse(raw: bytes, parsed: _Parsed, method: bytes, refused: Refusal) -> Head:
    head = _head(raw, parsed, method)
    head.keep_alive = False
    head.error = plain_error(*refused, protocol=head.protocol)
    if raw.startswith(b"HEAD "):
        head.error = head.error._replace(body=b"")
    return head


def _without_upgrade(parsed: _Parsed, method: bytes, version: str) -> bytes:
    """The head without its offer to change the protocol, which would make the parser pass over the body."""
    dropped = {b"upgrade", b"http2-settings", b"connection"}
    lines = [b"%b %b HTTP/%b" % (method, parsed.url, version.encode())]
    lines += [b"%b: %b" % (name, value) for name, value in parsed.headers if name not in dropped]
    return b"\r\n".join([*lines, b"", b""])
