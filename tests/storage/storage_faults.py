"""An `os` whose k-th call fails, or kills the process: a full or broken disk, or a power cut, on demand."""

from __future__ import annotations

import errno
import os
import signal

CALLS = frozenset(
    {
        "open", "write", "read", "fstat", "stat", "fsync", "replace", "rename", "link", "mkdir", "utime", "fchmod",
        "unlink", "rmdir", "scandir", "ftruncate",
    }
)  # fmt: skip
ERRORS = [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EINTR, errno.EROFS]


class FaultyOs:
    """Stands in for `os`: passes everything through, but breaks the k-th call of those in `CALLS`.

    `error` is an errno; "short": then every write from the k-th call on takes one byte, and the disk is full after
    `capacity` of them; or "kill": then the process dies by SIGKILL before the k-th call.
    """

    def __init__(self, fail_at=0, error=errno.EIO, only=CALLS, capacity=0):
        self.fail_at = fail_at
        self.error = error
        self.only = only
        self.capacity = capacity
        self.calls = []
        self.has_fired = False
        self.is_armed = True

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in CALLS or not self.is_armed:
            return real

        def call(*args, **kwargs):
            self.calls.append(name)
            if name == "write" and self.error == "short" and self.fail_at and len(self.calls) >= self.fail_at:
                self.has_fired = True
                if self.capacity <= 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self.capacity -= 1
                return real(args[0], args[1][:1])
            if len(self.calls) == self.fail_at and name in self.only and self.error != "short":
                self.has_fired = True
                if self.error == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(self.error, os.strerror(self.error))
            return real(*args, **kwargs)

        return call


def break_os(monkeypatch, modules, **fault):
    """Put a `FaultyOs` in the place of `os` in the modules."""
    faulty = FaultyOs(**fault)
    for module in modules:
        monkeypatch.setattr(module, "os", faulty)
    return faulty


def every_call(monkeypatch, modules, attempt, error, *, capacity=0, limit=400):
    """Run `attempt(faulty)` with the fault at call 1, 2, 3, … until no call is left to break; returns how many were.

    `attempt` arms the fault (`faulty.is_armed = True`) around the operation under test only.
    """
    for fail_at in range(1, limit):
        with monkeypatch.context() as patch:
            faulty = break_os(patch, modules, fail_at=fail_at, error=error, capacity=capacity)
            faulty.is_armed = False
            attempt(faulty)
        if not faulty.has_fired:
            return fail_at - 1
    raise AssertionError("the operation makes no end of calls")
