"""uvicorn's server as a worker runs it: our start, our drain, no signals of its own, no ticks while idle."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate
from functools import partial
from importlib.util import find_spec
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from quickserveml_tui.server.accept import Acceptor, Secure
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.logs import outside_level
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.protocol import HotProtocol
from quickserveml_tui.server.tls import tls_context


class HttpServer(uvicorn.Server):
    """Listens on sockets that others made; `begin_drain` ends it gracefully."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine
        self._delay_s = engine.options.drain_delay_s
        self._drain = asyncio.Event()
        self.up = asyncio.Event()
        """Set once requests are taken."""
        self._acceptor: Acceptor | None = None
        self.drain_beside: list[Callable[[], Awaitable[None]]] = []
        """Drains of other protocols that share the engine."""

    def begin_drain(self, *, delay_s: float | None = None) -> None:
        """Stop being ready, wait until clients have noticed, finish what is under way, end."""
        if delay_s is not None:
            self._delay_s = delay_s
        self._engine.serving.draining = True
        self.should_exit = True
        self._drain.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, then say so."""
        await self.lifespan.startup()
        config = self.config
        protocol: Any = config.http_protocol_class
        factory = partial(protocol, config=config, server_state=self.server_state, app_state=self.lifespan.state)
        secure = self._secure() if config.ssl is not None else None
        self._acceptor = Acceptor(asyncio.get_running_loop(), sockets or (), factory, secure)
        self._acceptor.start()
        self.servers = []
        self.started = True
        self.up.set()

    def _secure(self) -> Secure:
        engine = self._engine
        options = engine.options
        return Secure(
            self._context,
            timeout_s=options.head_timeout_s,
            under_way=engine.handshakes,
            has_room=lambda: engine.open_connections < options.max_connections,
        )

    def _context(self) -> ssl.SSLContext:
        assert self.config.ssl is not None
        return self.config.ssl

    def reload_certificate(self) -> None:
        """Read the files of the certificate again, for new connections. Raises what `tls_context` does."""
        if self.config.ssl is not None:
            self.config.ssl = tls_context(self._engine.options, warn=False)

    async def main_loop(self) -> None:
        """Wait for the end; once a second the headers get the new date."""
        while not self.should_exit:
            date = formatdate(time.time(), usegmt=True).encode()
            self.server_state.default_headers = [(b"date", date), *self.config.encoded_headers]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drain.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then end."""
        await asyncio.sleep(self._delay_s)
        if self._acceptor is not None:
            self._acceptor.stop()
        beside = [drain() for drain in self.drain_beside]
        await asyncio.gather(super().shutdown(sockets), *beside)
        self._engine.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the worker's."""
        yield


def loop_name(options: ServeOptions) -> str:
    """The event loop that a worker takes."""
    return "asyncio" if options.loop == "asyncio" or find_spec("uvloop") is None else "uvloop"


def http_config(app: FastAPI, engine: Engine) -> uvicorn.Config:
    """uvicorn's configuration for a worker."""
    options = engine.options
    protocol: Any = partial(HotProtocol, engine=engine)
    config = uvicorn.Config(
        app,
        loop=cast("Any", loop_name(options)),
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=outside_level(options.log_level),
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=options.drain_timeout_s,
    )
    config.load()
    config.ssl = tls_context(options, warn=False)  # the supervisor has said what is to be said
    return config
