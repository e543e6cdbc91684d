"""The thread of a slow model: what it has before it, and that stopping one run never stops the next."""

import asyncio
import threading

import numpy as np
import pytest
from server_models import slow

from quickserveml_tui.core.serving import ServedEntry, ServedSettings
from quickserveml_tui.server.batcher import Batcher
from quickserveml_tui.server.dialects import INFERENCE_PROTOCOL
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.runs import Job
from quickserveml_tui.server.slow import SlowLog
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_stats import Counters
from quickserveml_tui.wire.requests import InferRequest

onnx = pytest.importorskip("onnx")
ROW = np.ones((1, 8, 512), dtype=np.float32)


class Asked(Job):
    """A request of one row whose answer wakes up who waits for it."""

    __slots__ = ("answers", "told")

    def __init__(self, model, answers, priority=0):
        super().__init__(model, INFERENCE_PROTOCOL)
        self.answers = answers
        self.told = asyncio.Event()
        self.accept(InferRequest({"x": ROW}, model.decoder._json_plan, "", priority))

    def deliver(self, answer):
        self.answers.append((self, answer.status))
        self.told.set()


class GatedSession:
    """The session of a model whose runs begin when the test says so, and that tells of it."""

    def __init__(self, session):
        self._session = session
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.runs = 0
        self.terminating = threading.Event()
        self.may_terminate = threading.Event()

    def run(self, feeds, names):
        self.runs += 1
        self.begun.release()
        assert self.go.acquire(timeout=20)
        return self._session.run(feeds, names)

    def terminate(self):
        self.terminating.set()
        assert self.may_terminate.wait(20)
        self._session.terminate()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("batches") / "slow.onnx"
    onnx.save(slow(), found)
    return found


@pytest.fixture
def gated(path):
    """A model that runs one row at a time, in a thread, when told."""
    settings = ServedSettings(max_batch=1)
    model = ServingService().load(ServedEntry("slow", "1", str(path), "", 0, "slow", settings=settings))
    assert not model.traits.inline
    gate = model.session = GatedSession(model.session)
    return model, gate


def batcher_for(model, **options):
    return Batcher(model, asyncio.get_running_loop(), ServeOptions(**options), SlowLog(Counters.create(None)))


async def begun(gate):
    assert await asyncio.to_thread(gate.begun.acquire, timeout=20)


async def test_the_thread_has_one_run_before_it_and_the_others_stay_where_priority_counts(gated):
    model, gate = gated
    batcher, answers = batcher_for(model), []
    first, second, third, fourth = jobs = [Asked(model, answers) for _ in range(4)]
    for job in jobs:
        batcher.submit(job)
    await begun(gate)
    await asyncio.sleep(0)  # the turn that looks ahead
    assert batcher._queue.size == 2
    urgent = Asked(model, answers, priority=1)
    batcher.submit(urgent)
    await asyncio.sleep(0)
    assert batcher._queue.size == 3
    for _ in range(5):
        gate.go.release()
    for job in (*jobs, urgent):
        await asyncio.wait_for(job.told.wait(), 20)
    assert [job for job, _ in answers] == [first, second, urgent, third, fourth]
    assert {status for _, status in answers} == {200}
    gate.may_terminate.set()
    batcher.close()


async def test_a_run_that_is_stopped_late_does_not_take_the_next_one_with_it(gated):
    model, gate = gated
    batcher, answers = batcher_for(model, run_timeout_s=1.0), []
    first, second = Asked(model, answers), Asked(model, answers)
    batcher.submit(first)
    batcher.submit(second)
    await begun(gate)
    deadline = batcher._deadline
    watching = asyncio.create_task(asyncio.to_thread(batcher.watch, deadline + 1))
    assert await asyncio.to_thread(gate.terminating.wait, 20)
    gate.go.release(2)  # the first run ends by itself just before it would be stopped
    assert not await asyncio.to_thread(gate.begun.acquire, timeout=0.3)  # the second does not begin meanwhile
    gate.may_terminate.set()
    await watching
    for job in (first, second):
        await asyncio.wait_for(job.told.wait(), 20)
    assert [status for _, status in answers] == [200, 200]
    batcher.close()
