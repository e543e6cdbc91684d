"""Children that die by SIGKILL, cheaply: one process imports everything once and forks a child for each round.

A test module gives functions `work(say, *args)` at its top level; `say(text)` is an acknowledged line that the test
reads. A child that raises says so in a line that begins with `error`.

    with Nursery("storage_writers", "quickserveml_tui.storage.registry") as nursery:
        child = nursery.start("storage_writers:write_for_ever", str(path))
        line = child.readline()
        child.kill()
        rest = child.lines()
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_SERVE = "import sys; sys.path[:0] = [{here!r}, {root!r}]; import storage_kills; storage_kills.serve(*sys.argv[1:])"


@contextlib.contextmanager
def folder_in_memory():
    """A folder that needs no disk, where there is one: SIGKILL and injected faults spare what the kernel has.

    Ten times as fast as a disk that is synced after every write.
    """
    shared = Path("/dev/shm")
    parent = shared if os.access(shared, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="qsml-tests-") as folder:
        yield Path(folder)


class Child:
    """A forked process; its lines come through a pipe that ends when it is dead."""

    def __init__(self, pid, stream):
        self.pid = pid
        self._stream = stream

    def readline(self):
        """The next line it said, without its end; empty when it is dead."""
        return self._stream.readline().decode().removesuffix("\n")

    def kill(self):
        """End it by SIGKILL, now."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def lines(self):
        """All whole lines that are still to come; waits until it is dead."""
        with self._stream:
            lines = [line.decode().removesuffix("\n") for line in self._stream if line.endswith(b"\n")]
        failed = [line for line in lines if line.startswith("error")]
        assert not failed, failed
        return lines


class Nursery:
    """The process that forks the children; `modules` are what they need, imported once."""

    def __init__(self, *modules):
        self._modules = modules

    def __enter__(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = _SERVE.format(here=str(_HERE), root=str(_HERE.parents[1]))
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(theirs.fileno()), *self._modules], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._socket = ours
        self._socket.settimeout(60)
        assert ours.recv(64) == b"ready", "the nursery could not import its modules"
        return self

    def __exit__(self, *_error):
        self._socket.close()
        self._process.wait(60)

    def start(self, function, *args):
        """Fork a child that runs `module:function(say, *args)`; the arguments travel as JSON."""
        reader, writer = os.pipe()
        try:
            socket.send_fds(self._socket, [json.dumps([function, *args]).encode()], [writer])
        finally:
            os.close(writer)
        return Child(int(self._socket.recv(64)), os.fdopen(reader, "rb"))


def serve(descriptor, *modules):
    """Fork a child for every request until the other side closes."""
    for module in modules:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    connection = socket.socket(fileno=int(descriptor))
    connection.send(b"ready")
    while True:
        request, descriptors, _flags, _address = socket.recv_fds(connection, 1 << 16, 1)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            connection.close()
            _run(descriptors[0], *json.loads(request))
        os.close(descriptors[0])
        connection.send(str(pid).encode())


def _run(output, function, *args):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def say(text):
        os.write(output, f"{text}\n".encode())

    try:
        module, name = function.split(":")
        getattr(importlib.import_module(module), name)(say, *args)
    except BaseException as error:
        say(f"error {type(error).__name__}: {error}")
    finally:
        os._exit(0)
