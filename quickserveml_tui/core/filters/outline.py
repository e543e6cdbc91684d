"""What stands before a cursor in a filter that need not be complete, and what may follow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from quickserveml_tui.core.filters.scan import Place, Token, TokenKind, next_token


class Expected(Enum):
    """What may stand at the cursor."""

    TERM = auto()
    FIELD = auto()
    """The field of `EXISTS`."""
    OPERATOR = auto()
    """After a word: an operator if it is a field, else AND, OR or the next term."""
    NEGATED = auto()
    """After `field NOT`."""
    VALUE = auto()
    LIST = auto()
    """The parenthesis of `IN`."""
    SEPARATOR = auto()
    """After a value in a list."""
    CONNECTIVE = auto()
    """After a term."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Where a cursor stands."""

    expected: Expected
    start: int
    """Offset where a completion goes."""
    end: int
    """Offset of what it replaces up to."""
    partial: str
    """What stands before the cursor of the word under it, without quotes."""
    written: str
    """The whole word under the cursor as it stands there."""
    field: str
    """The field that is being compared."""
    operator: str
    """How it is compared."""
    depth: int
    """Parentheses that are open."""
    is_quoted: bool = False
    needs_space: bool = False
    """Whether a completion would touch the token before it."""


@dataclass(slots=True)
class _State:
    expected: Expected = Expected.TERM
    field: str = ""
    operator: str = ""
    depth: int = 0
    in_list: bool = False

    @property
    def place(self) -> Place:
        if self.expected in (Expected.LIST, Expected.SEPARATOR) or self.in_list:
            return Place.ITEM
        return Place.VALUE if self.expected is Expected.VALUE else Place.TERM

    def pass_by(self, token: Token) -> None:
        """Go on behind a token."""
        kind = token.kind
        if self.in_list:
            self._pass_list(kind)
        elif self.expected is Expected.LIST:
            self.in_list = kind is TokenKind.OPEN
            self.expected = Expected.VALUE if self.in_list else Expected.CONNECTIVE
        elif kind is TokenKind.OPEN:
            self.depth, self.expected = self.depth + 1, Expected.TERM
        elif kind is TokenKind.CLOSE:
            self.depth, self.expected = max(self.depth - 1, 0), Expected.CONNECTIVE
        elif self.expected in (Expected.VALUE, Expected.FIELD):
            self.expected = Expected.CONNECTIVE
        elif kind is TokenKind.OPERATOR:
            self.operator, self.expected = token.text, Expected.VALUE
        elif kind is TokenKind.KEYWORD:
            self._pass_keyword(token.text)
        elif kind is TokenKind.STRING:
            self.field, self.expected = "", Expected.CONNECTIVE
        else:
            self.field, self.expected = token.text, Expected.OPERATOR

    def _pass_list(self, kind: TokenKind) -> None:
        if kind is TokenKind.CLOSE:
            self.in_list, self.expected = False, Expected.CONNECTIVE
        else:
            self.expected = Expected.VALUE if kind is TokenKind.COMMA else Expected.SEPARATOR

    def _pass_keyword(self, keyword: str) -> None:
        after_field = self.expected is Expected.OPERATOR
        if keyword in ("AND", "OR"):
            self.expected = Expected.TERM
        elif keyword == "NOT":
            self.expected = Expected.NEGATED if after_field else Expected.TERM
        elif keyword == "EXISTS":
            self.expected = Expected.CONNECTIVE if after_field else Expected.FIELD
        else:
            self.operator, self.expected = keyword, Expected.LIST if keyword == "IN" else Expected.VALUE


def outline(text: str, cursor: int) -> Outline:
    """Where the cursor stands. The text must have passed `scan.check_text`."""
    state = _State()
    at = last = 0
    while True:
        token = next_token(text, at, state.place)
        if token.kind is TokenKind.END or token.start >= cursor:
            return _between(state, cursor, touches=last == cursor and cursor > 0 and not text[cursor - 1].isspace())
        is_word = token.kind in (TokenKind.WORD, TokenKind.KEYWORD)
        is_open_string = token.kind is TokenKind.STRING and (cursor < token.end or not token.is_closed)
        if (is_word and cursor <= token.end) or (is_open_string and cursor <= token.end):
            return _within(state, text, token, cursor)
        state.pass_by(token)
        at = last = token.end


def _between(state: _State, cursor: int, *, touches: bool) -> Outline:
    needs_space = touches and state.expected in (Expected.CONNECTIVE, Expected.OPERATOR, Expected.NEGATED)
    return Outline(
        state.expected, cursor, cursor, "", "", state.field, state.operator, state.depth, needs_space=needs_space
    )


def _within(state: _State, text: str, token: Token, cursor: int) -> Outline:
    is_quoted = token.kind is TokenKind.STRING
    # Without its closing quote a string reaches to the end, and would swallow what stands behind the cursor.
    end = token.end if token.is_closed else cursor
    partial = text[token.start + is_quoted : cursor]
    return Outline(
        state.expected,
        token.start,
        end,
        partial,
        text[token.start : end],
        state.field,
        state.operator,
        state.depth,
        is_quoted,
    )
