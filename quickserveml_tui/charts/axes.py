"""Axes: round ticks that fall on whole rows, and time labels along the bottom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.text import cell_width

_MANTISSAS = (1.0, 2.0, 2.5, 4.0, 5.0, 10.0)
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class ValueAxis:
    """A vertical axis over `rows` text rows, row 0 at the bottom.

    A value lies at the middle of its row: the bottom row's middle is `base`, each row further up adds `per_row`.
    """

    base: float
    per_row: float
    rows: int
    every: int
    """Rows from one tick to the next."""
    log: bool = False
    """Whether `base` and `per_row` are powers of ten."""
    first: int = 0
    """Row of the lowest tick."""

    def height_of(self, value: float) -> float:
        """Rows from the lower edge of the picture to `value`."""
        placed = math.log10(max(value, 1e-12)) if self.log else value
        return (placed - self.low) / self.per_row

    @property
    def low(self) -> float:
        """Value at the lower edge of the bottom row."""
        return self.base - self.per_row / 2

    @property
    def high(self) -> float:
        """Value at the upper edge of the top row."""
        return self.base + self.per_row * (self.rows - 0.5)

    def ticks(self) -> dict[int, str]:
        """Labels by row, counted from the bottom."""
        if self.log:
            return {row: _power(self.base + row * self.per_row) for row in range(self.first, self.rows, self.every)}
        step = self.per_row * self.every
        decimals = decimals_of(step)
        return {
            row: f"{self.base + row * self.per_row:,.{decimals}f}".replace("-", "−")
            for row in range(0, self.rows, self.every)
        }

    @property
    def label_width(self) -> int:
        """Cells of the widest label."""
        return max((cell_width(label) for label in self.ticks().values()), default=1)


def _power(exponent: float) -> str:
    whole = round(exponent)
    return f"{10.0**whole:,.{max(-whole, 0)}f}"


def log_axis(low: float, high: float, rows: int) -> ValueAxis | None:
    """The tightest axis with ticks at powers of ten that shows `low` to `high`; None where there is no sense in one."""
    if low <= 0 or high <= low or rows < 3:
        return None
    bottom, top = math.log10(low), math.log10(high)
    for per_tick in range(1, 25):
        # Fewer rows from tick to tick hold more decades; five ticks at most.
        for every in range(rows - 1, max(-(-(rows - 1) // 5), 1) - 1, -1):
            per_row = per_tick / every
            tick = math.ceil((bottom + per_row / 2) / per_tick - _EPSILON) * per_tick
            first = max(math.ceil((tick - bottom) / per_row - 0.5 - _EPSILON), 0)
            axis = ValueAxis(tick - first * per_row, per_row, rows, every, log=True, first=first)
            if axis.high >= top and axis.low <= bottom + _EPSILON and len(axis.ticks()) >= 2:
                return axis
    return None


def decimals_of(step: float) -> int:
    """Decimals that tell multiples of a round `step` apart."""
    if step <= 0 or not math.isfinite(step):
        return 0
    decimals = 0
    while decimals < 9 and abs(round(step, decimals) - step) > step * 1e-6:
        decimals += 1
    return decimals


def _steps_around(size: float) -> list[float]:
    power = 10.0 ** math.floor(math.log10(size))
    return sorted({mantissa * power * scale for mantissa in _MANTISSAS for scale in (0.1, 1.0, 10.0)})


def value_axis(low: float, high: float, rows: int, *, from_zero: bool = False) -> ValueAxis:
    """The tightest axis with three to five round ticks on whole rows that shows `low` to `high`.

    Args:
        low: Smallest value to show; finite.
        high: Largest value to show; finite, at least `low`.
        rows: Text rows, at least 1. Fewer than three hold fewer ticks.
        from_zero: Whether the axis starts at zero.
    """
    rows = max(rows, 1)
    low = min(low, 0.0) if from_zero else low
    if high - low < max(abs(high), 1e-9) * 0.02:
        # Equal values would make an axis of no extent: a tenth of the value is the least that is shown.
        spread = max(abs(high) * 0.05, 1e-6)
        low, high = (low if from_zero else low - spread), high + spread
    fewest = min(3, rows)
    options: list[ValueAxis] = []
    for step in _steps_around((high - low) / max(rows - 1, 1) * max(rows // 4, 1)):
        for every in range(1, rows + 1):
            count = (rows - 1) // every + 1
            if not fewest <= count <= 5:
                continue
            per_row = step / every
            base = math.floor((low + per_row / 2) / step + _EPSILON) * step
            if low >= 0:
                base = max(base, 0.0)
            axis = ValueAxis(base, per_row, rows, every)
            if axis.high >= high - step * _EPSILON and axis.low <= low + step * _EPSILON:
                options.append(axis)
    if not options:
        return ValueAxis(low, max(high - low, 1e-9) / max(rows - 0.5, 0.5), rows, max((rows - 1) // 2, 1))
    # Tight is good; so are more than three ticks, and one that falls on the top row.
    best = min(axis.per_row for axis in options)

    def cost(axis: ValueAxis) -> float:
        few = 0.1 if (rows - 1) // axis.every < 3 else 0.0
        return axis.per_row / best + 0.05 * ((rows - 1) % axis.every) + few

    return min(options, key=cost)


def time_step(span_s: float, count: int) -> float:
    """A round step that divides `span_s` into at most `count` parts."""
    if span_s <= 0 or not math.isfinite(span_s):
        return 1.0
    rough = span_s / max(count, 1)
    for step in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 300, 600):
        if step >= rough * (1 - _EPSILON):
            return float(step)
    hours = (1800, 3600, 7200, 10800, 21600, 43200, 86400)
    return float(next((step for step in hours if step >= rough), 86400 * math.ceil(rough / 86400)))


def time_unit(span_s: float) -> tuple[str, float]:
    """Unit of a time axis and seconds per unit."""
    if span_s < 0.5:
        return "ms", 0.001
    if span_s <= 300:
        return "s", 1.0
    return ("min", 60.0) if span_s <= 3 * 3600 else ("h", 3600.0)


def time_labels(start_s: float, end_s: float, width: int, *, warmup_until_s: float | None = None) -> Row:
    """One row of labels below a chart: warm-up named where it is, round times, the unit at the last one."""
    span = end_s - start_s
    if width <= 0 or span <= 0:
        return ()
    cells = [" "] * width
    last_end = _place_warmup(cells, start_s, span, width, warmup_until_s)
    unit, scale = time_unit(end_s)
    final = f"{_number(end_s / scale, span / scale)} {unit}"
    final_start = width - len(final)
    if final_start >= last_end:
        cells[final_start:] = final
    else:
        final_start = width
    step = time_step(span, max(width // 7, 1))
    tick = math.ceil((start_s + step * _EPSILON) / step) * step
    while tick < end_s - step * _EPSILON:
        label = _number(tick / scale, step / scale)
        at = round((tick - start_s) / span * width) - (len(label) - 1) // 2
        if at >= last_end and at + len(label) + 2 <= final_start:
            cells[at : at + len(label)] = label
            last_end = at + len(label) + 2
        tick += step
    return (Span("".join(cells), Role.MUTED),)


def _place_warmup(cells: list[str], start_s: float, span: float, width: int, until_s: float | None) -> int:
    """Write `warm-up` at the left if that part is on the axis; returns the first free column."""
    if until_s is None or until_s <= start_s:
        return 0
    label = "warm-up"
    if len(label) > width or (until_s - start_s) / span * width < 1:
        return 0
    cells[: len(label)] = label
    return len(label) + 2


def _number(value: float, step: float) -> str:
    decimals = min(decimals_of(step), 3) if step < 1 else 0 if abs(value - round(value)) < 0.05 else 1
    return f"{value:,.{decimals}f}"


def with_axis(rows: Sequence[Row], axis: ValueAxis, label_width: int) -> list[Row]:
    """Plot rows, top first, with the axis' labels at the left."""
    ticks = axis.ticks()
    labelled = []
    for at, row in enumerate(rows):
        label = ticks.get(axis.rows - 1 - at, "")
        labelled.append((Span(label.rjust(label_width) + " ", Role.MUTED), *row))
    return labelled


def number_labels(low: float, high: float, width: int, unit: str) -> Row:
    """One row of round labels from `low` to `high`; the last one carries the unit."""
    span = high - low
    if width <= 0 or span <= 0 or not math.isfinite(span):
        return ()
    rough = span / max(width // 9, 1)
    step = next(size for size in _steps_around(rough) if size >= rough * (1 - _EPSILON))
    decimals = decimals_of(step)
    cells = [" "] * width
    first = math.ceil(low / step - _EPSILON)
    ticks = [first + index for index in range(int((high - first * step) / step + _EPSILON) + 1)]
    free = 0
    for number, tick in enumerate(ticks):
        label = f"{tick * step:,.{decimals}f}".replace("-", "−")
        if number == len(ticks) - 1:
            label += f" {unit}"
        at = min(max(round((tick * step - low) / span * (width - 1)) - (len(label) - 1) // 2, 0), width - len(label))
        if at >= free:
            cells[at : at + len(label)] = label
            free = at + len(label) + 2
    return (Span("".join(cells)[:width], Role.MUTED),)
