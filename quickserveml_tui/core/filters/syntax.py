"""Filters as trees, and as the text that spells them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field as detail
from enum import StrEnum
from typing import TypeAlias

MAX_CHARS = 4000
MAX_TERMS = 200
MAX_DEPTH = 50
MAX_LIST = 200

KEYWORDS = frozenset({"AND", "OR", "NOT", "LIKE", "ILIKE", "IN", "EXISTS"})


class Operator(StrEnum):
    """What a comparison asks."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    STARTS = ":"
    LIKE = "LIKE"
    NOT_LIKE = "NOT LIKE"
    ILIKE = "ILIKE"
    NOT_ILIKE = "NOT ILIKE"
    IN = "IN"
    NOT_IN = "NOT IN"

    @property
    def plain(self) -> Operator:
        """The operator that this one is the opposite of, or itself: `=` of `!=`, `IN` of `NOT IN`."""
        return _OPPOSITES.get(self, self)

    @property
    def is_list(self) -> bool:
        """Whether it takes a list of values."""
        return self.plain is Operator.IN


_OPPOSITES = {
    Operator.NE: Operator.EQ,
    Operator.NOT_LIKE: Operator.LIKE,
    Operator.NOT_ILIKE: Operator.ILIKE,
    Operator.NOT_IN: Operator.IN,
}

# Columns say where a part stood, from 1; they are no part of what a filter means.


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it was written, without quotes."""

    text: str
    column: int = detail(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Word:
    """A word or phrase that must occur."""

    text: str
    column: int = detail(default=1, compare=False)
    is_quoted: bool = detail(default=False, compare=False)
    behind: int = detail(default=1, compare=False)
    """Column behind it."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field against a value, or against several for `IN`."""

    field: str
    operator: Operator
    values: tuple[Value, ...]
    column: int = detail(default=1, compare=False)
    operator_column: int = detail(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether a field has a value."""

    field: str
    column: int = detail(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a term."""

    term: Filter


@dataclass(frozen=True, slots=True)
class And:
    """Every term, at least two."""

    terms: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any term, at least two."""

    terms: tuple[Filter, ...]


Filter: TypeAlias = Word | Comparison | Exists | Not | And | Or


_PLAIN_WORD = re.compile(r"""(?!["'!,])[^\s()=<>:!"',]+""")
_PLAIN_VALUE = re.compile(r"""(?!["'=<>!,])[^\s()"',]+""")


def quoted(text: str) -> str:
    """`text` in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def write_value(text: str) -> str:
    """A value as a filter spells it: quoted only where it must be."""
    return text if _PLAIN_VALUE.fullmatch(text) and text.upper() not in KEYWORDS else quoted(text)


def write_word(text: str) -> str:
    """A word or phrase as a filter spells it: quoted only where it must be."""
    return text if _PLAIN_WORD.fullmatch(text) and text.upper() not in KEYWORDS else quoted(text)


def write_field(name: str) -> str:
    """A field as a filter spells it: `params`, `meta."my key"`."""
    family, dot, key = name.partition(".")
    return name if write_word(name) == name or not dot else f"{family}.{quoted(key)}"


def write_filter(tree: Filter) -> str:
    """The text that parses to an equal tree."""
    if isinstance(tree, Word):
        return write_word(tree.text)
    if isinstance(tree, Exists):
        return f"{write_field(tree.field)} EXISTS"
    if isinstance(tree, Comparison):
        return _write_comparison(tree)
    if isinstance(tree, Not):
        return f"NOT {_write_inner(tree.term, And | Or)}"
    if isinstance(tree, And):
        return " AND ".join(_write_inner(term, And | Or) for term in tree.terms)
    return " OR ".join(_write_inner(term, Or) for term in tree.terms)


def _write_inner(tree: Filter, wrapped: type | object) -> str:
    text = write_filter(tree)
    return f"({text})" if isinstance(tree, wrapped) else text  # type: ignore[arg-type] # a union of classes


def _write_comparison(tree: Comparison) -> str:
    name = write_field(tree.field)
    if tree.operator.is_list:
        return f"{name} {tree.operator} ({', '.join(write_value(value.text) for value in tree.values)})"
    value = write_value(tree.values[0].text)
    return f"{name}:{value}" if tree.operator is Operator.STARTS else f"{name} {tree.operator} {value}"
