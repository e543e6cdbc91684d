"""What a filter can ask for: fields with their kind, help and how to read them from a row."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from quickserveml_tui.core.filters.syntax import Operator

R = TypeVar("R")

_EQUALS = (Operator.EQ, Operator.NE, Operator.STARTS)
_LISTS = (Operator.IN, Operator.NOT_IN)
_ORDER = (Operator.LT, Operator.LE, Operator.GT, Operator.GE)
_PATTERNS = (Operator.LIKE, Operator.NOT_LIKE, Operator.ILIKE, Operator.NOT_ILIKE)


class Kind(StrEnum):
    """What values a field has; the value is the word for it."""

    TEXT = "text"
    CHOICE = "choice"
    PREFIX = "hex digits"
    COUNT = "number"
    SIZE = "size"
    MILLISECONDS = "milliseconds"
    RATE = "rate"
    PERCENT = "percentage"
    DATE = "date"
    FLAG = "yes or no"
    ANY = "text or number"

    @property
    def example(self) -> str:
        """How a value is written."""
        return _EXAMPLES[self]

    @property
    def is_number(self) -> bool:
        """Whether values are numbers with a unit."""
        return self in (Kind.COUNT, Kind.SIZE, Kind.MILLISECONDS, Kind.RATE, Kind.PERCENT)


_EXAMPLES = {
    Kind.TEXT: "resnet50",
    Kind.CHOICE: "validated",
    Kind.PREFIX: "3fa9c1",
    Kind.COUNT: "10M",
    Kind.SIZE: "25MB",
    Kind.MILLISECONDS: "5ms",
    Kind.RATE: "1000",
    Kind.PERCENT: "80%",
    Kind.DATE: "2026-01-31, or 7d for seven days ago",
    Kind.FLAG: "true",
    Kind.ANY: "0.9",
}


@dataclass(frozen=True, slots=True)
class Field(Generic[R]):
    """Something that a filter can ask for."""

    name: str
    kind: Kind
    get: Callable[[R], Any]
    """Reads it from a row: text, number, bool, ISO date or None; with `many` an iterable of texts or numbers."""
    help: str
    """Part of a sentence, without a full stop."""
    example: str
    """A comparison with it."""
    many: bool = False
    """Whether a row may have several values."""
    names: tuple[str, ...] = ()
    """Other spellings."""
    choices: tuple[str, ...] = ()
    """All values there can be."""
    forms: Callable[[str], tuple[str, ...]] | None = None
    """The case-folded texts that a value answers to besides itself."""
    source: str = ""
    """What a row must have been given to answer, where that costs something."""
    suggests: bool = True
    """Whether its values are offered for completion."""

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators that fit, most useful first; all fields can be asked for with EXISTS."""
        if self.kind is Kind.FLAG:
            return _EQUALS
        if self.kind is Kind.DATE or self.kind.is_number:
            return (*_ORDER, *_EQUALS, *_LISTS)
        if self.kind is Kind.PREFIX:
            return (*_EQUALS, *_LISTS)
        if self.kind is Kind.CHOICE or self.many:
            return (*_EQUALS, *_LISTS, *_PATTERNS)
        return (*_EQUALS, *_LISTS, *_PATTERNS, *_ORDER)


class FieldTable(Generic[R]):
    """The fields of one kind of row."""

    def __init__(
        self,
        fields: Iterable[Field[R]],
        families: Mapping[str, Callable[[str], Field[R]]],
        occurs: Callable[[str], Callable[[R], bool]],
    ) -> None:
        """`families` makes fields by their key (`meta` makes `meta.KEY`); `occurs` is the test of a bare word."""
        self.fields = tuple(fields)
        self.families = dict(families)
        self.occurs = occurs
        self._by_name = {name: field for field in self.fields for name in (field.name, *field.names)}

    def find(self, name: str) -> Field[R] | None:
        """The field with this name, whatever its case; the key of a family is taken as it is."""
        family, dot, key = name.partition(".")
        if dot and key and (make := self.families.get(family.lower())):
            return make(key)
        return self._by_name.get(name.lower())

    def begins_field(self, word: str) -> bool:
        """Whether a word can only be meant as a field: it begins like `bench.` or `meta.`."""
        group, dot, _rest = word.lower().partition(".")
        return bool(dot) and (group in self.families or any(name.startswith(f"{group}.") for name in self._by_name))

    def nearest(self, name: str) -> str:
        """The name that comes closest to one that is unknown; empty when none does."""
        names = [field.name for field in self.fields]
        wanted = name.lower()
        tails = [known for known in names if "." in known and known.partition(".")[2].startswith(wanted)]
        near = difflib.get_close_matches(wanted[:64], [*self._by_name, *names], n=1, cutoff=0.6)
        if not near and len(wanted) > 1:
            near = [known for known in names if known.startswith(wanted)][:1] or tails[:1]
        return near[0] if near else ""
