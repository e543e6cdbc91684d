"""Takes connections: all that wait, at once, so that none is starved when a thousand come together."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

logger = logging.getLogger(__name__)

MAX_ACCEPTS = 64
"""Connections taken in one turn of the loop; the next turn goes on, after those that are here were looked at."""
PAUSE_S = 0.1
"""Time without accepting when the process or the machine has no descriptors or memory left."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True)
class Secure:
    """How connections over TLS come about."""

    context: Callable[[], ssl.SSLContext]
    """The context of a new connection, so that certificates can be replaced while the server runs."""
    timeout_s: float = 10.0
    """Time from taking a connection until TLS is agreed on; then it is closed."""
    under_way: set[object] = field(default_factory=set)
    """Protocols of connections whose TLS is being agreed on; they leave it in their `connection_made`, or when TLS
    comes to nothing."""
    has_room: Callable[[], bool] = lambda: True
    """Whether one more may begin; else it is closed at once: nothing can be answered before TLS is agreed on."""


class Acceptor:
    """Takes connections from listening sockets, which may be shared with other processes, until `stop`.

    Without `secure` they are plain.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        secure: Secure | None = None,
    ) -> None:
        self._loop = loop
        self._sockets = tuple(sockets)
        self._factory = protocol_factory
        self._secure = secure
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopped = True

    def start(self) -> None:
        """Begin to accept."""
        self._is_stopped = False
        for listener in self._sockets:
            listener.setblocking(False)
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def stop(self) -> None:
        """Take what waits, then accept no more; connections that are there stay, those in a handshake are given up."""
        if self._is_stopped:
            return
        for listener in self._sockets:
            self._accept(listener)  # what is left waiting is reset when the last process closes the socket
        self._is_stopped = True
        for timer in self._pauses.values():
            timer.cancel()
        self._pauses.clear()
        for listener in self._sockets:
            self._loop.remove_reader(listener.fileno())
        if self._secure is not None:
            for task in tuple(self._tasks):
                task.cancel()

    def _accept(self, listener: socket.socket) -> None:
        """Take what waits, up to the bound; another process may have been faster."""
        for _ in repeat(None, MAX_ACCEPTS):
            try:
                connection, _address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    logger.warning("No further connection can be taken now: %s", error.strerror)
                    self._pause(listener)
                    return
                continue  # it went away before it was taken
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            connection.close()
            return
        secure = self._secure
        if secure is not None and not secure.has_room():
            connection.close()
            return
        protocol = self._factory()
        if secure is not None:
            secure.under_way.add(protocol)
        task = self._loop.create_task(self._connect(connection, protocol))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if secure is not None:  # a task that is cancelled before its first step runs no `finally`
            task.add_done_callback(lambda _task: secure.under_way.discard(protocol))

    async def _connect(self, connection: socket.socket, protocol: asyncio.BaseProtocol) -> None:
        secure = self._secure
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=secure.context() if secure is not None else None,
                ssl_handshake_timeout=secure.timeout_s if secure is not None else None,
            )
        except (OSError, asyncio.CancelledError) as error:  # a failed handshake is the client's affair
            connection.close()
            logger.debug("A connection could not be made: %s", error)
        except Exception:
            connection.close()
            logger.exception("A connection could not be made")

    def _pause(self, listener: socket.socket) -> None:
        """Look away for a moment: the socket stays readable, and the loop would spin."""
        self._loop.remove_reader(listener.fileno())
        self._pauses[listener] = self._loop.call_later(PAUSE_S, self._go_on, listener)

    def _go_on(self, listener: socket.socket) -> None:
        self._pauses.pop(listener, None)
        if not self._is_stopped:
            self._loop.add_reader(listener.fileno(), self._accept, listener)
