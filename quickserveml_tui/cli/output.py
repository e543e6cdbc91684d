"""The owner of stdout: one JSON document, or text that fits where it goes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.text import at_home, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable

_CODES = {"bold": "1", "muted": "2", "ok": "32", "warn": "33", "error": "31", "accent": "38;5;208"}
_ASCII_TWINS = {
    "✓": "+", "✕": "x", "×": "x", "–": "-", "−": "-", "…": "...", "“": '"', "”": '"', "’": "'", "·": "-",
    "█": "#", "▌": "#", "●": "*", "○": "o", "→": "->", "µ": "u", "≥": ">=", "≤": "<=", "▶": ">", "±": "+-", "■": "#",
}  # fmt: skip


_home = ""
"""The home that was chosen with --home; commands that are printed name it."""


def set_home(home: str) -> None:
    """Let the commands in texts name a home; empty for the default one."""
    global _home  # noqa: PLW0603 - one command line a process
    _home = home


def with_home(text: str) -> str:
    """`text` with its commands made for the chosen home."""
    return at_home(text, _home)


def takes_colour(stream: TextIO) -> bool:
    """Whether escape sequences may go to the stream: a terminal that knows them, and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("dumb", ""):
        return False
    return stream.isatty()


def takes_unicode(stream: TextIO) -> bool:
    """Whether the stream's encoding holds the glyphs that text output uses."""
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "").replace("_", "")
    return encoding.startswith("utf")


def to_ascii(text: str) -> str:
    """`text` with the house's glyphs as their ASCII twins and a `?` for anything else that ASCII lacks."""
    twins = "".join(_ASCII_TWINS.get(char, char) for char in text)
    return twins.encode("ascii", "replace").decode("ascii")


def unwritable(error: OSError) -> DataError:
    """The error for a stream that takes no more, such as a file on a full disk."""
    return DataError(
        f"The output cannot be written: {safe_text(error.strerror or 'unknown reason', 80)}.",
        hint="Check the free space and the permissions where it goes.",
        code="output.unwritable",
    )


class Terminal:
    """A stream that takes text: styles it only where styles are understood."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.colour = takes_colour(stream)
        self.unicode = takes_unicode(stream)

    @property
    def interactive(self) -> bool:
        """Whether a line may be painted again in place."""
        return self.stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")

    def style(self, text: str, role: str) -> str:
        """`text` in the role `bold`, `muted`, `ok`, `warn`, `error` or `accent`; plain where there is no colour."""
        return f"\x1b[{_CODES[role]}m{text}\x1b[0m" if self.colour and text and role else text

    def write(self, text: str) -> None:
        """Write text, as ASCII where the stream needs it. Raises `DataError` (`output.unwritable`)."""
        try:
            self.stream.write(text if self.unicode else to_ascii(text))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(error) from error

    def line(self, text: str = "") -> None:
        """Write one line; the commands in it name the chosen home."""
        self.write(with_home(text) + "\n")


class Output(Terminal):
    """What a command prints on stdout."""

    def __init__(self, *, as_json: bool = False, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stdout)
        self.as_json = as_json

    def document(self, document: Any) -> None:
        """Print one JSON document. Non-finite numbers must have been encoded before: they are refused."""
        import json

        text = json.dumps(
            document, ensure_ascii=not self.unicode, allow_nan=False, indent=2 if self.stream.isatty() else None
        )
        self.write(text + "\n")

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines."""
        for text in lines:
            self.line(text)

    def raw(self, text: str) -> None:
        """Print a report as it is."""
        self.write(text)

    def heading(self, text: str) -> None:
        """Print a title with an empty line after it."""
        self.line(self.style(safe_text(text), "bold"))
        self.line()

    def pairs(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Print labels with their values, aligned; values that are empty are left out."""
        kept = [(label, safe_text(value)) for label, value in pairs if value not in ("", None)]
        width = max((len(label) for label, _ in kept), default=0)
        for label, value in kept:
            self.line(f"{self.style(label.ljust(width), 'muted')}  {value}")
