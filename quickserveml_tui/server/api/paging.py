"""Page tokens: places in a list that only this list takes back."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from quickserveml_tui.core.errors import UsageError

T = TypeVar("T")
_CHECKSUM = 16


def page(
    items: Sequence[T], key: Callable[[T], tuple[str, str]], limit: int, token: str, scope: str
) -> tuple[list[T], str]:
    """The items after `token` and the token of the next page; `key` is time and id, which order them, newest first.

    `scope` names the list. Raises `UsageError` (`page.token`) for a token of another one.
    """
    ordered = sorted(items, key=key, reverse=True)
    if token:
        last = tuple(open_token(scope, token))
        ordered = [item for item in ordered if key(item) < last]
    chosen = ordered[:limit]
    return chosen, seal_token(scope, key(chosen[-1])) if len(ordered) > limit else ""


def seal_token(scope: str, position: Any) -> str:
    """A page token: a position in the list that `scope` names, with a checksum over both."""
    payload = orjson.dumps(position)
    return base64.urlsafe_b64encode(_checksum(scope, payload) + payload).decode().rstrip("=")


def open_token(scope: str, token: str) -> Any:
    """The position in a token of this list. Raises `UsageError` (`page.token`) for any other."""
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_token() from error
    checksum, payload = data[:_CHECKSUM], data[_CHECKSUM:]
    if checksum != _checksum(scope, payload) or not payload:
        raise bad_token()
    return orjson.loads(payload)


def _checksum(scope: str, payload: bytes) -> bytes:
    key = hashlib.blake2b(scope.encode("utf-8", "surrogatepass")).digest()
    return hashlib.blake2b(payload, key=key, digest_size=_CHECKSUM).digest()


def bad_token() -> UsageError:
    """The error for a page token that is not one of the list."""
    return UsageError("This page token is not one of this list.", hint="Start again without it.", code="page.token")
