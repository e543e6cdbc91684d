"""Waiting for processes to end: by event, with a deadline."""

from __future__ import annotations

import os
from multiprocessing.connection import wait


def open_process(pid: int) -> int:
    """A descriptor that becomes readable when the process, which need not be a child, ends."""
    return os.pidfd_open(pid)


def wait_for_end(descriptor: int, timeout_s: float = 10.0) -> bool:
    ready = wait([descriptor], timeout=timeout_s)
    os.close(descriptor)
    return bool(ready)
