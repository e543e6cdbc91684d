"""The trial of a new model: can it be read, loaded and run once?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from quickserveml_tui.core.clock import utc_now
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
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import Value
from quickserveml_tui.runtime.probing import find_feeds, integer_inputs
from quickserveml_tui.runtime.session import runtime_name
from quickserveml_tui.runtime.session_cache import SessionCache
from quickserveml_tui.runtime.settings import SessionSettings
from quickserveml_tui.runtime.trial_report import OUT_OF_MEMORY, out_of_memory, report_of


def _is_unsafe(error: ModelError) -> bool:
    return error.code.startswith("model.external")


def run_trial(
    sessions: SessionCache,
    path: Path,
    feed: FeedSpec,
    cancel: CancelToken,
    memory_bytes: int | None = None,
    *,
    on_loaded: Callable[[list[str]], None] = lambda _names: None,
) -> TrialReport:
    """What became of reading, loading and running the model once on synthetic inputs.

    `on_loaded` gets the names of the inputs whose integers are made up, between loading and running.
    Rejected: not an ONNX model, or unsafe. Unrunnable: it reads, but does not load or run. Raises `CancelledError`, and
    `UsageError` for overrides that do not fit; never for what the model does (a crash ends the process).
    """
    from quickserveml_tui.graph.external import external_files

    sessions.clear()
    sessions.make_room(path, memory_bytes)
    try:
        external_files(path)
    except ModelError as error:
        return report_of(TrialOutcome.REJECTED, error, runtime_name())
    except MemoryError:
        return _starved(sessions)
    try:
        load_ms, run_ms, warning = _load_and_run(sessions, path, feed, cancel, memory_bytes, on_loaded=on_loaded)
    except (CancelledError, UsageError):
        raise
    except ModelError as error:
        unsafe = _is_unsafe(error) and not isinstance(error, ModelUnrunnableError)
        return report_of(TrialOutcome.REJECTED if unsafe else TrialOutcome.UNRUNNABLE, error, runtime_name())
    except QuickServeError as error:
        if error.code == OUT_OF_MEMORY:
            return _starved(sessions, error.detail)
        return report_of(TrialOutcome.UNRUNNABLE, error, runtime_name())
    except MemoryError:
        return _starved(sessions)
    finally:
        sessions.clear()
    return TrialReport(
        TrialOutcome.READY,
        load_ms=load_ms,
        run_ms=run_ms,
        runtime=runtime_name(),
        tried_at=utc_now(),
        warning=warning,
    )


def _load_and_run(
    sessions: SessionCache,
    path: Path,
    feed: FeedSpec,
    cancel: CancelToken,
    memory_bytes: int | None,
    *,
    on_loaded: Callable[[list[str]], None],
) -> tuple[float, float, str]:
    """Milliseconds of both, and what is odd about the outputs; apart, so that nothing of the session is left."""
    begin = time.perf_counter_ns()
    session = sessions.open(path, SessionSettings(), memory_bytes)
    load_ms = (time.perf_counter_ns() - begin) / 1e6
    on_loaded(integer_inputs(session.inputs, feed))
    found = find_feeds(session, feed, cancel)
    return load_ms, found.run_ms, _oddity(found.outputs)


def _oddity(outputs: Mapping[str, Value]) -> str:
    """A sentence on float outputs without a single finite number; empty when all is well."""
    floats = {
        name: value for name, value in outputs.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }
    empty = [name for name, value in floats.items() if value.size and not np.isfinite(value).any()]
    if not empty:
        return ""
    named = ", ".join(f"“{safe_text(name, 60)}”" for name in empty[:3])
    return (
        f"On made-up inputs it gives nothing but NaN and infinity in {named}{' and others' if len(empty) > 3 else ''}."
    )


def _starved(sessions: SessionCache, detail: str = "") -> TrialReport:
    error = out_of_memory(sessions.cap_bytes)
    error.detail = detail
    return report_of(TrialOutcome.UNRUNNABLE, error, runtime_name())
