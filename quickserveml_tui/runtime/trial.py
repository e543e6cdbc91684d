"""The trial of a new model: can it be read, loaded and run once?"""

from __future__ import annotations

import time
from pathlib import Path

from quickserveml_tui.core.errors import CancelledError, ModelError, ModelUnrunnableError, QuickServeError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import TrialOutcome, TrialReport
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime.feeds import has_free_dims, synthesize
from quickserveml_tui.runtime.session import Session, runtime_name
from quickserveml_tui.runtime.session_cache import SessionCache
from quickserveml_tui.runtime.settings import SessionSettings

FREE_SIZES = (1, 8, 32, 128, 224)
"""Sizes tried in turn for free dims that do not lead: a convolution may need more than 1."""


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
    from quickserveml_tui.runtime.operations import known_inputs

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
        run_ms = _run_once(session, known_inputs(session.inputs, path), feed, cancel)
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


def _run_once(session: Session, inputs: tuple[TensorSpec, ...], feed: FeedSpec, cancel: CancelToken) -> float:
    """Milliseconds of the first run that succeeds; raises the error of the first size when none does."""
    sizes = FREE_SIZES if has_free_dims(inputs, feed) else FREE_SIZES[:1]
    first: QuickServeError | None = None
    for size in sizes:
        try:
            feeds = synthesize(inputs, feed, free_size=size)
            begin = time.perf_counter_ns()
            session.run(feeds, cancel=cancel)
            return (time.perf_counter_ns() - begin) / 1e6
        except (CancelledError, UsageError, ModelError):
            raise
        except QuickServeError as error:
            first = first or error
    assert first is not None
    raise first
