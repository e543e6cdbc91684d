"""Requests on their way through a model, and the runs that they share."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from quickserveml_tui.core.errors import CancelledError, QuickServeError
from quickserveml_tui.server.answers import Answer
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.services.serving_traits import LARGE_ELEMENTS
from quickserveml_tui.wire.json_tensors import Array
from quickserveml_tui.wire.requests import InferRequest

if TYPE_CHECKING:
    from quickserveml_tui.server.dialects import AnswerForm
    from quickserveml_tui.wire.request_forms import RequestForm

logger = logging.getLogger(__name__)

Outcome: TypeAlias = "Sequence[Any] | QuickServeError | Answer"


class Job:
    """A request on its way through a model; `deliver` is called once, in the event loop."""

    __slots__ = (
        "alone", "arrived", "deadline", "dialect", "elements", "finite", "form", "gone", "model", "request", "rows",
        "text",
    )  # fmt: skip

    request: InferRequest
    """What is asked; its arrays are those of `feeds`."""

    def __init__(self, model: ServedModel, dialect: AnswerForm) -> None:
        self.model = model
        self.dialect = dialect
        self.arrived = time.perf_counter_ns()
        self.deadline = 0
        """When it is too late to run it, by the same clock, where the request says so."""
        self.finite = False
        """Whether the outputs are known to hold no NaN and no infinity."""
        self.gone = False
        """Whether nobody waits for the answer any more."""
        self.form: RequestForm | None = None
        """Set where the numbers are not read yet: they are `text`."""
        self.text = b""

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
        if request.timeout_us:
            self.deadline = self.arrived + request.timeout_us * 1000

    def accept_text(self, form: RequestForm, body: bytes) -> None:
        """Take a request of a known form; its numbers are read when it runs."""
        self.form = form
        self.text = form.text(body)
        self.request = request = form.request
        self.rows, self.elements = form.rows, form.count
        self.alone = form.count > LARGE_ELEMENTS or not self.model.splits(request.plan.names)
        if request.timeout_us:
            self.deadline = self.arrived + request.timeout_us * 1000

    def feeds(self) -> Mapping[str, Array]:
        """The arrays. Raises `DataError` where numbers that are read only now do not fit."""
        form = self.form
        if form is None:
            return self.request.feeds
        feeds = form.feeds((self.text,))
        if feeds is None:
            feeds = self.model.decoder.decode(form.body(self.text)).feeds
        return feeds

    @property
    def request_id(self) -> str:
        """What the request is called in logs."""
        return ""

    def render(self, outcome: Outcome) -> Answer:
        """The answer; called wherever the model ran."""
        if type(outcome) is Answer:
            return outcome
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


def shareable(first: Job, other: Job) -> bool:
    """Whether two requests can be rows of one run."""
    if first.request.plan is not other.request.plan and first.request.plan.names != other.request.plan.names:
        return False
    if first.model.uniform or (first.form is other.form and first.form is not None):
        return True
    if first.form is not None or other.form is not None:
        return False
    feeds = other.request.feeds
    return all(array.shape[1:] == feeds[name].shape[1:] for name, array in first.request.feeds.items())


class Ran(NamedTuple):
    """What a run gave, and when its parts were done, by `time.perf_counter_ns`."""

    outcomes: list[Outcome]
    gathered: int
    """When the arrays were there; 0 where they always were."""
    ended: int
    """0 where the model was not run: no request could be read."""


def run_jobs(model: ServedModel, jobs: Sequence[Job]) -> Ran:
    """Outputs or error of each job, from one run where there are several.

    When the shared run fails each one runs alone, so that only the guilty one gets the error. Raises `CancelledError`
    when a run was stopped.
    """
    if len(jobs) == 1:
        return _run_one(model, jobs[0])
    try:
        return _run_shared(model, jobs)
    except CancelledError:
        raise
    except QuickServeError:
        logger.debug("A batch of %d requests to %s failed; they run one by one", len(jobs), model.name)
    single = [_run_one(model, job) for job in jobs]
    return Ran([outcome for ran in single for outcome in ran.outcomes], 0, max(ran.ended for ran in single))


def _run_one(model: ServedModel, job: Job) -> Ran:
    gathered = 0
    try:
        feeds = job.feeds()
        if job.form is not None:
            gathered = time.perf_counter_ns()
    except QuickServeError as error:
        return Ran([error], 0, 0)
    outcome: Outcome
    try:
        outcome = model.run(feeds, job.request.plan.names)
    except CancelledError:
        raise
    except QuickServeError as error:
        outcome = error
    return Ran([outcome], gathered, time.perf_counter_ns())


def _shared_feeds(jobs: Sequence[Job]) -> Mapping[str, Array]:
    """The rows of all jobs, one after the other. Raises `DataError` where one of them cannot be read."""
    form = jobs[0].form
    if form is not None and all(job.form is form for job in jobs):
        feeds = form.feeds([job.text for job in jobs])
        if feeds is not None:
            return feeds
    single = [job.feeds() for job in jobs]
    return {name: np.concatenate([feeds[name] for feeds in single]) for name in single[0]}


def _run_shared(model: ServedModel, jobs: Sequence[Job]) -> Ran:
    names = jobs[0].request.plan.names
    feeds = _shared_feeds(jobs)
    gathered = time.perf_counter_ns()
    outputs = model.run(feeds, names)
    ended = time.perf_counter_ns()
    total = sum([job.rows for job in jobs])
    if any(output.shape[0] != total for output in outputs):
        raise QuickServeError("A batch came back with another number of rows.")
    # One look at all rows is cheaper than one at each; when it fails each job looks at its own.
    finite = all(output.dtype.kind != "f" or np.isfinite(output).all() for output in outputs)
    dialect = jobs[0].dialect
    if finite and total == len(jobs) and all(job.rows == 1 and job.dialect is dialect for job in jobs):
        answers = dialect.encode_rows(jobs, outputs)
        if answers is not None:
            return Ran(list(answers), gathered, ended)
    results: list[Outcome] = []
    start = 0
    for job in jobs:
        job.finite = finite
        end = start + job.rows
        results.append([output[start:end] for output in outputs])
        start = end
    return Ran(results, gathered, ended)
