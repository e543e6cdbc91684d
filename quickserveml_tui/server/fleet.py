"""All workers of a server: kept running, and moved together from one desired state to the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from quickserveml_tui.core.errors import QuickServeError, RunnerTimeoutError, UnavailableError
from quickserveml_tui.core.serving import DesiredState, ServedEntry
from quickserveml_tui.server.messages import (
    Abort,
    Ask,
    Broken,
    Commit,
    Converged,
    Drain,
    Failed,
    FromWorker,
    Hello,
    Loaded,
    Prepare,
    Setup,
    ToWorker,
)
from quickserveml_tui.server.workers import Worker, pause_s, signal_of

logger = logging.getLogger(__name__)

STARTS = 5
"""Ends in a row of a worker that never served; then the server ends too."""
NOTHING = DesiredState(0, ())


class FleetOwner(Protocol):
    """Who the fleet works for. Called in the event loop."""

    def on_crash(self, worker: Worker, signal: str) -> ServedEntry | None:
        """A worker died; returns the version that it was loading, where that is to blame and must not be loaded again.

        An empty `signal` is an exit by itself.
        """
        ...

    def on_lost_entry(self, entry: ServedEntry, error: QuickServeError) -> None:
        """A version that is served cannot be loaded any more, and must be dropped."""
        ...

    def on_ask(self, worker: Worker, ask: Ask) -> None:
        """A worker asks to load or unload."""
        ...

    def on_change(self) -> None:
        """Workers came, went or converged."""
        ...


@dataclass
class _Change:
    """A desired state on its way."""

    state: DesiredState
    done: asyncio.Future[None]
    committed: bool = False
    waiting: set[int] = field(default_factory=set)
    """Workers that have not loaded it yet."""


class BlamedError(UnavailableError):
    """A version ended the worker that loaded it."""

    default_code = "serve.load_crashed"

    def __init__(self, entry: ServedEntry, signal: str) -> None:
        super().__init__(
            f"{entry.name} version {entry.version} ended the worker that loaded it ({signal or 'it exited'}).",
            hint="It is not loaded again; `quickserveml trial` tries it in a process of its own.",
        )
        self.entry = entry


class Fleet:
    """The workers; everything here happens in the event loop of the supervisor."""

    def __init__(
        self, count: int, setup: Callable[[int], Setup], owner: FleetOwner, *, load_limit_s: float = 300.0
    ) -> None:
        self.workers = tuple(Worker(index, setup, self._take, self._ended) for index in range(count))
        self.state = NOTHING
        """What is served."""
        self.example = ""
        """Body of an example request."""
        self.grpc_port = 0
        self._owner = owner
        self._load_limit_s = load_limit_s
        self._change: _Change | None = None
        self._has_lost = False
        """Whether the served state has a version that cannot be loaded any more: new workers wait for the next one."""
        self._is_ending = False
        self._served = False
        """Whether a worker ever served."""
        self._catching_up: dict[int, asyncio.TimerHandle] = {}
        """By index: ends a worker that has started and does not get as far as the others."""
        self._all_ended = asyncio.Event()
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def fatal(self) -> asyncio.Future[None]:
        """Fails when workers cannot be kept running."""
        return self._fatal

    @property
    def converged(self) -> bool:
        """Whether every worker serves the newest state."""
        revision = self.state.revision
        return revision > 0 and all(worker.converged == revision for worker in self.workers)

    @property
    def pending(self) -> DesiredState | None:
        """The state that is being loaded."""
        return self._change.state if self._change is not None else None

    async def start(self) -> None:
        """Start the processes; they serve nothing yet. Raises `UnavailableError`."""
        for worker in self.workers:
            await worker.start()
            self._expect(worker)

    def send(self, message: ToWorker) -> None:
        """Tell all workers."""
        for worker in self.workers:
            worker.send(message)

    # ---- changes

    async def apply(self, state: DesiredState) -> None:
        """Serve a state, one at a time; returns when all workers have converged.

        Raises the error of the version that could not be loaded, and then nothing has changed.
        """
        change = self._change = _Change(
            state, asyncio.get_running_loop().create_future(), waiting={worker.index for worker in self.workers}
        )
        known = {entry.key for entry in self.state.entries}
        new = sum(entry.key not in known for entry in state.entries)
        limit = asyncio.get_running_loop().call_later(self._load_limit_s * max(new, 1), self._too_slow, change)
        for worker in self.workers:
            if worker.is_up:
                worker.send(Prepare(state))
        try:
            await change.done
        except BaseException:
            if not change.committed:
                self.send(Abort(state.revision))
            raise
        finally:
            limit.cancel()
            self._change = None

    def _expect(self, worker: Worker, entries: int = 1) -> None:
        """Give a worker that has started the time of so many loads to come up, and then to converge."""
        self._expect_no_more(worker)
        limit_s = self._load_limit_s * max(entries, 1)
        self._catching_up[worker.index] = asyncio.get_running_loop().call_later(limit_s, self._stuck, worker)

    def _expect_no_more(self, worker: Worker) -> None:
        timer = self._catching_up.pop(worker.index, None)
        if timer is not None:
            timer.cancel()

    def _stuck(self, worker: Worker) -> None:
        """End a worker that hangs: what it was loading is in its counters, and the second time it is to blame."""
        del self._catching_up[worker.index]
        logger.error("Worker %d does not catch up with the others and is ended", worker.index)
        worker.kill()

    def _too_slow(self, change: _Change) -> None:
        """End the workers that hang in a load: their end names the version."""
        for worker in self.workers:
            if worker.index in change.waiting:
                logger.error("Worker %d does not finish loading and is ended", worker.index)
                worker.kill()
        error = RunnerTimeoutError("A model did not load in time.", hint="It may loop without end.")
        self._fail(change, error)

    def _fail(self, change: _Change, error: QuickServeError) -> None:
        if not change.done.done() and not change.committed:
            change.done.set_exception(error)

    def _loaded(self, worker: Worker, revision: int) -> None:
        worker.loaded = revision
        if revision == self.state.revision:
            worker.send(Commit(revision))
        change = self._change
        if change is None or revision != change.state.revision or change.committed:
            return
        change.waiting.discard(worker.index)
        if not change.waiting and not change.done.done():
            change.committed = True
            self.state = change.state
            self._has_lost = False
            self.send(Commit(revision))

    def _converged(self, worker: Worker, message: Converged) -> None:
        if worker.restarts and not worker.converged:
            logger.info("Worker %d serves again (process %d)", worker.index, worker.pid)
        worker.converged = message.revision
        if message.revision == self.state.revision:
            self._expect_no_more(worker)
        self._served = True
        self.example = message.example
        self.grpc_port = message.grpc_port or self.grpc_port
        change = self._change
        if change is not None and change.committed and self.converged and not change.done.done():
            change.done.set_result(None)
        self._owner.on_change()

    def _failed(self, worker: Worker, message: Failed) -> None:
        change, error = self._change, message.error.to_error()
        key = message.name, message.version
        is_changing = change is not None and message.revision == change.state.revision and not change.committed
        served = next((item for item in self.state.entries if item.key == key), None)
        # A worker that has never converged loads also what the others have: that is lost, not new.
        is_lost = not worker.converged and (not is_changing or (change is not None and served in change.state.entries))
        if served is not None and is_lost and (is_changing or message.revision == self.state.revision):
            self._lose(served, error)
        elif change is not None and is_changing:
            self._fail(change, error)

    def _lose(self, entry: ServedEntry, error: QuickServeError) -> None:
        """Have a served version dropped; what waits for workers that cannot load it any more waits no longer."""
        change = self._change
        self._has_lost = True
        if change is not None and change.committed and not change.done.done():
            change.done.set_result(None)  # it is switched to; the owner drops the version with the next change
        elif change is not None and any(item.key == entry.key for item in change.state.entries):
            self._fail(change, error)
        self._owner.on_lost_entry(entry, error)

    def _broken(self, worker: Worker, error: QuickServeError) -> None:
        """A worker says why it cannot serve: where none ever did, the server ends with it."""
        logger.error("Worker %d cannot serve: %s", worker.index, error.message)
        if not self._served:
            self._give_up(error)

    # ---- what workers do

    def _take(self, worker: Worker, message: FromWorker) -> None:
        match message:
            case Hello():
                worker.is_up = True
                self._expect_no_more(worker)
                if self._is_ending:
                    worker.send(Drain())
                    return
                if self.state.revision and not self._has_lost:
                    self._expect(worker, len(self.state.entries))
                    worker.send(Prepare(self.state))
                if self._change is not None and not self._change.committed:
                    worker.send(Prepare(self._change.state))
                self._owner.on_change()
            case Loaded(revision):
                self._loaded(worker, revision)
            case Converged():
                self._converged(worker, message)
            case Failed():
                self._failed(worker, message)
            case Broken(note):
                self._broken(worker, note.to_error())
            case Ask():
                self._owner.on_ask(worker, message)

    def _ended(self, worker: Worker, code: int) -> None:
        signal = signal_of(code)
        self._expect_no_more(worker)
        if self._is_ending:
            if not any(item.alive for item in self.workers):
                self._all_ended.set()
            return
        change = self._change
        if change is not None and not change.committed:
            change.waiting.add(worker.index)
        if code == 0 and worker.converged:  # somebody ended it, and it finished what it had
            worker.deaths = 0
        else:
            logger.error("Worker %d ended (%s)", worker.index, signal or f"exit code {code}")
            blamed = self._owner.on_crash(worker, signal)
            if blamed is not None:
                worker.deaths = 0
                self._blame(blamed, signal)
        if worker.deaths >= STARTS and not worker.converged:
            self._give_up(UnavailableError(
                f"A worker of the server does not start ({signal or f'exit code {code}'}), "
                f"{worker.deaths} times in a row.",
                hint="The lines above say why; `quickserveml doctor` checks the installation.",
                code="serve.worker_start",
            ))  # fmt: skip
            return
        worker.restarts += 1
        asyncio.get_running_loop().call_later(pause_s(worker.deaths), self._restart, worker)
        self._owner.on_change()

    def _blame(self, entry: ServedEntry, signal: str) -> None:
        change, error = self._change, BlamedError(entry, signal)
        is_served = any(item.key == entry.key for item in self.state.entries)
        if change is not None and not is_served:
            self._fail(change, error)
        elif is_served:
            self._lose(entry, error)

    def _give_up(self, error: QuickServeError) -> None:
        if self._change is not None:
            self._fail(self._change, error)
        if not self._fatal.done():
            self._fatal.set_exception(error)

    def _restart(self, worker: Worker) -> None:
        if self._is_ending:
            return

        async def start() -> None:
            try:
                await worker.start()
                self._expect(worker)
            except UnavailableError as error:
                worker.deaths += 1
                logger.warning("%s It is tried again.", error.message)
                if worker.deaths >= STARTS:
                    self._give_up(error)
                    return
                asyncio.get_running_loop().call_later(pause_s(worker.deaths), self._restart, worker)

        task = asyncio.get_running_loop().create_task(start())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- end

    async def drain(self, limit_s: float) -> None:
        """Let all workers finish what is under way; those that do not end in time are ended."""
        self._is_ending = True
        if not any(worker.alive for worker in self.workers):
            return
        for worker in self.workers:
            if worker.is_up:
                worker.send(Drain())
            else:
                worker.kill()
        try:
            await asyncio.wait_for(self._all_ended.wait(), limit_s)
        except TimeoutError:
            logger.warning("Workers that did not end in time are ended")
            await self.kill()

    async def kill(self) -> None:
        """End all workers at once."""
        self._is_ending = True
        for worker in self.workers:
            worker.kill()
        if any(worker.alive for worker in self.workers):
            await asyncio.wait_for(self._all_ended.wait(), 10.0)
