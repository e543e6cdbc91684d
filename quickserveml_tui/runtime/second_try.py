"""A trial, and a second one where made-up integers are to blame for a crash."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from quickserveml_tui.core.errors import RunnerError, UnavailableError
from quickserveml_tui.core.feeds import FeedSpec, all_ones
from quickserveml_tui.core.models import TrialOutcome, TrialReport
from quickserveml_tui.runtime.host import oom_kills
from quickserveml_tui.runtime.trial_report import breaking_report, with_ones

_FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT")
Attempt: TypeAlias = Callable[[FeedSpec, float, Callable[[bytes], None]], TrialReport]
"""Makes a trial with a feed within seconds; the callback gets the encoded names of integer inputs after loading."""


def try_model(
    attempt: Attempt, restart: Callable[[], None], feed: FeedSpec, limit_s: float, runtime: str
) -> TrialReport:
    """The report of a trial; one that breaks its runner is a report as well.

    When a signal ends the process after loading, and the model has integers that were made up, it is tried once more
    with nothing but 1 in them, in the process that `restart` starts, within what is left of `limit_s`. Raises what is
    no failure of the model: `CancelledError`, `UsageError`.
    """
    deadline, killed_before = time.monotonic() + limit_s, oom_kills()
    loaded: list[bytes] = []
    try:
        return attempt(feed, limit_s, loaded.append)
    except RunnerError as error:
        report = breaking_report(error, runtime, limit_s, starved=oom_kills() > killed_before)
    names = msgspec.msgpack.decode(loaded[0], type=list[str]) if loaded else []
    if not names or not report.signal or report.signal in _FROM_OUTSIDE:
        return report
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        return report
    try:
        restart()
        other = attempt(all_ones(feed, names), left_s, lambda _names: None)
    except (RunnerError, UnavailableError):
        return report
    return with_ones(other, report) if other.outcome is TrialOutcome.READY else report
