"""Which lines and steps between lines of the graph package an input reaches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

MAX_EVENTS = 30_000
"""Lines traced of one input: beyond that a loop goes round, and tracing costs more than it tells."""


class Coverage:
    """Traces calls of a function; lines are numbered in the order in which they are first reached."""

    def __init__(self, files: list[Path]) -> None:
        self.edges: set[int] = set()
        """Steps from line to line seen so far."""
        self._files = frozenset(map(str, files))
        self._lines: dict[tuple[str, int], int] = {}
        self._wanted: dict[CodeType, bool] = {}
        self._last = self._left = 0
        self._found: set[int] = set()

    @property
    def lines(self) -> int:
        return len(self._lines)

    def run(self, call: Callable[[], object]) -> int:
        """Call it, and say how many new steps it took."""
        self._last, self._left, self._found = 0, MAX_EVENTS, set()
        sys.settrace(self._on_call)
        try:
            call()
        finally:
            sys.settrace(None)
            fresh = self._found - self.edges
            self.edges |= fresh
        return len(fresh)

    def _on_call(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        wanted = self._wanted.get(code)
        if wanted is None:
            wanted = self._wanted[code] = code.co_filename in self._files
        if not wanted or self._left < 0:
            return None
        return self._on_line

    def _on_line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            key = (frame.f_code.co_filename, frame.f_lineno)
            here = self._lines.setdefault(key, len(self._lines) + 1)
            self._found.add(self._last << 20 | here)
            self._last = here
            self._left -= 1
            if self._left < 0:
                return None
        return self._on_line

    def per_file(self) -> dict[str, tuple[int, int]]:
        """Lines reached and lines that hold code, by file."""
        reached: dict[str, int] = {}
        for path, _ in self._lines:
            reached[path] = reached.get(path, 0) + 1
        return {Path(path).name: (reached.get(path, 0), len(_code_lines(Path(path)))) for path in sorted(self._files)}


def _code_lines(path: Path) -> set[int]:
    """Lines of functions; those that run at import are not counted."""
    todo, lines = [compile(path.read_text("utf-8"), str(path), "exec")], set()
    top = todo[0]
    while todo:
        code = todo.pop()
        todo += [const for const in code.co_consts if isinstance(const, CodeType)]
        if code is not top and not code.co_name.startswith("<") and code.co_flags & 2:  # CO_NEWLOCALS: not a class body
            lines |= {line for _, _, line in code.co_lines() if line and line != code.co_firstlineno}
    return lines
