"""The trial of a new model: can it be read, loaded and run once?"""

from __future__ import annotations

import time
from pathlib import Path

from quickserveml_tui.core.errors import (
    CancelledError,
    ModelError,
    ModelUnrunnableError,
    QuickServeError,
    UsageError,
)
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import TrialOutcome, TrialReport
from quickserveml_tui.runtime.probing import find_feeds
from quickserveml_tui.runtime.session import runtime_name
from quickserveml_tui.runtime.session_cache import SessionCache
from quickserveml_tui.runtime.settings import SessionSettings


def _report(outcome: TrialOutcome, error: QuickServeError) -> TrialReport:
    detail = "\n".join(part for part in (error.hint, error.detail) if part)
    return TrialReport(outcome, reason=error.message, detail=detail, runtime=runtime_name())


def _is_unsafe(error: ModelError) -> bool:
    return error.code.startswith("model.external")


def run_trial(
    sessions: SessionCache, path: Path, feed: FeedSpec, cancel: CancelToken, memory_bytes: int | None = None
) -> TrialReport:
    """What became of reading, loading and running the model once on synthetic inputs.

    Rejected: not an ONNX model, or unsafe. Unrunnable: it reads, but does not load or run. Raises `CancelledError`, and
    `UsageError` for overrides that do not fit; never for what the model does (a crash ends the process).
    """
    from quickserveml_tui.graph.external import external_files

    sessions.clear()
    sessions.make_room(path, memory_bytes)
    try:
        external_files(path)
    except ModelError as error:
        return _report(TrialOutcome.REJECTED, error)
    begin = time.perf_counter_ns()
    try:
        session = sessions.open(path, SessionSettings(), memory_bytes)
        load_ms = (time.perf_counter_ns() - begin) / 1e6
        run_ms = find_feeds(session, feed, cancel).run_ms
    except (CancelledError, UsageError):
        raise
    except ModelError as error:
        unsafe = _is_unsafe(error) and not isinstance(error, ModelUnrunnableError)
        return _report(TrialOutcome.REJECTED if unsafe else TrialOutcome.UNRUNNABLE, error)
    except QuickServeError as error:
        return _report(TrialOutcome.UNRUNNABLE, error)
    finally:
        sessions.clear()
    return TrialReport(TrialOutcome.READY, load_ms=load_ms, run_ms=run_ms, runtime=runtime_name())
