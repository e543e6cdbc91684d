"""Counters of the served models: 64-bit integers in a mapped file that one worker adds to and everybody may read."""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import sys
import time
from pathlib import Path

from quickserveml_tui.core.monitoring import SlowRequest
from quickserveml_tui.services.serving_counts import (
    BATCH_BUCKETS,
    DURATION_BUCKETS_S,
    LATENCY_BOUNDS_S,
    MODEL_ITEMS,
    Histogram,
    ModelStats,
)
from quickserveml_tui.services.serving_slow import SLOW_ITEMS, SlowTable

__all__ = [
    "BATCH_BUCKETS",
    "DURATION_BUCKETS_S",
    "LATENCY_BOUNDS_S",
    "SLOTS",
    "Counters",
    "Histogram",
    "ModelStats",
]

SLOTS = 512
"""Versions that one server can count."""

_MAGIC = 0x32544E435F4D5351
"""`QSM_CNT2`: another layout gets another number, and such files begin anew."""
_HEADER_ITEMS = 512
_PID, _STARTED, _REVISION, _READY, _CONNECTIONS, _REQUESTS, _AUTH_FAILURES, _LOG_DROPS = range(1, 9)
_ITEMS = _HEADER_ITEMS + SLOW_ITEMS + SLOTS * MODEL_ITEMS
_MODELS_AT = _HEADER_ITEMS + SLOW_ITEMS
_BYTES = _ITEMS * 8


class Counters:
    """Counters of one worker. Its process writes them, others read; the file outlives a crash, and the worker that
    comes after goes on counting in it.

    Reads never fail and never lock: what is read while it is written is a moment old.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._items = memoryview(memory).cast("Q")
        self._models: dict[int, ModelStats] = {}
        self.slow_requests = SlowTable(self._items[_HEADER_ITEMS:_MODELS_AT])
        """The slowest requests of the last minutes; its `floor` is what a request must exceed to get in."""

    @classmethod
    def create(cls, path: Path | None = None) -> Counters:
        """Counters to write to: those of the file, if it holds some, else new ones. Without a path, in memory only."""
        if path is None:
            counters = cls(mmap.mmap(-1, _BYTES))
        else:
            if not _holds_counters(path):
                _make_file(path)
            with path.open("r+b") as file:
                counters = cls(mmap.mmap(file.fileno(), _BYTES))
        counters._items[0] = _MAGIC
        return counters

    @classmethod
    def open(cls, path: Path) -> Counters:
        """Counters of another process, to read. Raises `OSError` and `ValueError` where there are none."""
        if not _holds_counters(path):
            raise ValueError(f"{path.name} holds no counters")
        with path.open("rb") as file:
            return cls(mmap.mmap(file.fileno(), _BYTES, access=mmap.ACCESS_READ))

    def close(self) -> None:
        """Let the memory go; the counters cannot be used afterwards."""
        for stats in self._models.values():
            stats.release()
        self._models.clear()
        self.slow_requests.release()
        self._items.release()
        with contextlib.suppress(BufferError):  # somebody holds a histogram: it ends with that
            self._memory.close()

    def model(self, slot: int) -> ModelStats:
        """The counters of a slot; the same object each time."""
        stats = self._models.get(slot)
        if stats is None:
            stats = self._models[slot] = ModelStats(self._slice(slot))
        return stats

    def _slice(self, slot: int) -> memoryview:
        if not 0 <= slot < SLOTS:
            raise ValueError(f"slot {slot} is not between 0 and {SLOTS - 1}")
        start = _MODELS_AT + slot * MODEL_ITEMS
        return self._items[start : start + MODEL_ITEMS]

    def clear_slot(self, slot: int) -> None:
        """Start a slot anew, for another version."""
        part = self._slice(slot)
        part[:] = memoryview(bytes(MODEL_ITEMS * 8)).cast("Q")

    def reset_gauges(self) -> None:
        """After a crash: nothing waits, runs or is connected any more."""
        self._items[_CONNECTIONS] = self._items[_READY] = 0
        for slot in range(SLOTS):
            self.model(slot).reset_gauges()

    # ---- who is at it: a crash has a culprit

    def begin_run(self, slot: int) -> None:
        """A run of the model begins."""
        self.model(slot).begin_run()

    def end_run(self, slot: int | None = None) -> None:
        """It has ended; without a slot, all have."""
        for stats in (self.model(slot),) if slot is not None else tuple(self._models.values()):
            stats.end_run()

    def begin_load(self, slot: int) -> None:
        """The model is being loaded and tried."""
        self.model(slot).begin_load()

    def end_load(self, slot: int | None = None) -> None:
        """It is loaded, or could not be; without a slot, all are."""
        for stats in (self.model(slot),) if slot is not None else tuple(self._models.values()):
            stats.end_load()

    @property
    def running(self) -> tuple[int, ...]:
        """Slots of models in a run, the one that began last first."""
        return self._since("running_since")

    @property
    def loading(self) -> tuple[int, ...]:
        """Slots of models that are being loaded, the one that began last first."""
        return self._since("loading_since")

    @property
    def culprit(self) -> int | None:
        """Slot of the model that most likely took the process down: what began last of all that had not ended."""
        began = [(self.model(slot).running_since, slot) for slot in self.running[:1]]
        began += [(self.model(slot).loading_since, slot) for slot in self.loading[:1]]
        return max(began)[1] if began else None

    def _since(self, name: str) -> tuple[int, ...]:
        began = [(getattr(self.model(slot), name), slot) for slot in range(SLOTS)]
        return tuple(slot for since, slot in sorted(began, reverse=True) if since)

    # ---- slow requests

    def note_slow(self, request: SlowRequest) -> None:
        """Keep a request if it is among the slowest; ask `slow_requests.floor` first, which costs one comparison."""
        self.slow_requests.note(request)

    def slow(self, now: float | None = None) -> tuple[SlowRequest, ...]:
        """The slowest requests of the last five minutes, the slowest first."""
        return self.slow_requests.entries(time.time() if now is None else now)

    # ---- header

    @property
    def pid(self) -> int:
        """Process that counts; 0 for none yet."""
        return self._items[_PID]

    @pid.setter
    def pid(self, value: int) -> None:
        self._items[_PID] = value

    @property
    def started(self) -> float:
        """When it started, Unix time."""
        return self._items[_STARTED] / 1e6

    @started.setter
    def started(self, value: float) -> None:
        self._items[_STARTED] = int(value * 1e6)

    @property
    def revision(self) -> int:
        """Of the desired state that it has reached."""
        return self._items[_REVISION]

    @revision.setter
    def revision(self, value: int) -> None:
        self._items[_REVISION] = value

    @property
    def ready(self) -> bool:
        """Whether it takes requests."""
        return self._items[_READY] != 0

    @ready.setter
    def ready(self, value: bool) -> None:
        self._items[_READY] = int(value)

    @property
    def connections(self) -> int:
        """Open connections."""
        return self._items[_CONNECTIONS]

    @connections.setter
    def connections(self, value: int) -> None:
        self._items[_CONNECTIONS] = max(value, 0)

    @property
    def requests(self) -> int:
        """All requests, those of no model included."""
        return self._items[_REQUESTS]

    @requests.setter
    def requests(self, value: int) -> None:
        self._items[_REQUESTS] = value

    def add_requests(self, count: int) -> None:
        """Count further requests."""
        self._items[_REQUESTS] += count

    @property
    def auth_failures(self) -> int:
        """Requests without a key, or with one that does not hold."""
        return self._items[_AUTH_FAILURES]

    @auth_failures.setter
    def auth_failures(self, value: int) -> None:
        self._items[_AUTH_FAILURES] = value

    @property
    def log_drops(self) -> int:
        """Lines that the access log could not take in time."""
        return self._items[_LOG_DROPS]

    @log_drops.setter
    def log_drops(self, value: int) -> None:
        self._items[_LOG_DROPS] = value


def _holds_counters(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return os.fstat(file.fileno()).st_size == _BYTES and file.read(8) == _MAGIC.to_bytes(8, sys.byteorder)
    return False


def _make_file(path: Path) -> None:
    """Put a new file of zeros in the place of the old: cutting one that others have mapped would kill them."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        os.ftruncate(descriptor, _BYTES)
        os.write(descriptor, _MAGIC.to_bytes(8, sys.byteorder))
    finally:
        os.close(descriptor)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
