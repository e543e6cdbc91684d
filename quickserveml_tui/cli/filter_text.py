"""A filter with a mark under the place where it could not be read."""

from __future__ import annotations

from quickserveml_tui.core.text import cell_width, safe_text

_LEFT = 30
"""Characters shown before the place, at least, where the filter is too long for the line."""


def pointer_lines(text: str, column: int, width: int = 80) -> tuple[str, str]:
    """Two lines of at most `width` cells: the filter around `column` (from 1), and a caret under it.

    What cannot be printed is shown as a `?`; a part that does not fit is cut away.
    """
    shown = "".join(_cell(char) for char in text)
    at = min(max(column - 1, 0), len(shown))
    room = max(width - 8, 16)
    start, end = 0, len(shown)
    if cell_width(shown) > room:
        start = max(at - min(_LEFT, room // 2), 0)
        end = start
        used = 0
        while end < len(shown) and (used := used + cell_width(shown[end])) <= room:
            end += 1
    before = "..." if start else ""
    after = "..." if end < len(shown) else ""
    offset = len(before) + cell_width(shown[start:at])
    return f"{before}{shown[start:end]}{after}", f"{' ' * offset}^"


def _cell(char: str) -> str:
    """A character as it is shown: one that takes no cell, or that no terminal should get, is a `?`."""
    safe = safe_text(char)
    return safe if safe and cell_width(safe) else "?"
