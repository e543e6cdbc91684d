"""A server by its command on a home, and clients that ask without pause."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading

import psutil
from server_process import DEADLINE_S, ENVIRONMENT, RawConnection, eventually, infer_body, request

BODY = infer_body([[1, 2, 3, 4]])


class LiveServer:
    def __init__(self, home, log, *arguments) -> None:
        self.log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "quickserveml_tui", "serve", *map(str, arguments),
                 "--port", "0", "--home", str(home), "--json"],
                stdout=subprocess.PIPE, stderr=errors, env=ENVIRONMENT,
            )  # fmt: skip
        self.said = json.loads(self.process.stdout.readline() or "{}")
        self.port = int(self.said["url"].rpartition(":")[2]) if "url" in self.said else 0

    def ask(self, path, body=b"", method="GET", headers=()):
        with contextlib.closing(RawConnection(self.port).socket) as opened:
            connection = RawConnection.__new__(RawConnection)
            connection.socket, connection.buffer = opened, b""
            connection.send(request(path, body, method=method, headers=headers))
            return connection.reply()

    def index(self):
        return {
            (item["name"], item["version"]): item for item in self.ask("/v2/repository/index", b"{}", "POST").json()
        }

    def workers(self):
        """Processes of the workers."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it has just ended
                if "quickserveml_tui.server.worker" in child.cmdline():
                    found.append(child)
        return found

    def metric(self, beginning):
        lines = self.ask("/metrics").body.decode().splitlines()
        return [line for line in lines if line.startswith(beginning)]

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE_S)
        self.process.stdout.close()
        return self.process.returncode


@contextlib.contextmanager
def live(home, log, *arguments):
    server = LiveServer(home, log, *arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.end()


class Load(threading.Thread):
    """One connection that sends one request after another and keeps every answer's status."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(daemon=True)
        self.port, self.path = port, path
        self.answered = 0
        self.wrong: list[object] = []
        self.versions: set[str] = set()
        self.ending = threading.Event()

    def run(self) -> None:
        try:
            with RawConnection(self.port) as connection:
                while not self.ending.is_set():
                    connection.send(request(self.path, BODY))
                    reply = connection.reply()
                    self.answered += 1
                    if reply.status == 200:
                        self.versions.add(reply.json()["model_version"])
                    else:
                        self.wrong.append((reply.status, reply.body))
        except Exception as error:
            self.wrong.append(error)

    def progress(self, more: int = 20) -> None:
        """Wait until it was answered some more times, or failed."""
        goal = self.answered + more
        eventually(lambda: self.answered >= goal or self.wrong, "answers under load")


@contextlib.contextmanager
def loading(server, path, count=4):
    clients = [Load(server.port, path) for _ in range(count)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.ending.set()
        for client in clients:
            client.join(DEADLINE_S)
