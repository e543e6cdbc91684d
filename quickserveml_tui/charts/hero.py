"""Figures three rows high in heavy line-drawing, for the one number that answers a screen's question."""

from __future__ import annotations

from quickserveml_tui.charts.cells import Charset, Drawing, Role, Row, Span
from quickserveml_tui.core.text import cell_width

_DIGITS: dict[str, tuple[str, str, str]] = {
    "0": ("┏━┓", "┃ ┃", "┗━┛"),
    "1": ("╺┓ ", " ┃ ", "╺┻╸"),
    "2": ("╺━┓", "┏━┛", "┗━╸"),
    "3": ("╺━┓", "╺━┫", "╺━┛"),
    "4": ("╻ ╻", "┗━┫", "  ╹"),
    "5": ("┏━╸", "┗━┓", "╺━┛"),
    "6": ("┏━╸", "┣━┓", "┗━┛"),
    "7": ("╺━┓", "  ┃", "  ╹"),
    "8": ("┏━┓", "┣━┫", "┗━┛"),
    "9": ("┏━┓", "┗━┫", "╺━┛"),
    ".": (" ", " ", "."),
    ",": (" ", " ", ","),
    "−": ("  ", "╺╸", "  "),
    "+": ("   ", "╺╋╸", "   "),
    "–": ("  ", "╺╸", "  "),
    " ": (" ", " ", " "),
}
_ALIASES = {"-": "−"}


def hero_width(value: str) -> int:
    """Cells that `value` takes as a hero; 0 if it holds a sign that has no heavy form."""
    signs = [_ALIASES.get(sign, sign) for sign in value]
    if not signs or any(sign not in _DIGITS for sign in signs):
        return 0
    return sum(len(_DIGITS[sign][0]) for sign in signs)


def hero(
    value: str,
    unit: str = "",
    label: str = "",
    *,
    charset: Charset = Charset.BRAILLE,
    role: Role = Role.STRONG,
    max_width: int | None = None,
) -> Drawing:
    """`value` in three rows with unit and label muted on its base line.

    One bold row instead with the ASCII set, for a value with letters, and where `max_width` is too narrow.
    """
    tail = " ".join(part for part in (unit, label) if part)
    width = hero_width(value)
    tail_width = cell_width(tail) + 1 if tail else 0
    if charset is Charset.ASCII or not width or (max_width is not None and width + tail_width > max_width):
        return Drawing(((Span(value, role, bold=True), Span(f" {tail}" if tail else "", Role.MUTED)),))
    rows: list[Row] = []
    for level in range(3):
        figure = "".join(_DIGITS[_ALIASES.get(sign, sign)][level] for sign in value)
        spans = [Span(figure, role, bold=True)]
        if level == 2 and tail:
            spans.append(Span(f" {tail}", Role.MUTED))
        rows.append(tuple(spans))
    return Drawing(tuple(rows))
