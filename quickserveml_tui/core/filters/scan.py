"""Filter text as tokens. What ends a word depends on where it stands, so the parser says what it expects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from quickserveml_tui.core.errors import FilterError
from quickserveml_tui.core.filters.syntax import KEYWORDS, MAX_CHARS


class TokenKind(Enum):
    """What a token is."""

    WORD = auto()
    KEYWORD = auto()
    STRING = auto()
    OPERATOR = auto()
    OPEN = auto()
    CLOSE = auto()
    COMMA = auto()
    END = auto()


class Place(Enum):
    """Where a token is expected: a term, the value of a comparison, or an item of a list."""

    TERM = auto()
    VALUE = auto()
    ITEM = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a filter; `start` and `end` are offsets in characters."""

    kind: TokenKind
    text: str
    """Its meaning: a string without quotes and escapes, a keyword in capitals."""
    start: int
    end: int
    open_quote: int = -1
    """Offset of a quote that is not closed; −1 when all is well."""

    @property
    def is_closed(self) -> bool:
        """Whether a string has its closing quote."""
        return self.open_quote < 0

    @property
    def column(self) -> int:
        """Where it stands, from 1."""
        return self.start + 1


_SPACE = re.compile(r"\s*")
_WORDS = {
    Place.TERM: re.compile(r"(?:[^\s()=<>:!]|!(?!=))+"),
    Place.VALUE: re.compile(r"[^\s()]+"),
    Place.ITEM: re.compile(r"[^\s(),]+"),
}
_OPERATORS = re.compile(r"==|!=|<>|<=|>=|=|<|>|:")
_SAME_OPERATORS = {"==": "=", "<>": "!="}
_MARKS = {"(": TokenKind.OPEN, ")": TokenKind.CLOSE, ",": TokenKind.COMMA}
_STRING_PARTS = {quote: re.compile(rf"(?:[^\\{quote}]|\\.|\\\Z)*", re.DOTALL) for quote in "\"'"}
_ESCAPES = re.compile(r"\\([\\\"'])")
# Nothing that is stored holds controls or lone surrogates, so a filter with one is a mistake or an attack.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


def check_text(text: str) -> None:
    """Raises `FilterError` for a text that is too long or holds characters that no filter may hold."""
    if len(text) > MAX_CHARS:
        raise FilterError(
            f"The filter is too long: {len(text):,} characters.",
            column=MAX_CHARS + 1,
            hint=f"A filter takes at most {MAX_CHARS:,} characters.",
        )
    if match := _FORBIDDEN.search(text):
        raise FilterError(
            f"The filter holds a control character (U+{ord(match[0]):04X}).",
            column=match.start() + 1,
            hint="Remove it, or type the filter again.",
        )


def next_token(text: str, start: int, place: Place) -> Token:
    """The token at or after `start`; a string without its end is not an error here. Linear in its length."""
    at = _skip_space(text, start)
    if at >= len(text):
        return Token(TokenKind.END, "", at, at)
    char = text[at]
    if char in "()" or (char == "," and place is Place.ITEM):
        return Token(_MARKS[char], char, at, at + 1)
    if char in "\"'":
        return _string(text, at)
    if place is Place.TERM and (match := _OPERATORS.match(text, at)):
        return Token(TokenKind.OPERATOR, _SAME_OPERATORS.get(match[0], match[0]), at, match.end())
    match = _WORDS[place].match(text, at)
    assert match is not None  # neither space, parenthesis, quote nor operator: a word
    return _word(text, at, match.end(), place)


def _skip_space(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start


def _word(text: str, start: int, end: int, place: Place) -> Token:
    if place is Place.TERM and text[start:end].upper() in KEYWORDS:
        return Token(TokenKind.KEYWORD, text[start:end].upper(), start, end)
    # meta."my key": the name of a field whose key needs quotes.
    if place is Place.TERM and (dot := _quoted_key(text, start, end)):
        key = _string(text, dot)
        return Token(TokenKind.WORD, text[start:dot] + key.text, start, key.end, key.open_quote)
    return Token(TokenKind.WORD, text[start:end], start, end)


def _quoted_key(text: str, start: int, end: int) -> int:
    """Where a quoted key begins in a word like `meta."…`; 0 when there is none."""
    for quote in "\"'":
        dot = text.find(f".{quote}", start, end)
        if dot > start and text.find(".", start, dot) < 0:
            return dot + 1
    return 0


def _string(text: str, start: int) -> Token:
    match = _STRING_PARTS[text[start]].match(text, start + 1)
    end = match.end() if match else start + 1
    meaning = _ESCAPES.sub(r"\1", text[start + 1 : end])
    if end == len(text):
        return Token(TokenKind.STRING, meaning, start, end, open_quote=start)
    return Token(TokenKind.STRING, meaning, start, end + 1)
