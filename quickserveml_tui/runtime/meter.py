"""Memory and CPU of this process, cheap enough to read between two timed inferences."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_STATM = "/proc/self/statm"
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes; None where the system does not tell."""

    rss_bytes: int | None
    anon_bytes: int | None
    """Without pages that are backed by files, such as the libraries'."""


class ProcessMeter:
    """Reads this process's memory and CPU time: about 3 µs on Linux, where psutil takes 40 to 570 µs.

    Use as a context manager; it keeps one file descriptor open.
    """

    def __init__(self) -> None:
        self._fd = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC) if sys.platform == "linux" else -1
        self._page = os.sysconf("SC_PAGE_SIZE") if self._fd >= 0 else 0

    def __enter__(self) -> ProcessMeter:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def memory(self) -> Memory:
        """Resident memory now."""
        if self._fd < 0:
            import psutil

            return Memory(int(psutil.Process().memory_info().rss), None)
        fields = os.pread(self._fd, 128, 0).split()
        resident, shared = int(fields[1]), int(fields[2])
        return Memory(resident * self._page, (resident - shared) * self._page)

    @staticmethod
    def peak_rss_bytes() -> int | None:
        """The most memory that was ever resident, by the kernel's own high-water mark; None where there is none.

        `ru_maxrss` would not do: it survives exec and starts at the size of the process that started this one.
        """
        if sys.platform != "linux":
            return None
        for line in _STATUS.read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None

    @staticmethod
    def cpu_s() -> float:
        """CPU time of all threads so far, user and system."""
        return time.process_time()

    @staticmethod
    def preemptions() -> int | None:
        """Involuntary context switches of this thread so far; None where the system does not count them."""
        try:
            import resource

            return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
        except (ImportError, AttributeError):
            return None
