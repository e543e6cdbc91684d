"""A worker process as the supervisor has it: started, spoken to, watched."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from quickserveml_tui.core.errors import UnavailableError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.child import child_environment
from quickserveml_tui.runtime.host import signal_name
from quickserveml_tui.server.channel import Channel, send_blocking
from quickserveml_tui.server.messages import FromWorker, Setup, WorkerNote

MODULE = "quickserveml_tui.server.worker"
HEALTHY_S = 60.0
"""A worker that lived this long begins its back-off anew."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
_STDERR = 2


def pause_s(deaths: int) -> float:
    """How long to wait before a start after so many deaths in a row: at once, then 0.5 s, twice that, up to 30 s."""
    return 0.0 if deaths <= 1 else min(FIRST_PAUSE_S * 2.0 ** (deaths - 2), LONGEST_PAUSE_S)


class Worker:
    """One place for a worker; processes come and go in it.

    `on_message` gets what a process says, `on_end` its exit status (negative: a signal) after its channel has closed.
    """

    def __init__(
        self,
        index: int,
        setup: Callable[[int], Setup],
        on_message: Callable[[Worker, FromWorker], None],
        on_end: Callable[[Worker, int], None],
    ) -> None:
        self.index = index
        self.loaded = self.converged = 0
        """Revisions that the process has loaded, and serves."""
        self.restarts = 0
        self.deaths = 0
        """Ends in a row without a minute of health between them."""
        self.is_up = False
        """Whether the process has said hello."""
        self._setup = setup
        self._on_message = on_message
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._started_s = 0.0
        self._exit: int | None = None
        self._kept: set[asyncio.Task[Any]] = set()

    @property
    def pid(self) -> int:
        """Of the process; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    @property
    def alive(self) -> bool:
        """Whether there is a process that was not seen to end."""
        return self._process is not None

    def note(self) -> WorkerNote:
        """What others are told of it."""
        return WorkerNote(self.index, self.pid, self.converged > 0, self.restarts)

    async def start(self) -> None:
        """Start a process. Raises `UnavailableError` (`serve.worker_start`) when the system does not."""
        setup = self._setup(self.index)
        ours, theirs = socket.socketpair()
        try:
            process = _spawn(theirs, setup.listeners)
        except OSError as error:
            ours.close()
            raise UnavailableError(
                "A worker of the server cannot be started.",
                hint="Check free memory and process limits.",
                code="serve.worker_start",
                detail=safe_text(error),
            ) from error
        finally:
            theirs.close()
        self._process, self._exit, self._started_s = process, None, time.monotonic()
        self.loaded = self.converged = 0
        self.is_up = False
        with contextlib.suppress(OSError):  # it has ended already: the channel says so at once
            send_blocking(ours, setup)
        self._channel = await Channel.open(ours, FromWorker, self._take, self._closed)
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._wait, args=(process, loop), name=f"worker-{self.index}", daemon=True).start()

    def _wait(self, process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        code = process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(self._exited, code)

    def _take(self, message: FromWorker) -> None:
        self._on_message(self, message)

    def _closed(self) -> None:
        """The channel is gone; what has closed it without an end of the process is no worker any more."""
        self._channel = None
        if self._exit is None:
            self._kept = {asyncio.get_running_loop().create_task(self._end_silent(self._process))}
        else:
            self._ended()

    async def _end_silent(self, process: subprocess.Popen[bytes] | None) -> None:
        await asyncio.sleep(1.0)
        if process is not None and self._process is process and process.poll() is None:
            process.kill()

    def _exited(self, code: int) -> None:
        self._exit = code
        if self._channel is None:
            self._ended()

    def _ended(self) -> None:
        code, self._process = self._exit or 0, None
        is_healthy = time.monotonic() - self._started_s > HEALTHY_S and self.converged > 0
        self.deaths = 1 if is_healthy else self.deaths + 1
        self._on_end(self, code)
        self.loaded = self.converged = 0
        self.is_up = False

    def send(self, message: msgspec.Struct) -> None:
        """Tell the process; nothing happens while there is none."""
        if self._channel is not None:
            self._channel.send(message)

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)


def _spawn(end: socket.socket, listeners: Sequence[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", MODULE, "--fd", str(end.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=_STDERR,  # what a library prints must not get into the one document of the command
        pass_fds=(end.fileno(), *listeners),
        env=child_environment(),
    )


def signal_of(code: int) -> str:
    """Name of the signal that an exit status tells; empty for an exit by itself."""
    return signal_name(-code) if code < 0 else ""
