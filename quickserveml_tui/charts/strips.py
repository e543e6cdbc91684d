"""Strips: one row of braille dots for a quantity over time, on the time axis of the chart above."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quickserveml_tui.charts.cells import Charset, Role, Row, runs

_LEFT = (0x40, 0x04, 0x02, 0x01)
_RIGHT = (0x80, 0x20, 0x10, 0x08)
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = ".-=#"


def resample(
    times_s: Sequence[float], values: Sequence[float], columns: int, start_s: float, end_s: float
) -> list[float | None]:
    """Mean per column of `start_s` to `end_s`; a gap between two samples repeats the one before it.

    Columns before the first sample and after the last one are None, as are samples that are not finite.
    """
    span = end_s - start_s
    sums, counts = [0.0] * columns, [0] * columns
    if span > 0:
        for time_s, value in zip(times_s, values, strict=True):
            at = min(math.floor((time_s - start_s) / span * columns), columns - 1 if time_s <= end_s else columns)
            if 0 <= at < columns and math.isfinite(value):
                sums[at] += value
                counts[at] += 1
    found = [index for index in range(columns) if counts[index]]
    result: list[float | None] = [None] * columns
    held: float | None = None
    for index in range(found[0], found[-1] + 1) if found else ():
        held = sums[index] / counts[index] if counts[index] else held
        result[index] = held
    return result


def strip(
    values: Sequence[float | None],
    *,
    low: float | None = None,
    high: float | None = None,
    warm_columns: int = 0,
    charset: Charset = Charset.BRAILLE,
    role: Role = Role.BODY,
) -> Row:
    """One row: with braille two values per cell, one dot each; otherwise one value per cell.

    Args:
        values: From left to right; None leaves a gap.
        low: Value of the lowest dot; the least of the values, or zero where they are all near each other, by default.
        high: Value of the highest dot; the largest one by default.
        warm_columns: Values at the left that belong to the warm-up: they are grey.
        charset: Signs to use.
        role: Role of the rest.
    """
    levels = {Charset.BRAILLE: 4, Charset.BLOCK: 8, Charset.ASCII: 4}[charset]
    scaled = [_level(value, *_range(values, low, high), levels) for value in values]
    if charset is not Charset.BRAILLE:
        signs = _BLOCKS if charset is Charset.BLOCK else _ASCII
        chars = [" " if level is None else signs[level] for level in scaled]
        return runs(chars, [Role.ALT if index < warm_columns else role for index in range(len(chars))])
    chars, roles = [], []
    for index in range(0, len(scaled), 2):
        left, right = scaled[index], scaled[index + 1] if index + 1 < len(scaled) else None
        code = (0 if left is None else _LEFT[left]) | (0 if right is None else _RIGHT[right])
        chars.append(chr(0x2800 + code) if code else " ")
        roles.append(Role.ALT if index < warm_columns else role)
    return runs(chars, roles)


def _range(values: Sequence[float | None], low: float | None, high: float | None) -> tuple[float, float]:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    top = max(finite, default=0.0) if high is None else high
    bottom = min(finite, default=0.0) if low is None else low
    if low is None and top - bottom < abs(top) * 0.25:
        # A quiet quantity stays a quiet line: less than a quarter of its height is not blown up.
        bottom = min(bottom, top * 0.5)
    return bottom, top


def _level(value: float | None, low: float, high: float, levels: int) -> int | None:
    if value is None or not math.isfinite(value):
        return None
    if high <= low:
        return 0
    return min(max(round((value - low) / (high - low) * (levels - 1)), 0), levels - 1)
