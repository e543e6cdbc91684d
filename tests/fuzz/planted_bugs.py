"""Targets with a bug each, to show that the fuzzers find such bugs."""

from __future__ import annotations

import os
import signal

HOARD: list[bytes] = []


def escaping(data: bytes) -> None:
    """Reads a length without looking whether there is one."""
    at = 0
    while at < len(data):
        wire = data[at] & 7
        at += 1
        if wire == 2:
            at += 1 + data[at]
        else:
            at += 1


def hanging(data: bytes) -> None:
    """Stands still at a field of no bytes."""
    at = 1
    while at < len(data):
        at += data[at] & 15


def dying(data: bytes) -> None:
    """Is killed by what native code is killed by."""
    if len(data) % 256 == 77:
        os.kill(os.getpid(), signal.SIGSEGV)


def greedy(data: bytes) -> None:
    """Believes a length."""
    if len(data) > 4 and data[-1] == 0xFF:
        bytearray(2**31)


def hoarding(data: bytes) -> None:
    """Keeps something of every input."""
    HOARD.append(bytes(4096))
