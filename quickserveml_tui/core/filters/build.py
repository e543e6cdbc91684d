"""From a tree to a predicate over rows: closures, so that ten thousand rows cost milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from quickserveml_tui.core.errors import FilterError
from quickserveml_tui.core.filters.comparisons import Test, value_test
from quickserveml_tui.core.filters.fields import Field, FieldTable
from quickserveml_tui.core.filters.parse import parse_filter
from quickserveml_tui.core.filters.syntax import And, Comparison, Exists, Filter, Not, Word
from quickserveml_tui.core.text import safe_text

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class BuiltFilter(Generic[R]):
    """A filter that is ready to be asked."""

    matches: Callable[[R], bool]
    """Whether a row matches."""
    sources: frozenset[str]
    """The `source`s of the fields that it asks for."""


def build_filter(text: str, table: FieldTable[R], *, now: datetime | None = None) -> BuiltFilter[R]:
    """The predicate that a filter spells; an empty one matches everything. Raises `FilterError` with the column.

    `now` is what `7d` counts back from.
    """
    builder = _Builder(table, now or datetime.now(UTC))
    try:
        tree = parse_filter(text)
        matches = builder.build(tree) if tree is not None else _everything
    except FilterError as error:
        error.text = text
        raise
    return BuiltFilter(matches, frozenset(builder.sources))


def _everything(_row: Any) -> bool:
    return True


def check_filter(text: str, table: FieldTable[Any]) -> None:
    """Raises `FilterError` with the column when a filter cannot be read."""
    build_filter(text, table)


class _Verdicts(dict[Any, bool]):
    """What a test says of each value, asked once: a catalog has few different tags, operators and dtypes."""

    def __init__(self, test: Test) -> None:
        super().__init__()
        self._test = test

    def __missing__(self, value: Any) -> bool:
        verdict = self[value] = self._test(value)
        return verdict


class _Builder(Generic[R]):
    def __init__(self, table: FieldTable[R], now: datetime) -> None:
        self._table = table
        self._now = now
        self.sources: set[str] = set()

    def build(self, tree: Filter) -> Callable[[R], bool]:
        """The predicate of a tree."""
        if isinstance(tree, Word):
            return self._table.occurs(tree.text.casefold())
        if isinstance(tree, Comparison):
            return self._comparison(tree)
        if isinstance(tree, Exists):
            return _exists(self._field(tree.field, tree.column))
        if isinstance(tree, Not):
            inner = self.build(tree.term)
            return lambda row: not inner(row)
        terms = [self.build(term) for term in tree.terms]
        return _every(terms) if isinstance(tree, And) else _some(terms)

    def _comparison(self, tree: Comparison) -> Callable[[R], bool]:
        field = self._field(tree.field, tree.column)
        test = value_test(field, tree, self._now)
        is_opposite = tree.operator.plain is not tree.operator
        get = field.get
        if field.many:
            verdict = _Verdicts(test).__getitem__
            if is_opposite:
                return lambda row: True not in map(verdict, get(row))
            return lambda row: True in map(verdict, get(row))
        # Nothing is known of a value that is missing: it neither equals nor differs.
        if is_opposite:
            return lambda row: (value := get(row)) is not None and not test(value)
        return lambda row: (value := get(row)) is not None and test(value)

    def _field(self, name: str, column: int) -> Field[R]:
        field = self._table.find(name)
        if field is None:
            near = self._table.nearest(name)
            hint = f"Did you mean {near}?" if near else "To search for the word itself, put it in quotes."
            raise FilterError(f"There is no field “{safe_text(name, 60)}”.", column=column, hint=hint)
        if field.source:
            self.sources.add(field.source)
        return field


def _exists(field: Field[R]) -> Callable[[R], bool]:
    get = field.get
    if field.many:
        return lambda row: any(True for _value in get(row))
    return lambda row: get(row) is not None


def _every(terms: list[Callable[[R], bool]]) -> Callable[[R], bool]:
    if len(terms) == 2:
        first, second = terms
        return lambda row: first(row) and second(row)
    return lambda row: all(term(row) for term in terms)


def _some(terms: list[Callable[[R], bool]]) -> Callable[[R], bool]:
    if len(terms) == 2:
        first, second = terms
        return lambda row: first(row) or second(row)
    return lambda row: any(term(row) for term in terms)
