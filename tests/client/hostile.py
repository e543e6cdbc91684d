"""Servers that do as they like: a function gets the socket of every connection, its request read."""

from __future__ import annotations

import contextlib
import socket
import threading


class Hostile:
    """Listens on a free port and lets `serve(socket, request)` answer, one connection after the other in threads."""

    def __init__(self, serve) -> None:
        self._serve = serve
        self.requests: list[bytes] = []
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts, which would keep it open
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection) -> None:
        with connection, contextlib.suppress(OSError):
            buffer = b""
            while not self.ended.is_set():
                while b"\r\n\r\n" not in buffer:
                    data = connection.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.lower().split(b"\r\n")
                        if line.startswith(b"content-length:")
                    ),
                    0,
                )
                while len(buffer) < length:
                    buffer += connection.recv(65536)
                body, buffer = buffer[:length], buffer[length:]
                self.requests.append(head + b"\r\n\r\n" + body)
                if self._serve(connection, head) is False:
                    return


def answer(body: bytes, *headers: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def pages(table: dict[str, bytes]):
    """Answers each path with its bytes, and 404 to others."""

    def serve(connection, head: bytes) -> None:
        path = head.split(b" ")[1].decode()
        connection.sendall(table.get(path) or answer(b'{"error":"no"}', status="404 Not Found"))

    return serve
