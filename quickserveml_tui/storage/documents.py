"""Records to documents, with a check that a document survives JSON unchanged."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from quickserveml_tui.core.errors import StoreError

MAX_INT = 2**64
MAX_DEPTH = 64


def to_document(record: Any) -> Any:
    """The JSON form of a core dataclass.

    Raises `StoreError` (`store.unrepresentable`) for what JSON would change on the way back: integers beyond 64 bits
    (orjson reads them as floats), NaN and infinities (written as null), and text that is not valid Unicode.
    """
    document = msgspec.to_builtins(record)
    check_document(document)
    return document


def check_document(document: Any) -> None:
    """Make sure that JSON gives a document back as it is. Raises `StoreError` (`store.unrepresentable`)."""
    _check(document, 0)


def corrupt(what: str, detail: str) -> StoreError:
    """The error of a store that cannot be read; the store is left as it is."""
    return StoreError(
        f"The {what} is damaged and cannot be read; it was left as it is.",
        hint="Restore it from a backup, or move it away to start with an empty one.",
        code="store.corrupt",
        detail=detail[:2000],
    )


def newer_schema(what: str, found: int, known: int) -> StoreError:
    """The error of a store that a newer program has written."""
    return StoreError(
        f"The {what} was written by a newer version of this program (schema {found}, this one knows {known}).",
        hint="Upgrade quickserveml-tui; nothing was changed.",
        code="store.newer_schema",
    )


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _unrepresentable("it is nested too deep")
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int):
        if not -(2**63) <= value < MAX_INT:
            raise _unrepresentable("it holds an integer beyond 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _unrepresentable("it holds NaN or an infinity")
    elif isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise _unrepresentable("it holds text that is not valid Unicode") from error
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth + 1)
            _check(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth + 1)
    else:
        raise _unrepresentable(f"it holds a {type(value).__name__}")


def _unrepresentable(why: str) -> StoreError:
    return StoreError(
        f"The record cannot be stored: {why}.",
        hint="Correct the value, then try again; nothing was changed.",
        code="store.unrepresentable",
    )
