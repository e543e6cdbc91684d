"""Latency over time, drawn with braille dots, eighth blocks or ASCII."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from quickserveml_tui.charts.axes import ValueAxis, log_axis, time_labels, value_axis, with_axis
from quickserveml_tui.charts.cells import Charset, Drawing, Role, Row, Span, runs
from quickserveml_tui.charts.series import Columns, Floats, LatencySeries
from quickserveml_tui.core.text import cell_width
from quickserveml_tui.core.units import significant

_BRAILLE = 0x2800
# Bits of a braille cell by dot row (from the top) and dot column.
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint16)
_GRID = {Charset.BRAILLE: "┈", Charset.BLOCK: "┈", Charset.ASCII: " "}
DOTS_X, DOTS_Y = 2, 4
LOG_RATIO = 20.0
"""Where the usual column reaches so many times its own minimum, a linear axis shows the peaks and nothing else."""
CLIP_RATIO = 3.0
"""A peak more than this many times the usual height is cut off, so that one outlier does not flatten the rest."""


def dots_to_cells(dots: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Braille code points of a dot picture (bool, `(4 × rows, 2 × columns)`), `(rows, columns)`."""
    rows, columns = dots.shape[0] // DOTS_Y, dots.shape[1] // DOTS_X
    blocks = dots.reshape(rows, DOTS_Y, columns, DOTS_X).astype(np.uint16)
    cells: NDArray[np.uint16] = np.einsum("rycx,yx->rc", blocks, _BITS) + np.uint16(_BRAILLE)
    return cells


def _heights(values: Floats, axis: ValueAxis) -> Floats:
    """Rows from the lower edge of the picture to each value."""
    placed: Floats = np.log10(np.maximum(values, 1e-12)) if axis.log else values
    return (placed - axis.low) / axis.per_row


def _dot_rows(values: Floats, axis: ValueAxis) -> NDArray[np.intp]:
    """Dot row of each value, counted from the bottom, kept inside the picture."""
    dots = np.floor(_heights(values, axis) * DOTS_Y)
    return np.clip(dots, 0, axis.rows * DOTS_Y - 1).astype(np.intp)


def envelope_dots(columns: Columns, axis: ValueAxis) -> NDArray[np.bool_]:
    """Every dot from the minimum to the maximum of its column (bool, top row first)."""
    present = ~np.isnan(columns.high)
    low = _dot_rows(np.where(present, columns.low, axis.base), axis)
    high = _dot_rows(np.where(present, columns.high, axis.base), axis)
    level = np.arange(axis.rows * DOTS_Y)[:, None]
    picture = (level >= low[None, :]) & (level <= high[None, :]) & present[None, :]
    return np.asarray(picture[::-1])


def scatter_dots(
    series: LatencySeries, axis: ValueAxis, columns: int, start_s: float, end_s: float
) -> NDArray[np.bool_]:
    """One dot per inference (bool, top row first); a merged slot shows both of its extremes."""
    times, low, high = series.points()
    picture = np.zeros((axis.rows * DOTS_Y, columns), dtype=np.bool_)
    at = np.floor((times - start_s) / (end_s - start_s) * columns)
    at[times == end_s] = columns - 1
    keep = (at >= 0) & (at < columns)
    index = at[keep].astype(np.intp)
    for values in (low[keep], high[keep]):
        picture[_dot_rows(values, axis), index] = True
    return picture[::-1]


def clip_level(columns: Columns, warmup_columns: int) -> float | None:
    """Where to cut peaks off, or None where they fit: warm-up peaks do not count, measured ones seldom do."""
    measured = columns.high[warmup_columns:]
    measured = measured[~np.isnan(measured)]
    if not len(measured):
        measured = columns.high[~np.isnan(columns.high)]
    if len(measured) < 4:
        return None
    floor = float(np.nanmin(columns.low))
    usual = float(np.quantile(measured, 0.97 if len(measured) >= 40 else 0.85))
    body = max(usual - floor, abs(usual) * 0.02)
    if float(np.nanmax(columns.high)) - floor <= CLIP_RATIO * body:
        return None
    return usual + 0.8 * body


def latency_trace(
    times_s: Sequence[float] | Floats,
    latencies_ms: Sequence[float] | Floats,
    width: int,
    height: int,
    *,
    warmup_until_s: float | None = None,
    window_s: tuple[float, float] | None = None,
    scatter: bool = False,
    charset: Charset = Charset.BRAILLE,
    marks: Mapping[str, float] | None = None,
) -> Drawing:
    """A chart of latency over time; see `trace_of`."""
    series = LatencySeries.of(times_s, latencies_ms, warmup_until_s=warmup_until_s)
    return trace_of(series, width, height, window_s=window_s, scatter=scatter, charset=charset, marks=marks)


def trace_of(
    series: LatencySeries,
    width: int,
    height: int,
    *,
    window_s: tuple[float, float] | None = None,
    scatter: bool = False,
    charset: Charset = Charset.BRAILLE,
    marks: Mapping[str, float] | None = None,
    label_width: int | None = None,
) -> Drawing:
    """A chart of a series: unit, plot with labels and grid, time labels; `height` rows in all.

    Args:
        series: What to draw; warm-up is grey and named on the axis, and does not set the scale alone.
        width: Cells.
        height: Rows, at least 3; fewer give an empty drawing.
        window_s: Time at the left and right edge; all of the series by default.
        scatter: A dot per inference instead of the envelope of minimum and maximum.
        charset: Braille, blocks or ASCII.
        marks: Values to point at from the right edge, by name (`p99`).
        label_width: Cells of the value labels, to line several charts up.
    """
    if height < 3 or width < 8:
        return Drawing()
    start, end = window_s or (0.0, max(series.end_s, 1e-6))
    rows = height - 2
    pointers = _usable(marks)
    right = max((cell_width(name) for name in pointers), default=-1) + 1
    columns_all = series.columns(max(width, 1) * DOTS_X, start, end)
    warm_all = _warmup_columns(series.warmup_until_s, start, end, width * DOTS_X)
    if columns_all.empty:
        return _empty_chart(
            width, height, (start, end), charset, warmup_until_s=series.warmup_until_s, label_width=label_width
        )
    axis = _scale(columns_all, warm_all, rows)
    labels = max(axis.label_width, 2) if label_width is None else max(label_width, axis.label_width)
    plot_width = width - labels - 1 - right
    if plot_width < 2:
        return Drawing()
    columns = series.columns(plot_width * DOTS_X, start, end)
    warm = _warmup_columns(series.warmup_until_s, start, end, plot_width * DOTS_X)
    if charset is Charset.BRAILLE:
        dots = scatter_dots(series, axis, plot_width * DOTS_X, start, end) if scatter else envelope_dots(columns, axis)
        body = _braille_rows(dots, axis, warm)
    else:
        body = _column_rows(columns, axis, warm, charset)
    over = _heights(columns.high, axis) > axis.rows
    if over.any():
        body[0] = _mark_clipped(body[0], over, warm, charset)
    body = _with_pointers(body, axis, pointers, right)
    note = f"{'^' if charset is Charset.ASCII else '▲'} up to {significant(float(np.nanmax(columns.high)))}"
    head = _head("ms", labels, width, note if over.any() else "logarithmic" if axis.log else "")
    foot = time_labels(start, end, plot_width, warmup_until_s=series.warmup_until_s)
    return Drawing((head, *with_axis(body, axis, labels), (Span(" " * (labels + 1)), *foot)))


def _scale(columns: Columns, warm: int, rows: int) -> ValueAxis:
    """The value axis: logarithmic where every column spans decades, cut off above where single peaks stand out."""
    low, high = float(np.nanmin(columns.low)), float(np.nanmax(columns.high))
    measured_low, measured_high = columns.low[warm:], columns.high[warm:]
    if np.isfinite(measured_high).sum() >= 8 and np.nanmedian(measured_high) > LOG_RATIO * np.nanmedian(measured_low):
        decades = log_axis(low, high, rows)
        if decades is not None:
            return decades
    clip = clip_level(columns, warm)
    return value_axis(low, high if clip is None else clip, rows)


def _usable(marks: Mapping[str, float] | None) -> dict[str, float]:
    return {name: value for name, value in (marks or {}).items() if math.isfinite(value)}


def _head(unit: str, label_width: int, width: int, note: str) -> Row:
    unit_text = unit.rjust(label_width)
    if not note or len(unit_text) + 2 + len(note) > width:
        return (Span(unit_text, Role.MUTED),)
    return (
        Span(unit_text, Role.MUTED),
        Span(" " * (width - len(unit_text) - len(note))),
        Span(note, Role.MUTED),
    )


def _warmup_columns(until_s: float | None, start_s: float, end_s: float, columns: int) -> int:
    """Dot columns at the left that belong to the warm-up."""
    if until_s is None or end_s <= start_s:
        return 0
    return min(max(round((until_s - start_s) / (end_s - start_s) * columns), 0), columns)


def _empty_chart(
    width: int,
    height: int,
    window_s: tuple[float, float],
    charset: Charset,
    *,
    warmup_until_s: float | None,
    label_width: int | None,
) -> Drawing:
    start, end = window_s
    labels = label_width or 2
    plot = width - labels - 1
    body: list[Row] = [()] * (height - 2)
    for at in range(0, height - 2, max((height - 3) // 3, 2)):
        body[at] = (Span(" " * (labels + 1)), Span(_GRID[charset] * plot, Role.GRID))
    foot = time_labels(start, end, plot, warmup_until_s=warmup_until_s) if end - start > 1e-5 else ()
    return Drawing((_head("ms", labels, width, ""), *body, (Span(" " * (labels + 1)), *foot)))


def _braille_rows(dots: NDArray[np.bool_], axis: ValueAxis, warm: int) -> list[Row]:
    """Rows of braille cells, top first; a cell without a dot shows the grid where a tick is."""
    cells = dots_to_cells(dots)
    ticks = axis.ticks()
    warm_cells = -(-warm // DOTS_X)
    series_roles = [Role.ALT] * warm_cells + [Role.ACCENT] * (cells.shape[1] - warm_cells)
    rows: list[Row] = []
    for at, line in enumerate(cells.tolist()):
        blank, blank_role = ("┈", Role.GRID) if axis.rows - 1 - at in ticks else (" ", Role.GRID)
        chars = [blank if code == _BRAILLE else chr(code) for code in line]
        roles = [blank_role if code == _BRAILLE else role for code, role in zip(line, series_roles, strict=True)]
        rows.append(runs(chars, roles))
    return rows


def _column_rows(columns: Columns, axis: ValueAxis, warm: int, charset: Charset) -> list[Row]:
    """Rows of whole cells for terminals without braille: two dot columns share a cell."""
    with np.errstate(all="ignore"):
        low = np.fmin(columns.low[::2], columns.low[1::2])
        high = np.fmax(columns.high[::2], columns.high[1::2])
    present = ~np.isnan(high)
    steps = 8 if charset is Charset.BLOCK else 2
    scale = axis.rows * steps
    bottom = np.clip(_heights(np.where(present, low, 0), axis) * steps, 0, scale - 1).astype(int)
    top = np.clip(_heights(np.where(present, high, 0), axis) * steps, 0, scale - 1).astype(int)
    ticks = axis.ticks()
    warm_cells = -(-warm // DOTS_X)
    rows: list[Row] = []
    for at in range(axis.rows):
        level = axis.rows - 1 - at
        chars, roles = [], []
        for index in range(len(high)):
            char = _cell(bottom[index] - level * steps, top[index] - level * steps, charset) if present[index] else " "
            empty = char == " "
            chars.append(_GRID[charset] if empty and level in ticks else char)
            roles.append(Role.GRID if empty else Role.ALT if index < warm_cells else Role.ACCENT)
        rows.append(runs(chars, roles))
    return rows


def _cell(bottom: int, top: int, charset: Charset) -> str:
    """The sign of a cell whose bar goes from step `bottom` to `top`, both counted from the cell's foot."""
    steps = 8 if charset is Charset.BLOCK else 2
    if top < 0 or bottom >= steps:
        return " "
    if charset is Charset.ASCII:
        return "|" if bottom <= 0 and top >= 1 else "'" if bottom >= 1 else "."
    if bottom <= 0:
        return "▁▂▃▄▅▆▇█"[min(top, 7)]
    return "▔" if bottom >= 6 else "▀"


def _mark_clipped(row: Row, over: NDArray[np.bool_], warm: int, charset: Charset) -> Row:
    """The top row with a sign where a column goes on above it."""
    chars = list("".join(span.text for span in row))
    roles = [span.role for span in row for _ in span.text]
    cells = over.reshape(-1, DOTS_X).any(axis=1)
    for index in np.flatnonzero(cells):
        chars[index] = "^" if charset is Charset.ASCII else "▲"
        roles[index] = Role.ALT if index < -(-warm // DOTS_X) else Role.ACCENT
    return runs(chars, roles)


def _with_pointers(body: list[Row], axis: ValueAxis, pointers: Mapping[str, float], width: int) -> list[Row]:
    """Names of values at the right edge, each on its row; a name whose row is taken gives way."""
    if not pointers:
        return body
    named: dict[int, str] = {}
    for name, value in pointers.items():
        row = math.floor(axis.height_of(value))
        if 0 <= row < axis.rows:
            named[axis.rows - 1 - row] = name
    return [(*row, Span(f" {named.get(at, '')}".ljust(width), Role.MUTED)) for at, row in enumerate(body)]
