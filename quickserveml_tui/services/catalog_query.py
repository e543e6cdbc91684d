"""Filter, sort and page the catalog."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from quickserveml_tui.core.catalog import CatalogPage, CatalogQuery, ModelView
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.models import ModelRecord

MAX_TEXT = 1000
MAX_WORDS = 32
MAX_LIMIT = 1000

SortKey: TypeAlias = float | str | None


def _size(view: ModelView) -> SortKey:
    return view.model.latest.artifact.size_bytes if view.model.latest else None


def _params(view: ModelView) -> SortKey:
    return view.model.latest.facts.params if view.model.latest else None


SORTS: dict[str, Callable[[ModelView], SortKey]] = {
    "name": lambda view: view.model.name.casefold(),
    "updated": lambda view: view.model.updated_at,
    "size": _size,
    "params": _params,
    "p50": lambda view: view.p50_ms(),
    "versions": lambda view: len(view.model.versions),
}
"""What a list can be sorted by; a view without a value comes last in both directions."""


class Haystacks:
    """The text that words are looked up in, kept for as long as a record stays the same object."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ModelRecord, tuple[str, frozenset[str]]]] = {}

    def of(self, model: ModelRecord) -> tuple[str, frozenset[str]]:
        """Name, task, author, description, tags, aliases and labels as one text, and the operators; case folded."""
        entry = self._known.get(model.id)
        if entry is not None and entry[0] is model:
            return entry[1]
        text = _haystack(model)
        self._known[model.id] = (model, text)
        return text

    def keep(self, models: Sequence[ModelRecord]) -> None:
        """Forget models that are gone, once they are as many as those that are there."""
        if len(self._known) > 2 * len(models) + 16:
            ids = {model.id for model in models}
            self._known = {key: entry for key, entry in self._known.items() if key in ids}


def _haystack(model: ModelRecord) -> tuple[str, frozenset[str]]:
    ops = {op.casefold() for version in model.versions for op in version.facts.op_types}
    labels = [version.label for version in model.versions if version.label]
    parts = [
        model.name,
        model.task,
        model.author,
        model.description,
        *model.tags,
        *model.aliases,
        *labels,
    ]
    # Operators match as whole words: else "res" would find every model that has a Reshape.
    return "\n".join(parts).casefold(), frozenset(ops | {op.rpartition(":")[2] for op in ops})


def parse_words(text: str) -> tuple[str, ...]:
    """The words of a filter, case folded. Raises `UsageError` (`usage.filter`) when there are too many."""
    words = tuple(text.casefold().split())
    if len(text) > MAX_TEXT or len(words) > MAX_WORDS:
        raise UsageError(
            "The filter is too long.",
            hint=f"Use at most {MAX_WORDS} words and {MAX_TEXT:,} characters.",
            code="usage.filter",
        )
    return words


def matches(model: ModelRecord, words: Sequence[str], haystacks: Haystacks) -> bool:
    """Whether every word occurs; `tag:`, `state:` and `op:` look at the beginning of tags, states and operators."""
    return all(_matches(model, word, haystacks) for word in words)


def _matches(model: ModelRecord, word: str, haystacks: Haystacks) -> bool:
    prefix, colon, rest = word.partition(":")
    if colon and prefix == "tag":
        return any(tag.casefold().startswith(rest) for tag in model.tags)
    if colon and prefix == "state":
        latest = model.latest
        return latest is not None and (latest.state.startswith(rest) or latest.trial.outcome.startswith(rest))
    if colon and prefix == "op":
        return any(op.startswith(rest) for op in haystacks.of(model)[1])
    text, ops = haystacks.of(model)
    return word in text or word in ops


@dataclass(frozen=True, slots=True)
class _Order:
    key: Callable[[ModelView], SortKey]
    is_descending: bool

    def sorted(self, views: Sequence[ModelView]) -> list[ModelView]:
        """The views in order: by key, then by name; those without a key last."""
        by_name = sorted(views, key=lambda view: view.model.name)
        keyed = [(key, view) for view in by_name if (key := self.key(view)) is not None]
        keyed.sort(key=lambda pair: pair[0], reverse=self.is_descending)  # stable: equal keys stay by name
        return [view for _key, view in keyed] + [view for view in by_name if self.key(view) is None]

    def comes_after(self, view: ModelView, key: SortKey, name: str) -> bool:
        """Whether a view stands behind the place that a page token names."""
        own = self.key(view)
        if own == key:
            return view.model.name > name
        if own is None or key is None:
            return own is None
        if isinstance(own, str) or isinstance(key, str):
            if not (isinstance(own, str) and isinstance(key, str)):
                raise _bad_token()
            return own < key if self.is_descending else own > key
        return own < key if self.is_descending else own > key


def _order(sort: str) -> _Order:
    name = sort.removeprefix("-")
    if name not in SORTS:
        raise UsageError(
            "The catalog cannot be sorted by that.", hint=f"Sort by {', '.join(SORTS)}.", code="usage.sort"
        )
    return _Order(SORTS[name], sort.startswith("-"))


class _Token(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    query: str
    """Digest of filter and order: a token does not fit another list."""
    key: float | str | None
    name: str


def _bad_token() -> UsageError:
    return UsageError("This page token is not valid.", hint="Start again from the first page.", code="usage.page_token")


def _query_digest(query: CatalogQuery) -> str:
    return hashlib.sha256(f"{query.sort}\0{query.text}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _encode_token(query: CatalogQuery, order: _Order, last: ModelView) -> str:
    token = _Token(_query_digest(query), order.key(last), last.model.name)
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _decode_token(query: CatalogQuery) -> _Token:
    text = query.page_token
    if len(text) > 2000 or not text.isascii():
        raise _bad_token()
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(data, type=_Token)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise _bad_token() from error
    if token.query != _query_digest(query):
        raise _bad_token()
    return token


def page(views: Sequence[ModelView], query: CatalogQuery) -> CatalogPage:
    """The page of matching views that the query asks for.

    Raises `UsageError` for an unknown order, a limit out of 1 to 1,000 and a token of another list.
    """
    if not 1 <= query.limit <= MAX_LIMIT:
        raise UsageError("The limit is out of range.", hint=f"Ask for 1 to {MAX_LIMIT:,} models.", code="usage.limit")
    order = _order(query.sort)
    ordered = order.sorted(views)
    total = len(ordered)
    if query.page_token:
        token = _decode_token(query)
        ordered = [view for view in ordered if order.comes_after(view, token.key, token.name)]
    shown = ordered[: query.limit]
    has_more = len(ordered) > len(shown)
    return CatalogPage(tuple(shown), _encode_token(query, order, shown[-1]) if has_more else "", total)
