"""Sort and page a list of models."""

from __future__ import annotations

import base64
import binascii
import hashlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

import msgspec

from quickserveml_tui.core.catalog import CatalogQuery
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.heads import VersionHead
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.catalog_rows import Row

MAX_LIMIT = 1000
MAX_TOKEN = 4000

SortKey: TypeAlias = int | float | str | None


@dataclass(frozen=True, slots=True)
class SortColumn:
    """Something to sort by; a row without a value comes last in both directions."""

    key: Callable[[Row], SortKey]
    is_text: bool = False
    needs_figures: bool = False


def _version(get: Callable[[VersionHead], SortKey]) -> Callable[[Row], SortKey]:
    return lambda row: None if row.version is None else get(row.version)


def _figure(name: str) -> SortColumn:
    def key(row: Row) -> SortKey:
        value: float | None = None if row.figures is None else getattr(row.figures, name)
        return value

    return SortColumn(key, needs_figures=True)


def _state(version: VersionHead) -> str:
    """The word that lists show: the state, or why it does not run."""
    return version.status


SORTS: dict[str, SortColumn] = {
    "name": SortColumn(lambda row: row.head.name.casefold(), is_text=True),
    "created": SortColumn(lambda row: row.head.created_at, is_text=True),
    "updated": SortColumn(lambda row: row.head.updated_at, is_text=True),
    "size": SortColumn(_version(lambda version: version.artifact.size_bytes)),
    "params": SortColumn(_version(lambda version: version.facts.params)),
    "macs": SortColumn(_version(lambda version: version.facts.macs)),
    "nodes": SortColumn(_version(lambda version: version.facts.nodes)),
    "versions": SortColumn(lambda row: len(row.head.versions)),
    "p50": _figure("p50_ms"),
    "p95": _figure("p95_ms"),
    "p99": _figure("p99_ms"),
    "throughput": _figure("throughput_per_s"),
    "task": SortColumn(lambda row: row.head.task.casefold() or None, is_text=True),
    "state": SortColumn(_version(_state), is_text=True),
}
"""What a list can be sorted by; equal rows stand by name."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order of rows."""

    column: SortColumn
    is_descending: bool

    def sorted(self, rows: Sequence[Row]) -> list[Row]:
        """The rows by key, then by name; those without a key last."""
        by_name = sorted(rows, key=lambda row: row.head.name)
        key = self.column.key
        keyed = [(value, row) for row in by_name if (value := key(row)) is not None]
        keyed.sort(key=lambda pair: pair[0], reverse=self.is_descending)  # stable: equal keys stay by name
        if len(keyed) == len(by_name):
            return [row for _value, row in keyed]
        return [row for _value, row in keyed] + [row for row in by_name if key(row) is None]

    def position(self, ordered: Sequence[Row], key: SortKey, name: str) -> int:
        """Index of the first row behind a place in the sorted list, whether or not a row stands at that place."""
        return bisect_left(ordered, True, key=lambda row: self._comes_after(row, key, name))

    def _comes_after(self, row: Row, key: SortKey, name: str) -> bool:
        own = self.column.key(row)
        if own == key:
            return row.head.name > name
        if own is None or key is None:
            return own is None
        return own < key if self.is_descending else own > key  # type: ignore[operator] # one column, one type


def read_order(sort: str) -> Order:
    """The order that `name` or `-name` asks for. Raises `UsageError` (`usage.sort`) and names the nearest."""
    name = sort.removeprefix("-")
    if name not in SORTS:
        near = get_close_matches(name[:64].lower(), SORTS, n=1)
        guess = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"The catalog cannot be sorted by “{safe_text(name, 40)}”.",
            hint=f"{guess}Sort by {', '.join(SORTS)}; a leading - sorts down.",
            code="usage.sort",
        )
    return Order(SORTS[name], sort.startswith("-"))


def check_limit(limit: int) -> None:
    """Raises `UsageError` (`usage.limit`) for a page size out of 1 to 1,000."""
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError("The limit is out of range.", hint=f"Ask for 1 to {MAX_LIMIT:,} models.", code="usage.limit")


# ---- pages ----------------------------------------------------------------------------------------------------------


class _Token(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    query: str
    """Digest of filter and order: a token does not fit another list."""
    key: int | float | str | None
    name: str


def _bad_token() -> UsageError:
    return UsageError("This page token is not valid.", hint="Start again from the first page.", code="usage.page_token")


def _query_digest(query: CatalogQuery) -> str:
    return hashlib.sha256(f"{query.sort}\0{query.text}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _encode_token(query: CatalogQuery, order: Order, last: Row) -> str:
    token = _Token(_query_digest(query), order.column.key(last), last.head.name)
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _decode_token(query: CatalogQuery, order: Order) -> _Token:
    text = query.page_token
    if len(text) > MAX_TOKEN or not text.isascii():
        raise _bad_token()
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(data, type=_Token)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise _bad_token() from error
    if token.query != _query_digest(query):
        raise _bad_token()
    if token.key is not None and isinstance(token.key, str) is not order.column.is_text:
        raise _bad_token()
    return token


def take_page(rows: Sequence[Row], query: CatalogQuery, order: Order) -> tuple[list[Row], str]:
    """The page of matching rows that the query asks for, and the token of the next one, empty on the last page.

    A token names a place between two rows, so pages stay in step while models come and go: every model that is there
    all the time, with the same key, stands on exactly one page. Raises `UsageError` for a token of another list.
    """
    start = 0
    token = _decode_token(query, order) if query.page_token else None
    ordered = order.sorted(rows)
    if token is not None:
        start = order.position(ordered, token.key, token.name)
    shown = ordered[start : start + query.limit]
    has_more = len(ordered) > start + len(shown)
    return shown, _encode_token(query, order, shown[-1]) if has_more else ""
