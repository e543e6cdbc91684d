"""Heat over time: how many values fell into each bucket, column by column, in shades of one hue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from quickserveml_tui.charts.cells import HEAT, Charset, Drawing, Role, Row, Span

_ASCII_SHADES = " .:-=+*#"
_STEPS = len(HEAT)
_ROUND = tuple(mantissa * 10.0**power for mantissa in (1.0, 5.0, 2.0) for power in range(-4, 6))
"""Labels of the value axis, the most welcome first."""


@dataclass(frozen=True, slots=True)
class HeatScale:
    """Where a value stands on the logarithmic axis of `levels` steps, the lowest first."""

    low: float
    """Decimal logarithm of the lower edge."""
    per_level: float
    levels: int

    def level_of(self, value: float) -> int:
        """Level that holds a value (not clipped)."""
        return math.floor((math.log10(max(value, 1e-12)) - self.low) / self.per_level)

    def centre_of(self, level: int) -> float:
        """Value in the middle of a level."""
        return float(10 ** (self.low + (level + 0.5) * self.per_level))


def heat_scale(columns: Sequence[Sequence[int] | None], bounds: Sequence[float], levels: int) -> HeatScale | None:
    """The tightest scale that shows every bucket with a value; None where there is none.

    `bounds` are the upper bounds of the buckets in the unit of the axis; the last bucket of a column is open.
    """
    used = [index for column in columns if column for index, count in enumerate(column) if count]
    if not used or not bounds or levels < 1:
        return None
    top = bounds[min(max(used), len(bounds) - 1)]
    lowest = min(used)
    bottom = bounds[lowest - 1] if lowest > 0 else bounds[0] / 2
    low, high = math.log10(max(bottom, 1e-12)), math.log10(max(top, 1e-12) * (1.5 if max(used) >= len(bounds) else 1.0))
    if high - low < 1.0:
        # Less than a decade would blow one bucket up to half of the picture.
        spare = (1.0 - (high - low)) / 2
        low, high = low - spare, high + spare
    return HeatScale(low, (high - low) / levels, levels)


def _levels_of(bounds: Sequence[float], scale: HeatScale) -> list[tuple[int, int]]:
    """First and last level of each bucket: each level belongs to the bucket that holds its middle."""
    edges = [scale.low]
    edges += [math.log10(max(bound, 1e-12)) for bound in bounds]
    edges.append(math.inf)
    spans = []
    for left, right in pairwise(edges):
        first = math.ceil((left - scale.low) / scale.per_level - 0.5)
        last = scale.levels - 1 if right == math.inf else math.ceil((right - scale.low) / scale.per_level - 0.5) - 1
        if last < first:
            middle = left if right == math.inf else (left + right) / 2
            first = last = math.floor((middle - scale.low) / scale.per_level)
        spans.append((min(max(first, 0), scale.levels - 1), min(max(last, 0), scale.levels - 1)))
    return spans


def shade(count: float, most: float) -> int:
    """Step of a count, 0 for none to 7 for the most; square roots, so that rare values show."""
    if count <= 0 or most <= 0:
        return 0
    return min(1 + math.floor(math.sqrt(min(count / most, 1.0)) * _STEPS), _STEPS)


def heat_map(
    columns: Sequence[Sequence[int] | None],
    bounds: Sequence[float],
    width: int,
    height: int,
    *,
    unit: str = "ms",
    label_width: int = 6,
    cursor: int | None = None,
    charset: Charset = Charset.BRAILLE,
) -> tuple[Drawing, int]:
    """The picture, `height` rows with the unit above the axis, and the count that has the hottest shade.

    Args:
        columns: Counts by bucket for each cell from left to right (the open bucket last); None where nothing is known.
        bounds: Upper bounds of the buckets in `unit`, ascending.
        width: Cells, labels included.
        height: Rows.
        unit: Stands above the axis.
        label_width: Cells of the labels.
        cursor: Column that is marked.
        charset: ASCII draws whole cells with signs of growing weight.
    """
    plot, rows = width - label_width - 1, height - 1
    if plot < 2 or rows < 2:
        return Drawing(), 0
    per_row = 1 if charset is Charset.ASCII else 2
    shown = [*columns[:plot], *[None] * (plot - len(columns))]
    scale = heat_scale(shown, bounds, rows * per_row)
    head = (Span(unit.rjust(label_width), Role.MUTED),)
    if scale is None:
        empty: Row = (Span(" " * (label_width + 1)), Span("┈" * plot, Role.GRID))
        return Drawing((head, *[empty if at % 4 == 3 else () for at in range(rows)])), 0
    levels, most = _grid(shown, bounds, scale)
    labels = _labels(scale, rows, per_row)
    body: list[Row] = []
    for row in range(rows - 1, -1, -1):
        cells = [_cell(column[row * per_row : (row + 1) * per_row], most, charset) for column in levels]
        if cursor is not None and 0 <= cursor < plot and not cells[cursor].text.strip():
            cells[cursor] = Span("|" if charset is Charset.ASCII else "│", Role.MUTED)
        body.append((Span(labels.get(row, "").rjust(label_width) + " ", Role.MUTED), *_joined(cells)))
    return Drawing((head, *body)), most


def _grid(
    columns: Sequence[Sequence[int] | None], bounds: Sequence[float], scale: HeatScale
) -> tuple[list[list[int]], int]:
    places = _levels_of(bounds, scale)
    grid = []
    for column in columns:
        levels = [0] * scale.levels
        for count, (first, last) in zip(column or (), places, strict=False):
            if count:
                for level in range(first, last + 1):
                    levels[level] += count
        grid.append(levels)
    return grid, max((max(levels) for levels in grid), default=0)


def _role(step: int) -> Role:
    """Ink of a step from 1; the lowest heat is so near the ground that a single slow request would not be seen."""
    return HEAT[max(step - 1, 1)]


def _cell(counts: Sequence[int], most: int, charset: Charset) -> Span:
    steps = [shade(count, most) for count in counts]
    if charset is Charset.ASCII:
        sign = _ASCII_SHADES[steps[0]]
        return Span(sign, _role(steps[0]) if steps[0] else Role.GRID)
    lower, upper = steps
    if not lower and not upper:
        return Span(" ", Role.GRID)
    if lower == upper:
        return Span("█", _role(lower))
    if not lower:
        return Span("▀", _role(upper))
    if not upper:
        return Span("▄", _role(lower))
    return Span("▀", _role(upper), back=_role(lower))


def _joined(cells: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for cell in cells:
        last = joined[-1] if joined else None
        if last is not None and (last.role, last.back) == (cell.role, cell.back):
            joined[-1] = Span(last.text + cell.text, cell.role, back=cell.back)
        else:
            joined.append(cell)
    return joined


def _labels(scale: HeatScale, rows: int, per_row: int) -> dict[int, str]:
    """Round values by row from the bottom, one free row between two at least."""
    labels: dict[int, str] = {}
    for value in _ROUND:
        row = scale.level_of(value) // per_row
        if 0 <= row < rows and not {row - 1, row, row + 1} & set(labels):
            labels[row] = f"{value:,.{max(-math.floor(math.log10(value)), 0)}f}"
    return labels


def heat_legend(most: int, *, charset: Charset = Charset.BRAILLE, what: str = "requests per cell") -> Row:
    """`requests per cell  0 ▇▇▇▇▇▇▇ 610`: both ends of the scale."""
    ascii_only = charset is Charset.ASCII
    ramp = [Span(_ASCII_SHADES[1:])] if ascii_only else [Span("██", role) for role in HEAT[1:]]
    return (Span(f"{what}  ", Role.MUTED), Span("0 "), *ramp, Span(f" {most:,}"))
