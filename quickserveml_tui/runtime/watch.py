"""How long a call to a runner may take, and how it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable

from quickserveml_tui.core.errors import CancelledError, QuickServeError, RunnerTimeoutError


class Watch:
    """Limit and cancel of one call: first the child is asked to stop, after the grace it is killed."""

    def __init__(self, limit_s: float, grace_s: float, ask_to_stop: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._grace_s = grace_s
        self._ask_to_stop = ask_to_stop
        self._deadline = time.monotonic() + limit_s
        self._cancelled = False
        self._timed_out = False

    def deadline(self) -> float:
        """When patience ends, by the monotonic clock."""
        return self._deadline

    def renew(self) -> None:
        """Count the limit from now, unless the end has begun."""
        if not (self._cancelled or self._timed_out):
            self._deadline = time.monotonic() + self._limit_s

    def cancel(self) -> None:
        """Ask the child to stop; runs in the thread that cancels."""
        self._cancelled = True
        self._deadline = time.monotonic() + self._grace_s
        self._ask_to_stop()

    def expire(self) -> QuickServeError | None:
        """What to raise now that the deadline has passed; None after asking the child to stop."""
        if self._cancelled:
            return CancelledError("Cancelled; the model did not stop and was ended.", hint="Finished work is kept.")
        if not self._timed_out:
            self._timed_out = True
            self._deadline = time.monotonic() + self._grace_s
            self._ask_to_stop()
            return None
        return self._timeout()

    def translate(self, error: QuickServeError) -> QuickServeError:
        """The child's error as the caller knows it: a stop that the limit asked for is a timeout."""
        if isinstance(error, CancelledError) and self._timed_out and not self._cancelled:
            return self._timeout()
        return error

    def _timeout(self) -> RunnerTimeoutError:
        return RunnerTimeoutError(
            f"The model did not finish within {self._limit_s:g} s.",
            hint="It may loop without end, or need smaller inputs.",
        )
