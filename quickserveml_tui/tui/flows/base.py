"""What all flows share: the panes, the services once they are there, and calls in worker threads."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.jobs import Progress
from quickserveml_tui.tui.flows.calls import CallingScreen, as_error, log
from quickserveml_tui.tui.jobs import JobLane, UiJob
from quickserveml_tui.tui.memory import UiMemory
from quickserveml_tui.tui.messages import JobEnded
from quickserveml_tui.tui.panes.benchmark import BenchmarkPane
from quickserveml_tui.tui.panes.catalog import CatalogPane
from quickserveml_tui.tui.panes.inspector import InspectorPane
from quickserveml_tui.tui.panes.jobs import JobsPane
from quickserveml_tui.tui.widgets.status import HeaderBar

if TYPE_CHECKING:
    from quickserveml_tui.core.care import HomeHealth
    from quickserveml_tui.core.feeds import FeedSpec
    from quickserveml_tui.core.golden import GoldenReport
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.tui.panes.catalog_rows import CatalogRow


def clock() -> str:
    """The time of day, as the status line shows it."""
    return time.strftime("%H:%M")


@dataclass(frozen=True)
class ToldError:
    """An error that a toast told of."""

    error: QuickServeError
    doing: str
    ref: str
    """What was selected then."""
    anywhere: bool = False
    """Whether it has nothing to do with what is selected."""


class FlowScreen(CallingScreen):
    """Base of the flows; the workbench screen is made of all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.workbench: Workbench | None = None
        self.lane = JobLane()
        self.selected: CatalogRow | None = None
        self.ref = ""
        """What the inspector shows."""
        self.health: HomeHealth | None = None
        """What is known of the home; None until it was looked at."""
        self.reports: OrderedDict[str, GoldenReport] = OrderedDict()
        """What the last checks of golden outputs found in this session, by version."""
        self.last_error: ToldError | None = None
        """The error that was told last, until it was read."""

    @property
    def memory(self) -> UiMemory:
        """What is remembered between sessions."""
        return self.owner.memory

    @property
    def read_only(self) -> bool:
        """Whether nothing may be written."""
        return self.owner.options.read_only or (self.health is not None and self.health.read_only)

    @property
    def catalog_pane(self) -> CatalogPane:
        """Pane 1."""
        return self.query_one(CatalogPane)

    @property
    def inspector_pane(self) -> InspectorPane:
        """Pane 2."""
        return self.query_one(InspectorPane)

    @property
    def benchmark_pane(self) -> BenchmarkPane:
        """Pane 3."""
        return self.query_one(BenchmarkPane)

    @property
    def jobs_pane(self) -> JobsPane:
        """Pane 4."""
        return self.query_one(JobsPane)

    def show_pane(self, number: int) -> None:
        """Bring a pane to the front and give it the focus."""
        raise NotImplementedError

    def reveal_pane(self, number: int) -> None:
        """Bring a pane to the front where it cannot be seen; the focus stays where all panes are in view."""
        raise NotImplementedError

    def tell_error(self, error: QuickServeError, doing: str = "", *, anywhere: bool = False) -> None:
        """A toast with what, why and the next step; the first sentence stays in the status line."""
        log.warning("%s: %s (%s)", doing or "call", error.message, error.code)
        self.tell(error.message, Role.ERROR)
        self.last_error = ToldError(error, doing, self.ref, anywhere)
        words = "\n".join(filter(None, (error.message, error.hint, "w says more." if error.detail else "")))
        self.refresh_bindings()
        self.toast_words(words)

    # ---- work

    def ready(self) -> Workbench | None:
        """The services, or None with a word to the user while they load."""
        if self.workbench is None:
            self.tell("Still loading; one moment", Role.INFO)
        return self.workbench

    # ---- jobs

    def submit_once(self, job: UiJob) -> bool:
        """Put a job on the lane unless an equal one is under way; False when it was refused."""
        if any(other.kind == job.kind and other.subject == job.subject for other in self.lane.own):
            self.tell(f"{job.kind.capitalize()} of {job.subject} is under way already; x cancels it", Role.INFO)
            return False
        return self.submit(job)

    def submit(self, job: UiJob) -> bool:
        """Put a job on the lane and start it when nothing else runs; False when it was refused."""
        try:
            self.lane.submit(job)
        except QuickServeError as error:
            self.tell_error(error)
            return False
        self.start_jobs()
        blocker = self.lane.in_the_way(job) if job.started is None else None
        if blocker is not None:
            self.tell(f"{job.kind.capitalize()} waits until the {blocker.kind} ends", Role.INFO)
        return True

    def start_jobs(self) -> None:
        """Start the next job if nothing runs, and show the lane."""
        job = self.lane.start_next()
        if job is not None:
            self.owner.heartbeat.wake()
            self.job_started(job)
            self.run_worker(lambda: self._work(job), group=f"job-{job.id}", thread=True, exit_on_error=False)
        self.jobs_pane.refresh_jobs()
        self.refresh_bindings()

    def _work(self, job: UiJob) -> None:
        result: Any = None
        failure: QuickServeError | None = None
        try:
            result = job.work(job)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said in the job's row
            if not isinstance(error, QuickServeError):
                log.exception("job %s of %s failed", job.kind, job.subject)
            failure = as_error(error)
        self.post_message(JobEnded(job, result, failure))

    def job_started(self, job: UiJob) -> None:
        """A job leaves the queue; the benchmark's flow shows its pane."""
        job.progress = Progress("starting")

    def refresh_bindings(self) -> None:
        """Keys may be greyed or not."""
        super().refresh_bindings()

    def header(self) -> HeaderBar:
        """The header."""
        return self.query_one(HeaderBar)

    def reload_catalog(self, select: str = "") -> None:
        """Read the catalog again."""
        raise NotImplementedError

    def show_outcome(self, job: UiJob) -> None:
        """Show what an ended job gave, where that is more than a sentence."""

    def action_convert_version(self) -> None:
        """Ask how, and convert the version under the cursor."""
        raise NotImplementedError

    def record_golden_of(self, ref: str, inputs: Path | None, feed: FeedSpec | None = None) -> None:
        """Ask how, and record a golden output."""
        raise NotImplementedError

    def why_read_only(self) -> str:
        """Why nothing can be written, in one sentence; empty when it can."""
        raise NotImplementedError

    def reason_against(self, action: str) -> str:
        """Why an action does nothing now, in one sentence; empty when it does."""
        raise NotImplementedError

    def note_deletion(self, trash_ids: Sequence[str]) -> None:
        """Remember what `u` brings back."""
        raise NotImplementedError

    def read_jobs(self) -> None:
        """Read the home's jobs."""
        raise NotImplementedError
