"""A server under test: a process of its own, and a raw connection to it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import quickserveml_tui

SCRIPT = Path(__file__).with_name("serve_files.py")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(quickserveml_tui.__file__).parent.parent)}
DEADLINE_S = 30


class ServerProcess:
    def __init__(self, paths, log: Path, **options) -> None:
        self.log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), json.dumps({"port": 0} | options), *map(str, paths)],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=ENVIRONMENT,
            )
        lines = []
        for raw in self.process.stdout:
            lines.append(raw.decode())
            if lines[-1].startswith("Try"):
                break
        self.announcement = "".join(lines)
        found = re.search(r"(https?)://127\.0\.0\.1:(\d+)", self.announcement)
        assert found, f"no announcement: {self.announcement} {log.read_text()}"
        self.port = int(found[2])
        self.url = f"{found[1]}://127.0.0.1:{self.port}"

    def connect(self) -> RawConnection:
        return RawConnection(self.port)

    def terminate(self, number: int = signal.SIGTERM) -> None:
        os.kill(self.process.pid, number)

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_S)
        self.process.stdout.close()


@contextlib.contextmanager
def running(paths, log: Path, **options):
    server = ServerProcess(paths, log, **options)
    try:
        yield server
    finally:
        server.close()


class Reply:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class RawConnection:
    """A socket that speaks no more HTTP than the test wants."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _fill(self) -> bool:
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def reply(self) -> Reply:
        while b"\r\n\r\n" not in self.buffer:
            assert self._fill(), f"closed after {self.buffer!r}"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        if status == 100:
            return Reply(status, headers, b"")
        size = int(headers["content-length"])
        while len(self.buffer) < size:
            assert self._fill(), "closed within a body"
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return Reply(status, headers, body)

    def closed(self) -> bool:
        """Whether the server closes; waits for it."""
        with contextlib.suppress(ConnectionResetError):
            while self._fill():
                pass
        return True


def request(path: str, body: bytes = b"", *, method: str = "POST", headers=(), host: str = "localhost") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def infer_body(rows, name: str = "x", datatype: str = "FP32", **more) -> bytes:
    flat = [item for row in rows for item in row]
    tensor = {"name": name, "shape": [len(rows), len(rows[0])], "datatype": datatype, "data": flat}
    return json.dumps({"inputs": [tensor]} | more).encode()


def eventually(condition, what: str):
    """The condition's first true value."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        os.sched_yield() if hasattr(os, "sched_yield") else None
    raise AssertionError(f"never happened: {what}")
