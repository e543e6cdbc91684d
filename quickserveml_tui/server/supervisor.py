"""The supervisor: owns the sockets and the desired state, and moves the workers along; it opens no model itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.core.errors import (
    CancelledError,
    NotFoundError,
    QuickServeError,
    RunnerCrashedError,
    UnavailableError,
    UsageError,
)
from quickserveml_tui.core.serving import DesiredState, ServedEntry, ServedState, ServedStatus, default_entry
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server import narration
from quickserveml_tui.server.desired import Revisions, counters_path
from quickserveml_tui.server.fleet import BlamedError, Fleet
from quickserveml_tui.server.incidents import Culprit, Incidents
from quickserveml_tui.server.messages import Answer, Ask, ErrorNote, Note, Reload, Setup
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.tls import may_reload
from quickserveml_tui.server.workers import Worker
from quickserveml_tui.services.serving_plan import Look, ModelSource, ServingPlan, check_default
from quickserveml_tui.services.serving_stats import SLOTS, Counters

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the catalog is looked at for changes."""
_END_S = 5.0


class Supervisor:
    """One server from its start to its end; `run` inside an event loop.

    `folder` takes the counters files; `listeners` are descriptors of the listening sockets, which `stop_listening`
    closes in this process. `on_ready` is called once, `on_models` in a thread after each change of what is served from
    then on.
    """

    def __init__(
        self,
        plan: ServingPlan,
        source: ModelSource,
        options: ServeOptions,
        *,
        folder: Path,
        listeners: Sequence[int],
        on_ready: Callable[[Supervisor], None],
        stop_listening: Callable[[], None],
        on_models: Callable[[Sequence[ServedEntry]], None] = lambda _entries: None,
        read_only: bool = False,
    ) -> None:
        self._plan = plan
        self._source = source
        self._options = options
        self._folder = folder
        self._listeners = tuple(listeners)
        self._on_ready = on_ready
        self._stop_listening = stop_listening
        self._on_models = on_models
        self._read_only = read_only
        self._started_at = time.time()
        self._counters = [Counters.create(counters_path(folder, index)) for index in range(options.workers)]
        self._revisions = Revisions(SLOTS)
        self._refused: tuple[ServedStatus, ...] = ()
        self._incidents = Incidents(self._counters)
        self._held: tuple[Resolved, ...] = ()
        self._lock = asyncio.Lock()
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_announced = False
        self._fleet = Fleet(options.workers, self._setup, self, load_limit_s=options.run_timeout_s)

    # ---- what is known

    @property
    def state(self) -> DesiredState:
        """What is served."""
        return self._fleet.state

    @property
    def default(self) -> ServedEntry | None:
        """The version behind the short routes."""
        return default_entry(self.state.entries, self.state.default)

    @property
    def left_out(self) -> tuple[ServedStatus, ...]:
        """What was asked for and is not served, with the reason."""
        return (*self._refused, *self._incidents.statuses)

    @property
    def example(self) -> str:
        """Body of an example request to the default model; empty where there is none."""
        return self._fleet.example

    @property
    def grpc_port(self) -> int:
        """Port of gRPC; 0 without it."""
        return self._fleet.grpc_port

    def _setup(self, index: int) -> Setup:
        return Setup(
            index,
            self._options,
            self._started_at,
            str(self._folder),
            self._listeners,
            self._plan.may_be_empty,
            self._read_only,
        )

    def _tell(self) -> None:
        """Tell all workers what has changed."""
        workers = tuple(worker.note() for worker in self._fleet.workers)
        self._fleet.send(Note(self._statuses(), workers, self._incidents.crashes))

    def _statuses(self) -> tuple[ServedStatus, ...]:
        found = {(item.name, item.version): item for item in self.left_out}
        for name, version in self._plan.without:
            if version:
                found[name, version] = ServedStatus(name, version, ServedState.UNAVAILABLE, "unloaded")
        for entry in self._pending_entries():
            found[entry.key] = ServedStatus(entry.name, entry.version, ServedState.LOADING)
        for entry in self.state.entries:
            found[entry.key] = ServedStatus(entry.name, entry.version, ServedState.READY)
        return tuple(found.values())

    # ---- life

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM. Raises what kept the server from starting, or ended it.

        A second SIGINT drops what is under way and raises `CancelledError`.
        """
        loop = asyncio.get_running_loop()
        with self._signals(loop):
            try:
                await self._fleet.start()
                await self._until_stop(self._begin())
                if not self._stop.is_set():
                    self._on_ready(self)
                    self._is_announced = True
                    await self._until_stop(self._follow())
                await self._end()
            finally:
                await self._fleet.kill()
                self._source.close()
                for counters in self._counters:
                    counters.close()

    async def _until_stop(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work until it is done, the server is told to stop, or its workers cannot be kept running."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        stop = loop.create_task(self._stop.wait())
        try:
            first: set[asyncio.Future[Any]] = {task, stop, self._fleet.fatal}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if self._fleet.fatal.done():
                self._fleet.fatal.result()
            if task.done():
                task.result()
        finally:
            for item in (task, stop):
                item.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await item

    @contextlib.contextmanager
    def _signals(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        def interrupt() -> None:
            if self._stop.is_set():
                self._kill.set()
            self._stop.set()

        handlers = {signal.SIGTERM: self._stop.set, signal.SIGINT: interrupt, signal.SIGHUP: self._look_again}
        try:
            for number, handler in handlers.items():
                loop.add_signal_handler(number, handler)
        except (RuntimeError, ValueError):  # not the main thread: whoever runs it there has the signals
            handlers = {}
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    async def _begin(self) -> None:
        """Find, try and load what is to be served; a version that ends its worker is left out."""
        look = await asyncio.to_thread(self._source.look, self._plan, strict=True)
        check_default(look, self._plan)
        narration.tell_refused(self._refused, look.refused)
        while True:
            if not look.entries and not self._plan.may_be_empty:
                raise self._nothing_left()
            try:
                async with self._lock:
                    await self._apply(look, self._plan)
            except BlamedError as error:
                self._blame(error.entry, str(error.message))
            left = self._incidents.without_blamed(look)
            if len(left.entries) == len(look.entries):
                return
            look = left

    def _nothing_left(self) -> QuickServeError:
        if reason := self._incidents.reason():
            return RunnerCrashedError(reason, hint="Serve another version.")
        return UsageError("No model to serve.", hint="Name at least one model.", code="serve.no_model")

    async def _end(self) -> None:
        options = self._options
        logger.info("Told to end: what is under way gets up to %d s to finish", options.drain_timeout_s)
        # Before the workers close theirs: connections that come later are refused instead of left waiting and reset.
        asyncio.get_running_loop().call_later(options.drain_delay_s / 2, self._stop_listening)
        drain = asyncio.create_task(
            self._fleet.drain(options.drain_delay_s + options.drain_timeout_s + _END_S), name="drain"
        )
        kill = asyncio.create_task(self._kill.wait())
        await asyncio.wait({drain, kill}, return_when=asyncio.FIRST_COMPLETED)
        kill.cancel()
        if not drain.done():
            logger.warning("Told to end at once: what is under way is dropped")
            await self._fleet.kill()
        await drain
        logger.info("Ended")
        if self._kill.is_set():
            raise CancelledError("The server was ended at once: what was under way is lost.")

    # ---- changes

    async def _apply(self, look: Look, plan: ServingPlan) -> None:
        """Have the workers serve what was found. Raises what stopped them, and then nothing has changed."""
        before = self.state.entries
        look = self._incidents.without_blamed(look)
        state = self._revisions.make(look.entries, plan.default, before)
        if before and _same(before, state):
            self._plan, self._refused = plan, look.refused
            self._tell()
            return
        await asyncio.to_thread(self._source.hold, (*self._held, *look.held))
        try:
            await self._fleet.apply(state)
            narration.tell_changes(state.revision, before, state.entries)
        except BaseException:
            await asyncio.to_thread(self._source.hold, self._held)
            raise
        finally:
            self._tell()
        self._plan, self._refused = plan, look.refused
        await asyncio.to_thread(self._source.hold, look.held)
        self._held = look.held
        self._tell()
        if self._is_announced:
            await asyncio.to_thread(self._on_models, state.entries)

    async def _follow(self) -> None:
        """Look at the catalog once in a while, and take up what has changed."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._options.follow and await asyncio.to_thread(self._source.has_changed):
                await self._take_up()

    def _look_again(self) -> None:
        if may_reload(self._options):
            self._fleet.send(Reload())
        self._start(self._take_up())

    async def _take_up(self, *, again: str = "") -> None:
        async with self._lock:
            try:
                look = await asyncio.to_thread(self._source.look, self._plan, again=again)
                narration.tell_refused(self._refused, look.refused)
                await self._apply(look, self._plan)
            except BlamedError as error:
                self._blame(error.entry, error.message)
            except QuickServeError as error:
                logger.warning("What has changed is not served: %s", error.message)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- what workers ask

    def on_ask(self, worker: Worker, ask: Ask) -> None:
        """Load or unload, and answer."""
        self._start(self._answer(worker, ask))

    async def _answer(self, worker: Worker, ask: Ask) -> None:
        note = None
        try:
            async with self._lock:
                if ask.operation == "load":
                    await self._load(ask.name, ask.versions)
                else:
                    await self._unload(ask.name, ask.versions[0] if ask.versions else "")
        except BlamedError as error:
            self._blame(error.entry, error.message)
            note = ErrorNote.of(error)
        except QuickServeError as error:
            note = ErrorNote.of(error)
        except asyncio.CancelledError:
            note = ErrorNote.of(CancelledError("The server is ending."))
        worker.send(Answer(ask.id, note))

    async def _load(self, name: str, versions: tuple[str, ...]) -> None:
        source, path = await asyncio.to_thread(self._source.find, self._plan, name)
        plan = self._plan.with_loaded(name, versions, source, path)
        self._incidents.forgive(name)  # who asks for it by name may have it tried again
        look = await asyncio.to_thread(self._source.look, plan, again=name)
        refused = [item for item in look.refused if item.name == name]
        if not any(entry.name == name for entry in look.entries) or (refused and versions):
            reason = refused[0].reason if refused else "there is no version of it to serve."
            raise UnavailableError(
                f"{safe_text(name, 80)} cannot be served: {reason}", hint="Nothing was changed.", code="serve.refused"
            )
        await self._apply(look, plan)
        if lost := self._incidents.reason(
            name
        ):  # after it was switched to: a worker that had to start again could not load it
            raise UnavailableError(f"{safe_text(name, 80)} cannot be served: {lost}", code="serve.refused")

    async def _unload(self, name: str, version: str) -> None:
        mine = [entry for entry in self.state.entries if entry.name == name]
        number = next((entry.version for entry in mine if version in (entry.version, entry.label, *entry.aliases)), "")
        if not mine or (version and not number):
            raise NotFoundError(
                f"{safe_text(name, 80)}{f' version {safe_text(version, 40)}' if version else ''} is not served here.",
                hint="POST /v2/repository/index lists the models.",
                code="version.unknown" if mine else "model.unknown",
            )
        plan = self._plan.without_version(name, number)
        gone = {(name, number)} if number else {entry.key for entry in mine}
        kept = tuple(entry for entry in self.state.entries if entry.key not in gone)
        held = tuple(
            item for item in self._held
            if item.model is None or item.version is None or (item.model.name, str(item.version.version)) not in gone
        )  # fmt: skip
        await self._apply(Look(kept, held, self._refused), plan)

    # ---- what workers do

    def on_change(self) -> None:
        """Tell everybody."""
        self._tell()

    def on_lost_entry(self, entry: ServedEntry, error: QuickServeError) -> None:
        """Go on without it."""
        self._blame(entry, error.message)
        self._start(self._drop_blamed())

    async def _drop_blamed(self) -> None:
        async with self._lock:
            try:
                await self._apply(Look(self.state.entries, self._held, self._refused), self._plan)
            except QuickServeError as error:
                logger.warning("A version that cannot be loaded any more could not be dropped: %s", error.message)

    def on_crash(self, worker: Worker, signal: str) -> ServedEntry | None:
        """Say which version is to blame and must not be loaded again; the catalog is told of it."""
        culprit = self._incidents.note_end(worker.index, signal, (*self._pending_entries(), *self.state.entries))
        if culprit is None:
            return None
        if culprit.is_certain:
            self._start(self._record(culprit, signal))
        return culprit.entry

    def _pending_entries(self) -> tuple[ServedEntry, ...]:
        pending = self._fleet.pending
        return pending.entries if pending is not None else ()

    async def _record(self, culprit: Culprit, signal: str) -> None:
        try:
            await asyncio.to_thread(self._source.quarantine, culprit.entry, signal, culprit.reason)
        except QuickServeError as error:
            logger.warning("The quarantine of %s could not be recorded: %s", culprit.entry.name, error.message)

    def _blame(self, entry: ServedEntry, reason: str) -> None:
        self._incidents.blame(entry, reason)
        self._tell()


def _same(before: Sequence[ServedEntry], state: DesiredState) -> bool:
    return tuple(before) == state.entries
