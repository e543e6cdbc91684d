"""Load: when requests are meant to be sent, and what became of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MAX_REQUESTS = 5_000_000
"""The most requests that one run sends and keeps."""
COLUMNS = 5
INTENDED, SENT, DONE, LAG, CODE = range(COLUMNS)
"""Columns of what is recorded of a request, int64. Times are ns since the start of the load; LAG is how much later than
it could have the generator itself sent it; CODE is a place in the table of error codes, 0 for a right answer."""


class Pattern(StrEnum):
    """How requests follow each other."""

    CLOSED = "closed"
    """Each client sends the next request when it has the answer to the one before."""
    UNIFORM = "uniform"
    """At equal distances, whatever the answers do."""
    POISSON = "poisson"
    """Independent of each other, whatever the answers do."""
    BURST = "burst"
    """Many at once, then a pause, whatever the answers do."""


@dataclass(frozen=True, slots=True)
class Load:
    """One stretch of load."""

    pattern: Pattern
    duration_s: float
    rate_per_s: float = 0.0
    """Requests a second of an open loop."""
    concurrency: int = 1
    """Clients of a closed loop; the most requests under way at once in an open one."""
    max_requests: int = MAX_REQUESTS
    burst_size: int = 1
    burst_gap_s: float = 1.0
    """From the start of a burst to the start of the next."""
    timeout_s: float = 30.0
    """How long to wait for an answer, from the moment of sending."""
    seed: int = 0

    @property
    def is_open(self) -> bool:
        """Whether requests are sent at their time, whatever the answers do."""
        return self.pattern is not Pattern.CLOSED

    @property
    def planned(self) -> int:
        """Requests of an open loop; 0 for a closed one, which sends as many as it gets answers for."""
        if self.pattern is Pattern.CLOSED:
            return 0
        if self.pattern is Pattern.BURST:
            count = math.ceil(round(self.duration_s / self.burst_gap_s, 9)) * self.burst_size
        else:
            count = round(self.rate_per_s * self.duration_s)
        return max(min(count, self.max_requests), 1)

    @property
    def target_per_s(self) -> float | None:
        """Requests a second that the schedule asks for; None for a closed loop."""
        if self.pattern is Pattern.CLOSED:
            return None
        return self.burst_size / self.burst_gap_s if self.pattern is Pattern.BURST else self.rate_per_s


def arrivals(load: Load) -> np.ndarray[Any, Any]:
    """Intended send times in seconds since the start of the load, ascending (float64); the same for the same seed.

    `load.planned` of them. Those of a Poisson process are drawn under the condition that just so many fall into the
    duration: their gaps are exponential, and the rate is met. Raises `ValueError` for a closed loop.
    """
    import numpy as np

    count = load.planned
    if load.pattern is Pattern.UNIFORM:
        return np.arange(count, dtype=np.float64) / load.rate_per_s
    if load.pattern is Pattern.BURST:
        return np.repeat(np.arange(-(-count // load.burst_size)) * load.burst_gap_s, load.burst_size)[:count]
    if load.pattern is Pattern.POISSON:
        times = np.random.default_rng(load.seed).random(count) * load.duration_s
        times.sort()
        return times
    raise ValueError("a closed loop has no schedule")


@dataclass(frozen=True, slots=True)
class LoadChunk:
    """What happened since the chunk before; comes about ten times a second while a load runs."""

    rows: bytes
    """Answered requests: int64, `COLUMNS` a row."""
    elapsed_s: float
    """Since the start of the load."""
    in_flight: int = 0
    """Requests under way."""
    waiting: int = 0
    """Requests whose time has come and that wait for a free connection."""
    codes: tuple[str, ...] = ("",)
    """Error codes so far."""

    def array(self) -> np.ndarray[Any, Any]:
        """The rows, shape (n, `COLUMNS`)."""
        import numpy as np

        return np.frombuffer(self.rows, dtype=np.int64).reshape(-1, COLUMNS)


@dataclass(frozen=True, slots=True)
class LoadEnd:
    """How a load ended."""

    elapsed_s: float
    sent: int = 0
    unanswered: int = 0
    """Requests under way when it was cancelled; every other one has a row."""
    unsent: int = 0
    """Requests of an open loop that were not sent before it was cancelled."""
    codes: tuple[str, ...] = ("",)
    said: Mapping[str, str] = field(default_factory=dict)
    """The first message by error code."""
    connections: int = 0
    """Connections, threads or calls in use at most."""
    max_in_flight: int = 0
    max_waiting: int = 0
    cpu_s: float | None = None
    """CPU time of what was measured: the runner; None for a server."""
    peak_rss_bytes: int | None = None
    cancelled: bool = False
