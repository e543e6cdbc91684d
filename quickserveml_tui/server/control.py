"""The supervisor as a worker sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from quickserveml_tui.core.errors import UnavailableError
from quickserveml_tui.core.monitoring import WorkerSnapshot
from quickserveml_tui.core.serving import ServedStatus, WorkerCrash
from quickserveml_tui.runtime.host import ProcessSampler
from quickserveml_tui.server.messages import Answer, Ask, Note, ToWorker, WorkerNote
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_stats import Counters

MAX_WAITING = 256
"""Loads and unloads that may wait for the supervisor at once."""
_FRESH_S = 0.1
"""Age at which what workers take is measured anew: far below the interval of a watch, or a second shows no CPU."""


class WorkerControl:
    """`Control` over the channel to the supervisor; `send` sends a message to it."""

    def __init__(self, serving: ServingService, counters: Sequence[Counters], send: Callable[[Ask], None]) -> None:
        self.revision = 0
        """Of the desired state that this worker follows."""
        self._serving = serving
        self._counters = counters
        self._send = send
        self._note = Note((), (), ())
        self._next_id = 1
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._samplers: dict[int, ProcessSampler] = {}
        self._taken_s = 0.0
        self._taken: tuple[WorkerSnapshot, ...] = ()

    # ---- for the routes

    async def load(self, name: str, versions: Sequence[str] = ()) -> None:
        """Serve a model, or look at it again; returns when all workers do."""
        await self._ask("load", name, tuple(versions))

    async def unload(self, name: str, version: str = "") -> None:
        """Stop serving a version, or all of a model; returns when no worker does."""
        await self._ask("unload", name, (version,) if version else ())

    def statuses(self) -> tuple[ServedStatus, ...]:
        """Everything that is served, comes, goes, or could not be loaded."""
        return self._serving.statuses

    def workers(self) -> tuple[WorkerSnapshot, ...]:
        """All workers; a snapshot at most a tenth of a second old."""
        now = time.monotonic()
        if now - self._taken_s > _FRESH_S or len(self._taken) != len(self._note.workers):
            self._taken_s = now
            self._taken = tuple(self._snapshot(worker) for worker in self._note.workers)
        return self._taken

    def crashes(self) -> tuple[WorkerCrash, ...]:
        """Workers that died, by what they were running."""
        return self._note.crashes

    # ---- for the worker

    def take(self, message: ToWorker) -> None:
        """Take a note or an answer of the supervisor."""
        if isinstance(message, Note):
            self._note = message
            self._taken_s = 0.0
            self._serving.tell(message.statuses)
            pids = {worker.pid for worker in message.workers}
            for pid in [pid for pid in self._samplers if pid not in pids]:
                self._samplers.pop(pid).close()
        elif isinstance(message, Answer):
            future = self._waiting.get(message.id)
            if future is None or future.done():
                return
            if message.error is None:
                future.set_result(None)
            else:
                future.set_exception(message.error.to_error())

    def close(self) -> None:
        """The supervisor is gone: whoever waits for it is told."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(_gone())
        for sampler in self._samplers.values():
            sampler.close()
        self._samplers.clear()

    async def _ask(self, operation: str, name: str, versions: tuple[str, ...]) -> None:
        if len(self._waiting) >= MAX_WAITING:
            raise UnavailableError("Too many loads wait.", hint="Try again later.", code="overloaded")
        number, self._next_id = self._next_id, self._next_id + 1
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send(Ask(number, operation, name, versions))
        try:
            await future
        finally:
            del self._waiting[number]

    def _snapshot(self, worker: WorkerNote) -> WorkerSnapshot:
        counters = self._counters[worker.index]
        memory, cpu_s = None, None
        if worker.pid:
            sampler = self._samplers.get(worker.pid)
            if sampler is None:
                sampler = self._samplers[worker.pid] = ProcessSampler(worker.pid)
            memory, cpu_s = sampler.memory(), sampler.cpu_s()
        return WorkerSnapshot(
            index=worker.index,
            pid=worker.pid,
            ready=worker.ready and counters.ready,
            restarts=worker.restarts,
            cpu_s=cpu_s or 0.0,
            rss_bytes=memory.rss_bytes if memory else 0,
            connections=counters.connections,
            requests=counters.requests,
        )


def _gone() -> UnavailableError:
    return UnavailableError("The server is ending.", hint="Try again later.", code="overloaded")
