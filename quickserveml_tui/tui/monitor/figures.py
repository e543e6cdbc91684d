"""The intervals that the charts draw, as figures: rows of a table, and CSV."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.monitoring import ModelRates
from quickserveml_tui.core.units import MISSING, significant
from quickserveml_tui.tui.monitor.history import History, ModelKey, Point
from quickserveml_tui.tui.monitor.view import View, clock_of
from quickserveml_tui.tui.widgets.ink import crop_row, say

Value = float | str | None
RATES: tuple[tuple[str, str, Callable[[ModelRates], Value]], ...] = (
    ("requests_per_s", "req/s", lambda rates: rates.requests_per_s),
    ("errors_per_s", "err/s", lambda rates: rates.errors_per_s),
    ("rows_per_s", "rows/s", lambda rates: rates.inferences_per_s),
    ("p50_ms", "p50 ms", lambda rates: rates.p50_ms),
    ("p95_ms", "p95 ms", lambda rates: rates.p95_ms),
    ("p99_ms", "p99 ms", lambda rates: rates.p99_ms),
    ("mean_ms", "mean", lambda rates: rates.mean_ms),
    ("queue_ms", "queue", lambda rates: rates.queue_ms),
    ("run_ms", "run", lambda rates: rates.compute_ms),
    ("batch", "batch", lambda rates: rates.batch),
    ("pending", "pending", lambda rates: rates.pending),
)


def _cpu_percent(point: Point) -> float | None:
    return None if point.rates.cpu_cores is None else 100 * point.rates.cpu_cores


SERVER: tuple[tuple[str, str, Callable[[Point], Value]], ...] = (
    ("connections", "conns", lambda point: point.rates.connections),
    ("cpu_percent", "CPU %", _cpu_percent),
    ("machine_percent", "mach %", lambda point: point.cpu_percent),
    ("rss_bytes", "MB", lambda point: point.rates.rss_bytes / 1e6),
    ("gpu_percent", "GPU %", lambda point: point.gpu_percent),
    ("restarts", "restarts", lambda point: point.rates.restarts),
)
_CELLS = 9
_TIME_CELLS = 8


def as_csv(history: History) -> str:
    """Every interval that is kept: a line for all models together (no name), then one for each version.

    Times are UTC; figures of the server stand in the lines of all models only.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", "interval_s", "model", "version", *(name for name, *_ in RATES), *(s[0] for s in SERVER)])
    for point in history.points:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(point.at)) + f"{point.at % 1:.3f}"[1:] + "Z"
        beside = [_plain(point.rates.rss_bytes if name == "rss_bytes" else pick(point)) for name, _, pick in SERVER]
        for rates in (point.rates.total, *point.rates.models):
            figures = [_plain(pick(rates)) for _, _, pick in RATES]
            named = [_text(rates.name), _text(rates.version)]
            lead = [moment, f"{point.interval_s:.3f}", *named]
            writer.writerow([*lead, *figures, *(beside if not rates.name else [""] * len(SERVER))])
    return out.getvalue()


def _text(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name


def _plain(value: Value) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def table_rows(view: View, width: int) -> list[Row]:
    """Intervals of the window, newest first, with as many columns as fit `width` cells."""
    room = max((width - _TIME_CELLS) // _CELLS, 1)
    picks = _picks(view.model)[:room]
    head = (Span("time".ljust(_TIME_CELLS), Role.MUTED), *(Span(title.rjust(_CELLS), Role.MUTED) for title, _ in picks))
    rows: list[Row] = [crop_row(head, width)]
    for point in reversed(view.history.points):
        if point.at <= view.history.end - view.window_s:
            break
        cells = [say(_shown(pick(point)).rjust(_CELLS), Role.BODY) for _, pick in picks]
        rows.append(crop_row((say(clock_of(point.at).ljust(_TIME_CELLS), Role.MUTED), *cells), width))
    return rows


def _picks(model: ModelKey | None) -> list[tuple[str, Callable[[Point], Value]]]:
    def of_rates(pick: Callable[[ModelRates], Value]) -> Callable[[Point], Value]:
        def take(point: Point) -> Value:
            rates = point.of(model)
            return None if rates is None else pick(rates)

        return take

    own = [(title, of_rates(pick)) for _, title, pick in RATES]
    return own if model is not None else [*own, *((title, pick) for _, title, pick in SERVER)]


def _shown(value: Value) -> str:
    return MISSING if value is None else value if isinstance(value, str) else significant(value) if value else "0"
