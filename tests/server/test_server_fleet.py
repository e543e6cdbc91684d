"""A version that is lost while workers converge on it: nothing waits for it for ever."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from quickserveml_tui.core.errors import ModelUnrunnableError, UnavailableError
from quickserveml_tui.core.serving import DesiredState, ServedEntry
from quickserveml_tui.server import fleet as fleets
from quickserveml_tui.server import workers
from quickserveml_tui.server.messages import Commit, Converged, ErrorNote, Failed, Hello, Loaded, Prepare, Setup
from quickserveml_tui.server.options import ServeOptions

ERROR = ErrorNote.of(ModelUnrunnableError("It cannot be loaded any more."))


class FakeWorker:
    """The handle of a process that says only what the test says."""

    def __init__(self, index, setup, on_message, on_end) -> None:
        self.index, self.on_message, self.on_end = index, on_message, on_end
        self.loaded = self.converged = self.restarts = self.deaths = 0
        self.is_up = self.alive = True
        self.pid = 1
        self.sent: list[object] = []
        self.killed, self.started = asyncio.Event(), asyncio.Event()

    async def start(self):
        self.alive = True
        self.started.set()

    def send(self, message):
        self.sent.append(message)

    def kill(self):
        self.killed.set()

    def says(self, message):
        self.on_message(self, message)

    def dies(self, code=-9):
        self.alive = self.is_up = False
        self.deaths += 1
        self.on_end(self, code)
        self.loaded = self.converged = 0
        self.sent.clear()

    def prepared(self):
        return [item.state.revision for item in self.sent if isinstance(item, Prepare)]


class Owner:
    def __init__(self) -> None:
        self.lost: list[str] = []
        self.blamed = None

    def on_crash(self, worker, signal):
        return self.blamed

    def on_lost_entry(self, entry, error):
        self.lost.append(entry.name)

    def on_ask(self, worker, ask): ...

    def on_change(self): ...


def entry(name, slot):
    return ServedEntry(name=name, version="1", ref=name, path=f"/{name}", digest=name, slot=slot)


@contextlib.asynccontextmanager
async def committed(monkeypatch):
    """Two workers that were told to commit revision 1; the first has converged, the second has died."""
    monkeypatch.setattr(fleets, "Worker", FakeWorker)
    owner = Owner()
    fleet = fleets.Fleet(2, lambda index: Setup(index, ServeOptions(), 0.0, "", ()), owner)
    state = DesiredState(1, (entry("good", 0), entry("bad", 1)))
    change = asyncio.create_task(fleet.apply(state))
    await asyncio.sleep(0)
    first, second = fleet.workers
    for worker in fleet.workers:
        worker.says(Loaded(1))
    assert Commit(1) in first.sent
    first.says(Converged(1))
    second.dies()
    try:
        yield fleet, owner, change, state
    finally:
        change.cancel()


def reload(worker):
    worker.alive = True
    worker.says(Hello(2))
    assert worker.prepared() == [1]


async def restarted(worker):
    """The fleet has started the process again and waits for its hello."""
    await asyncio.wait_for(worker.started.wait(), 5)
    await asyncio.sleep(0)
    for event in (worker.started, worker.killed):
        event.clear()
    worker.deaths = 0


async def dropped(fleet):
    """The next change, without what was lost, gets through."""
    state = DesiredState(2, (entry("good", 0),))
    change = asyncio.create_task(fleet.apply(state))
    await asyncio.sleep(0)
    for worker in fleet.workers:
        worker.says(Loaded(2))
        worker.says(Converged(2))
    await asyncio.wait_for(change, 5)
    assert fleet.state is state


def test_a_replacement_that_cannot_load_what_was_switched_to_ends_the_change_and_the_version_is_dropped(monkeypatch):
    async def check():
        async with committed(monkeypatch) as (fleet, owner, change, state):
            reload(fleet.workers[1])
            fleet.workers[1].says(Failed(1, "bad", "1", ERROR))
            await asyncio.wait_for(change, 5)
            assert owner.lost == ["bad"]
            assert fleet.state is state
            await dropped(fleet)

    asyncio.run(check())


def test_a_replacement_that_dies_loading_what_was_switched_to_does_not_load_it_again(monkeypatch):
    async def check():
        async with committed(monkeypatch) as (fleet, owner, change, state):
            second = fleet.workers[1]
            reload(second)
            owner.blamed = state.entries[1]
            second.dies(-11)
            await asyncio.wait_for(change, 5)
            assert owner.lost == ["bad"]
            second.alive = second.is_up = True
            second.says(Hello(3))
            assert second.prepared() == []  # it would die again
            await dropped(fleet)

    asyncio.run(check())


def test_a_version_that_is_lost_during_another_change_ends_that_change(monkeypatch):
    async def check():
        async with committed(monkeypatch) as (fleet, owner, change, state):
            second = fleet.workers[1]
            reload(second)
            second.says(Loaded(1))
            second.says(Converged(1))
            await asyncio.wait_for(change, 5)
            after = asyncio.create_task(fleet.apply(DesiredState(2, (*state.entries, entry("new", 2)))))
            await asyncio.sleep(0)
            second.dies()
            second.is_up = True
            second.says(Hello(3))
            second.says(Failed(1, "bad", "1", ERROR))
            with pytest.raises(ModelUnrunnableError):
                await asyncio.wait_for(after, 5)
            assert owner.lost == ["bad"]
            assert fleet.state is state
            await dropped(fleet)

    asyncio.run(check())


def test_a_replacement_that_hangs_in_a_load_is_ended_until_the_version_is_to_blame_and_holds_up_nobody(monkeypatch):
    async def check():
        async with committed(monkeypatch) as (fleet, owner, change, state):
            second = fleet.workers[1]
            await restarted(second)
            monkeypatch.setattr(fleet, "_load_limit_s", 0.01)
            reload(second)
            await asyncio.wait_for(second.killed.wait(), 5)
            monkeypatch.setattr(fleet, "_load_limit_s", 300)
            second.dies()
            assert not change.done()
            await restarted(second)
            monkeypatch.setattr(fleet, "_load_limit_s", 0.01)
            reload(second)
            await asyncio.wait_for(second.killed.wait(), 5)
            owner.blamed = state.entries[1]
            second.dies()
            await asyncio.wait_for(change, 5)
            assert owner.lost == ["bad"]
            monkeypatch.setattr(fleet, "_load_limit_s", 300)
            second.is_up = True
            second.says(Hello(3))
            await dropped(fleet)

    asyncio.run(check())


def test_a_worker_that_dies_before_its_first_message_is_an_ended_worker(monkeypatch):
    def broken(end, message):
        raise BrokenPipeError

    async def check():
        ended = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(workers, "MODULE", "quickserveml_tui.no_such_module")
        monkeypatch.setattr(workers, "send_blocking", broken)
        worker = workers.Worker(
            0,
            lambda index: Setup(index, ServeOptions(), 0.0, "", ()),
            lambda _worker, _message: None,
            lambda _worker, code: ended.set_result(code),
        )
        with contextlib.suppress(UnavailableError):
            await worker.start()
        assert await asyncio.wait_for(ended, 30) == 1
        assert not worker.alive

    asyncio.run(check())
