"""What keys have used, in memory that all workers of a server map: each writes its own cells and reads everybody's.

A row belongs to one key. In its cell of the day a worker counts the requests that it granted (the number of the day in
the high bits); in its cell of the rate it writes when the bucket of the key will be full again, as far as it knows.
The sum of the first and the latest of the second hold for the whole server. A worker that crashes leaves its cells,
and the next one of its index goes on from them.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import time
from collections.abc import Collection, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

ROWS = 16_384
"""More than a home has keys, so that there is always a row of a key that is gone."""
DAY_BITS = 44
"""A count of a day has so many bits; a quota has at most 40."""
LOCK_S = 0.05
"""How long a request waits for the lock: whoever holds it needs microseconds, unless its process was stopped."""
_TRY_S = 0.00005
_MAGIC = 0x31544D4C5F4D5351
"""`QSM_LMT1`."""
_HEADER_ITEMS = 2


class Row(NamedTuple):
    """The cells of one key, one for each worker."""

    used: memoryview[int]
    """Requests of a day: `day << DAY_BITS | count`, unsigned 64-bit; one more cell has those of the server before."""
    full_at: memoryview[float]
    """When the bucket is full again, seconds of the monotonic clock, which all processes share; 64-bit floats."""


class SharedLimits:
    """The rows of a server, seen by one of its workers. Without a path, memory of this process alone.

    Bounded: `ROWS` rows of 16 bytes a worker, and 16 more. Raises `OSError` where the file cannot be made.
    """

    def __init__(self, path: Path | None = None, *, workers: int = 1, worker: int = 0) -> None:
        self.worker = worker
        """Whose cells this process writes."""
        self.workers = workers
        size = 8 * (_HEADER_ITEMS + ROWS * (2 + 2 * workers))
        self._path = path
        self._lock = -1
        if path is None:
            memory = mmap.mmap(-1, size)
        else:
            with _locked(path) as descriptor:
                _make(descriptor, size, workers)
                memory = mmap.mmap(descriptor, size)
            if workers > 1:
                self._lock = _open(path.with_name(f"{path.name}.lock"))
        items = memoryview(memory).cast("Q")
        cells_at = _HEADER_ITEMS + ROWS
        self._owners = items[_HEADER_ITEMS:cells_at]
        self._used = items[cells_at : cells_at + ROWS * (workers + 1)]
        self._full_at = memoryview(memory)[8 * (cells_at + ROWS * (workers + 1)) :].cast("d")

    def rows(self, identities: Collection[str]) -> dict[str, Row]:
        """The rows of keys, those of keys that have none yet zeroed; keys beyond `ROWS` get rows of this process alone.

        Rows of other keys are taken where there is no free one: those keys left the home, which only dead keys do.
        Not for the event loop: it may wait for another worker that does the same. Raises `OSError`.
        """
        with contextlib.nullcontext() if self._path is None else _locked(self._path):
            places = {owner: place for place, owner in enumerate(self._owners.tolist()) if owner}
            wanted = {identity: _owner(identity) for identity in identities}
            kept = set(wanted.values())
            free = _free_places(self._owners, kept)
            found = {}
            for identity, owner in wanted.items():
                place = places.get(owner)
                if place is None:
                    place = next(free, None)
                    if place is None:
                        found[identity] = self._own_row()
                        continue
                    self._owners[place] = 0  # a crash here leaves a free row, not one with counts of somebody else
                    _clear(self._row(place))
                    self._owners[place] = owner
                found[identity] = self._row(place)
        return found

    def _row(self, place: int) -> Row:
        used_at, full_at = place * (self.workers + 1), place * self.workers
        return Row(self._used[used_at : used_at + self.workers + 1], self._full_at[full_at : full_at + self.workers])

    def _own_row(self) -> Row:
        """A row that nobody else sees."""
        used, full_at = bytearray(8 * (self.workers + 1)), bytearray(8 * self.workers)
        return Row(memoryview(used).cast("Q"), memoryview(full_at).cast("d"))

    def try_lock(self) -> bool:
        """Have the counts of the day for this process alone, which `unlock` ends; False where others do not let go.

        The lock of a process that dies is free.
        """
        if self._lock < 0:
            return True
        end = 0.0
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                now = time.monotonic()
                end = end or now + LOCK_S
                if now >= end:
                    return False
                time.sleep(_TRY_S)
            else:
                return True

    def unlock(self) -> None:
        """Let others count."""
        if self._lock >= 0:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let the lock go for good; the memory goes with the last row."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _clear(row: Row) -> None:
    for place in range(len(row.used)):
        row.used[place] = 0
    for place in range(len(row.full_at)):
        row.full_at[place] = 0.0


def _owner(identity: str) -> int:
    """What stands for a key in the table: 64 bits, never 0."""
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "little") or 1


def _free_places(owners: memoryview[int], kept: Collection[int]) -> Iterator[int]:
    """Free rows, then those of keys that are not kept."""
    held = owners.tolist()
    yield from (place for place, owner in enumerate(held) if not owner)
    yield from (place for place, owner in enumerate(held) if owner and owner not in kept)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file, and nobody else at its rows. A descriptor of its own: a lock belongs to how a file was opened."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield descriptor
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a mapping keeps a copy of the descriptor, and that the lock
    finally:
        os.close(descriptor)


def _make(descriptor: int, size: int, workers: int) -> None:
    """Give a new file its size. Its room is taken at once: a full disk is an error here, and no signal later."""
    head = _MAGIC.to_bytes(8, "little") + workers.to_bytes(8, "little")
    if os.fstat(descriptor).st_size == size and os.pread(descriptor, len(head), 0) == head:
        return
    os.ftruncate(descriptor, 0)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
    os.pwrite(descriptor, head, 0)
