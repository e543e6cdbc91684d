"""How much a key may ask for: a token bucket for its rate, a count for its day, and the headers that say so.

Both hold for the server as a whole: each worker decides by what all of them wrote into `SharedLimits`, without a lock,
so a decision costs less than a microsecond, and a client whose connections all reach one worker has the whole limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from quickserveml_tui.core.access import RateLimit
from quickserveml_tui.server.context import Admission
from quickserveml_tui.server.shared_limits import DAY_BITS, Row, SharedLimits

DAY_S = 86_400
LOCKED_PER_WORKER = 64
"""How near to the end of a quota workers count one at a time, requests per worker."""
_FRESH_S = 0.01
"""How long the header lines of an answer may be used again: at most 100 times a second they are written anew."""
_ROUNDING = 1e-3
"""Of a token: times are sums of many steps."""
_LOCK_TRIES = 100
_COUNT = (1 << DAY_BITS) - 1
FAILURES_PER_S = 50.0
FAILURES_AT_ONCE = 200


class DayClock:
    """Days (UTC) by the monotonic clock that requests are counted with; `sync` follows a wall clock that was set."""

    __slots__ = ("_wall", "base", "ends", "number")

    def __init__(self, now: float, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.number = 0
        """Days since the epoch."""
        self.base = 0
        """What a cell holds of which nothing was used on that day."""
        self.ends = 0.0
        """When the day is over, by the monotonic clock."""
        self.sync(now)

    def sync(self, now: float) -> None:
        """Look at the wall clock; `now` is the monotonic time."""
        wall = self._wall()
        self.number = int(wall // DAY_S)
        self.base = self.number << DAY_BITS
        self.ends = now + DAY_S - wall % DAY_S


class Limiter:
    """The limits of one key, decided in one worker. Bounded: a few numbers, however many requests come.

    The quota is exact: near its end workers count under a lock. The rate is that of one bucket; requests that two
    workers decide within the same moment may count as one there.
    """

    __slots__ = (
        "_base", "_burst", "_day", "_fresh_until", "_full_at", "_gap_s", "_granted", "_lock_at", "_nothing", "_own",
        "_policy", "_quota", "_rate", "_reach_s", "_refused", "_refused_until", "_shared", "_used",
    )  # fmt: skip

    def __init__(self, limit: RateLimit, day: DayClock, now: float, shared: SharedLimits, row: Row) -> None:
        self._rate = limit.per_second
        self._burst = max(float(limit.burst or math.ceil(limit.per_second)), 1.0)
        self._gap_s = 1.0 / self._rate if self._rate else 0.0
        self._reach_s = (self._burst - 1.0 + _ROUNDING) * self._gap_s
        self._quota = limit.per_day
        workers = shared.workers
        self._lock_at = self._quota - (LOCKED_PER_WORKER * workers if workers > 1 else 0)
        self._day = day
        self._shared = shared
        self._own = shared.worker
        self._used, self._full_at = row
        self._base = self._nothing = -1
        # A bucket that was emptied under a lower rate must not keep this one closed for longer than it takes to fill.
        latest = now + self._burst * self._gap_s
        row.full_at[self._own] = min(row.full_at[self._own], latest)
        self._policy = ("RateLimit-Policy", self._policies())
        self._granted = Admission(allowed=True)
        self._fresh_until = -math.inf
        self._refused = self._granted
        self._refused_until = -math.inf

    def admit(self, now: float) -> Admission:
        """Count one request at `now` (`time.monotonic`). A refused one takes nothing."""
        day, quota = self._day, self._quota
        if now >= day.ends:
            day.sync(now)
        used = 0
        if quota:
            used = sum(self._used.tolist()) - self._nothing
            if not 0 <= used < self._lock_at or self._base != day.base:
                used = self._used_by_all(now)
                if used >= quota:
                    return self._refuse("rate.quota", day.ends - now, now)
        full_at = now
        if self._rate:
            full_at = max(self._full_at.tolist())
            if full_at < now:
                full_at = now
            elif full_at - now > self._reach_s:
                return self._refuse("rate.limited", full_at - now - self._reach_s, now)
        if quota:
            if used < self._lock_at:
                self._used[self._own] += 1
            elif not self._take_locked(now):
                return self._refuse("rate.quota", 1.0, now)
        if self._rate:
            self._full_at[self._own] = full_at + self._gap_s
        if now >= self._fresh_until:
            self._fresh_until = now + _FRESH_S
            self._granted = Admission(True, self._headers(now))
        return self._granted

    def used(self, now: float) -> int:
        """Requests of the day, of all workers; counted only where there is a quota. For any thread."""
        if now >= self._day.ends:
            self._day.sync(now)
        base = self._day.base
        return sum(cell - base for cell in self._used.tolist() if base <= cell <= base + _COUNT)

    def restore(self, used: int, day: int, now: float) -> None:
        """Go on from what a server before granted on a day, where that is more than is known here.

        Only for a worker that takes no requests yet.
        """
        if self._quota and day == self._day.number and any(self._shared.try_lock() for _ in range(_LOCK_TRIES)):
            try:
                missing = used - self._used_by_all(now)
                if missing > 0:
                    old = self._used[-1] - self._day.base
                    self._used[-1] = self._day.base + (old if 0 <= old <= _COUNT else 0) + missing
            finally:
                self._shared.unlock()

    def _used_by_all(self, now: float) -> int:
        """Requests of the day, of all workers, by looking at the day of every cell."""
        if max(self._used) > self._day.base + _COUNT:  # another worker is in a later day already, or its clock was
            self._day.sync(now)
        base = self._day.base
        if not base <= self._used[self._own] <= base + _COUNT:
            self._used[self._own] = base
        cells = self._used.tolist()
        of_today = [cell for cell in cells if base <= cell <= base + _COUNT]
        # The sum less this is the count, until a cell goes to another day: that moves it by far more than a quota.
        self._base, self._nothing = base, sum(cells) - sum(of_today) + base * len(of_today)
        return sum(of_today) - base * len(of_today)

    def _take_locked(self, now: float) -> bool:
        """Count one request where no other worker can at the same time; False where none is left."""
        if not self._shared.try_lock():
            return False
        try:
            if self._used_by_all(now) >= self._quota:
                return False
            self._used[self._own] += 1
            return True
        finally:
            self._shared.unlock()

    def _refuse(self, code: str, wait_s: float, now: float) -> Admission:
        if now >= self._refused_until or self._refused.code != code:
            retry = str(max(math.ceil(wait_s), 1))
            headers = (*self._headers(now), ("Retry-After", retry))
            self._refused = Admission(allowed=False, headers=headers, code=code)
            self._refused_until = now + _FRESH_S
        return self._refused

    def _policies(self) -> str:
        """Quotas and windows in seconds, as draft-ietf-httpapi-ratelimit-headers has them."""
        found = []
        if self._rate:
            found.append(f'"rate";q={int(self._burst)};w={max(math.ceil(self._burst / self._rate), 1)}')
        if self._quota:
            found.append(f'"day";q={self._quota};w={DAY_S}')
        return ", ".join(found)

    def _headers(self, now: float) -> tuple[tuple[str, str], ...]:
        left = []
        if self._rate:
            until_full = max(max(self._full_at.tolist()) - now, 0.0)
            tokens = max(int(self._burst - until_full * self._rate + _ROUNDING), 0)
            left.append(f'"rate";r={tokens};t={math.ceil(until_full)}')
        if self._quota:
            rest = max(self._quota - self.used(now), 0)
            left.append(f'"day";r={rest};t={max(math.ceil(self._day.ends - now), 0)}')
        return self._policy, ("RateLimit", ", ".join(left))


class FailureLimit:
    """Attempts with keys that do not hold, over all clients of a worker: one bucket, so its memory is bounded.

    Addresses are not told apart: behind a proxy they are all alike, and what a client says of its own is not believed.
    Keys that hold are never counted here, so nobody can lock others out.
    """

    __slots__ = ("_tokens", "_updated", "refused")

    def __init__(self) -> None:
        self._tokens = float(FAILURES_AT_ONCE)
        self._updated = -math.inf
        self.refused = 0

    def admit(self, now: float) -> bool:
        """Whether one more attempt at `now` (`time.monotonic`) gets an answer of its own."""
        if self._updated > -math.inf:
            self._tokens = min(self._tokens + (now - self._updated) * FAILURES_PER_S, float(FAILURES_AT_ONCE))
        self._updated = now
        if self._tokens < 1.0:
            self.refused += 1
            return False
        self._tokens -= 1.0
        return True
