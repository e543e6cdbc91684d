"""Load: wrk for closed loops, an own generator for offered rates, where latency counts from the intended send time."""

from __future__ import annotations

import asyncio
import gc
import random
import re
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path

import numpy as np
import uvloop
from workloads import Body

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_WARM_S = 1.0
"""Time at the offered rate before anything counts."""
_SCRIPT = """
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
{headers}
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %.3f %.3f %.3f %.3f %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000, latency.max / 1000,
    summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.status, summary.errors.timeout))
end
"""


def wrk(port: int, path: str, body: Body, connections: int, seconds: float, core: int) -> dict[str, float]:
    """A closed loop: every connection sends its next request when it has the answer. Times are milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "body"
        data.write_bytes(body.data)
        headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in body.headers.items())
        script = Path(folder) / "load.lua"
        script.write_text(_SCRIPT.format(body=data, headers=headers))
        command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s"]
        command += ["-s", str(script), f"http://127.0.0.1:{port}{path}"]
        out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 90).stdout
    found = re.search(r"^RESULT (.*)$", out, re.MULTILINE)
    assert found, out
    values = [float(text) for text in found[1].split()]
    requests, duration_us = values[:2]
    names = ("connect", "read", "write", "status", "timeout")
    return {
        "requests": int(requests),
        "rps": requests / duration_us * 1e6,
        "p50_ms": values[2],
        "p99_ms": values[3],
        "p999_ms": values[4],
        "max_ms": values[5],
        "errors": {name: int(count) for name, count in zip(names, values[6:], strict=True) if count},
    }


class _Client(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, load: _Offered) -> None:
        self._load = load
        self._received = b""
        self._due = 0.0

    def connection_made(self, transport) -> None:
        self.transport = transport

    def send(self, due: float) -> None:
        self._due = due
        self.transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end >= 0:
            head = received[:end].lower()
            at = head.index(b"content-length:") + 15
            size = int(head[at : head.find(b"\r", at) if head.find(b"\r", at) > 0 else end])
            if len(received) >= end + 4 + size:
                self._received = b""
                self._load.answered(self, received.startswith(b"HTTP/1.1 200"), self._due)
                return
        self._received = received

    def connection_lost(self, _exc) -> None:
        self._load.lost += 1


class _Offered:
    """Requests by a Poisson process over many connections; a due request without an idle connection waits."""

    def __init__(self, port: int, path: str, body: Body, connections: int, rate: float) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in body.headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{lines}content-length: {len(body.data)}\r\n\r\n"
        self.request = head.encode() + body.data
        self.latencies: list[float] = []
        self.failed = 0
        self.lost = 0
        self._port, self._connections, self._rate = port, connections, rate
        self._idle: deque[_Client] = deque()
        self._waiting: deque[float] = deque()

    def answered(self, client: _Client, good: bool, due: float) -> None:
        self.latencies.append(time.perf_counter() - due)
        self.failed += not good
        if self._waiting:
            client.send(self._waiting.popleft())
        else:
            self._idle.append(client)

    async def run(self, seconds: float) -> float:
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", self._port)
            self._idle.append(client)
        generator, started = random.Random(1), time.perf_counter()
        due, end = started, started + _WARM_S + seconds
        warm, counted_from = False, started
        while (now := time.perf_counter()) < end:
            while due <= now:
                if self._idle:
                    self._idle.popleft().send(due)
                else:
                    self._waiting.append(due)
                due += generator.expovariate(self._rate)
            await asyncio.sleep(0 if due - time.perf_counter() < 0.001 else 0.0005)
            if not warm and now - started > _WARM_S:
                warm, counted_from = True, now
                self.latencies.clear()
        elapsed = time.perf_counter() - counted_from
        await asyncio.sleep(0.2)
        return elapsed


async def _gets(port: int, paths: list[str], headers: dict[str, str], seconds: float) -> list[float]:
    """A GET about every 50 ms on a connection of its own each; milliseconds."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    times, end, index = [], time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        started = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        path = paths[index % len(paths)]
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}connection: close\r\n\r\n".encode())
        answer = await reader.read(-1)
        assert answer.startswith(b"HTTP/1.1 200"), (path, answer[:300])
        writer.close()
        times.append((time.perf_counter() - started) * 1000)
        index += 1
        await asyncio.sleep(0.05)
    return times


def offer(
    port: int,
    path: str,
    body: Body,
    connections: int,
    rate: float,
    seconds: float,
    gets: list[str],
    key: dict[str, str],
) -> dict[str, float]:
    """An offered rate for a while; `gets` are fetched meanwhile. Times are milliseconds."""
    gc.disable()  # its pauses would count as the server's
    load = _Offered(port, path, body, connections, rate)

    async def main():
        return await asyncio.gather(
            load.run(seconds), _gets(port, gets, key, _WARM_S + seconds) if gets else asyncio.sleep(0)
        )

    elapsed, fetched = uvloop.run(main())
    times = np.array(load.latencies) * 1000
    result = {
        "offered_rps": rate,
        "rps": len(times) / elapsed,
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
        "max_ms": float(times.max()),
        "failed": load.failed,
        "lost": max(load.lost - connections, 0),
    }
    if fetched:
        result |= {"get_max_ms": max(fetched), "get_p50_ms": float(np.median(fetched)), "gets": len(fetched)}
    return result


if __name__ == "__main__":
    import json
    import sys

    spec = json.loads(sys.stdin.read())
    given = Body(Path(spec.pop("body")).read_bytes(), spec.pop("headers"))
    print(json.dumps(offer(body=given, **spec)))
