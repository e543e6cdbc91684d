"""Request lines and headers: parsed by httptools, checked against the limits, remembered while they repeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httptools

from quickserveml_tui.server.answers import Answer, is_protocol_path, plain_error
from quickserveml_tui.server.host_policy import HostPolicy, Refusal
from quickserveml_tui.server.options import ServeOptions

if TYPE_CHECKING:
    from quickserveml_tui.server.batcher import Batcher
    from quickserveml_tui.server.dialects import Dialect

_CACHE_ENTRIES = 1024
_CACHE_HEAD_BYTES = 2048
_LENGTH_HEADER = b"inference-header-content-length"

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
    content_length: int = 0
    chunked: bool = False
    keep_alive: bool = True
    json_length: int | None = None


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
    """Reads heads. `routes` maps the paths of the hot path; call `forget()` when it changes."""

    def __init__(self, options: ServeOptions, routes: dict[bytes, Route]) -> None:
        self._options = options
        self._hosts = HostPolicy(options)
        self._routes = routes
        self._known: dict[bytes, Head] = {}

    def forget(self) -> None:
        """Drop remembered heads."""
        self._known.clear()

    def read(self, raw: bytes) -> Head:
        """The head in `raw`, which ends with an empty line. Equal bytes give the same head, from memory."""
        head = self._known.get(raw)
        if head is None:
            head = self._parse(raw)
            if len(raw) <= _CACHE_HEAD_BYTES:
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
            return _refuse(raw, "", _MALFORMED)
        path = parsed.url.decode("latin-1")
        if parsed.complete != 1:
            return _refuse(raw, path, _MALFORMED)
        version, method = parser.get_http_version(), parser.get_method()
        refusal = self._refusal(parsed, version, method)
        if refusal is not None:
            return _refuse(raw, path, refusal)
        head = Head(raw, is_protocol_path(path.partition("?")[0]))
        head.chunked = parsed.one(b"transfer-encoding") is not None
        head.content_length = int(parsed.one(b"content-length") or b"0")
        # uvicorn closes after every HTTP/1.0 response, so both paths do.
        head.keep_alive = parser.should_keep_alive() and version == "1.1"
        if parsed.one(b"upgrade") is not None:
            head.raw = _without_upgrade(parsed, method, version)
        self._find_route(head, parsed, method, version)
        return head

    def _find_route(self, head: Head, parsed: _Parsed, method: bytes, version: str) -> None:
        route = self._routes.get(parsed.url)
        if route is None or method != b"POST" or version != "1.1" or head.chunked:
            return
        if parsed.one(b"content-length") is None or parsed.one(b"expect") or parsed.one(b"content-encoding"):
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
        head.route = route

    def _refusal(self, parsed: _Parsed, version: str, method: bytes) -> Refusal | None:
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
        if length is not None and int(length) > options.max_body_bytes:
            return (
                413,
                "http.too_large",
                f"The body has {int(length)} bytes; at most {options.max_body_bytes} are taken.",
                "Send smaller batches, or start the server with a higher limit.",
            )
        return self._hosts.refuse(parsed.headers, version)


def _refuse(raw: bytes, path: str, refusal: Refusal) -> Head:
    protocol = is_protocol_path(path.partition("?")[0])
    error = plain_error(*refusal, protocol=protocol)
    if raw.startswith(b"HEAD "):
        error = error._replace(body=b"")
    return Head(raw, protocol, error=error, keep_alive=False)


def _without_upgrade(parsed: _Parsed, method: bytes, version: str) -> bytes:
    """The head without its offer to change the protocol, which would make the parser pass over the body."""
    dropped = {b"upgrade", b"http2-settings", b"connection"}
    lines = [b"%b %b HTTP/%b" % (method, parsed.url, version.encode())]
    lines += [b"%b: %b" % (name, value) for name, value in parsed.headers if name not in dropped]
    return b"\r\n".join([*lines, b"", b""])
