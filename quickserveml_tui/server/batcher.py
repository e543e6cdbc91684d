"""One queue per model: requests of one turn of the event loop share a run where the model allows it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias

import numpy as np

from quickserveml_tui.core.errors import CancelledError, QuickServeError, UnavailableError
from quickserveml_tui.server.answers import Answer
from quickserveml_tui.server.dialects import Dialect
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.services.serving_traits import INLINE_NS, LARGE_ELEMENTS
from quickserveml_tui.wire.requests import InferRequest

logger = logging.getLogger(__name__)

_SLOW_RUNS = 3
"""Slow runs in a row after which a model leaves the event loop."""

INLINE_LIMIT_S = 1.0
"""Longest run in the event loop; then it is stopped and repeated in a thread: inputs can make a model loop for ever."""

Outcome: TypeAlias = "Sequence[Any] | QuickServeError"


class DeadlineError(UnavailableError):
    """The model did not answer in time."""

    default_code = "deadline"
    http_status = 504


class Job:
    """A request on its way through a model; `deliver` is called once, in the event loop."""

    __slots__ = ("alone", "arrived", "dialect", "elements", "finite", "model", "request", "rows")

    request: InferRequest

    def __init__(self, model: ServedModel, dialect: Dialect) -> None:
        self.model = model
        self.dialect = dialect
        self.arrived = time.perf_counter_ns()
        self.finite = False
        """Whether the outputs are known to hold no NaN and no infinity."""

    def accept(self, request: InferRequest) -> None:
        """Take the decoded request."""
        self.request = request
        elements, rows, alone = 0, -1, False
        for array in request.feeds.values():
            elements += array.size
            length = array.shape[0] if array.ndim else 1
            alone = alone or rows not in (length, -1)
            rows = length
        self.rows = max(rows, 0)
        self.elements = elements
        self.alone = alone or rows < 1 or elements > LARGE_ELEMENTS or not self.model.splits(request.plan.names)
        """Whether it must not share a run."""

    def render(self, outcome: Outcome) -> Answer:
        """The answer; called wherever the model ran."""
        if not isinstance(outcome, QuickServeError):
            try:
                return self.dialect.encode(self, outcome)
            except QuickServeError as error:
                outcome = error
        return self.dialect.error(outcome)

    def finish(self, answer: Answer) -> None:
        """Count the answer and deliver it."""
        self.model.stats.answered(answer.status, time.perf_counter_ns() - self.arrived)
        self.deliver(answer)

    def deliver(self, answer: Answer) -> None:
        """Hand the answer to whoever asked."""
        raise NotImplementedError


def _shareable(first: Job, other: Job) -> bool:
    """Whether two requests can be rows of one run."""
    if first.request.plan is not other.request.plan and first.request.plan.names != other.request.plan.names:
        return False
    if first.model.uniform:
        return True
    feeds = other.request.feeds
    return all(array.shape[1:] == feeds[name].shape[1:] for name, array in first.request.feeds.items())


def run_jobs(model: ServedModel, jobs: Sequence[Job]) -> list[Outcome]:
    """Outputs or error of each job, from one run where there are several.

    When the shared run fails each one runs alone, so that only the guilty one gets the error. Raises `CancelledError`
    when a run was stopped.
    """
    if len(jobs) > 1:
        try:
            return _run_shared(model, jobs)
        except CancelledError:
            raise
        except QuickServeError:
            logger.info("A batch of %d requests to %s failed; they run one by one", len(jobs), model.name)
    return [_run_one(model, job) for job in jobs]


def _run_one(model: ServedModel, job: Job) -> Outcome:
    try:
        return model.run(job.request.feeds, job.request.plan.names)
    except CancelledError:
        raise
    except QuickServeError as error:
        return error


def _run_shared(model: ServedModel, jobs: Sequence[Job]) -> list[Outcome]:
    first = jobs[0].request
    feeds = {name: np.concatenate([job.request.feeds[name] for job in jobs]) for name in first.feeds}
    outputs = model.run(feeds, first.plan.names)
    total = sum(job.rows for job in jobs)
    if any(output.shape[0] != total for output in outputs):
        raise QuickServeError("A batch came back with another number of rows.")
    # One look at all rows is cheaper than one at each; when it fails each job looks at its own.
    finite = all(output.dtype.kind != "f" or np.isfinite(output).all() for output in outputs)
    results: list[Outcome] = []
    start = 0
    for job in jobs:
        job.finite = finite
        end = start + job.rows
        results.append([output[start:end] for output in outputs])
        start = end
    return results


class Batcher:
    """The queue of one model. Everything but the worker's loop and `watch` happens in the event loop's thread.

    `limit` bounds the requests that wait, `run_limit_s` the time of a run in the worker.
    """

    def __init__(self, model: ServedModel, loop: asyncio.AbstractEventLoop, limit: int, run_limit_s: float) -> None:
        self.model = model
        self._loop = loop
        self._limit = limit
        self._run_limit_s = run_limit_s
        self._deadline: float | None = None
        """When the run under way is to be stopped, by `time.monotonic`."""
        self._queue: deque[Job] = deque()
        self._busy = False
        """Whether a run is under way or a turn is scheduled."""
        self._inline = model.traits.inline
        self._slow = 0
        self._batches: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._worker: Thread | None = None

    def submit(self, job: Job) -> None:
        """Queue a job that has its request; a full queue answers 503 at once."""
        if len(self._queue) >= self._limit:
            error = UnavailableError(
                f"Model {self.model.name} has too many requests waiting.", hint="Try again later.", code="overloaded"
            )
            job.finish(job.dialect.error(error))
            return
        self._queue.append(job)
        self.model.stats.pending += 1
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._turn)

    def watch(self, now: float) -> None:
        """Stop the run under way if it takes too long; called from another thread, as the event loop may be in it."""
        deadline = self._deadline
        if deadline is not None and now > deadline:
            logger.warning("A run of %s takes too long and is stopped", self.model.name)
            self.model.session.terminate()

    def close(self) -> None:
        """Let the worker end, stopping a run that is still under way."""
        if self._worker is not None:
            self._batches.put(None)
            self.model.session.terminate()

    def join(self, timeout_s: float) -> None:
        """Wait for the worker after `close`; a run that cannot be stopped dies with the process."""
        if self._worker is not None:
            self._worker.join(timeout_s)

    def _take(self) -> list[Job]:
        queue, traits = self._queue, self.model.traits
        first = queue.popleft()
        jobs = [first]
        if not traits.batchable or first.alone:
            return jobs
        rows = first.rows
        while queue and not queue[0].alone and _shareable(first, queue[0]):
            rows += queue[0].rows
            if rows > traits.max_batch:
                break
            jobs.append(queue.popleft())
        return jobs

    def _turn(self) -> None:
        jobs = self._take()
        if not self._inline or sum(job.elements for job in jobs) > self.model.traits.inline_elements:
            self._to_worker(jobs)
            return
        started = time.perf_counter_ns()
        try:
            answers = self._work(jobs, INLINE_LIMIT_S)
        except CancelledError:
            self._leave_loop()
            self._to_worker(jobs)
            return
        self._judge(time.perf_counter_ns() - started)
        self._next()
        self._deliver(jobs, answers)

    def _next(self) -> None:
        if self._queue:
            self._loop.call_soon(self._turn)
        else:
            self._busy = False

    def _work(self, jobs: list[Job], limit_s: float) -> list[Answer]:
        """Answers of a batch, whatever happens but `CancelledError`: the run was stopped."""
        stats = self.model.stats
        started = time.perf_counter_ns()
        self._deadline = time.monotonic() + limit_s
        try:
            outcomes = run_jobs(self.model, jobs)
            self._deadline = None
            ended = time.perf_counter_ns()
            answers = [job.render(outcome) for job, outcome in zip(jobs, outcomes, strict=True)]
        except CancelledError:
            raise
        except Exception:
            logger.exception("A run of %s failed unexpectedly", self.model.name)
            ended = time.perf_counter_ns()
            answers = [job.dialect.error(internal_error()) for job in jobs]
        finally:
            self._deadline = None
        answered = zip(jobs, answers, strict=True)
        stats.ran(len(jobs), sum(job.rows for job, answer in answered if answer.status == 200), ended - started)
        for job in jobs:
            stats.queue.add(started - job.arrived)
        return answers

    def _deliver(self, jobs: list[Job], answers: list[Answer]) -> None:
        self.model.stats.pending -= len(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            job.finish(answer)

    def _judge(self, elapsed_ns: int) -> None:
        """Move a model out of the event loop whose real requests are slower than the synthetic ones."""
        self._slow = self._slow + 1 if elapsed_ns > 10 * INLINE_NS else 0
        if self._slow >= _SLOW_RUNS:
            self._leave_loop()

    def _leave_loop(self) -> None:
        logger.info("Model %s is too slow for the event loop; it gets a thread", self.model.name)
        self._inline = False

    def _to_worker(self, jobs: list[Job]) -> None:
        if self._worker is None:
            self._worker = Thread(target=self._serve, name=f"model-{self.model.name}", daemon=True)
            self._worker.start()
        self._batches.put(jobs)

    def _serve(self) -> None:
        while (jobs := self._batches.get()) is not None:
            try:
                answers = self._work(jobs, self._run_limit_s)
            except CancelledError:
                answers = [job.dialect.error(_too_slow(self.model)) for job in jobs]
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for the answers
                self._loop.call_soon_threadsafe(self._back, jobs, answers)

    def _back(self, jobs: list[Job], answers: list[Answer]) -> None:
        self._next()
        self._deliver(jobs, answers)


def _too_slow(model: ServedModel) -> DeadlineError:
    return DeadlineError(
        f"Model {model.name} took too long on this request and was stopped.", hint="Send smaller or other inputs."
    )


def internal_error() -> QuickServeError:
    """The error for what should not happen; the log has the details."""
    return QuickServeError("The server failed on this request.", hint="Its log says why.", code="internal")
