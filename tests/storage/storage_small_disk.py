"""A small file system that really fills up, for a child in a mount name space of its own.

`unshare` gives an ordinary user a private mount where the kernel allows it; root may mount directly. Where neither is
allowed, the file-size limit of a process stands in for the disk: a write beyond it fails, at the same places.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

SIZE = "2m"
_MOUNT = f'mount -t tmpfs -o size={SIZE},mode=700 tmpfs "$0" && exec "$@"'
PREFIXES = (
    ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT),
    ("unshare", "--mount", "sh", "-c", _MOUNT),
)
_HERE = Path(__file__).resolve().parent


@functools.cache
def mount_prefix():
    """The command that runs another one with a small disk at a folder; None where nothing may be mounted."""
    probe = Path(__file__).parent
    for prefix in PREFIXES:
        if shutil.which(prefix[0]):
            done = subprocess.run([*prefix, str(probe), "true"], capture_output=True, check=False, timeout=60)
            if done.returncode == 0:
                return prefix
    return None


def run_on_small_disk(folder, script, *args):
    """Lines that a script says which has a small disk at `folder`; `sys.argv[1]` is the folder, then how it is small."""
    prefix = mount_prefix()
    command = [sys.executable, "-c", script, str(folder), "limit" if prefix is None else "mount", *args]
    done = subprocess.run(
        command if prefix is None else [*prefix, str(folder), *command],
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(_HERE), str(_HERE.parents[1]), *sys.path])},
    )
    return done.stdout.splitlines()


class Filler:
    """Takes all space of the disk but a little, and gives it back."""

    def __init__(self, folder, kind):
        self._path = Path(folder) / "filler"
        self._kind = kind

    def fill(self, leave=0):
        """Leave so many bytes free (rounded to pages), or let no file grow further than that."""
        if self._kind == "limit":
            import resource
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (leave, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            return
        free = os.statvfs(self._path.parent)
        with self._path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - leave, 1))

    def free(self):
        """Give all space back."""
        if self._kind == "limit":
            import resource

            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        else:
            self._path.unlink(missing_ok=True)
