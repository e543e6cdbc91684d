"""The one adapter to plotext: histograms, bars and box plots as drawings.

plotext draws on one figure per process and two threads spoil each other's picture, so every call holds a lock, clears
the figure before and after, and takes only the canvas from it: axes, labels and colours are ours. Pictures are cached
by data and size; the theme plays no part, because a drawing carries roles.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from quickserveml_tui.charts.axes import ValueAxis, number_labels, value_axis, with_axis
from quickserveml_tui.charts.cells import Charset, Drawing, Role, Row, Span, runs
from quickserveml_tui.core.benchmarks import HistogramData
from quickserveml_tui.core.text import cell_width, safe_text, truncate, truncate_middle
from quickserveml_tui.core.units import significant

_LOCK = threading.Lock()
_SIDES = (("x", "lower"), ("x", "upper"), ("y", "left"), ("y", "right"))


def _canvas(width: int, height: int, signal: Any, limits: tuple[float, float, float, float]) -> list[str]:
    """The canvas of a figure with one signal, without axes: `height` rows of `width` cells."""
    import plotext

    with _LOCK:
        plotext.terminal.limit(False, False)
        figure = plotext.figure
        figure.clear()
        try:
            figure.plot_size(width, height)
            figure.axes(False)
            figure.draw(signal(figure))
            for axis, side in _SIDES:
                figure.ruler(axis, side).ticks([], [])
            figure.ruler("x").lim(limits[0], limits[1])
            figure.ruler("y").lim(limits[2], limits[3])
            text: str = figure.build().string(colorless=True)
        finally:
            figure.clear()
    lines = text.split("\n")[:height]
    return [line[:width].ljust(width) for line in lines] + [" " * width] * (height - len(lines))


@lru_cache(maxsize=32)
def _columns(heights: tuple[float, ...], width: int, axis: ValueAxis, marker: str) -> tuple[str, ...]:
    """Filled columns, one height per half cell (`hd`) or cell; zero stands at the middle of the bottom row."""
    edge = axis.per_row / (4 if marker == "hd" else 2)
    limits = (0.0, float(max(len(heights) - 1, 1)), axis.low + edge, axis.high - edge)
    places = list(range(len(heights)))
    # Columns stand below the middle of the bottom row, where zero is; an empty one stays out of sight.
    foot = axis.low - axis.per_row
    feet = [foot] * len(heights)
    tops = [value if value > 0 else foot for value in heights]
    return tuple(
        _canvas(
            width,
            axis.rows,
            lambda figure: figure.bar(places, feet, tops, width=1, marker=marker, lines=False),
            limits,
        )
    )


def _marker(charset: Charset) -> tuple[str, int]:
    """Marker and heights per cell."""
    return ("#", 1) if charset is Charset.ASCII else ("hd", 2)


def _body(heights: Sequence[float], width: int, axis: ValueAxis, charset: Charset, role: Role) -> list[Row]:
    """Rows of columns, top first; where a column is empty the bottom row shows a thin base line."""
    marker, per_cell = _marker(charset)
    lines = _columns(tuple(heights), width, axis, marker)
    ticks = axis.ticks()
    rows: list[Row] = []
    for at, line in enumerate(lines):
        level = axis.rows - 1 - at
        blank = "┈" if level in ticks and charset is not Charset.ASCII else " "
        chars, roles = [], []
        for index, char in enumerate(line):
            empty = not any(heights[index * per_cell : (index + 1) * per_cell])
            bare = char == " " or (level == 0 and empty)
            chars.append(("-" if charset is Charset.ASCII else "▁") if bare and level == 0 else blank if bare else char)
            roles.append(Role.GRID if bare else role)
        rows.append(runs(chars, roles))
    return rows


def resample_counts(data: HistogramData, columns: int, low: float, high: float) -> list[float]:
    """Counts of a histogram spread over `columns` equal parts of `low` to `high`; the sum stays."""
    parts = [0.0] * columns
    width = (high - low) / columns
    for left, right, count in zip(data.edges_ms, data.edges_ms[1:], data.counts, strict=False):
        if not count or not (math.isfinite(left) and math.isfinite(right)):
            continue
        first = min(max(int((left - low) / width), 0), columns - 1)
        last = min(max(math.ceil((right - low) / width) - 1, first), columns - 1)
        for index in range(first, last + 1):
            overlap = min(right, low + (index + 1) * width) - max(left, low + index * width)
            share = max(overlap, 0.0) / (right - left) if right > left else 1.0 / (last - first + 1)
            parts[index] += count * share
    return parts


def histogram(
    data: HistogramData,
    width: int,
    height: int,
    *,
    marks: Mapping[str, float] | None = None,
    charset: Charset = Charset.BRAILLE,
    role: Role = Role.ACCENT,
) -> Drawing:
    """A latency histogram: runs per column, marks at percentiles below it, milliseconds at its foot.

    Args:
        data: Edges in ms and counts.
        width: Cells.
        height: Rows, at least 4; less gives an empty drawing.
        marks: Values to point at, by name.
        charset: `hd` quarter blocks of plotext, or `#` with ASCII.
        role: Role of the columns.
    """
    edges = [edge for edge in data.edges_ms if math.isfinite(edge)]
    if height < 4 or width < 12 or len(edges) < 2 or not any(data.counts):
        return Drawing()
    low, high = min(edges), max(edges)
    if high <= low:
        low, high = low - max(abs(low) * 0.05, 1e-6), high + max(abs(high) * 0.05, 1e-6)
    usable = {name: value for name, value in (marks or {}).items() if math.isfinite(value) and low <= value <= high}
    rows = height - 2 - (1 if usable else 0)
    labels = max(cell_width(f"{sum(data.counts):,}"), 4)
    plot = width - labels - 1
    heights = resample_counts(data, plot * _marker(charset)[1], low, high)
    axis = value_axis(0.0, max(heights), rows, from_zero=True)
    labels = max(axis.label_width, 4)
    plot = width - labels - 1
    heights = resample_counts(data, plot * _marker(charset)[1], low, high)
    body = with_axis(_body(heights, plot, axis, charset, role), axis, labels)
    indent = Span(" " * (labels + 1))
    head: Row = (Span("runs".rjust(labels), Role.MUTED),)
    foot = [(indent, *_pointers(usable, low, high, plot, charset))] if usable else []
    return Drawing((head, *body, *foot, (indent, *number_labels(low, high, plot, "ms"))))


def _pointers(marks: Mapping[str, float], low: float, high: float, width: int, charset: Charset) -> Row:
    """One row with a sign and a name below each mark; a name without room leaves its sign."""
    sign = "^" if charset is Charset.ASCII else "▲"
    cells, roles = [" "] * width, [Role.MUTED] * width
    places = sorted((min(int((value - low) / (high - low) * width), width - 1), name) for name, value in marks.items())
    for at, _ in places:
        cells[at], roles[at] = sign, Role.STRONG
    for number, (at, name) in enumerate(places):
        end = places[number + 1][0] if number + 1 < len(places) else width
        if at + 2 + len(name) <= end:
            cells[at + 2 : at + 2 + len(name)] = name
    return runs(cells, roles)


def bars(
    values: Mapping[str, float],
    width: int,
    height: int,
    *,
    unit: str = "",
    charset: Charset = Charset.BRAILLE,
    role: Role = Role.ACCENT,
) -> Drawing:
    """One column per name with the name and the figure below it; missing values stay empty."""
    names = list(values)
    if height < 5 or not names or width < 4 * len(names):
        return Drawing()
    each = width // len(names)
    inner = max(each - 2, 1)
    _, per_cell = _marker(charset)
    heights: list[float] = []
    for value in values.values():
        tall = value if math.isfinite(value) and value > 0 else 0.0
        heights += [tall] * (inner * per_cell) + [0.0] * ((each - inner) * per_cell)
    axis = value_axis(0.0, max([*heights, 1e-9]), height - 3, from_zero=True)
    body = _body(heights, each * len(names), axis, charset, role)
    labels = tuple(Span(truncate_middle(safe_text(name), inner).ljust(each), Role.BODY) for name in names)
    figures = tuple(Span(truncate(significant(value), each).ljust(each), Role.STRONG) for value in values.values())
    return Drawing(((Span(safe_text(unit), Role.MUTED),), *body, labels, figures))


def box(
    groups: Mapping[str, Sequence[float]],
    width: int,
    *,
    unit: str = "ms",
    charset: Charset = Charset.BRAILLE,
) -> Drawing:
    """A horizontal box plot, three rows per group: quartiles, median, extremes. Long groups are thinned out first."""
    usable = {
        safe_text(name): _thin([value for value in group if math.isfinite(value)]) for name, group in groups.items()
    }
    usable = {name: group for name, group in usable.items() if group}
    label_width = min(max((cell_width(name) for name in usable), default=0), width // 3)
    plot = width - label_width - 2
    if not usable or plot < 10:
        return Drawing()
    low = min(min(group) for group in usable.values())
    high = max(max(group) for group in usable.values())
    if high <= low:
        low, high = low - max(abs(low) * 0.05, 1e-6), high + max(abs(high) * 0.05, 1e-6)
    marker = _marker(charset)[0]
    rows: list[Row] = []
    for name, group in usable.items():
        lines = _canvas(
            plot,
            3,
            lambda figure, group=group: figure.box([1], [group], orientation="h", width=0.6, marker=marker),
            (low, high, 0.5, 1.5),
        )
        if charset is Charset.ASCII:
            lines = [line.replace("─", "-").replace("│", "|") for line in lines]
        for at, line in enumerate(lines):
            label = truncate_middle(name, label_width) if at == 1 else ""
            rows.append((Span(label.ljust(label_width) + "  ", Role.BODY), Span(line, Role.ACCENT)))
    foot = (Span(" " * (label_width + 2)), *number_labels(low, high, plot, unit))
    return Drawing((*rows, foot))


def _thin(values: list[float], limit: int = 2000) -> list[float]:
    """At most `limit` quantiles of the values: the same box, quickly drawn."""
    if len(values) <= limit:
        return values
    ordered = sorted(values)
    return [ordered[round(index * (len(ordered) - 1) / (limit - 1))] for index in range(limit)]
