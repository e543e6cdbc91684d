"""One queue per model: requests of one turn of the event loop share a run where the model allows it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread

from quickserveml_tui.core.errors import CancelledError, QuickServeError, UnavailableError
from quickserveml_tui.server.answers import Answer
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.queues import WaitingRequests
from quickserveml_tui.server.runs import Job, run_jobs, shareable
from quickserveml_tui.server.slow import SlowLog
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.services.serving_traits import INLINE_NS

logger = logging.getLogger(__name__)

_SLOW_RUNS = 3
"""Slow runs in a row after which a model leaves the event loop."""

INLINE_LIMIT_S = 1.0
"""Longest run in the event loop; then it is stopped and repeated in a thread: inputs can make a model loop for ever."""

_GONE = Answer(499, b"")
"""For nobody: the client has left."""


class DeadlineError(UnavailableError):
    """The model did not answer in time."""

    default_code = "deadline"
    http_status = 504


class Batcher:
    """The queue of one model and its runs. Everything but the worker's loop and `watch` happens in the loop's thread.

    `slow` takes note of slow requests. `on_idle` is called once after `retire`, when all is answered.
    """

    def __init__(
        self,
        model: ServedModel,
        loop: asyncio.AbstractEventLoop,
        options: ServeOptions,
        slow: SlowLog,
        on_idle: Callable[[Batcher], None] | None = None,
    ) -> None:
        self.model = model
        self._loop = loop
        self._slow_log = slow
        self._on_idle = on_idle
        self._run_limit_s = options.run_timeout_s
        self._stats = model.stats
        self._traits = model.traits
        delay_us = model.entry.settings.max_delay_us or options.max_delay_us
        self._delay_ns = delay_us * 1000 if model.traits.batchable else 0
        self._deadline: float | None = None
        """When the run under way is to be stopped, by `time.monotonic`."""
        self._stopping = Lock()
        """Held while a run is being stopped: the next one waits for that, else it could be the one that is stopped."""
        self._queue = WaitingRequests(options.queue_limit, int(options.request_timeout_s * 1e9))
        self._running = 0
        """Requests in runs."""
        self._expected = 0
        """Requests whose body is still being read."""
        self._busy = False
        """Whether a run is under way or a turn is scheduled."""
        self._timer: asyncio.TimerHandle | None = None
        """Set while the first request waits for others."""
        self._inline = model.traits.inline
        self._slow = 0
        self._retired = False
        self._in_worker = 0
        """Batches that the thread runs or has before it."""
        self._ahead = False
        """Whether a turn is scheduled for the batch after the one that the thread runs."""
        self._batches: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._worker: Thread | None = None

    def submit(self, job: Job) -> None:
        """Queue a job that has its request; a full queue answers 503 at once."""
        if not self._queue.add(job):
            self._stats.reject()
            error = UnavailableError(
                f"Model {self.model.name} has too many requests waiting.", hint="Try again later.", code="overloaded"
            )
            job.finish(job.dialect.error(error))
            return
        if not self._inline:
            self.publish_pending()
        if not self._busy:
            self._busy = True
            self._schedule()
        elif self._timer is not None and self._queue.size >= self._traits.max_batch:
            self._timer.cancel()
            self._timer = None
            self._loop.call_soon(self._turn)
        elif self._in_worker:
            self._look_ahead()

    def expect(self) -> None:
        """A request for the model has begun: until `expected` is called the model stays, even after `retire`."""
        self._expected += 1

    def expected(self) -> None:
        """The body of a request that was expected is there, and submitted, or will never come."""
        self._expected -= 1
        if self._retired:
            self._loop.call_soon(self._tell_idle)

    def publish_pending(self) -> None:
        """Tell how many requests wait or run."""
        self._stats.pending = self._queue.size + self._running

    def tick(self) -> None:
        """A second has passed: answer those who have waited too long behind a long run."""
        self._drop_late(time.perf_counter_ns())
        self.publish_pending()
        if self._retired:
            self._tell_idle()

    def forget(self, job: Job) -> None:
        """The client of a job has gone: it is dropped if it does not run yet."""
        job.gone = True
        self._queue.is_stale = True

    def watch(self, now: float) -> None:
        """Stop the run under way if it takes too long; called from another thread, as the event loop may be in it."""
        with self._stopping:
            deadline = self._deadline
            if deadline is not None and now > deadline:
                logger.warning("A run of %s takes too long and is stopped", self.model.name)
                self.model.session.terminate()

    def retire(self) -> None:
        """Nothing new comes: finish what was accepted or is being read, end the thread, and call `on_idle`."""
        self._retired = True
        self._loop.call_soon(self._tell_idle)

    def _tell_idle(self) -> None:
        if not self._retired or self._busy or self._expected or self._queue.size or self._running:
            return
        self._retired = False
        if self._worker is not None:
            self._batches.put(None)
        if self._on_idle is not None:
            self._on_idle(self)

    def close(self) -> None:
        """Let the worker end, stopping a run that is still under way."""
        if self._worker is not None:
            self._batches.put(None)
            self.model.session.terminate()

    def join(self, timeout_s: float) -> None:
        """Wait for the worker after `close`; a run that cannot be stopped dies with the process."""
        if self._worker is not None:
            self._worker.join(timeout_s)

    # ---- turns

    def _schedule(self) -> None:
        """Run what waits in the next turn of the loop, or a little later, when more may have come."""
        if self._delay_ns and not self._inline and self._queue.size < self._traits.max_batch:
            left_ns = self._delay_ns - (time.perf_counter_ns() - self._queue.oldest)
            if left_ns > 0:
                self._timer = self._loop.call_later(left_ns / 1e9, self._turn)
                return
        self._loop.call_soon(self._turn)

    def _take(self) -> list[Job]:
        queue, traits = self._queue, self._traits
        first = queue.pop()
        if not traits.batchable or first.alone:
            return [first]
        rows, form, most = first.rows, first.form, traits.max_batch

        def fits(other: Job) -> bool:
            nonlocal rows
            if other.alone or not ((other.form is form and form is not None) or shareable(first, other)):
                return False
            rows += other.rows
            return rows <= most

        return [first, *queue.pop_while(fits)]

    def _drop_late(self, now: int) -> None:
        late, gone = self._queue.drop(now)
        for job in gone:
            job.finish(_GONE)
        for job in late:
            self._stats.reject()
            job.finish(job.dialect.error(_waited_too_long(self.model)))

    def _turn(self) -> None:
        self._timer = None
        self._ahead = False
        queue = self._queue
        if not queue.size:
            self._next()
            return
        started = time.perf_counter_ns()
        if queue.is_stale or started > queue.oldest + queue.patience_ns:
            self._drop_late(started)
            if not queue.size:
                self._next()
                return
        jobs = self._take()
        self._running += len(jobs)
        large = sum([job.elements for job in jobs]) > self._traits.inline_elements
        if self._in_worker or large or not self._inline:
            self._to_worker(jobs)
            return
        self._stats.pending = queue.size + len(jobs)
        try:
            answers = self._work(jobs, started, INLINE_LIMIT_S)
        except CancelledError:
            self._leave_loop()
            self._to_worker(jobs)
            return
        self._judge(time.perf_counter_ns() - started)
        self._next()
        self._deliver(jobs, answers, started)

    def _look_ahead(self) -> None:
        """Give the thread a second batch where it would be full: it need not wait for the event loop between two."""
        if self._in_worker == 1 and not self._ahead and self._queue.size >= self._traits.max_batch:
            self._ahead = True
            self._loop.call_soon(self._turn)

    def _next(self) -> None:
        if self._in_worker:
            self._look_ahead()
        elif not self._queue.size:
            self._busy = False
        elif not self._ahead:
            self._schedule()

    def _work(self, jobs: list[Job], started: int, limit_s: float) -> list[Answer]:
        """Answers of a batch, whatever happens but `CancelledError`: the run was stopped."""
        stats = self._stats
        self._deadline = time.monotonic() + limit_s
        gathered = 0
        stats.begin_run()
        try:
            outcomes, gathered, ended = run_jobs(self.model, jobs)
            self._end_watch()
            answers = [job.render(outcome) for job, outcome in zip(jobs, outcomes, strict=True)]
        except CancelledError:
            raise
        except Exception:
            logger.exception("A run of %s failed unexpectedly", self.model.name)
            ended = time.perf_counter_ns()
            answers = [job.dialect.error(internal_error()) for job in jobs]
        finally:
            self._end_watch()
            stats.end_run()
        if not ended:
            return answers
        begun, count = gathered or started, len(jobs)
        output_ns = time.perf_counter_ns() - ended
        if count == 1:
            rows = jobs[0].rows
            stats.ran(1, rows if answers[0].status == 200 else 0, ended - begun, begun - started, output_ns, rows)
            return answers
        stats.ran(
            count,
            sum([job.rows for job, answer in zip(jobs, answers, strict=True) if answer.status == 200]),
            ended - begun,
            begun - started,
            output_ns,
            sum([job.rows for job in jobs]),
        )
        return answers

    def _end_watch(self) -> None:
        with self._stopping:
            self._deadline = None

    def _deliver(self, jobs: list[Job], answers: list[Answer], started: int) -> None:
        stats = self._stats
        self._running -= len(jobs)
        now = time.perf_counter_ns()
        stats.waited_until([job.arrived for job in jobs], started)
        if now - jobs[0].arrived > self._slow_log.floor:
            self._slow_log.note(jobs, answers, started, now)
        good = [job.arrived for job, answer in zip(jobs, answers, strict=True) if answer.status == 200]
        if good:
            stats.succeeded_at(good, now)
        for job, answer in zip(jobs, answers, strict=True):
            if answer.status != 200:
                stats.answered(answer.status, now - job.arrived)
            job.deliver(answer)
        if not self._busy:
            self._stats.pending = 0
        if self._retired:
            self._tell_idle()

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
        self._in_worker += 1
        self.publish_pending()
        self._batches.put(jobs)
        self._look_ahead()

    def _serve(self) -> None:
        while (jobs := self._batches.get()) is not None:
            started = time.perf_counter_ns()
            try:
                answers = self._work(jobs, started, self._run_limit_s)
            except CancelledError:
                answers = [job.dialect.error(_too_slow(self.model)) for job in jobs]
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for the answers
                self._loop.call_soon_threadsafe(self._back, jobs, answers, started)

    def _back(self, jobs: list[Job], answers: list[Answer], started: int) -> None:
        self._in_worker -= 1
        self._next()
        self._deliver(jobs, answers, started)


def _waited_too_long(model: ServedModel) -> DeadlineError:
    return DeadlineError(
        f"The request waited too long for model {model.name} and was not run.",
        hint="Try again later, or allow a longer timeout.",
        code="deadline.queue",
    )


def _too_slow(model: ServedModel) -> DeadlineError:
    return DeadlineError(
        f"Model {model.name} took too long on this request and was stopped.", hint="Send smaller or other inputs."
    )


def internal_error() -> QuickServeError:
    """The error for what should not happen; the log has the details."""
    return QuickServeError("The server failed on this request.", hint="Its log says why.", code="internal")
