"""Starts and stops the server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple, cast

import orjson
import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.core.errors import UnavailableError, UsageError
from quickserveml_tui.core.text import plural
from quickserveml_tui.runtime.settings import SessionSettings
from quickserveml_tui.server.app import create_app
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.protocol import HotProtocol
from quickserveml_tui.services.schema import example_requests
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_models import ServedModel


class Announcement(NamedTuple):
    """What a server says once requests are taken."""

    url: str
    text: str
    """The URL, the models and an example, for people."""


Announce = Callable[[Announcement], None]

_BACKLOG = 2048
_EXAMPLE_CHARS = 200


class _Server(uvicorn.Server):
    """uvicorn's server with our start, our drain, and an end that does not raise the signal again."""

    def __init__(self, config: uvicorn.Config, engine: Engine, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._engine = engine
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Make the queues, listen, then say so."""
        self._engine.start(asyncio.get_running_loop())
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop being ready, wait until clients have noticed, finish what is under way, end."""
        self._engine.serving.draining = True
        await asyncio.sleep(self._engine.options.drain_delay_s)
        await super().shutdown(sockets)
        self._engine.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM begin the drain; a second SIGINT ends it. The caller goes on afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _listen(options: ServeOptions) -> socket.socket:
    host = "127.0.0.1" if options.host.lower().rstrip(".") == "localhost" else options.host
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, options.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UnavailableError(
                f"Port {options.port} is taken by another program.",
                hint="Choose another one with --port, or 0 for a free one.",
                code="serve.port_taken",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UnavailableError(
                f"Port {options.port} needs privileges that this user lacks.",
                hint="Choose a port from 1024 on with --port.",
                code="serve.port_not_permitted",
            ) from error
        raise UnavailableError(
            f"Cannot listen on {options.host} port {options.port}.",
            hint="Choose another address or port.",
            detail=error.strerror or "",
            code="serve.cannot_listen",
        ) from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _try(url: str, model: ServedModel) -> str:
    """A command that infers with made-up values: a whole one, or one that fetches an example too long to print."""
    examples = example_requests(model.session)
    if not examples:
        return f"curl {url}/v2/models/{model.name}"
    example = orjson.dumps(examples["predict"]).decode()
    if len(example) > _EXAMPLE_CHARS:
        take = "import json,sys; print(json.dumps(json.load(sys.stdin)['examples']['predict']))"
        return f'curl -s {url}/model/schema | python3 -c "{take}" | curl {url}/predict -d @-'
    return f"curl {url}/predict -d {shlex.quote(example)}"


def _announcement(serving: ServingService, url: str) -> str:
    models = serving.models
    default = serving.default()
    lines = [f"Serving {plural(len(models), 'model')} at {url} (Ctrl+C stops it)"]
    for model in models:
        mark = ", default" if model is default else ""
        lines.append(f"  {model.name} version {model.version}{mark}")
    lines += [
        f"Docs     {url}/docs",
        f"Metrics  {url}/metrics",
        f"Try      {_try(url, default)}",
    ]
    return "\n".join(lines)


def _config(engine: Engine, options: ServeOptions) -> uvicorn.Config:
    loop = "asyncio" if options.loop == "asyncio" or find_spec("uvloop") is None else "uvloop"
    protocol: Any = partial(HotProtocol, engine=engine)
    return uvicorn.Config(
        create_app(engine),
        loop=cast("Any", loop),
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=options.log_level,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=options.drain_timeout_s,
    )


def serve(models: Sequence[Resolved], options: ServeOptions, announce: Announce | None = None) -> None:
    """Serve models until SIGINT or SIGTERM, then finish what is under way and return.

    `announce` is called once requests are taken. Raises `NotPermittedError`
    for a host that is not this machine, `UnavailableError` for a port that cannot be had, and what loading raises.
    """
    options.validate()
    if not models:
        raise UsageError("No model to serve.", hint="Name at least one model.", code="serve.no_model")
    logging.getLogger("quickserveml_tui.server").setLevel(options.log_level.upper())
    with contextlib.closing(_listen(options)) as listener:
        serving = ServingService(SessionSettings(intra_op_threads=options.intra_op_threads))
        serving.load(models, options.default_model)
        engine = Engine(serving, options)

        def on_ready() -> None:
            if announce is not None:
                url = _url(listener)
                announce(Announcement(url, _announcement(serving, url)))

        server = _Server(_config(engine, options), engine, on_ready)
        server.run(sockets=[listener])
