"""A broken disk underneath SQLite: the k-th file call that the library makes fails, or kills the process.

SQLite's unix layer lets tests replace its system calls (`xSetSystemCall`); fsync is not among them, so the methods of
each open file are copied and their `xSync` replaced, and `xDelete` stands in for the fsync of the folder. All of it
works on the library that Python's `sqlite3` has loaded, and only in processes forked for it.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import resource
import signal
import sys
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

IOERR_FSYNC = 10 | 4 << 8
IOERR_DIR_FSYNC = 10 | 5 << 8
SYNC_DIR = "sync folder"


class Vfs(ctypes.Structure):
    """`sqlite3_vfs`, version 3."""

    _fields_ = [
        ("version", c_int), ("file_size", c_int), ("max_path", c_int), ("next", c_void_p), ("name", c_char_p),
        ("data", c_void_p), ("xOpen", c_void_p), ("xDelete", c_void_p), ("xAccess", c_void_p),
        ("xFullPathname", c_void_p), ("xDlOpen", c_void_p), ("xDlError", c_void_p), ("xDlSym", c_void_p),
        ("xDlClose", c_void_p), ("xRandomness", c_void_p), ("xSleep", c_void_p), ("xCurrentTime", c_void_p),
        ("xGetLastError", c_void_p), ("xCurrentTimeInt64", c_void_p), ("xSetSystemCall", c_void_p),
        ("xGetSystemCall", c_void_p), ("xNextSystemCall", c_void_p),
    ]  # fmt: skip


class Methods(ctypes.Structure):
    """`sqlite3_io_methods`, version 3."""

    _fields_ = [("version", c_int), *((f"x{number}", c_void_p) for number in range(18))]


XSYNC = "x4"
OPEN = CFUNCTYPE(c_int, c_char_p, c_int, c_int, use_errno=True)
MOVE = CFUNCTYPE(ctypes.c_ssize_t, c_int, c_void_p, c_size_t, use_errno=True)
MOVE_AT = CFUNCTYPE(ctypes.c_ssize_t, c_int, c_void_p, c_size_t, c_int64, use_errno=True)
TRUNCATE = CFUNCTYPE(c_int, c_int, c_int64, use_errno=True)
UNLINK = CFUNCTYPE(c_int, c_char_p, use_errno=True)
OPEN_DIR = CFUNCTYPE(c_int, c_char_p, POINTER(c_int), use_errno=True)
CALLS = {
    "open": OPEN, "read": MOVE, "pread": MOVE_AT, "pread64": MOVE_AT, "write": MOVE, "pwrite": MOVE_AT,
    "pwrite64": MOVE_AT, "ftruncate": TRUNCATE, "unlink": UNLINK, "openDirectory": OPEN_DIR,
}  # fmt: skip
WRITES = ("write", "pwrite", "pwrite64")
SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
VFS_OPEN = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p, c_int, c_void_p)
VFS_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
SET_CALL = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
GET_CALL = CFUNCTYPE(c_void_p, c_void_p, c_char_p)


@functools.cache
def sqlite_vfs():
    """The unix layer of the SQLite that Python has loaded; None where its symbols are hidden."""
    import _sqlite3

    try:
        with Path("/proc/self/maps").open(encoding="ascii", errors="replace") as maps:
            loaded = [line.split()[-1] for line in maps if "libsqlite3" in line]
    except OSError:
        loaded = []
    for library in (*loaded[:1], getattr(_sqlite3, "__file__", None) or sys.executable):
        try:
            find = ctypes.CDLL(library).sqlite3_vfs_find
        except (OSError, AttributeError):
            continue
        find.restype = POINTER(Vfs)
        found = find(None)
        if found and found.contents.version >= 3 and found.contents.xSetSystemCall:
            return found
    return None


class SqliteFaults:
    """Counts SQLite's file calls while `is_armed`; breaks the `fail_at`-th, or all from it on when `stays`.

    `error` is an errno, "short" (a write takes half, the next ones nothing) or "kill".
    """

    def __init__(self, vfs):
        self.calls = []
        """Name and path of every call."""
        self.fail_at, self.error, self.stays = 0, errno.EIO, False
        self.is_armed = self.has_fired = False
        self._vfs = vfs
        self._keep = []
        self._methods = {}
        self._replace_calls()
        self._replace_open()
        self._replace_delete()

    def arm(self, fail_at, error, *, stays=False):
        """Break the call with this number from now on."""
        self.calls, self.has_fired = [], False
        self.fail_at, self.error, self.stays, self.is_armed = fail_at, error, stays, True

    def disarm(self):
        """Let everything pass again."""
        self.is_armed = False

    def _breaks(self, name, path):
        if not self.is_armed:
            return False
        self.calls.append((name, path))
        count = len(self.calls)
        if not self.fail_at or (count != self.fail_at and not (self.stays and count > self.fail_at)):
            return False
        if self.error == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.error == "short" and name not in WRITES and not self.has_fired:
            self.fail_at += 1  # only a write can be short
            return False
        self.has_fired = True
        return True

    def _replace_calls(self):
        vfs = self._vfs.contents
        set_call, get_call = SET_CALL(vfs.xSetSystemCall), GET_CALL(vfs.xGetSystemCall)
        for name, kind in CALLS.items():
            address = get_call(self._vfs, name.encode())
            if address:
                replacement = kind(self._faulty(name, kind(address)))
                self._keep.append(replacement)
                assert set_call(self._vfs, name.encode(), ctypes.cast(replacement, c_void_p)) == 0

    def _faulty(self, name, real):
        def call(first, *args):
            if not self._breaks(name, path_of(first)):
                return real(first, *args)
            if name == "openDirectory":
                return 14  # SQLITE_CANTOPEN
            if self.error == "short" and name in WRITES and args[1] > 1 and not self.stays:
                self.stays = True
                return real(first, args[0], args[1] // 2, *args[2:])
            ctypes.set_errno(errno.ENOSPC if self.error == "short" else self.error)
            return -1

        return call

    def _replace_open(self):
        real = VFS_OPEN(self._vfs.contents.xOpen)

        def call(vfs, path, file, flags, out):
            code = real(vfs, path, file, flags, out)
            methods = ctypes.cast(file, POINTER(c_void_p))
            if code == 0 and methods[0]:
                methods[0] = self._faulty_methods(methods[0], path)
            return code

        self._put("xOpen", VFS_OPEN(call))

    def _faulty_methods(self, address, path):
        copy = Methods.from_buffer_copy(ctypes.cast(address, POINTER(Methods)).contents)
        real = SYNC(getattr(copy, XSYNC))

        def call(file, flags):
            return IOERR_FSYNC if self._breaks("sync", path_of(path)) else real(file, flags)

        replacement = SYNC(call)
        setattr(copy, XSYNC, ctypes.cast(replacement, c_void_p).value)
        self._keep += [copy, replacement]
        return ctypes.addressof(copy)

    def _replace_delete(self):
        real = VFS_DELETE(self._vfs.contents.xDelete)

        def call(vfs, path, wants_sync):
            code = real(vfs, path, wants_sync)
            if code == 0 and wants_sync and self._breaks(SYNC_DIR, path_of(path)):
                return IOERR_DIR_FSYNC
            return code

        self._put("xDelete", VFS_DELETE(call))

    def _put(self, name, replacement):
        self._keep.append(replacement)
        setattr(self._vfs.contents, name, ctypes.cast(replacement, c_void_p).value)


def path_of(first):
    """File name of a path or descriptor."""
    if isinstance(first, int):
        try:
            first = os.fsencode(Path(f"/proc/self/fd/{first}").readlink())
        except OSError:
            return ""
    return Path(os.fsdecode(first or b"")).name


class SizeLimit:
    """Where SQLite's symbols are hidden: files may not grow beyond `fail_at` KiB, so that writes fail by EFBIG."""

    def __init__(self):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.calls = []
        self.has_fired = False

    def arm(self, fail_at, error, *, stays=False):
        """Limit the size of files; the fault counts as fired until there is room for all."""
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        self.has_fired = fail_at * 1024 < 256 * 1024
        resource.setrlimit(resource.RLIMIT_FSIZE, (fail_at * 1024, hard))

    def disarm(self):
        """Lift the limit."""
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def make_faults():
    """The faults that can be injected here."""
    vfs = sqlite_vfs()
    return SizeLimit() if vfs is None else SqliteFaults(vfs)
