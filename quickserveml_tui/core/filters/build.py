"""From a tree to a predicate over rows: closures, so that ten thousand rows cost milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from quickserveml_tui.core.errors import FilterError
from quickserveml_tui.core.filters.comparisons import Verdicts, value_test
from quickserveml_tui.core.filters.fields import Field, FieldTable, Kind
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


class _Builder(Generic[R]):
    def __init__(self, table: FieldTable[R], now: datetime) -> None:
        self._table = table
        self._now = now
        self.sources: set[str] = set()

    def build(self, tree: Filter) -> Callable[[R], bool]:
        """The predicate of a tree."""
        if isinstance(tree, Word):
            return self._table.occurs(self._no_field(tree).casefold())
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
        if field.many or field.kind is Kind.ANY:
            test = Verdicts(test).__getitem__
        if field.many:
            verdict = test
            if is_opposite:
                return lambda row: True not in map(verdict, get(row))
            return lambda row: True in map(verdict, get(row))
        # Nothing is known of a value that is missing: it neither equals nor differs.
        if is_opposite:
            return lambda row: (value := get(row)) is not None and not test(value)
        return lambda row: (value := get(row)) is not None and test(value)

    def _no_field(self, word: Word) -> str:
        """The text of a word, which must not be half of a comparison: it would match nothing, without a word why."""
        if not word.is_quoted and self._table.begins_field(word.text):
            shown = safe_text(word.text, 60)
            hint = "Write it like bench.p99_ms < 5, or put it in quotes."
            is_whole = word.text[-1:] == "." or self._table.find(word.text) is not None
            if not is_whole and (near := self._table.nearest(word.text)):
                hint = f"Did you mean {near}? {hint}"
            raise FilterError(f"“{shown}” needs a comparison.", column=word.behind, hint=hint)
        return word.text

    def _field(self, name: str, column: int) -> Field[R]:
        field = self._table.find(name)
        if field is None and name[-1:] == "." and name[:-1].lower() in self._table.families:
            raise FilterError(
                f"“{safe_text(name, 60)}” needs a key.", column=column + len(name), hint="Write it like meta.accuracy."
            )
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


# Loops rather than all() and any() over a generator: a third faster, and these run once a row and group.


def _every(terms: list[Callable[[R], bool]]) -> Callable[[R], bool]:
    def every(row: R) -> bool:
        for term in terms:  # noqa: SIM110
            if not term(row):
                return False
        return True

    return every


def _some(terms: list[Callable[[R], bool]]) -> Callable[[R], bool]:
    def some(row: R) -> bool:
        for term in terms:  # noqa: SIM110
            if term(row):
                return True
        return False

    return some
