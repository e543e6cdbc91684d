"""Addresses of servers and of models on them."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

MAX_URL = 2048


class ModelAddress(NamedTuple):
    """A model on a server; `model` is empty where only the server is named."""

    server: str
    model: str = ""
    version: str = ""


def check_url(url: str) -> str:
    """The address of a server without a slash at its end.

    Raises `UsageError` (`usage.url`) for anything but `http://` or `https://` with a host: credentials, a query or a
    fragment are refused, since they would end up in logs.
    """
    if not isinstance(url, str) or len(url) > MAX_URL or not url.isprintable() or any(char.isspace() for char in url):
        raise _bad(url, "is not an address")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad(url, "is not an address") from error
    if parts.scheme.lower() not in ("http", "https"):
        raise _bad(url, "does not begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "The address of a server holds a user name or password.",
            hint="Leave them out: a key is given with --key or QSML_API_KEY.",
            code="usage.url",
        )
    if not parts.hostname or port == 0:
        raise _bad(url, "names no host")
    if parts.query or parts.fragment or "\\" in url:
        raise _bad(url, "has more than a host and a path")
    return url.rstrip("/")


def _bad(url: object, problem: str) -> UsageError:
    return UsageError(
        f"The address “{safe_text(url, 80)}” {problem}.",
        hint="The address of a server looks like http://127.0.0.1:8000, that of a model on it like "
        "http://127.0.0.1:8000/v2/models/NAME.",
        code="usage.url",
    )


def is_on_this_machine(url: str) -> bool:
    """Whether an address names this machine, so that nothing sent to it crosses a network."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_model_url(url: str) -> ModelAddress:
    """Server and model of `http://host:8000/v2/models/NAME[/versions/V][/infer]`, or of a server's address alone.

    Raises `UsageError` (`usage.url`).
    """
    base = check_url(url)
    server, mark, rest = base.partition("/v2/models/")
    if not mark:
        return ModelAddress(server.removesuffix("/v2/models").removesuffix("/v2"))
    parts = [unquote(part) for part in rest.removesuffix("/infer").split("/")]
    if len(parts) == 1 and parts[0]:
        return ModelAddress(server, parts[0])
    if len(parts) == 3 and parts[1] == "versions" and parts[0] and parts[2]:
        return ModelAddress(server, parts[0], parts[2])
    raise _bad(url, "names no model")


def model_path(model: str, version: str = "", suffix: str = "") -> str:
    """Path of a model by the inference protocol, below the server's address."""
    path = f"/v2/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}{suffix}" if version else path + suffix
