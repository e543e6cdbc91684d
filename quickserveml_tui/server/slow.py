"""Takes note of the slowest requests; a request that is none of them costs a comparison."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from quickserveml_tui.core.monitoring import SlowRequest
from quickserveml_tui.server.narration import SlowNews

if TYPE_CHECKING:
    from quickserveml_tui.server.answers import Answer
    from quickserveml_tui.server.runs import Job
    from quickserveml_tui.services.serving_stats import Counters


logger = logging.getLogger(__name__)


class SlowLog:
    """The table of slow requests of a worker's counters."""

    __slots__ = ("_counters", "_news", "floor")

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._news = SlowNews()
        self.floor = counters.slow_requests.floor
        """Nanoseconds that a request must have taken longer than."""

    def expire(self) -> None:
        """Let old entries go."""
        self._counters.slow_requests.expire(time.time())
        self.floor = self._counters.slow_requests.floor

    def note(self, jobs: Sequence[Job], answers: Sequence[Answer], started: int, now: int) -> None:
        """Keep those of a run that are among the slowest; times by `time.perf_counter_ns`."""
        at = time.time()
        for job, answer in zip(jobs, answers, strict=True):
            if now - job.arrived > self.floor:
                model = job.model
                request = SlowRequest(
                    at=at,
                    model=model.name,
                    version=model.version,
                    elapsed_s=(now - job.arrived) / 1e9,
                    queue_s=max(started - job.arrived, 0) / 1e9,
                    compute_s=(now - started) / 1e9,
                    status=answer.status,
                    rows=job.rows,
                    batch=len(jobs),
                    request_id=job.request_id,
                )
                self._counters.note_slow(request)
                words = self._news.line(request)
                if words:
                    logger.info(words, extra={"request_id": job.request_id})
                self.floor = self._counters.slow_requests.floor
