"""Filter text to tree, by recursive descent: one function a rule, bounded in length, terms and depth."""

from __future__ import annotations

import re

from quickserveml_tui.core.errors import FilterError
from quickserveml_tui.core.filters.scan import Place, Token, TokenKind, check_text, next_token
from quickserveml_tui.core.filters.syntax import (
    MAX_DEPTH,
    MAX_LIST,
    MAX_TERMS,
    And,
    Comparison,
    Exists,
    Filter,
    Not,
    Operator,
    Or,
    Value,
    Word,
)
from quickserveml_tui.core.text import safe_text

_TERM_HINT = "A term is a word, a comparison like params < 10M, or a filter in parentheses."
_NUMBER = re.compile(r"[+-]?[\d.,_]+", re.ASCII)
# Written apart, as in `size < 25 MB`, a unit would be a word of its own that matches nothing.
_UNIT = re.compile(r"%|[kmgtb]|[kmgt]i?b|ns|us|µs|ms|s|sec|min|h|d|/s", re.IGNORECASE)


def parse_filter(text: str) -> Filter | None:
    """The tree of a filter; None when it is empty, which matches everything. Raises `FilterError` with the column."""
    check_text(text)
    parser = _Parser(text)
    if parser.next().kind is TokenKind.END:
        return None
    tree = parser.any_of()
    rest = parser.next()
    if rest.kind is not TokenKind.END:
        raise FilterError("This parenthesis closes nothing.", column=rest.column, hint="Remove it.")
    return tree


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._known: Token | None = None
        self._depth = 0
        self._terms = 0

    # ---- tokens ---------------------------------------------------------------------------------------------------

    def next(self) -> Token:
        """The token ahead, read as the beginning of a term."""
        if self._known is None:
            self._known = next_token(self._text, self._at, Place.TERM)
        return self._known

    def take(self) -> Token:
        """The token ahead, and go on behind it."""
        token = self.next()
        self._go_behind(token)
        return token

    def _take_at(self, place: Place) -> Token:
        token = next_token(self._text, self._at, place)
        self._go_behind(token)
        return token

    def _go_behind(self, token: Token) -> None:
        if not token.is_closed:
            raise FilterError("The quotes are not closed.", column=token.open_quote + 1, hint='Write "like this".')
        self._at, self._known = token.end, None

    def _sees(self, *keywords: str) -> bool:
        token = self.next()
        return token.kind is TokenKind.KEYWORD and token.text in keywords

    # ---- rules ----------------------------------------------------------------------------------------------------

    def any_of(self) -> Filter:
        """`all_of (OR all_of)*`."""
        terms = [self.all_of()]
        while self._sees("OR"):
            self.take()
            terms.append(self.all_of())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def all_of(self) -> Filter:
        """`term ((AND)? term)*`."""
        terms = [self.term()]
        while True:
            if self._sees("AND"):
                self.take()
            elif self._sees("OR") or self.next().kind in (TokenKind.CLOSE, TokenKind.END):
                return terms[0] if len(terms) == 1 else And(tuple(terms))
            terms.append(self.term())

    def term(self) -> Filter:
        """`NOT* primary`."""
        negations = 0
        while self._sees("NOT"):
            self._go_deeper(self.take())
            negations += 1
        tree = self.primary()
        for _ in range(negations):
            tree = Not(tree)
        self._depth -= negations
        return tree

    def primary(self) -> Filter:
        """`"(" any_of ")" | EXISTS field | word | comparison`."""
        token = self.take()
        if token.kind is TokenKind.OPEN:
            return self._group(token)
        self._count(token)
        if token.kind is TokenKind.KEYWORD and token.text == "EXISTS":
            return self._exists(self.take())
        if token.kind not in (TokenKind.WORD, TokenKind.STRING):
            raise _no_term(token)
        following = self.next()
        if following.kind is TokenKind.OPERATOR or self._sees("LIKE", "ILIKE", "IN"):
            return self._comparison(_field_name(token), is_negated=False)
        if self._sees("EXISTS"):
            self.take()
            return Exists(_field_name(token).text, token.column)
        if self._sees("NOT") and self._negates_operator(following):
            self.take()
            return self._comparison(_field_name(token), is_negated=True)
        return _word(token)

    def _group(self, opening: Token) -> Filter:
        self._go_deeper(opening)
        tree = self.any_of()
        closing = self.next()
        if closing.kind is not TokenKind.CLOSE:
            raise FilterError("This parenthesis is not closed.", column=opening.column, hint="Add a “)”.")
        self.take()
        self._depth -= 1
        return tree

    def _go_deeper(self, token: Token) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FilterError(
                "The filter is nested too deeply.",
                column=token.column,
                hint=f"Parentheses and NOT go {MAX_DEPTH} levels deep at most.",
            )

    def _count(self, token: Token) -> None:
        self._terms += token.kind is not TokenKind.END
        if self._terms > MAX_TERMS:
            raise FilterError(
                "The filter has too many terms.", column=token.column, hint=f"Use at most {MAX_TERMS} terms."
            )

    def _exists(self, token: Token) -> Exists:
        if token.kind is not TokenKind.WORD:
            raise FilterError("EXISTS needs a field.", column=token.column, hint="Write it like EXISTS author.")
        return Exists(token.text, token.column)

    def _negates_operator(self, negation: Token) -> bool:
        """Whether the NOT ahead belongs to `NOT IN` or `NOT LIKE`, and not to the next term."""
        token = next_token(self._text, negation.end, Place.TERM)
        return token.kind is TokenKind.KEYWORD and token.text in ("IN", "LIKE", "ILIKE")

    def _comparison(self, field: Token, *, is_negated: bool) -> Comparison:
        token = self.take()
        operator = Operator(f"NOT {token.text}" if is_negated else token.text)
        values = self._list() if operator.is_list else (self._value(),)
        return Comparison(field.text, operator, values, field.column, token.column)

    def _value(self) -> Value:
        token = self._take_at(Place.VALUE)
        value = _value(token)
        following = self.next()
        if _NUMBER.fullmatch(value.text) and following.kind is TokenKind.WORD and _UNIT.fullmatch(following.text):
            self.take()
            return Value(f"{value.text} {following.text}", value.column)
        return value

    def _list(self) -> tuple[Value, ...]:
        opening = self._take_at(Place.ITEM)
        if opening.kind is not TokenKind.OPEN:
            raise FilterError(
                "IN needs a list in parentheses.", column=opening.column, hint="Write it like tag IN (vision, text)."
            )
        values: list[Value] = []
        while True:
            token = self._take_at(Place.ITEM)
            if len(values) == MAX_LIST:
                raise FilterError(
                    "The list has too many values.", column=token.column, hint=f"Use at most {MAX_LIST} values."
                )
            values.append(_value(token))
            separator = self._take_at(Place.ITEM)
            if separator.kind is TokenKind.CLOSE:
                return tuple(values)
            if separator.kind is not TokenKind.COMMA:
                raise FilterError(
                    "A comma or the end of the list is expected.",
                    column=separator.column,
                    hint="Write it like tag IN (vision, text); put values with spaces in quotes.",
                )


def _word(token: Token) -> Word:
    if token.kind is TokenKind.WORD and token.text.startswith("!"):
        raise FilterError("“!” is not an operator.", column=token.column, hint="Write NOT, or != between two sides.")
    if not token.text:
        raise FilterError("The quotes are empty.", column=token.column, hint="Put what to search for between them.")
    return Word(token.text, token.column, token.kind is TokenKind.STRING, token.end + 1)


def _field_name(token: Token) -> Token:
    if token.kind is TokenKind.STRING:
        raise FilterError(
            "A field is written without quotes.", column=token.column, hint="Write it like name = resnet50."
        )
    return token


def _value(token: Token) -> Value:
    is_word = token.kind is TokenKind.WORD
    # `params < AND x` and `a = = b` lack a value; a value of that spelling is put in quotes.
    if token.kind is not TokenKind.STRING and (
        not is_word or token.text[0] in "=<>!" or token.text.upper() in ("AND", "OR", "NOT")
    ):
        found = f", not “{safe_text(token.text, 40)}”" if token.text else ""
        raise FilterError(
            f"A value is expected here{found}.", column=token.column, hint="Put it in quotes if that is the value."
        )
    if not token.text:
        raise FilterError(
            "The value is empty.", column=token.column, hint="To find what has no value, write NOT EXISTS author."
        )
    return Value(token.text, token.column)


def _no_term(token: Token) -> FilterError:
    if token.kind is TokenKind.END:
        return FilterError("The filter ends where a term is expected.", column=token.column, hint=_TERM_HINT)
    hint = _TERM_HINT
    if token.kind is TokenKind.KEYWORD:
        hint = f"Put “{token.text.lower()}” in quotes to search for that word."
    elif token.kind is TokenKind.OPERATOR:
        hint = "Write a field before it, as in params < 10M."
    return FilterError(f"A term is expected here, not “{token.text}”.", column=token.column, hint=hint)
