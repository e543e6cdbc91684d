"""Rows of role spans as Textual content: the one place where roles become styles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import Any

from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from quickserveml_tui.charts.cells import Role, Row, Span, pad_row
from quickserveml_tui.core.text import cell_width, safe_text, truncate, truncate_middle
from quickserveml_tui.tui.glyphs import glyphs_of, to_ascii


def say(text: object, role: Role = Role.BODY, *, bold: bool = False) -> Span:
    """A span of outside text, made safe for the terminal."""
    return Span(safe_text(text), role, bold)


def style_of(span: Span) -> str:
    """The Textual style of a span, by theme variables."""
    style = f"${span.role.value}"
    if span.back is not None:
        style += f" on ${span.back.value}"
    if span.under:
        style = f"underline {style}"
    return f"bold {style}" if span.bold else style


def _unseamed(span: Span) -> list[tuple[str, str]]:
    """A span for the screen: full cells are painted as background too, so that columns never show seams."""
    if "█" not in span.text:
        return [(span.text, style_of(span))]
    solid = style_of(replace(span, back=span.role))
    return [
        ("".join(part), solid if full else style_of(span))
        for full, part in groupby(span.text, lambda sign: sign == "█")
    ]


@lru_cache(maxsize=512)
def _rich_style(fore: str, back: str, bold: bool) -> Style:
    ink = Color.parse(fore).rich_color if fore else None
    return Style(color=ink, bgcolor=Color.parse(back).rich_color if back else None, bold=True if bold else None)


def rich_style(app: App[Any], role: Role, *, bold: bool = False, back: Role | None = None) -> Style:
    """The Rich style of a role in the app's theme, for widgets that paint lines themselves."""
    variables = app.theme_variables
    return _rich_style(variables.get(role.value, ""), variables.get(back.value, "") if back else "", bold)


def row_width(row: Iterable[Span]) -> int:
    """Cells that a row takes."""
    return sum(cell_width(span.text) for span in row)


def crop_row(row: Row, width: int, *, middle: bool = False) -> Row:
    """A row cut to `width` cells: at the end, or inside its longest span with `middle`."""
    excess = row_width(row) - width
    if excess <= 0:
        return row
    if middle:
        index = max(range(len(row)), key=lambda at: cell_width(row[at].text))
        longest = row[index]
        room = cell_width(longest.text) - excess
        if room >= 4:
            return (
                *row[:index],
                replace(longest, text=truncate_middle(longest.text, room)),
                *row[index + 1 :],
            )
    kept: list[Span] = []
    left = width
    for span in row:
        size = cell_width(span.text)
        if size > left:
            if left > 0:
                kept.append(replace(span, text=truncate(span.text, left)))
            break
        kept.append(span)
        left -= size
    return tuple(kept)


def fold_row(row: Row, width: int) -> list[Row]:
    """A row as rows of at most `width` cells, cut at blanks where there are some; what follows is indented further."""
    text = "".join(span.text for span in row)
    lead = len(text) - len(text.lstrip()) + 2
    if row_width(row) <= width or width <= 2 * lead:
        return [crop_row(row, width)]
    signs = [replace(span, text=sign) for span in row for sign in span.text]
    rows: list[Row] = []
    while signs:
        indent: Row = (Span(" " * lead),) if rows else ()
        room = width - row_width(indent)
        fits = _fitting(signs, room)
        end = fits if fits == len(signs) else _last_blank(signs, fits, lead if not rows else 0) or fits
        rows.append(_merged((*indent, *signs[:end])))
        signs = signs[end:]
    return rows


def _fitting(signs: Sequence[Span], room: int) -> int:
    """How many signs fit; one at least."""
    taken = 0
    for at, sign in enumerate(signs):
        taken += cell_width(sign.text)
        if taken > room:
            return max(at, 1)
    return len(signs)


def _last_blank(signs: Sequence[Span], end: int, start: int) -> int:
    """Place behind the last blank before `end` that is not part of the indent; 0 without one."""
    return next((at + 1 for at in range(end - 1, start, -1) if signs[at].text == " "), 0)


def _merged(row: Sequence[Span]) -> Row:
    """Neighbours that look the same as one span."""
    merged: list[Span] = []
    for span in row:
        if merged and replace(merged[-1], text=span.text) == span:
            merged[-1] = replace(span, text=merged[-1].text + span.text)
        else:
            merged.append(span)
    return tuple(merged)


def two_edges(left: Sequence[Span], right: Sequence[Span], width: int, *, gap: int = 2) -> Row:
    """A row that hangs on both edges; the left part gives way where there is no room for both."""
    right_row = crop_row(tuple(right), width)
    taken = row_width(right_row)
    room = width - taken - (gap if taken else 0)
    if room <= 0:
        return pad_row(right_row, width, right=True)
    left_row = crop_row(tuple(left), room, middle=True)
    blank = width - taken - row_width(left_row)
    return (*left_row, Span(" " * max(blank, 0)), *right_row)


def to_content(rows: Iterable[Row], *, ascii_only: bool = False) -> Content:
    """Rows as Textual content; nothing in them is taken for markup."""
    parts: list[str | tuple[str, str]] = []
    for index, row in enumerate(rows):
        if index:
            parts.append("\n")
        for span in row:
            parts.extend([(to_ascii(span.text), style_of(span))] if ascii_only else _unseamed(span))
    return Content.assemble(*parts)


class Inked(Widget):
    """Base of widgets that are rows of spans: subclasses give `rows(width)`."""

    DEFAULT_CSS = """
    Inked { width: 1fr; height: 1; text-wrap: nowrap; text-overflow: clip; }
    """

    def rows(self, width: int) -> Sequence[Row]:
        """Rows to show in `width` cells; `self.content_size.height` says how many fit."""
        raise NotImplementedError

    def natural_height(self, width: int) -> int:  # noqa: ARG002 - subclasses use it
        """Rows that the content takes in `width` cells, where the height is automatic."""
        return 1

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 - Textual's own
        """The natural height."""
        return self.natural_height(width)

    def render(self) -> Content:
        """The rows in the theme's styles."""
        width = self.content_size.width
        if width <= 0:
            return Content("")
        return to_content(self.rows(width), ascii_only=glyphs_of(self).ascii_only)

    @property
    def mono(self) -> bool:
        """Whether there is no colour, so that text styles must carry the meaning."""
        return self.app.theme == "mono"

    @property
    def inverse(self) -> bool:
        """Whether cursor and focus are said by inverse text: a colour in it would become a background."""
        return self.app.theme_variables.get("cursor-style") == "reverse"


class Lines(Inked):
    """Fixed rows of spans."""

    DEFAULT_CSS = "Lines { height: auto; }"

    def __init__(self, lines: Sequence[Row] = (), *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.lines = tuple(lines)

    def show(self, lines: Sequence[Row]) -> None:
        """Replace the rows."""
        lines = tuple(lines)
        if lines != self.lines:
            grown = len(lines) != len(self.lines)
            self.lines = lines
            self.refresh(layout=grown)

    def natural_height(self, width: int) -> int:  # noqa: ARG002 - the rows are fixed
        """The number of rows."""
        return len(self.lines)

    def rows(self, width: int) -> Sequence[Row]:
        """The rows, cut at the right edge."""
        return [crop_row(row, width) for row in self.lines]


def key_row(parts: Iterable[tuple[str, str]]) -> Row:
    """Keys in bold with their verbs, as dialogs show them at their foot."""
    row: list[Span] = []
    for key, verb in parts:
        row += [Span("   ")] if row else []
        row += [say(key, Role.STRONG, bold=True), say(f" {verb}", Role.MUTED)]
    return tuple(row)
