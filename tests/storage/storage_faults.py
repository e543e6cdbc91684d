"""An `os` whose k-th call fails: a full or broken disk on demand."""

from __future__ import annotations

import errno
import os

CALLS = frozenset(
    {"open", "write", "read", "fstat", "fsync", "replace", "mkdir", "utime", "fchmod", "unlink", "scandir"}
)


class FaultyOs:
    """Stands in for `os`: passes everything through, but breaks the k-th call of those in `CALLS`.

    `error` is an errno, or "short": then every write from the k-th call on takes one byte, and the disk is full after
    `capacity` of them.
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
                raise OSError(self.error, os.strerror(self.error))
            return real(*args, **kwargs)

        return call


def break_os(monkeypatch, modules, **fault):
    """Put a `FaultyOs` in the place of `os` in the modules."""
    faulty = FaultyOs(**fault)
    for module in modules:
        monkeypatch.setattr(module, "os", faulty)
    return faulty
