"""Jobs: an id, progress, cancel and a result."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from quickserveml_tui.core.errors import CancelledError


class JobState(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    LOST = "lost"
    """Its process ended without a word; it can be resumed or cleaned up."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. `total` is None while unknown."""

    phase: str
    done: float = 0.0
    total: float | None = None
    unit: str = ""
    rate_per_s: float | None = None
    eta_s: float | None = None
    elapsed_s: float = 0.0
    failed: int = 0
    note: str = ""

    @property
    def fraction(self) -> float | None:
        """Done share between 0 and 1, or None while the total is unknown."""
        if not self.total or self.total <= 0:
            return None
        return round(min(max(self.done / self.total, 0.0), 1.0), 4)


ProgressSink: TypeAlias = Callable[[Progress], None]


def ignore_progress(_progress: Progress) -> None:
    """A sink for callers that do not watch."""


class CancelToken:
    """Asks work to stop; safe to use from any thread.

    Callbacks run once, in the thread that cancels, or at once when already cancelled.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether cancel was asked."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Ask the work to stop."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on cancel; returns a function that takes it back."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return lambda: self._remove(callback)
        callback()
        return lambda: None

    def _remove(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def raise_if_cancelled(self) -> None:
        """Raise `CancelledError` if cancel was asked."""
        if self.cancelled:
            raise CancelledError("Cancelled.", hint="What was finished before is kept.")

    def wait(self, timeout_s: float) -> bool:
        """Wait until cancelled or the time is over; returns whether cancelled."""
        return self._event.wait(timeout_s)


def new_id(prefix: str) -> str:
    """A fresh id such as `bench-3f9c2a1b7d04`."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"
