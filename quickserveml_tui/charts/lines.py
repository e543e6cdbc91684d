"""Quantities over time as lines of dots, several on one axis, and the labels of a window that ends now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quickserveml_tui.charts.axes import ValueAxis, log_axis, time_step, value_axis, with_axis
from quickserveml_tui.charts.cells import Charset, Drawing, Role, Row, Span, runs

LOG_RATIO = 20.0
"""Values that are so many times apart are drawn on a logarithmic axis."""
_LEFT = (0x40, 0x04, 0x02, 0x01)
_RIGHT = (0x80, 0x20, 0x10, 0x08)
_BRAILLE = 0x2800
_ASCII_SIGNS = "*+.o"


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity: values from left to right, None where nothing is known."""

    values: Sequence[float | None]
    role: Role = Role.ACCENT
    name: str = ""
    """Stands at the right edge, where it ends."""


def dot_columns(width: int, charset: Charset) -> int:
    """Values that `width` cells hold side by side."""
    return width * 2 if charset is Charset.BRAILLE else width


def plot_width(width: int, label_width: int, lines: Sequence[Line] = ()) -> int:
    """Cells of the plot in a chart of `width` cells with value labels of `label_width`."""
    names = max((len(line.name) for line in lines), default=0)
    return max(width - label_width - 1 - (names + 1 if names else 0), 0)


def line_chart(
    lines: Sequence[Line],
    width: int,
    height: int,
    *,
    window_s: float,
    unit: str = "",
    from_zero: bool = True,
    label_width: int = 6,
    cursor: int | None = None,
    charset: Charset = Charset.BRAILLE,
) -> Drawing:
    """Lines over the last `window_s` seconds; `height` rows in all, unit and time labels included.

    Args:
        lines: What to draw; where two meet in a cell, the later one has the colour.
        width: Cells.
        height: Rows, at least 4; fewer give an empty drawing.
        window_s: Seconds from the left edge to the right one, which is now.
        unit: Stands above the value axis.
        from_zero: Whether a linear axis starts at zero.
        label_width: Cells of the value labels, to line several charts up.
        cursor: Column of the plot (cells) that is marked.
        charset: Braille or ASCII.
    """
    plot = plot_width(width, label_width, lines)
    rows = height - 2
    if rows < 2 or plot < 4:
        return Drawing()
    axis = _axis(lines, rows, from_zero=from_zero)
    body = _body(lines, axis, plot, charset)
    if cursor is not None and 0 <= cursor < plot:
        body = [_with_cursor(row, cursor, charset) for row in body]
    named = _named(body, lines, axis)
    lead = Span(" " * (label_width + 1))
    head = (Span(unit.rjust(label_width), Role.MUTED),)
    return Drawing((head, *with_axis(named, axis, label_width), (lead, *ago_labels(window_s, plot))))


def _axis(lines: Sequence[Line], rows: int, *, from_zero: bool) -> ValueAxis:
    values = [value for line in lines for value in line.values if value is not None and math.isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if not from_zero and low > 0 and high > LOG_RATIO * low:
        decades = log_axis(low, high, rows)
        if decades is not None:
            return decades
    return value_axis(low, high if high > low or not from_zero else max(high, 1.0), rows, from_zero=from_zero)


def _body(lines: Sequence[Line], axis: ValueAxis, plot: int, charset: Charset) -> list[Row]:
    steps = 4 if charset is Charset.BRAILLE else 1
    ticks = axis.ticks()
    blank = " " if charset is Charset.ASCII else "┈"
    cells: list[list[tuple[int, Role]]] = [[(0, Role.GRID)] * plot for _ in range(axis.rows)]
    for number, line in enumerate(lines):
        before: int | None = None
        for at, value in enumerate(line.values[: dot_columns(plot, charset)]):
            if value is None or not math.isfinite(value):
                before = None
                continue
            level = min(max(math.floor(axis.height_of(value) * steps), 0), axis.rows * steps - 1)
            start = level if before is None else before
            for step in range(min(level, start), max(level, start) + 1):
                if charset is Charset.BRAILLE:
                    bit = (_RIGHT if at % 2 else _LEFT)[step % 4]
                    cells[step // 4][at // 2] = (cells[step // 4][at // 2][0] | bit, line.role)
                else:
                    cells[step][at] = (number + 1, line.role)
            before = level
    rows: list[Row] = []
    for level in range(axis.rows - 1, -1, -1):
        empty = blank if level in ticks else " "
        chars = [_sign(code, charset) or empty for code, _ in cells[level]]
        rows.append(runs(chars, [role for _, role in cells[level]]))
    return rows


def _sign(code: int, charset: Charset) -> str:
    if not code:
        return ""
    return chr(_BRAILLE + code) if charset is Charset.BRAILLE else _ASCII_SIGNS[(code - 1) % len(_ASCII_SIGNS)]


def _with_cursor(row: Row, cursor: int, charset: Charset) -> Row:
    """A thin upright where the column is empty; what is drawn there stays."""
    chars = [char for span in row for char in span.text]
    roles = [span.role for span in row for _ in span.text]
    if cursor < len(chars) and roles[cursor] is Role.GRID:
        chars[cursor], roles[cursor] = "|" if charset is Charset.ASCII else "│", Role.MUTED
    return runs(chars, roles)


def _named(body: list[Row], lines: Sequence[Line], axis: ValueAxis) -> list[Row]:
    """Names of the lines at the right, on the row of their last value; a name whose row is taken moves up."""
    room = max((len(line.name) for line in lines), default=0)
    if not room:
        return body
    placed: dict[int, Line] = {}
    for line in lines:
        last = next((value for value in reversed(line.values) if value is not None and math.isfinite(value)), None)
        if last is None:
            continue
        row = min(max(math.floor(axis.height_of(last)), 0), axis.rows - 1)
        free = next((at for at in [*range(row, axis.rows), *range(row - 1, -1, -1)] if at not in placed), None)
        if free is not None:
            placed[free] = line
    named = []
    for at, cells in enumerate(body):
        found = placed.get(axis.rows - 1 - at)
        text = f" {found.name if found else ''}".ljust(room + 1)
        named.append((*cells, Span(text, Role.MUTED)))
    return named


def ago_labels(window_s: float, width: int) -> Row:
    """Labels of a window that ends now: `−5 min`, `−4`, … `now`."""
    if width < 8 or window_s <= 0:
        return ()
    scale, unit = (60.0, "min") if window_s >= 120 else (1.0, "s")
    cells = [" "] * width
    first = f"−{window_s / scale:g} {unit}"
    first = first if len(first) + 4 <= width else ""
    cells[width - 3 :] = "now"
    cells[: len(first)] = first
    step = time_step(window_s, max(width // 9, 1))
    ago = step
    taken_from, free_from = width - 3, len(first) + 2
    while ago < window_s - step * 0.5:
        label = f"−{ago / scale:g}"
        at = round((1 - ago / window_s) * width) - len(label) // 2
        if at >= free_from and at + len(label) + 2 <= taken_from:
            cells[at : at + len(label)] = label
            taken_from = at
        ago += step
    return (Span("".join(cells)[:width], Role.MUTED),)
