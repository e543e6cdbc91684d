"""A worker: holds its own sessions, answers requests, follows the desired state of the supervisor.

`python -m quickserveml_tui.server.worker --fd N`; started by the supervisor only, which says the rest over the channel.
It ends when the supervisor tells it to, by SIGTERM, and, after finishing what it has, when the supervisor is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from quickserveml_tui.core.errors import QuickServeError, UnavailableError
from quickserveml_tui.core.serving import DesiredState, ServedEntry
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime import host
from quickserveml_tui.runtime.free_memory import return_free_memory
from quickserveml_tui.server import narration
from quickserveml_tui.server.access_log import AccessLogFile, open_access_log
from quickserveml_tui.server.app import create_app
from quickserveml_tui.server.channel import Channel, ChannelError, receive_blocking
from quickserveml_tui.server.context import Gatekeeper, ServerContext
from quickserveml_tui.server.control import WorkerControl
from quickserveml_tui.server.desired import counters_path
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.gatekeeper import KeyGatekeeper, open_gatekeeper
from quickserveml_tui.server.grpc import silence_core
from quickserveml_tui.server.http_server import HttpServer, http_config, loop_name
from quickserveml_tui.server.logs import set_up_logging
from quickserveml_tui.server.messages import (
    Abort,
    Answer,
    Broken,
    Commit,
    Converged,
    Drain,
    ErrorNote,
    Failed,
    Hello,
    Loaded,
    Note,
    Prepare,
    Reload,
    Setup,
    ToWorker,
)
from quickserveml_tui.server.pauses import settle
from quickserveml_tui.server.totals import ServerTotals
from quickserveml_tui.services.home import LocalWorkbench, open_workbench
from quickserveml_tui.services.metric_history import MetricRecorder
from quickserveml_tui.services.schema import example_requests
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.services.serving_stats import Counters, ModelStats

if TYPE_CHECKING:
    from quickserveml_tui.server.grpc.server import GrpcServer

logger = logging.getLogger("quickserveml_tui.server.worker")  # its own name is __main__

_PATIENCE_S = 5.0
"""Beyond the drain's own limit, until a worker whose supervisor is gone ends by force."""
_TIDY_AFTER_S = 1.0
"""From a change to tidying up after it: by then the old models have answered what they had."""
_LAST_WORDS_S = 0.1
"""From the reason why a worker cannot serve to its end."""


class _Prepared:
    """A desired state with the models that it adds."""

    def __init__(self, state: DesiredState, models: dict[tuple[str, str], ServedModel]) -> None:
        self.state = state
        self.models = models


def _same_run(one: ServedEntry, other: ServedEntry) -> bool:
    """Whether two entries are one loaded model: they differ in what people call it at most."""
    return (one.path, one.digest, one.slot, one.settings) == (other.path, other.digest, other.slot, other.settings)


class ServerWorker:
    """The worker's side of the changes; `run` inside its event loop."""

    def __init__(self, end: socket.socket, setup: Setup) -> None:
        self._end = end
        self._setup = setup
        self._options = setup.options
        folder = Path(setup.folder)
        self._counters = tuple(
            Counters.create(counters_path(folder, index))
            if index == setup.index
            else Counters.open(counters_path(folder, index))
            for index in range(setup.options.workers)
        )
        self._own = self._counters[setup.index]
        self._own.reset_gauges()
        self._own.pid, self._own.started = os.getpid(), time.time()
        self._in_row: dict[int, tuple[str, str]] = {}
        self._serving = ServingService(self._stats_for, may_be_empty=setup.may_be_empty)
        self._control = WorkerControl(self._serving, self._counters, lambda ask: self._channel.send(ask))  # noqa: PLW0108
        self._engine = Engine(self._serving, self._options)
        self._prepared: _Prepared | None = None
        self._changes: asyncio.Queue[Prepare | Commit | Abort] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._is_broken = False
        """Whether it has told the supervisor that it cannot serve."""
        self._server: HttpServer | None = None
        self._serving_task: asyncio.Task[None] | None = None
        self._grpc: GrpcServer | None = None
        self._grpc_port = 0
        self._workbench: LocalWorkbench | None = None
        self._gatekeeper: Gatekeeper | None = None
        self._access_log: AccessLogFile | None = None
        self._recorder: MetricRecorder | None = None
        self._channel: Channel

    # ---- life

    async def run(self) -> None:
        """Follow the supervisor until it says drain or is gone."""
        loop = asyncio.get_running_loop()
        self._channel = await Channel.open(self._end, ToWorker, self._take, self._orphaned)
        loop.add_signal_handler(signal.SIGTERM, self._drain)
        changes = loop.create_task(self._follow())
        changes.add_done_callback(self._follow_ended)
        self._channel.send(Hello(os.getpid()))
        await self._ended.wait()
        changes.cancel()
        if self._serving_task is not None:
            await self._serving_task
        self._own.ready = False
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.stop)
        self._control.close()
        if isinstance(self._gatekeeper, KeyGatekeeper):
            self._gatekeeper.close()
        if self._access_log is not None:
            self._access_log.close()
        if self._workbench is not None:
            self._workbench.close()
        for model in self._serving.models:
            model.close()
        self._channel.close()

    def _take(self, message: ToWorker) -> None:
        match message:
            case Prepare() | Commit() | Abort():
                self._changes.put_nowait(message)
            case Note() | Answer():
                self._control.take(message)
            case Drain():
                self._drain()
            case Reload():
                self._reload()
            case _:
                logger.error("The supervisor sent a message out of turn")

    def _drain(self, *, delay_s: float | None = None) -> None:
        self._own.ready = False
        if self._server is not None:
            self._server.begin_drain(delay_s=delay_s)
        self._ended.set()

    def _orphaned(self) -> None:
        """The supervisor is gone: take nothing new, finish what is under way, and end in any case."""
        if self._ended.is_set() or self._is_broken:
            return
        logger.error("The supervisor is gone; worker %d ends", self._setup.index)
        limit = threading.Timer(self._options.drain_timeout_s + _PATIENCE_S, os._exit, (1,))
        limit.daemon = True
        limit.start()
        self._drain(delay_s=0.0)

    def _reload(self) -> None:
        """New connections get the certificate that the files hold now; one that cannot be used leaves the old."""
        try:
            if self._server is not None:
                self._server.reload_certificate()
            if self._grpc is not None:
                self._grpc.reload_certificate()
        except QuickServeError as error:  # the supervisor has tried the files: they have changed since
            logger.warning("Worker %d keeps its certificate: %s", self._setup.index, error.message)

    def _follow_ended(self, task: asyncio.Task[None]) -> None:
        problem = None if task.cancelled() else task.exception()
        if problem is None:
            return
        if isinstance(problem, QuickServeError) and self._server is None:
            self._channel.send(Broken(ErrorNote.of(problem)))
            self._is_broken = True
            self._channel.close()  # after what was sent is gone
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, os._exit, 1)
            return
        logger.error("The worker cannot follow the supervisor", exc_info=problem)
        os._exit(1)  # the supervisor starts another

    # ---- changes

    async def _follow(self) -> None:
        while True:
            message = await self._changes.get()
            match message:
                case Prepare(state):
                    await self._prepare(state)
                case Commit(revision):
                    await self._commit(revision)
                case Abort(revision):
                    if self._prepared is not None and self._prepared.state.revision == revision:
                        await self._forget()

    async def _prepare(self, state: DesiredState) -> None:
        await self._forget()
        loaded = {model.entry.key: model for model in self._serving.models}
        prepared = _Prepared(state, {})
        for entry in state.entries:
            known = loaded.get(entry.key)
            if known is not None and _same_run(known.entry, entry):
                continue
            try:
                prepared.models[entry.key] = await asyncio.to_thread(self._load, entry)
            except QuickServeError as error:
                await _close(prepared.models.values())
                self._channel.send(Failed(state.revision, entry.name, entry.version, ErrorNote.of(error)))
                return
        self._prepared = prepared
        self._channel.send(Loaded(state.revision))

    def _load(self, entry: ServedEntry) -> ServedModel:
        """Load with a mark in the counters, so that a crash has a name."""
        if self._in_row.get(entry.slot, entry.key) != entry.key:
            self._own.clear_slot(entry.slot)
        self._in_row[entry.slot] = entry.key
        self._own.begin_load(entry.slot)
        began = time.monotonic()
        try:
            model = self._serving.load(entry)
        except (OSError, MemoryError) as error:  # such as no descriptors left: it serves on what it has
            raise UnavailableError(
                f"{narration.called(entry)} cannot be loaded by worker {self._setup.index}: "
                f"{getattr(error, 'strerror', '') or 'there is not enough memory'}.",
                hint="Check free memory, the limit of open files and the folder of temporary files.",
                code="serve.load_failed",
                detail=safe_text(error),
            ) from error
        finally:
            self._own.end_load(entry.slot)
        logger.info(narration.loaded(entry, time.monotonic() - began, model.traits))
        return model

    def _stats_for(self, entry: ServedEntry) -> ModelStats:
        return self._own.model(entry.slot)

    async def _forget(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            await _close(prepared.models.values())

    async def _commit(self, revision: int) -> None:
        prepared = self._prepared
        if prepared is None or prepared.state.revision != revision:
            return
        self._prepared = None
        state = prepared.state
        served = {model.entry.key: model for model in self._serving.models} | prepared.models
        models = [served[entry.key] for entry in state.entries]
        for entry, model in zip(state.entries, models, strict=True):
            model.entry = entry
        self._engine.publish(models, state.default)
        if self._server is None:
            await self._open()
        self._own.revision = self._control.revision = revision
        self._own.ready = not self._serving.draining
        self._channel.send(Converged(revision, self._example(), self._grpc_port))
        asyncio.get_running_loop().call_later(_TIDY_AFTER_S, self._tidy)

    def _tidy(self) -> None:
        """Give back what the models that have gone leave free: over 50 swaps of 8 MB it was half of the worker."""
        if not self._ended.is_set():
            asyncio.get_running_loop().run_in_executor(None, return_free_memory)

    async def _open(self) -> None:
        """Begin to take requests."""
        context = self._context()
        self._engine.attach(context)
        self._engine.start(asyncio.get_running_loop())
        if self._setup.index == 0 and self._workbench is not None and not self._setup.read_only:
            self._recorder = MetricRecorder(self._workbench.metric_history, ServerTotals(context).models)
            self._recorder.start()
        server = HttpServer(http_config(create_app(self._engine, context), self._engine), self._engine)
        self._server = server
        sockets = [socket.socket(fileno=descriptor) for descriptor in self._setup.listeners]
        settle()
        self._serving_task = asyncio.create_task(server.serve(sockets))
        up = asyncio.create_task(server.up.wait())
        await asyncio.wait({self._serving_task, up}, return_when=asyncio.FIRST_COMPLETED)
        if self._serving_task.done():
            self._serving_task.result()
        if self._options.grpc_port is not None:
            await self._open_grpc(context, server, self._options.grpc_port)
        if self._ended.is_set():
            server.begin_drain()

    async def _open_grpc(self, context: ServerContext, server: HttpServer, port: int) -> None:
        silence_core()
        from quickserveml_tui.server.grpc.server import GrpcServer

        grpc = self._grpc = GrpcServer(self._engine, context)
        self._grpc_port = await grpc.start(self._options.host, port)
        server.drain_beside.append(grpc.drain)

    def _context(self) -> ServerContext:
        if self._options.home:
            self._workbench = open_workbench(Path(self._options.home), read_only=self._setup.read_only)
        index = self._setup.index
        keys = self._workbench.keys if self._workbench is not None else None
        gatekeeper = self._gatekeeper = open_gatekeeper(
            self._options, keys, worker=index, folder=Path(self._setup.folder)
        )
        if isinstance(gatekeeper, KeyGatekeeper):
            gatekeeper.on_refused = self._note_refusal
        self._access_log = open_access_log(self._options, worker=index, on_dropped=self._note_drops)
        return ServerContext(
            options=self._options,
            serving=self._serving,
            control=self._control,
            gatekeeper=gatekeeper,
            counters=self._counters,
            worker=self._setup.index,
            started_at=self._setup.started_at,
            workbench=self._workbench,
            access_log=self._access_log,
        )

    def _note_refusal(self) -> None:
        self._own.auth_failures += 1

    def _note_drops(self, lines: int) -> None:
        self._own.log_drops = lines

    def _example(self) -> str:
        if not self._serving.models:
            return ""
        examples = example_requests(self._serving.default().session)
        return orjson.dumps(examples["predict"]).decode() if examples else ""


async def _close(models: Iterable[ServedModel]) -> None:
    for model in tuple(models):
        await asyncio.to_thread(model.close)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("--fd", type=int, required=True)
    descriptor = parser.parse_args(argv).fd
    os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to the whole group: the supervisor drains
    host.disable_core_dumps()
    end = socket.socket(fileno=descriptor)
    try:
        setup = receive_blocking(end, Setup)
    except (ChannelError, OSError):
        return  # the supervisor is gone already
    for listener in setup.listeners:
        os.set_inheritable(listener, False)
    set_up_logging(setup.options.log_level, setup.options.log_format, worker=setup.index)
    with asyncio.Runner(loop_factory=partial(_new_loop, loop_name(setup.options))) as runner:
        runner.run(ServerWorker(end, setup).run())


def _new_loop(name: str) -> asyncio.AbstractEventLoop:
    if name == "asyncio":
        return asyncio.SelectorEventLoop()
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.Loop()
    return loop


if __name__ == "__main__":
    main()
