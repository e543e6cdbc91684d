"""Which host names requests may name and which pages may send them: against DNS rebinding and pages of other sites."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import urlsplit

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server.options import ServeOptions, is_loopback

Refusal: TypeAlias = tuple[int, str, str, str]
"""Status, code, detail and hint."""
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
EXPOSED = (
    b"etag, location, retry-after, ratelimit, ratelimit-policy, x-request-id, www-authenticate, "
    b"inference-header-content-length"
)
"""Response headers that pages of allowed origins may read."""


class HostPolicy:
    """Checks Host and Origin of every request, whatever its method.

    A host name is the server's own when it is the address that is listened on, a loopback name where that is loopback,
    or one of `allowed_hosts`: `name` for itself, `.name` for itself and all names below. A server on all addresses
    (`0.0.0.0`, `::`) also takes every numeric address: a page cannot be rebound to one. Ports must be numbers, and need
    not be the one that is listened on: tunnels and containers map them.

    Raises `UsageError` (`usage.serve`) for an allowed host or origin that cannot be one.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._listens_everywhere = _is_wildcard(options.host)
        self._loopback = is_loopback(options.host) or self._listens_everywhere
        self._own = _normal(options.host)
        self._names = frozenset(_checked_host(item) for item in options.allowed_hosts if not item.startswith("."))
        self._suffixes = tuple(_checked_host(item) for item in options.allowed_hosts if item.startswith("."))
        self._origins = frozenset(_checked_origin(item) for item in options.allowed_origins)

    @property
    def has_foreign_origins(self) -> bool:
        """Whether pages of any other origin are allowed."""
        return bool(self._origins)

    def refuse(self, headers: Headers, version: str = "1.1") -> Refusal | None:
        """Why a request of that HTTP version goes no further; None where it may."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            if not hosts and version == "1.0":
                return None
            return 400, "http.host", "The request needs exactly one Host header.", ""
        host = hosts[0].decode("latin-1")
        if not self.is_own(host):
            return (
                403,
                "http.host",
                "This server does not answer under that host name.",
                "Address it by the address that it listens on, or start it with --allowed-host NAME.",
            )
        for name, value in headers:
            if name == b"origin":
                origin = value.decode("latin-1")
                if not _same_origin(origin, host) and not self.allows(origin):
                    return (
                        403,
                        "http.origin",
                        "Pages of other sites may not use this server.",
                        "Call it from its own origin, or start it with --allowed-origin ORIGIN.",
                    )
        return None

    def is_own(self, host: str) -> bool:
        """Whether a Host header names this server."""
        name = _host_name(host)
        if name is None:
            return False
        name = _normal(name)
        if name == self._own or name in self._names or (self._loopback and is_loopback(name)):
            return True
        if self._listens_everywhere and _is_address(name):
            return True
        return any(name.endswith(suffix) or name == suffix[1:] for suffix in self._suffixes)

    def allows(self, origin: str) -> bool:
        """Whether pages of another origin were allowed by the options."""
        return bool(self._origins) and _origin(origin) in self._origins

    def foreign_origin(self, headers: Headers) -> bytes | None:
        """The Origin header of a request where it is an allowed one."""
        if not self._origins:
            return None
        sent = [value for name, value in headers if name == b"origin"]
        return sent[0] if len(sent) == 1 and self.allows(sent[0].decode("latin-1")) else None

    def response_lines(self, headers: Headers) -> bytes:
        """Header lines, each with its line end, for the answer to a request of an allowed page; empty for others."""
        origin = self.foreign_origin(headers)
        if origin is None:
            return b"vary: origin\r\n" if self._origins else b""
        return (
            b"access-control-allow-origin: %b\r\naccess-control-expose-headers: %b\r\nvary: origin\r\n"
            % (origin, EXPOSED)
        )  # fmt: skip

    def is_preflight(self, method: bytes, headers: Headers) -> bool:
        """Whether this is a browser's question on behalf of an allowed page. It carries no key, and needs none."""
        return (
            method == b"OPTIONS"
            and self.foreign_origin(headers) is not None
            and any(name == b"access-control-request-method" for name, _value in headers)
        )


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _normal(name: str) -> str:
    """A name or address in its one form: lower case, no final dot, the short form of IPv6."""
    text = name.lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _host_name(host: str) -> str | None:
    """The name or address in a Host header, without port; None for anything odd."""
    if any(char in host for char in "/@\\?# \t,%") or not host.isascii():
        return None
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname


def _same_origin(origin: str, host: str) -> bool:
    scheme, separator, rest = origin.partition("://")
    return bool(separator) and scheme in ("http", "https") and rest.lower() == host.lower()


@lru_cache(maxsize=256)
def _origin(text: str) -> str:
    """An origin in its one form (scheme and host in lower case, no default port); empty for anything odd."""
    scheme, separator, rest = text.lower().partition("://")
    if not separator or scheme not in _DEFAULT_PORTS or len(text) > 300:
        return ""
    name = _host_name(rest)
    if name is None:
        return ""
    port = urlsplit(f"//{rest}").port
    shown = f"[{name}]" if ":" in name else name
    return f"{scheme}://{shown}" if port in (None, _DEFAULT_PORTS[scheme]) else f"{scheme}://{shown}:{port}"


def _checked_host(text: str) -> str:
    name = text.removeprefix(".")
    if not name or ("*" in name) or (_host_name(name) != name.lower() and not _is_address(name)):
        raise UsageError(
            f"“{safe_text(text, 80)}” is no host name.",
            hint="Write a name without port such as models.example, or .example for all names below it.",
            code="usage.serve",
        )
    return f".{_normal(name)}" if text.startswith(".") else _normal(name)


def _checked_origin(text: str) -> str:
    origin = _origin(text)
    if not origin or "*" in origin:
        raise UsageError(
            f"“{safe_text(text, 80)}” is no origin.",
            hint="Write scheme, host and port as browsers send them, such as https://ui.example.",
            code="usage.serve",
        )
    return origin
