"""Requests that wait for a model: by priority, not for ever, not without end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from quickserveml_tui.server.runs import Job

USUAL = 2
"""Priority of requests that ask for none."""
_FAR = 1 << 63


class WaitingRequests:
    """The queue of one model. `limit` bounds it; nobody waits longer than `patience_ns`."""

    __slots__ = ("_levels", "_limit", "_usual", "is_stale", "oldest", "patience_ns", "size")

    def __init__(self, limit: int, patience_ns: int) -> None:
        self._limit = limit
        self.patience_ns = patience_ns
        self.size = 0
        """Requests that wait."""
        self.oldest = _FAR
        """When the one that came first has come, or earlier: by `time.perf_counter_ns`."""
        self.is_stale = False
        """Whether some have a time limit of their own, or nobody who waits for them."""
        self._usual: deque[Job] = deque()
        self._levels: dict[int, deque[Job]] = {}
        """Those of other priorities."""

    def add(self, job: Job) -> bool:
        """Append a job behind those of its priority; False when the queue is full."""
        if self.size >= self._limit:
            return False
        self.size += 1
        if self.size == 1:
            self.oldest = job.arrived
        priority = job.request.priority
        if priority and priority != USUAL:
            self._levels.setdefault(priority, deque()).append(job)
        else:
            self._usual.append(job)
        if job.deadline:
            self.is_stale = True
        return True

    def first(self) -> Job | None:
        """The job that is next."""
        queue = self._usual if not self._levels else self._next()
        return queue[0] if queue else None

    def pop(self) -> Job:
        """Take the job that is next; there must be one."""
        self.size -= 1
        if not self._levels:
            job = self._usual.popleft()
            if self._usual:
                self.oldest = self._usual[0].arrived
            return job
        queue = self._next()
        job = queue.popleft()
        self._levels = {priority: jobs for priority, jobs in self._levels.items() if jobs}
        self._find_oldest()
        return job

    def pop_while(self, fits: Callable[[Job], bool]) -> list[Job]:
        """Take the jobs that are next, up to the first that does not fit."""
        jobs: list[Job] = []
        if self._levels:
            while (other := self.first()) is not None and fits(other):
                jobs.append(self.pop())
            return jobs
        usual = self._usual
        while usual and fits(usual[0]):
            jobs.append(usual.popleft())
        self.size -= len(jobs)
        if usual:
            self.oldest = usual[0].arrived
        return jobs

    def _next(self) -> deque[Job]:
        priority = min(self._levels)
        return self._usual if self._usual and priority > USUAL else self._levels[priority]

    def _find_oldest(self) -> None:
        heads = [queue[0].arrived for queue in (self._usual, *self._levels.values()) if queue]
        self.oldest = min(heads, default=_FAR)

    def drop(self, now: int) -> tuple[list[Job], list[Job]]:
        """Take out jobs that have waited too long at `now`, and those that nobody waits for."""
        late: list[Job] = []
        gone: list[Job] = []
        if not self.is_stale and now <= self.oldest + self.patience_ns:
            return late, gone
        limited = False
        for queue in (self._usual, *self._levels.values()):
            kept: list[Job] = []
            for job in queue:
                if job.gone:
                    gone.append(job)
                elif now > job.arrived + self.patience_ns or (job.deadline and now > job.deadline):
                    late.append(job)
                else:
                    kept.append(job)
                    limited = limited or bool(job.deadline)
            queue.clear()
            queue.extend(kept)
        self._levels = {priority: jobs for priority, jobs in self._levels.items() if jobs}
        self.size -= len(late) + len(gone)
        self.is_stale = limited
        self._find_oldest()
        return late, gone
