"""Counters of this process and of the machine that a measurement reads before and after."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.runtime.host import HAS_PROC, IS_LINUX

_STATUS = Path("/proc/self/status")
_STAT = Path("/proc/stat")


def peak_rss_bytes() -> int | None:
    """The most memory that was ever resident, by the kernel's high-water mark of this process; None where unknown.

    `ru_maxrss` would not do: it survives exec and starts at the size of the process that started this one.
    """
    if not HAS_PROC:
        return None
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _STATUS.read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def preemptions() -> int | None:
    """Involuntary context switches of the calling thread so far; None where the system does not count them."""
    if not IS_LINUX:
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


@dataclass(frozen=True, slots=True)
class Disturbances:
    """What has disturbed the calling thread so far."""

    preemptions: int
    """Its involuntary context switches."""
    major_faults: int
    """Page faults of its process that had to read from a disk."""
    steal_s: float
    """CPU time that the hypervisor took from the whole machine."""


class DisturbanceMeter:
    """Reads them again and again: about 30 µs each time, the file of the system stays open."""

    def __init__(self) -> None:
        self._stat = None
        if IS_LINUX:
            with contextlib.suppress(OSError):
                self._stat = _STAT.open("rb", buffering=0)

    def read(self) -> Disturbances | None:
        """The counters now; None where the system does not count."""
        if not IS_LINUX:
            return None
        import resource

        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
        return Disturbances(switches, resource.getrusage(resource.RUSAGE_SELF).ru_majflt, self._steal_s())

    def _steal_s(self) -> float:
        if self._stat is None:
            return 0.0
        with contextlib.suppress(OSError, ValueError, IndexError):
            self._stat.seek(0)
            return int(self._stat.read(256).split()[8]) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def close(self) -> None:
        """Let go of the file."""
        if self._stat is not None:
            self._stat.close()


@dataclass(frozen=True, slots=True)
class HostCounters:
    """CPU time of the whole machine so far, in core seconds."""

    busy_s: float
    """Spent in processes and interrupts."""
    steal_s: float
    """Taken by the hypervisor."""
    total_s: float


def read_host_counters() -> HostCounters | None:
    """The machine's counters now; None where the system does not tell."""
    if not HAS_PROC:
        return None
    with contextlib.suppress(OSError, ValueError, IndexError):
        with _STAT.open(encoding="ascii") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
        user, nice, system, idle, iowait, irq, softirq, steal = fields
        tick = 1 / os.sysconf("SC_CLK_TCK")
        busy = user + nice + system + irq + softirq
        return HostCounters(busy * tick, steal * tick, (busy + idle + iowait + steal) * tick)
    return None
