"""How much a key may ask for: a token bucket for its rate, a count for its day, and the headers that say so.

Each worker counts for itself and grants its share, the limit divided by the number of workers: nothing is shared, so
counting costs less than a microsecond. A client whose connections all reach one worker gets no more than that share.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from quickserveml_tui.core.access import RateLimit
from quickserveml_tui.server.context import Admission

DAY_S = 86_400
_FRESH_S = 0.01
"""How long the header lines of an answer may be used again: at most 100 times a second they are written anew."""
FAILURES_PER_S = 50.0
FAILURES_AT_ONCE = 200


class DayClock:
    """Days (UTC) by the monotonic clock that requests are counted with; `sync` follows a wall clock that was set."""

    __slots__ = ("_wall", "ends", "number")

    def __init__(self, now: float, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.number = 0
        """Days since the epoch."""
        self.ends = 0.0
        """When the day is over, by the monotonic clock."""
        self.sync(now)

    def sync(self, now: float) -> None:
        """Look at the wall clock; `now` is the monotonic time."""
        wall = self._wall()
        self.number = int(wall // DAY_S)
        self.ends = now + DAY_S - wall % DAY_S


class Limiter:
    """The limits of one key in one worker. Bounded: a few numbers, however many requests come."""

    __slots__ = (
        "_burst", "_day", "_day_number", "_fresh_until", "_granted", "_policy", "_quota", "_rate", "_refused",
        "_refused_until", "_tokens", "_updated", "used",
    )  # fmt: skip

    def __init__(self, limit: RateLimit, day: DayClock, workers: int, now: float) -> None:
        self._rate = limit.per_second / workers
        self._burst = max(float(math.ceil((limit.burst or limit.per_second) / workers)), 1.0)
        self._quota = max(limit.per_day // workers, 1) if limit.per_day else 0
        self._day = day
        self._day_number = day.number
        self._tokens = self._burst
        self._updated = now
        self.used = 0
        """Requests of the day so far."""
        self._policy = ("RateLimit-Policy", self._policies())
        self._granted = Admission(allowed=True)
        self._fresh_until = -math.inf
        self._refused = self._granted
        self._refused_until = -math.inf

    def admit(self, now: float) -> Admission:
        """Count one request at `now` (`time.monotonic`). A refused one takes nothing."""
        if now >= self._day.ends:
            self._day.sync(now)
        if self._day_number != self._day.number:
            self._day_number = self._day.number
            self.used = 0
        if self._quota and self.used >= self._quota:
            return self._refuse("rate.quota", self._day.ends - now, now)
        if self._rate:
            tokens = self._tokens + (now - self._updated) * self._rate
            tokens = min(tokens, self._burst)
            self._updated = now
            if tokens < 1.0:
                self._tokens = tokens
                return self._refuse("rate.limited", (1.0 - tokens) / self._rate, now)
            self._tokens = tokens - 1.0
        self.used += 1
        if now >= self._fresh_until:
            self._fresh_until = now + _FRESH_S
            self._granted = Admission(True, self._headers(now))
        return self._granted

    def restore(self, used: int, day: int) -> None:
        """Go on from what was used on a day."""
        if day == self._day.number:
            self._day_number = day
            self.used = used

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
            full_in = math.ceil((self._burst - self._tokens) / self._rate)
            left.append(f'"rate";r={int(self._tokens)};t={full_in}')
        if self._quota:
            left.append(f'"day";r={max(self._quota - self.used, 0)};t={max(math.ceil(self._day.ends - now), 0)}')
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
