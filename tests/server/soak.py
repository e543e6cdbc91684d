"""Load on a server whose model is swapped and whose workers are killed, with a full account of every request.

A closed loop over many connections; some clients send and read slowly. Each answer must be one of the answers that the
served versions give, or one of the errors that are documented for overload. A connection may end within a request only
if it belonged to a worker that was killed: which ones did, the kernel tells right before the kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

DOCUMENTED = {503}
CONNECT_S = 20


@dataclass
class Account:
    """What happened."""

    answered: int = 0
    by_answer: dict[str, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    ended_by_kill: int = 0
    lost: list[str] = field(default_factory=list)
    """Requests that nothing excuses."""
    undocumented: list[str] = field(default_factory=list)
    reconnects: int = 0
    swaps: int = 0
    kills: int = 0
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the start, memory of all processes of the server."""
    slowest_s: float = 0.0


class Soak:
    """One run against the server at `port` whose process is `pid`."""

    def __init__(
        self,
        port: int,
        pid: int,
        request: bytes,
        answers: dict[bytes, str],
        *,
        connections: int,
        slow: int,
        seconds: float,
        pause_s: float = 0.0,
        swap: Callable[[int], None] | None = None,
        swap_every_s: float = 5.0,
        kill_every_s: float = 30.0,
    ) -> None:
        """`answers` maps what an answer's body contains to the name that it is counted under."""
        self.account = Account()
        self._port, self._pid, self._request, self._answers = port, pid, request, answers
        self._connections, self._slow, self._seconds, self._pause_s = connections, slow, seconds, pause_s
        self._swap, self._swap_every_s, self._kill_every_s = swap, swap_every_s, kill_every_s
        self._doomed: set[int] = set()
        """Local ports of connections that belonged to a worker when it was killed."""
        self._end = 0.0

    async def run(self) -> Account:
        started = time.monotonic()
        self._end = started + self._seconds
        clients = [self._client(slow=index < self._slow) for index in range(self._connections)]
        await asyncio.gather(*clients, self._swapper(), self._killer(), self._watcher(started))
        return self.account

    def workers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self._pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any("server.worker" in part for part in process.cmdline()):
                    found.append(process)
        return found

    async def _client(self, *, slow: bool) -> None:
        reader = writer = None
        while time.monotonic() < self._end:
            if writer is None:
                reader, writer = await self._connect()
            local = writer.get_extra_info("sockname")[1]
            try:
                began = time.monotonic()
                await self._send(writer, slow=slow)
                status, close, body = await _answer(reader, slow=slow)
                if not slow:
                    self.account.slowest_s = max(self.account.slowest_s, time.monotonic() - began)
            except (OSError, EOFError, asyncio.IncompleteReadError) as error:
                if local in self._doomed:
                    self.account.ended_by_kill += 1
                else:
                    self.account.lost.append(f"{type(error).__name__} {error} after {time.monotonic() - began:.3f} s")
                writer.close()
                writer = None
                continue
            self._count(status, body)
            if close:
                writer.close()
                writer = None
            if self._pause_s:
                await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.5))
        if writer is not None:
            writer.close()

    async def _connect(self):
        end = time.monotonic() + CONNECT_S
        self.account.reconnects += 1
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.05)

    async def _send(self, writer, *, slow: bool) -> None:
        if not slow:
            writer.write(self._request)
            return
        step = max(len(self._request) // 4, 1)
        for start in range(0, len(self._request), step):
            writer.write(self._request[start : start + step])
            await asyncio.sleep(0.1)

    def _count(self, status: int, body: bytes) -> None:
        account = self.account
        if status == 200:
            for part, name in self._answers.items():
                if part in body:
                    account.answered += 1
                    account.by_answer[name] = account.by_answer.get(name, 0) + 1
                    return
        elif status in DOCUMENTED:
            account.refused[status] = account.refused.get(status, 0) + 1
            return
        account.undocumented.append(f"{status} {body[:200]!r}")

    async def _every(self, seconds: float, act: Callable[[int], object]) -> int:
        count, due = 0, time.monotonic() + seconds
        while due < self._end - seconds / 2:
            await asyncio.sleep(max(due - time.monotonic(), 0))
            await asyncio.to_thread(act, count)
            count += 1
            due += seconds
        return count

    async def _swapper(self) -> None:
        if self._swap is not None:
            self.account.swaps = await self._every(self._swap_every_s, self._swap)

    async def _killer(self) -> None:
        if self._kill_every_s:
            self.account.kills = await self._every(self._kill_every_s, self._kill)

    def _kill(self, _count: int) -> None:
        workers = self.workers()
        if not workers:
            return
        victim = random.choice(workers)
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.suspend()  # so that it takes no further connection between the look and the kill
            look = getattr(victim, "net_connections", None) or victim.connections  # its name before psutil 6
            self._doomed.update(item.raddr.port for item in look("tcp") if item.raddr)
            os.kill(victim.pid, signal.SIGKILL)

    async def _watcher(self, started: float) -> None:
        while time.monotonic() < self._end:
            self.account.memory_mb.append((time.monotonic() - started, await asyncio.to_thread(self._memory_mb)))
            await asyncio.sleep(min(5.0, self._seconds / 10))

    def _memory_mb(self) -> float:
        total = 0
        for process in (psutil.Process(self._pid), *psutil.Process(self._pid).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().uss
        return total / 1e6


async def _answer(reader: asyncio.StreamReader, *, slow: bool) -> tuple[int, bool, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    status = int(lines[0].split(" ")[1])
    size = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
    if slow:
        await asyncio.sleep(0.3)
    return status, "connection: close" in lines, await reader.readexactly(size)


def infer_request(model: str, values: list[float]) -> bytes:
    """A request of the inference protocol with one row."""
    tensor = {"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": values}
    body = json.dumps({"inputs": [tensor]}).encode()
    return (
        b"POST /v2/models/%b/infer HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (model.encode(), len(body), body)
    )
