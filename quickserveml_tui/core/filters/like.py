"""`LIKE` patterns: `%` is any text, `_` any one character, a backslash takes the next character as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Segment: TypeAlias = tuple[str | None, ...]
"""Characters that must follow each other; None is any one."""


def like_test(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches the whole pattern, in time linear in the text: nothing is tried twice."""
    segments = _segments(pattern)
    if len(segments) == 1:
        only = _Piece(segments[0])
        return lambda text: len(text) == only.length and only.fits(text, 0)
    head, *middle, tail = (_Piece(segment) for segment in segments)
    inner = [piece for piece in middle if piece.length]
    fixed = head.length + tail.length

    def test(text: str) -> bool:
        end = len(text) - tail.length
        if len(text) < fixed or not head.fits(text, 0) or not tail.fits(text, end):
            return False
        at = head.length
        # The first place where a piece fits leaves the most room for the rest.
        for piece in inner:
            at = piece.find(text, at, end)
            if at < 0:
                return False
        return True

    return test


def _segments(pattern: str) -> list[Segment]:
    segments: list[list[str | None]] = [[]]
    is_escaped = False
    for char in pattern:
        if is_escaped:
            segments[-1].append(char)
            is_escaped = False
        elif char == "\\":
            is_escaped = True
        elif char == "%":
            segments.append([])
        else:
            segments[-1].append(None if char == "_" else char)
    if is_escaped:
        segments[-1].append("\\")
    return [tuple(segment) for segment in segments]


class _Piece:
    """Text between two `%`."""

    def __init__(self, segment: Segment) -> None:
        self.length = len(segment)
        self._fixed = [(offset, char) for offset, char in enumerate(segment) if char is not None]
        self._literal = "".join(char for _offset, char in self._fixed) if len(self._fixed) == self.length else None
        self._masks: dict[str, int] = {}
        self._any = sum(1 << offset for offset, char in enumerate(segment) if char is None)
        for offset, char in self._fixed:
            self._masks[char] = self._masks.get(char, self._any) | 1 << offset

    def fits(self, text: str, at: int) -> bool:
        """Whether it stands at an offset that leaves room for it."""
        if self._literal is not None:
            return text.startswith(self._literal, at)
        return all(text[at + offset] == char for offset, char in self._fixed)

    def find(self, text: str, start: int, end: int) -> int:
        """The end of its first occurrence from `start` that ends by `end`; −1 if there is none."""
        if self._literal is not None:
            found = text.find(self._literal, start, end)
            return found + self.length if found >= 0 else -1
        # Shift-and (Baeza-Yates and Gonnet 1992): bit i says that the last i + 1 characters fit the piece's first ones.
        state, goal = 0, 1 << (self.length - 1)
        for at in range(start, end):
            state = (state << 1 | 1) & self._masks.get(text[at], self._any)
            if state & goal:
                return at + 1
        return -1
