"""The slowest requests of the last minutes, in shared memory."""

from __future__ import annotations

import sys
import time

from quickserveml_tui.core.monitoring import SlowRequest

ENTRIES = 32
KEPT_S = 300.0
"""Older requests leave."""
_ENTRY_ITEMS = 48
SLOW_ITEMS = ENTRIES * _ENTRY_ITEMS
"""Integers of the whole table."""
_SEQUENCE, _AT, _ELAPSED, _QUEUE, _COMPUTE, _STATUS, _ROWS, _BATCH = range(8)
_NAME, _VERSION, _REQUEST = (8, 25), (25, 29), (29, 46)
"""Places of the texts; each takes eight bytes an integer."""


class SlowTable:
    """A table that one process writes and others read. An entry under way has an odd sequence number."""

    __slots__ = ("_items", "floor")

    def __init__(self, items: memoryview) -> None:
        self._items = items
        self.floor = 0
        """A request that took no longer than this, in nanoseconds, is none of the slowest."""
        self.expire(time.time())

    def release(self) -> None:
        """Let the memory go."""
        self._items.release()

    def expire(self, now: float) -> None:
        """Find the floor anew: entries older than five minutes do not count."""
        self.floor = min(self._elapsed(entry, now) for entry in range(ENTRIES))

    def note(self, request: SlowRequest) -> None:
        """Put a request in the place of the fastest or an outdated one, if it is slower."""
        elapsed = round(request.elapsed_s * 1e9)
        place = min(range(ENTRIES), key=lambda entry: self._elapsed(entry, request.at))
        if elapsed <= self._elapsed(place, request.at):
            return
        items = self._items[place * _ENTRY_ITEMS : (place + 1) * _ENTRY_ITEMS]
        items[_SEQUENCE] |= 1
        items[_AT] = max(int(request.at * 1e6), 0)
        items[_ELAPSED] = elapsed
        items[_QUEUE] = max(int(request.queue_s * 1e9), 0)
        items[_COMPUTE] = max(int(request.compute_s * 1e9), 0)
        items[_STATUS] = request.status
        items[_ROWS] = request.rows
        items[_BATCH] = request.batch
        _write(items, _NAME, request.model)
        _write(items, _VERSION, request.version)
        _write(items, _REQUEST, request.request_id)
        items[_SEQUENCE] += 1
        self.expire(request.at)

    def entries(self, now: float) -> tuple[SlowRequest, ...]:
        """Those of the last five minutes, the slowest first; one that is being written is left out."""
        found = [self._read(entry) for entry in range(ENTRIES) if self._elapsed(entry, now)]
        kept = (request for request in found if request is not None)
        return tuple(sorted(kept, key=lambda request: -request.elapsed_s))

    def _elapsed(self, entry: int, now: float) -> int:
        """Nanoseconds of a request; 0 for an empty place and an outdated one."""
        start = entry * _ENTRY_ITEMS
        recent = self._items[start + _AT] / 1e6 > now - KEPT_S
        return self._items[start + _ELAPSED] if recent else 0

    def _read(self, entry: int) -> SlowRequest | None:
        start = entry * _ENTRY_ITEMS
        before = self._items[start + _SEQUENCE]
        items = self._items[start : start + _ENTRY_ITEMS].tolist()
        if before & 1 or before != self._items[start + _SEQUENCE]:
            return None
        return SlowRequest(
            at=items[_AT] / 1e6,
            model=_text(items, _NAME),
            version=_text(items, _VERSION),
            elapsed_s=items[_ELAPSED] / 1e9,
            queue_s=items[_QUEUE] / 1e9,
            compute_s=items[_COMPUTE] / 1e9,
            status=items[_STATUS],
            rows=items[_ROWS],
            batch=items[_BATCH],
            request_id=_text(items, _REQUEST),
        )


def _write(items: memoryview, place: tuple[int, int], text: str) -> None:
    start, end = place
    size = (end - start) * 8
    data = text.encode("utf-8", "replace")[:size].ljust(size, b"\0")
    items[start:end] = memoryview(data).cast("Q")


def _text(items: list[int], place: tuple[int, int]) -> str:
    data = b"".join(item.to_bytes(8, sys.byteorder) for item in items[place[0] : place[1]])
    return data.rstrip(b"\0").decode("utf-8", "replace")
