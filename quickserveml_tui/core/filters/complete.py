"""How a filter can go on at the cursor. Reads what may be half a filter, and never raises for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

from quickserveml_tui.core.catalog import Completion
from quickserveml_tui.core.errors import FilterError
from quickserveml_tui.core.filters.fields import Field, FieldTable, Kind
from quickserveml_tui.core.filters.outline import Expected, Outline, outline
from quickserveml_tui.core.filters.scan import check_text
from quickserveml_tui.core.filters.syntax import MAX_CHARS, Operator, write_field, write_value, write_word

MAX_COMPLETIONS = 50

_OPERATOR_HELP = {
    Operator.EQ: "equals, ignoring case",
    Operator.NE: "differs",
    Operator.LT: "less than",
    Operator.LE: "at most",
    Operator.GT: "more than",
    Operator.GE: "at least",
    Operator.STARTS: "starts with",
    Operator.LIKE: "pattern with % and _",
    Operator.ILIKE: "pattern with % and _, ignoring case",
    Operator.NOT_LIKE: "does not fit the pattern",
    Operator.NOT_ILIKE: "does not fit the pattern, ignoring case",
    Operator.IN: "is one of a list",
    Operator.NOT_IN: "is none of a list",
}
_HINTS = {
    Kind.FLAG: ("true", "false"),
    Kind.COUNT: ("100", "10k", "1M", "10M", "100M"),
    Kind.SIZE: ("1MB", "10MB", "100MB", "1GB"),
    Kind.MILLISECONDS: ("1ms", "5ms", "10ms", "100ms", "1s"),
    Kind.RATE: ("100", "1k", "10k"),
    Kind.PERCENT: ("50%", "80%", "95%"),
}
_AGO = ("1d", "7d", "30d")


class ValueSource(Protocol):
    """The values there are."""

    def of(self, field: Any) -> Sequence[str]:
        """Values of a field, most frequent first."""
        ...

    def keys(self, family: str) -> Sequence[str]:
        """Keys of a family of fields such as `meta`, most frequent first."""
        ...

    def words(self) -> Sequence[str]:
        """Names of fields whose values serve as bare words."""
        ...


@dataclass(frozen=True, slots=True)
class _Choice:
    label: str
    help: str = ""
    after: str = " "
    """What follows it, unless it stands there."""


def complete_filter(
    text: str, cursor: int, table: FieldTable[Any], values: ValueSource, *, limit: int = MAX_COMPLETIONS
) -> tuple[Completion, ...]:
    """Completions of the word at the cursor (in characters from 0), best first; none where nothing can be read."""
    cursor = min(max(cursor, 0), len(text))
    try:
        check_text(text)
    except FilterError:
        return ()
    found = outline(text, cursor)
    choices = _distinct(_choices(found, table, values), found)
    made = (_completion(text, found, choice) for choice in choices)
    return tuple(islice((item for item in made if len(item.text) <= MAX_CHARS), min(limit, MAX_COMPLETIONS)))


def _completion(text: str, found: Outline, choice: _Choice) -> Completion:
    rest = text[found.end :]
    # Behind the cursor there may be a space already, or a parenthesis that needs none.
    after = "" if rest[:1].isspace() or (choice.after == " " and rest[:1] == ")") else choice.after
    before = " " if found.needs_space and not choice.label.startswith((":", ")", ",")) else ""
    inserted = f"{before}{choice.label}{after}"
    return Completion(text[: found.start] + inserted + rest, found.start + len(inserted), choice.label, choice.help)


def _distinct(choices: Iterable[_Choice], found: Outline) -> Iterator[_Choice]:
    """Each label once, and none that is there already and would change nothing."""
    seen = {""}
    for choice in choices:
        if choice.label not in seen and not (choice.label == found.written and not choice.after):
            seen.add(choice.label)
            yield choice


def _choices(found: Outline, table: FieldTable[Any], values: ValueSource) -> Iterator[_Choice]:
    field = table.find(found.field) if found.field else None
    if found.expected is Expected.OPERATOR:
        if field is not None:
            yield from _operators(field, found)
        if not table.begins_field(found.field):  # it needs a comparison
            yield from _connectives(found)
    elif found.expected is Expected.NEGATED:
        yield from _beginning(found, [_Choice(word) for word in ("IN", "LIKE", "ILIKE")])
    elif found.expected is Expected.VALUE:
        yield from _values(field, found, values)
    elif found.expected is Expected.LIST:
        yield from _beginning(found, [_Choice("(", "the values, between commas", after="")])
    elif found.expected is Expected.SEPARATOR:
        yield from _beginning(found, [_Choice(",", "another value"), _Choice(")", "end of the list")])
    elif found.expected is Expected.CONNECTIVE:
        yield from _connectives(found)
        yield from _terms(found, table, values)
    elif found.expected is Expected.FIELD:
        yield from _fields(found, table, values)
    else:
        yield from _terms(found, table, values)


# ---- terms ----------------------------------------------------------------------------------------------------------


def _terms(found: Outline, table: FieldTable[Any], values: ValueSource) -> Iterator[_Choice]:
    own = None if found.is_quoted else table.find(found.partial)
    if own is not None and _is_known(own, table, values):
        yield from (
            _Choice(f"{found.written}{'' if operator is Operator.STARTS else ' '}{operator}", _OPERATOR_HELP[operator],
                    after="" if operator is Operator.STARTS else " ")
            for operator in own.operators[:4]
        )  # fmt: skip
    if not found.is_quoted:
        yield from _fields(found, table, values)
        if found.partial:
            yield from _beginning(found, [_Choice("NOT"), _Choice("EXISTS")])
    if found.partial:
        for name in values.words():
            field = table.find(name)
            words = values.of(field) if field is not None else ()
            yield from _matching(found, (_Choice(write_word(word), name) for word in words if _is_writable(word)))
    else:
        yield from (_Choice("NOT", "the opposite"), _Choice("EXISTS", "has a value"), _Choice("(", after=""))


def _is_known(field: Field[Any], table: FieldTable[Any], values: ValueSource) -> bool:
    """Whether a field is one of the table, or of a family with a key that there is."""
    family, _dot, key = field.name.partition(".")
    return field in table.fields or key in values.keys(family)


def _fields(found: Outline, table: FieldTable[Any], values: ValueSource) -> Iterator[_Choice]:
    family, dot, key = found.partial.partition(".")
    if dot and family.lower() in table.families:
        keys = [name for name in values.keys(family.lower()) if _is_writable(name) and _fits(name, key)]
        yield from (_Choice(write_field(f"{family}.{name}"), "metadata") for name in keys)
        return
    yield from _matching(found, [_Choice(field.name, field.help) for field in table.fields])
    yield from _matching(
        found, [_Choice(f"{name}.", "metadata by its key", after="") for name in list(table.families)[:1]]
    )
    folded = found.partial.casefold()
    spelled = [field for field in table.fields if folded and any(name.startswith(folded) for name in field.names)]
    yield from (_Choice(field.name, field.help) for field in spelled)


def _connectives(found: Outline) -> Iterator[_Choice]:
    choices = [_Choice("AND", "both must hold"), _Choice("OR", "either may hold")]
    if found.depth > 0:
        choices.append(_Choice(")", "end of the group"))
    yield from _beginning(found, choices)


def _operators(field: Field[Any], found: Outline) -> Iterator[_Choice]:
    choices = [
        _Choice(operator.value, _OPERATOR_HELP[operator], after="" if operator is Operator.STARTS else " ")
        for operator in field.operators
    ]
    yield from _beginning(found, [*choices, _Choice("EXISTS", "has a value")])


# ---- values ---------------------------------------------------------------------------------------------------------


def _values(field: Field[Any] | None, found: Outline, values: ValueSource) -> Iterator[_Choice]:
    if field is None:
        return
    if field.kind is Kind.DATE:
        yield from _matching(found, _dates(found.operator))
        return
    hints = _HINTS.get(field.kind, ())
    known = [value for value in values.of(field) if _is_writable(value)]
    rest = [choice for choice in field.choices if choice not in known]
    options = hints or (*known, *rest)
    yield from _matching(found, [_Choice(write_value(value), field.name, after="") for value in options])


def _dates(operator: str) -> list[_Choice]:
    """Today and this month; spans of time only where they can be compared: nothing equals a moment."""
    today = datetime.now(UTC).date().isoformat()
    spans = [_Choice(span, "ago", after="") for span in _AGO] if operator[0] in "<>" else []
    return [*spans, _Choice(today, "today", after=""), _Choice(today[:7], "this month", after="")]


def _is_writable(value: str) -> bool:
    try:
        check_text(value)
    except FilterError:
        return False
    return bool(value)


def _fits(label: str, partial: str) -> bool:
    return partial.casefold() in label.casefold()


def _beginning(found: Outline, choices: Iterable[_Choice]) -> Iterator[_Choice]:
    """The choices that begin with what is written: for keywords and operators."""
    partial = found.partial.casefold()
    yield from (choice for choice in choices if choice.label.casefold().startswith(partial))


def _matching(found: Outline, choices: Iterable[_Choice]) -> Iterator[_Choice]:
    """The choices that begin with what is written, then those that hold it: for names and values."""
    partial = found.partial.casefold()
    if not partial:
        yield from choices
        return
    later: list[_Choice] = []
    for choice in choices:
        label = choice.label.casefold().lstrip('"')
        if label.startswith(partial):
            yield choice
        elif partial in label:
            later.append(choice)
    yield from later
