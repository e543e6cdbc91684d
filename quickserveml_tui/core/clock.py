"""Wall-clock time as the stores write it, and the clock of the machine that nobody can set."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path


def utc_now() -> str:
    """The time now: UTC, ISO 8601 with milliseconds and a Z."""
    return _written(datetime.now(UTC))


def utc_days_ago(days: float) -> str:
    """The time so many days ago, written like `utc_now`; the oldest time there is for more days than that."""
    try:
        return _written(datetime.now(UTC) - timedelta(days=days))
    except OverflowError:
        return "0001-01-01T00:00:00.000Z"


def unix_time(moment: str) -> float:
    """Unix time of a moment as the stores write it. Raises `ValueError`."""
    return datetime.fromisoformat(moment).timestamp()


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Instant:
    """Now, by both clocks."""

    wall_s: float
    """Seconds since the epoch; people and time servers may set it forwards and backwards."""
    boot: str
    """Which boot of which machine `boot_s` counts from; empty where the system has no such name."""
    boot_s: float
    """Seconds since that boot, sleep included; the same for all processes of the machine, and never set."""


def instant() -> Instant:
    """Now, by both clocks."""
    return Instant(time.time(), boot_name(), _boot_s())


@functools.cache
def boot_name() -> str:
    """Name of this boot of this machine; empty where the system has none.

    A time namespace shifts the clock of its processes, so its name is a part of it.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    try:
        return f"{boot} {os.readlink('/proc/self/ns/time')}"  # noqa: PTH115 - no path, but a name in brackets
    except OSError:
        return boot


def _boot_s() -> float:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
