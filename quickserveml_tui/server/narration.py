"""What the log tells at level info: few lines, each of something that changed, and none for each request."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from quickserveml_tui.core.serving import ServedEntry, ServedStatus
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import significant

if TYPE_CHECKING:
    from quickserveml_tui.core.monitoring import SlowRequest
    from quickserveml_tui.services.serving_traits import Traits

logger = logging.getLogger(__name__)

SLOW_S = 1.0
"""Requests that take longer are told of."""
SLOW_PAUSE_S = 10.0
"""Least time between two lines about slow requests."""


def changes(before: Sequence[ServedEntry], after: Sequence[ServedEntry]) -> list[str]:
    """What differs between two lists of served versions, one sentence each."""
    old, new = {entry.key: entry for entry in before}, {entry.key: entry for entry in after}
    said = [f"{called(entry)} is served" for key, entry in new.items() if key not in old]
    for key, entry in new.items():
        was = old.get(key)
        if was is None or was == entry:
            continue
        if (was.digest, was.path, was.slot) != (entry.digest, entry.path, entry.slot):
            said.append(f"{called(entry)} is replaced by another file")
        if was.settings != entry.settings:
            said.append(f"{called(entry)} runs with other settings")
        if was.aliases != entry.aliases:
            aliases = ", ".join(entry.aliases)
            said.append(f"{called(entry)} has " + (f"the aliases {aliases}" if aliases else "no alias any more"))
    said += [f"{called(entry)} is no longer served" for key, entry in old.items() if key not in new]
    return said


def tell_changes(revision: int, before: Sequence[ServedEntry], after: Sequence[ServedEntry]) -> None:
    """Log what a revision changes."""
    for sentence in changes(before, after):
        logger.info("Revision %d: %s", revision, sentence)


def tell_refused(known: Sequence[ServedStatus], found: Sequence[ServedStatus]) -> None:
    """Log what is newly left out."""
    for refused in found:
        if refused not in known:
            logger.warning("Not served: %s", left_out(refused))


def left_out(refused: ServedStatus) -> str:
    """`digits version 3: Why it is not served.`"""
    version = f" version {refused.version}" if refused.version else ""
    return f"{safe_text(refused.name, 80)}{version}: {refused.reason}"


def called(entry: ServedEntry) -> str:
    """`digits version 3`."""
    return f"{entry.name} version {entry.version}"


def _took(seconds: float) -> str:
    return f"{significant(seconds)} s" if seconds >= 1 else f"{significant(seconds * 1e3)} ms"


def loaded(entry: ServedEntry, elapsed_s: float, traits: Traits) -> str:
    """How long loading took, and what the calibration found."""
    run = "not measured" if traits.run_ns is None else _took(traits.run_ns / 1e9)
    share = (
        f"up to {plural(traits.max_batch, 'row')} share a run" if traits.batchable else f"runs alone: {traits.reason}"
    )
    where = "in the event loop" if traits.inline else "in a thread"
    return f"{called(entry)} is loaded in {_took(elapsed_s)}: a run takes {run}, {where}; {share}"


class SlowNews:
    """Says which slow requests are told of: at most one line in `SLOW_PAUSE_S`, with the count of those left out."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._left_out = 0

    def line(self, request: SlowRequest) -> str:
        """What to log of a request; empty for one that is not told of."""
        if request.elapsed_s < SLOW_S:
            return ""
        now = time.monotonic()
        if now < self._next_s:
            self._left_out += 1
            return ""
        self._next_s = now + SLOW_PAUSE_S
        more = f"; {plural(self._left_out, 'further one')} since the last such line" if self._left_out else ""
        self._left_out = 0
        return (
            f"A request to {request.model} version {request.version} took {_took(request.elapsed_s)}: "
            f"{_took(request.queue_s)} waiting, {_took(request.compute_s)} running, "
            f"status {request.status}{more}"
        )
