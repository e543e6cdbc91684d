"""From what was recorded of each request to the figures of a stretch of load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core import statistics
from quickserveml_tui.core.benchmarks import LatencySummary
from quickserveml_tui.core.loads import CODE, COLUMNS, DONE, INTENDED, LAG, SENT, Load
from quickserveml_tui.core.scenario_results import StepFigures

if TYPE_CHECKING:
    import numpy as np


def step_figures(
    rows: np.ndarray[Any, Any],
    load: Load,
    codes: Sequence[str],
    *,
    elapsed_s: float,
    unanswered: int = 0,
    cancelled: bool = False,
    queue_max: int = 0,
    in_flight_max: int = 0,
    cpu_s: float | None = None,
) -> StepFigures:
    """The figures of one load; `rows` as `core.loads` describes them, in any order, also none."""
    is_right = rows[:, CODE] == 0
    right = rows[is_right]
    latency = latencies_ms(right, load)
    summary, intervals = statistics.summarise(latency) if latency.size else (None, {})
    service = summary_of((right[:, DONE] - right[:, SENT]) / 1e6) if load.is_open else summary
    sent = len(rows) + unanswered
    stretch_s = min(elapsed_s, load.duration_s) if cancelled or not load.is_open else load.duration_s
    if load.is_open and not cancelled and load.planned and load.pattern != "burst":
        stretch_s = min(stretch_s, load.planned / load.rate_per_s)
    wait = (rows[:, SENT] - rows[:, INTENDED] - rows[:, LAG]) / 1e6 if load.is_open and len(rows) else None
    lag = rows[:, LAG] / 1e6 if load.is_open and len(rows) else None
    answered_s = stretch_s + _backlog_s(rows, load, stretch_s)
    sent_s = stretch_s + _overrun_s(rows, SENT, stretch_s) if load.is_open else stretch_s
    if not load.is_open:
        answered_s = max(elapsed_s, 1e-9)
    return StepFigures(
        target_per_s=load.target_per_s,
        planned=load.planned or sent,
        sent=sent,
        ok=int(is_right.sum()),
        errors=_errors(rows[~is_right], codes),
        unanswered=unanswered,
        duration_s=stretch_s,
        sent_per_s=sent / max(sent_s, 1e-9),
        answered_per_s=len(rows) / max(answered_s, 1e-9),
        latency_ms=summary,
        intervals=intervals,
        service_ms=service,
        queue_p50_ms=_percentile(wait, 50),
        queue_p99_ms=_percentile(wait, 99),
        queue_max=queue_max,
        in_flight_max=in_flight_max,
        send_lag_p99_ms=_percentile(lag, 99),
        cpu_percent=None if cpu_s is None or elapsed_s <= 0 else 100 * cpu_s / elapsed_s,
    )


def latencies_ms(rows: np.ndarray[Any, Any], load: Load) -> np.ndarray[Any, Any]:
    """Latency of each row in order of sending: in an open loop from the intended time, else from the actual one."""
    begin = rows[:, INTENDED] if load.is_open else rows[:, SENT]
    order = begin.argsort(kind="stable")
    found: np.ndarray[Any, Any] = ((rows[:, DONE] - begin) / 1e6)[order]
    return found


def summary_of(samples_ms: np.ndarray[Any, Any]) -> LatencySummary | None:
    """The summary of latencies; None without any."""
    return statistics.summarise(samples_ms)[0] if samples_ms.size else None


def no_rows() -> np.ndarray[Any, Any]:
    """No requests."""
    import numpy as np

    return np.empty((0, COLUMNS), dtype=np.int64)


def _errors(rows: np.ndarray[Any, Any], codes: Sequence[str]) -> dict[str, int]:
    import numpy as np

    found, counts = np.unique(rows[:, CODE], return_counts=True)
    return {codes[code]: int(count) for code, count in zip(found, counts, strict=True)}


def _percentile(values: np.ndarray[Any, Any] | None, percent: float) -> float | None:
    return None if values is None else statistics.percentile(values, percent)


def _overrun_s(rows: np.ndarray[Any, Any], column: int, stretch_s: float) -> float:
    """How long after the end of the stretch the last requests came, by the median of their last hundredth."""
    import numpy as np

    if not len(rows):
        return 0.0
    last = max(len(rows) // 100, 1)
    newest = np.partition(rows[:, column], len(rows) - last)[-last:]
    return max(float(np.median(newest)) / 1e9 - stretch_s, 0.0)


def _backlog_s(rows: np.ndarray[Any, Any], load: Load, stretch_s: float) -> float:
    """How much longer than usual the last requests of an open loop took: the queue that had grown by its end.

    By the median of the last hundredth, so that one slow answer is not taken for a queue.
    """
    import numpy as np

    if not load.is_open or len(rows) < 2:
        return _overrun_s(rows, DONE, stretch_s) if load.is_open else 0.0
    taken = rows[:, DONE] - rows[:, INTENDED]
    last = max(len(rows) // 100, 1)
    newest = np.argpartition(rows[:, INTENDED], len(rows) - last)[-last:]
    usual = float(np.percentile(taken, 10))
    return max((float(np.median(taken[newest])) - usual) / 1e9, 0.0)
