"""From a comparison to a test of one value."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from quickserveml_tui.core.errors import FilterError
from quickserveml_tui.core.filters import values as parse
from quickserveml_tui.core.filters.fields import Field, Kind
from quickserveml_tui.core.filters.like import like_test
from quickserveml_tui.core.filters.syntax import Comparison, Operator, Value
from quickserveml_tui.core.text import safe_text

Test = Callable[[Any], bool]

_UNITS = {
    Kind.COUNT: parse.COUNT_UNITS,
    Kind.SIZE: parse.SIZE_UNITS,
    Kind.MILLISECONDS: parse.MS_UNITS,
    Kind.RATE: parse.RATE_UNITS,
    Kind.PERCENT: parse.PERCENT_UNITS,
}
_ORDERS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQ: operator.eq,
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
}
_NOUNS = {
    Kind.TEXT: "a text",
    Kind.CHOICE: "a choice",
    Kind.PREFIX: "the beginning of a sha256, in hex digits",
    Kind.COUNT: "a number",
    Kind.SIZE: "a size",
    Kind.MILLISECONDS: "a time in milliseconds",
    Kind.RATE: "a number per second",
    Kind.PERCENT: "a percentage",
    Kind.DATE: "a date",
    Kind.FLAG: "true or false",
    Kind.ANY: "a text or number",
}


class Verdicts(dict[Any, bool]):
    """What a test says of each value, asked once: a catalog has few different tags, operators and dtypes."""

    def __init__(self, test: Test) -> None:
        super().__init__()
        self._test = test

    def __missing__(self, value: Any) -> bool:
        verdict = self[value] = self._test(value)
        return verdict


def value_test(field: Field[Any], comparison: Comparison, now: datetime) -> Test:
    """The test of one value for the plain form of the operator: that of `=` for `!=`, of `IN` for `NOT IN`.

    Raises `FilterError` for an operator or a value that does not fit the field.
    """
    if comparison.operator not in field.operators:
        raise FilterError(
            f"{field.name} cannot be compared with {comparison.operator}.",
            column=comparison.operator_column,
            hint=f"Use {', '.join(field.operators)} or EXISTS.",
        )
    plain = comparison.operator.plain
    if plain in (Operator.LIKE, Operator.ILIKE):
        return _pattern_test(field, comparison.values[0].text, is_folded=plain is Operator.ILIKE)
    if field.kind is Kind.DATE:
        return _date_test(field, plain, comparison.values, now)
    if field.kind is Kind.FLAG:
        wanted = _parsed(field, comparison.values[0], parse.parse_flag(comparison.values[0].text))
        return lambda value: bool(value) is wanted
    if field.kind.is_number:
        return _number_test(field, plain, comparison.values)
    if field.kind is Kind.ANY:
        return _any_test(plain, comparison.values)
    return _text_test(field, plain, comparison.values)


def _parsed(field: Field[Any], value: Value, parsed: Any) -> Any:
    if parsed is None:
        raise FilterError(
            f"{field.name} takes {_NOUNS[field.kind]}, not “{safe_text(value.text, 40)}”.",
            column=value.column,
            hint=f"Write it like {field.kind.example}.",
        )
    return parsed


# ---- numbers and dates ----------------------------------------------------------------------------------------------


def _number_test(field: Field[Any], plain: Operator, values: tuple[Value, ...]) -> Test:
    units = _UNITS[field.kind]
    numbers = [_parsed(field, value, parse.parse_number(value.text, units)) for value in values]
    if plain is Operator.IN:
        known = frozenset(numbers)
        return lambda value: value in known
    return _against(_ORDERS[Operator.EQ if plain is Operator.STARTS else plain], numbers[0])


def _against(compare: Callable[[Any, Any], bool], right: Any) -> Test:
    return lambda left: compare(left, right)


def _date_test(field: Field[Any], plain: Operator, values: tuple[Value, ...], now: datetime) -> Test:
    spans = [_parsed(field, value, parse.parse_date(value.text, now)) for value in values]
    if plain in (Operator.EQ, Operator.STARTS, Operator.IN):
        for value, (start, end) in zip(values, spans, strict=True):
            if start == end:
                raise FilterError(
                    f"“{safe_text(value.text, 40)}” is a moment, which nothing equals.",
                    column=value.column,
                    hint="Compare it with <, <=, > or >=.",
                )
        return lambda value: any(start <= value < end for start, end in spans)
    start, end = spans[0]
    # A whole day is one value: > begins after its end, <= holds until then.
    bound = end if plain in (Operator.GT, Operator.LE) else start
    later = plain in (Operator.GT, Operator.GE)
    return (lambda value: value >= bound) if later else (lambda value: value < bound)


# ---- texts ----------------------------------------------------------------------------------------------------------


def _forms(field: Field[Any]) -> Callable[[str], tuple[str, ...]]:
    if field.forms is None:
        return lambda value: (value.casefold(),)
    more = field.forms
    return lambda value: (value.casefold(), *more(value))


def _text_test(field: Field[Any], plain: Operator, values: tuple[Value, ...]) -> Test:
    wanted = [_checked(field, value, plain).casefold() for value in values]
    first, forms = wanted[0], _forms(field)
    if plain is Operator.STARTS:
        if field.forms is None:
            return lambda value: value.casefold().startswith(first)
        return lambda value: any(form.startswith(first) for form in forms(value))
    if field.kind is Kind.PREFIX:
        prefixes = tuple(wanted)
        return lambda value: value.startswith(prefixes)
    if plain in (Operator.EQ, Operator.IN):
        known = frozenset(wanted)
        if field.forms is None:
            return lambda value: value.casefold() in known
        return lambda value: not known.isdisjoint(forms(value))
    compare = _ORDERS[plain]
    return lambda value: compare(value.casefold(), first)


def _checked(field: Field[Any], value: Value, plain: Operator) -> str:
    """The text of a value, if the field can have it: a misspelled state would silently find nothing."""
    text = value.text
    if field.kind is Kind.PREFIX and (not text.isascii() or text.strip("0123456789abcdefABCDEF") or len(text) > 64):
        return str(_parsed(field, value, None))
    if not field.choices:
        return text
    folded = text.casefold()
    if plain is Operator.STARTS:
        fits = any(choice.startswith(folded) for choice in field.choices)
    else:
        fits = folded in field.choices
    if not fits:
        near = get_close_matches(folded[:64], field.choices, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Values: {', '.join(field.choices)}."
        raise FilterError(f"{field.name} is never “{safe_text(text, 40)}”.", column=value.column, hint=hint)
    return text


def _pattern_test(field: Field[Any], pattern: str, *, is_folded: bool) -> Test:
    fits = like_test(pattern.casefold() if is_folded else pattern)
    if is_folded:
        forms = _forms(field)
        return lambda value: any(map(fits, forms(value)))
    if field.forms is None:
        return fits
    more = field.forms
    return lambda value: fits(value) or any(map(fits, more(value)))


# ---- text or number -------------------------------------------------------------------------------------------------


def _any_test(plain: Operator, values: tuple[Value, ...]) -> Test:
    """Numbers compare as numbers where both sides are one, texts as texts."""
    if plain in (Operator.EQ, Operator.IN):
        texts = frozenset(value.text.casefold() for value in values)
        numbers = frozenset(number for value in values if (number := parse.plain_number(value.text)) is not None)
        return lambda value: value.casefold() in texts or (bool(numbers) and parse.plain_number(value) in numbers)
    text, number = values[0].text.casefold(), parse.plain_number(values[0].text)
    if plain is Operator.STARTS:
        return lambda value: value.casefold().startswith(text)
    compare = _ORDERS[plain]
    if number is None:
        return lambda value: compare(value.casefold(), text)
    return lambda value: (own := parse.plain_number(value)) is not None and compare(own, number)
