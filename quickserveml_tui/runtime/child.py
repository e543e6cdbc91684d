"""Starts the runner's process and tells how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import quickserveml_tui
from quickserveml_tui.core.errors import RunnerCrashedError, UnavailableError
from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.runtime.host import describe_signal, signal_name
from quickserveml_tui.storage.fs import make_private_dir

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_T = TypeVar("_T")
_MODULE = "quickserveml_tui.runtime.runner"
_BUFFER_BYTES = 4 << 20
_TAIL_BYTES = 4_000
_END_S = 10.0
_KEPT_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


@dataclass
class Child:
    """The process, the connection to it and its log."""

    process: subprocess.Popen[bytes]
    connection: Connection
    log: IO[bytes]
    """A file without a name: whatever kills this process, nothing is left on disk."""

    def end(self) -> None:
        """Kill it and wait for its end."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the kernel: nobody can do more
            self.process.wait(timeout=_END_S)

    def dispose(self) -> None:
        """End it, and let go of the connection and the log; no call may be under way."""
        self.end()
        self.connection.close()
        self.log.close()

    def log_tail(self) -> str:
        """The last lines that it wrote to stdout and stderr."""
        try:
            descriptor = self.log.fileno()
            begin = max(os.fstat(descriptor).st_size - _TAIL_BYTES, 0)
            text = os.pread(descriptor, _TAIL_BYTES, begin).decode("utf-8", "replace")
        except (OSError, ValueError):  # ValueError: closed meanwhile
            return ""
        return safe_lines("\n".join(text.splitlines()[-20:]))

    def death(self, *, started: bool) -> RunnerCrashedError:
        """The error that names how it died, after its pipe has closed; a model is to blame once it had started."""
        try:
            code = self.process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self.end()
            code = self.process.returncode or 0
        name = signal_name(-code) if code < 0 else ""
        how = describe_signal(name) if name else f"exit code {code}"
        if not started:
            return RunnerCrashedError(
                f"The runner process did not start ({how}).",
                signal=name,
                hint="Run `quickserveml doctor`; most likely onnxruntime or numpy cannot be loaded.",
                detail=self.log_tail(),
            )
        return RunnerCrashedError(
            f"The runtime {'crashed' if name else 'ended unexpectedly'} on this model ({how}).",
            signal=name,
            hint="Only the process that ran the model was lost; nothing else is affected.",
            detail=self.log_tail(),
        )


def start_child(log_dir: Path | None, *, preload: bool) -> Child:
    """Start a runner; it is not ready yet. Raises `UnavailableError` when the process cannot be started."""
    from multiprocessing.connection import Connection

    ours, theirs = socket.socketpair()
    opened = contextlib.ExitStack()
    opened.callback(ours.close)
    try:
        for end in (ours, theirs):
            # A measured loop must never wait for a parent that is busy drawing.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        command = [sys.executable, "-P", "-m", _MODULE, "--fd", str(theirs.fileno()), "--parent", str(os.getpid())]
        if preload:
            command.append("--preload")
        log = _open_log(log_dir)
        opened.callback(log.close)
        process = _in_spawner(
            lambda: subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=child_environment(),
            )
        )
        opened.pop_all()
    except OSError as error:
        raise UnavailableError(
            "The runner process cannot be started.",
            hint="Check free memory, disk space and process limits.",
            code="runtime.start",
            detail=safe_text(error),
        ) from error
    finally:
        theirs.close()
        opened.close()
    return Child(process, Connection(ours.detach()), log)


def _open_log(folder: Path | None) -> IO[bytes]:
    log = _unnamed_file(folder)
    fcntl.fcntl(log, fcntl.F_SETFL, fcntl.fcntl(log, fcntl.F_GETFL) | os.O_APPEND)  # the runner may cut it to nothing
    return log


def _unnamed_file(folder: Path | None) -> IO[bytes]:
    """In the folder, or among the system's temporary files where that is read-only, full or not to be written."""
    if folder is not None:
        with contextlib.suppress(OSError):
            make_private_dir(folder)  # with its parents: it may be the first thing that is written to a home
            return tempfile.TemporaryFile(buffering=0, dir=folder)
    return tempfile.TemporaryFile(buffering=0)


def child_environment() -> dict[str, str]:
    """The parent's environment without what changes how Python or its thread pools behave."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON") or name in _KEPT_VARIABLES
    }
    # numpy's BLAS would start a thread per core at import; the runner never multiplies with it.
    environment.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package_root(), environment.get("PYTHONPATH"))))
    return environment


def package_root() -> str:
    """The folder to import this package from, where it is a checkout that is not installed; else empty."""
    root = Path(quickserveml_tui.__file__).resolve().parent.parent
    return "" if root.name in ("site-packages", "dist-packages") else str(root)


class _Spawner:
    """One thread that starts all runners: Linux ends a child when the *thread* that started it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: ThreadPoolExecutor | None = None
        self._pid = 0

    def run(self, task: Callable[[], _T]) -> _T:
        """The task's result, made in the thread that lives as long as the process."""
        with self._lock:
            if self._queue is None or self._pid != os.getpid():  # a forked process has none of our threads
                self._queue, self._pid = ThreadPoolExecutor(1, thread_name_prefix="runner-start"), os.getpid()
            future: Future[_T] = self._queue.submit(task)
        return future.result()


_SPAWNER = _Spawner()


def _in_spawner(task: Callable[[], _T]) -> _T:
    return _SPAWNER.run(task)
