"""Thin bars at half-cell steps, progress bars with a track, and columns of eighths."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quickserveml_tui.charts.cells import Charset, Drawing, Role, Row, Span

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ASCII_LEVELS = " .=#"


def _fraction(value: float | None) -> float:
    return min(max(value, 0.0), 1.0) if value is not None and math.isfinite(value) else 0.0


def thin_bar(
    fraction: float | None,
    width: int,
    *,
    role: Role = Role.ACCENT,
    track: bool = False,
    charset: Charset = Charset.BRAILLE,
) -> Row:
    """A bar of `━` over `width` cells; anything above zero shows at least half a cell.

    With `track` the rest is drawn too: only where the whole means something (progress, capacity, share).
    """
    if width <= 0:
        return ()
    share = _fraction(fraction)
    if charset is Charset.ASCII:
        cells = max(round(share * width), 1 if share > 0 else 0)
        rest = "." if track else " "
        return tuple(span for span in (Span("=" * cells, role), Span(rest * (width - cells), Role.FAINT)) if span.text)
    halves = max(round(share * width * 2), 1 if share > 0 else 0)
    full, half = divmod(halves, 2)
    spans = [Span("━" * full + ("╸" if half else ""), role)]
    rest_cells = width - full - half
    if rest_cells > 0:
        if track:
            spans.append(Span("━" * rest_cells, Role.GRID))
        else:
            spans.append(Span(" " * rest_cells))
    return tuple(span for span in spans if span.text)


def progress_bar(fraction: float | None, width: int, *, live: bool = True, charset: Charset = Charset.BRAILLE) -> Row:
    """A progress bar with its track: accent while it runs, grey while it rests."""
    return thin_bar(fraction, width, role=Role.ACCENT if live else Role.ALT, track=True, charset=charset)


def columns(
    values: Sequence[float | None],
    height: int,
    *,
    top: float | None = None,
    role: Role = Role.ALT,
    charset: Charset = Charset.BRAILLE,
) -> Drawing:
    """One column of eighths per value, `height` rows high; missing and non-finite values stay empty.

    Args:
        values: Heights, 0 or more.
        height: Rows.
        top: Value that fills all rows; the largest one by default.
        role: Role of the columns.
        charset: ASCII uses `.`, `=` and `#`.
    """
    levels = _ASCII_LEVELS if charset is Charset.ASCII else _EIGHTHS
    steps = len(levels) - 1
    finite = [value for value in values if value is not None and math.isfinite(value)]
    scale = top or max(finite, default=0.0)
    filled = [_steps(value, scale, height * steps) for value in values]
    rows = []
    for level in range(height - 1, -1, -1):
        text = "".join(levels[min(max(count - level * steps, 0), steps)] for count in filled)
        rows.append((Span(text, role),))
    return Drawing(tuple(rows))


def _steps(value: float | None, scale: float, full: int) -> int:
    if value is None or not math.isfinite(value) or value <= 0 or scale <= 0:
        return 0
    return max(round(min(value / scale, 1.0) * full), 1)
