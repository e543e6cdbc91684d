"""Jobs of the home, whoever started them: shown, followed while they run, cancelled, resumed, cleaned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.jobs import CancelToken, JobState
from quickserveml_tui.core.text import safe_lines
from quickserveml_tui.tui.flows.base import FlowScreen, clock
from quickserveml_tui.tui.flows.calls import log
from quickserveml_tui.tui.messages import FollowEnded, HomeJobsRead, JobResultRead, LogRead
from quickserveml_tui.tui.panes.jobs import JobsPane

if TYPE_CHECKING:
    from textual.timer import Timer

    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.tui.jobs import UiJob

POLL_S = 0.5
MAX_READ = 60
LOG_LINES = 200


class HomeJobsFlow(FlowScreen):
    """Reads the list of jobs when something changed, and twice a second while one of another front runs."""

    def __init__(self) -> None:
        super().__init__()
        self.followed: UiJob | None = None
        """The job of another front that the benchmark pane draws."""
        self._follow_end = CancelToken()
        self._next_read: Timer | None = None

    @property
    def charted(self) -> UiJob | None:
        """The benchmark that pane 3 draws now."""
        running = self.lane.running
        return running if running is not None and running.kind == "benchmark" else self.followed

    # ---- reading

    def read_jobs(self) -> None:
        """Read the home's jobs in the background."""
        workbench = self.workbench
        if workbench is None:
            return
        if self._next_read is not None:
            self._next_read.stop()
            self._next_read = None
        self.in_thread(lambda: _read(workbench), group="home-jobs", doing="Reading the jobs")

    @on(HomeJobsRead)
    def show_jobs(self, event: HomeJobsRead) -> None:
        """Show them, tell of those that ended, and go on while one is live."""
        event.stop()
        if self.lane.closed:
            return
        waited = self.lane.waiting
        ended = self.lane.take_records(event.records)
        for job in ended:
            role = Role.OK if job.state is JobState.DONE else Role.WARN
            self.tell(f"{job.kind.capitalize()} {job.subject}: {job.outcome or job.state.value}", role)
        if waited:
            self.start_jobs()
        self.jobs_pane.refresh_jobs()
        self.refresh_bindings()
        self._follow()
        if ended:
            self.reload_catalog()
        if self.lane.follows_any:
            self._next_read = self.set_timer(POLL_S, self.read_jobs)

    # ---- following

    @on(JobsPane.CursorMoved)
    def look_at_job(self, event: JobsPane.CursorMoved) -> None:
        """A running benchmark is drawn, an ended batch shows its result."""
        event.stop()
        self._follow()
        job, workbench = event.job, self.workbench
        if job is not None and workbench is not None and job.record is not None and job.result is None:
            record = job.record
            if record.result_id and not record.live and record.kind.value == "batch":
                self.in_thread(
                    lambda: JobResultRead(job, workbench.batch.get(record.result_id)),
                    group="job-result", doing=f"Reading the result of {job.subject}",
                )  # fmt: skip

    @on(JobResultRead)
    def show_job_result(self, event: JobResultRead) -> None:
        """Facts of the job under the cursor."""
        event.stop()
        event.job.result = event.result
        self.jobs_pane.refresh_jobs()

    def _follow(self) -> None:
        """Draw the running benchmark under the cursor of pane 4, unless this lane measures something itself."""
        workbench, job = self.workbench, self.jobs_pane.cursor
        wanted = job if job is not None and job.elsewhere and job.kind == "benchmark" else None
        if wanted is not None and (wanted.state is not JobState.RUNNING or self.lane.running is not None):
            wanted = self.followed if wanted is self.followed else None
        if wanted is self.followed or workbench is None:
            return
        self._follow_end.cancel()
        if self.followed is not None and self.lane.running is None:
            self.benchmark_pane.finish(None)
            self.show_benchmark_of_selection()
        self.followed, self._follow_end = wanted, CancelToken()
        if wanted is None or wanted.request is None or wanted.request.benchmark is None:
            return
        end, followed = self._follow_end, wanted
        self.benchmark_pane.begin(wanted.request.ref, wanted.request.benchmark)
        self.run_worker(
            lambda: self._watch(workbench, followed, end), group=f"job-{followed.id}", thread=True, exit_on_error=False
        )

    def _watch(self, workbench: Workbench, job: UiJob, end: CancelToken) -> None:
        from quickserveml_tui.tui.flows.detached import result_of
        from quickserveml_tui.tui.reporting import Reporter

        reporter = Reporter(self.post_message, job)
        run = None
        try:
            record = workbench.jobs.watch(job.record_id, on_frame=reporter.frame, detach=end)
            reporter.flush()
            run = None if record.live else result_of(workbench, record)
        except QuickServeError as error:
            log.info("%s of another front: %s", job.record_id, error.message)
        self.post_message(FollowEnded(job, run))

    @on(FollowEnded)
    def end_following(self, event: FollowEnded) -> None:
        """Show the result in place of the live chart."""
        event.stop()
        if event.job is not self.followed or self.lane.closed:
            return
        self.followed = None
        self.benchmark_pane.finish(event.run)
        if event.run is None:
            self.show_benchmark_of_selection()
        self.read_jobs()
        self.reload_catalog()

    def show_benchmark_of_selection(self) -> None:
        """Give pane 3 back to the version under the cursor of the catalog."""
        if self.selected is not None:
            self.benchmark_pane.show_selection(self.ref, self.benchmark_pane.history)

    def stop_following(self) -> None:
        """End the watching; the jobs go on."""
        self._follow_end.cancel()
        if self._next_read is not None:
            self._next_read.stop()

    # ---- keys

    def action_cancel_job(self) -> None:
        """Cancel the job under the cursor of pane 4, else the running one."""
        chosen = self.jobs_pane.cursor if self.jobs_pane.focus_inside else None
        job = chosen if chosen is not None and chosen.live else next(iter(self.lane.own), None)
        job = job or next((item for item in self.lane.jobs if item.live), None)
        if job is None:
            return
        self.tell(f"Cancelling {job.kind} {job.subject}", Role.WARN)
        if job.elsewhere:
            job.cancel.cancel()
            self._change_job(job, "cancel")
        else:
            self.lane.cancel(job, clock())
        self.jobs_pane.refresh_jobs()
        self.refresh_bindings()

    def action_resume_job(self) -> None:
        """Start a lost, failed or cancelled job again."""
        job = self.jobs_pane.cursor
        if job is not None:
            self._change_job(job, "resume")
            self.tell(f"Resuming {job.kind} {job.subject}", Role.INFO)

    def action_clean_job(self) -> None:
        """Forget an ended job; asks where that gives up what could be resumed."""
        from quickserveml_tui.tui.jobs import RESUMABLE

        job = self.jobs_pane.cursor
        if job is None:
            return
        if not job.record_id or job.state not in RESUMABLE:
            self._clean(job)
            return
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        words = f"{job.kind.capitalize()} {job.subject} can then no longer be resumed, and its log goes. Results stay."
        self.app.push_screen(
            ConfirmDialog("Forget this job?", words, key="y", verb="forget it"),
            lambda sure: self._clean(job) if sure else None,
        )

    def action_show_log(self) -> None:
        """Show the end of the log of the job under the cursor."""
        job, workbench = self.jobs_pane.cursor, self.workbench
        if job is not None and workbench is not None:
            self.in_thread(
                lambda: LogRead(job, _log_end(workbench, job.record_id)),
                group="job-log", doing=f"Reading the log of {job.subject}",
            )  # fmt: skip

    @on(LogRead)
    def show_log(self, event: LogRead) -> None:
        """The last lines, unless something else was opened meanwhile."""
        from quickserveml_tui.tui.screens.report import ReportDialog
        from quickserveml_tui.tui.sheets.care import log_rows

        event.stop()
        if self.app.screen is self:
            title = f"Log of {event.job.kind} {event.job.subject}"
            self.app.push_screen(ReportDialog(title, log_rows(event.text), event.text, at_end=True))

    def _clean(self, job: UiJob) -> None:
        if job.record_id:
            self._change_job(job, "clean")
        self.lane.forget(job)
        self.jobs_pane.refresh_jobs()
        self.refresh_bindings()

    def _change_job(self, job: UiJob, change: str) -> None:
        workbench, job_id = self.workbench, job.record_id
        if workbench is None:
            return

        def work() -> HomeJobsRead:
            if change == "cancel":
                workbench.jobs.cancel(job_id)
            elif change == "resume":
                workbench.jobs.resume(job_id)
            else:
                workbench.jobs.clean((job_id,))
            return HomeJobsRead(workbench.jobs.list(limit=MAX_READ))

        self.in_thread(work, group=f"change-{job_id}", doing=f"{change.capitalize()} {job.subject}", exclusive=False)


def _log_end(workbench: Workbench, job_id: str) -> str:
    """The last lines of a job's log, without anything a terminal would obey."""
    kept: list[str] = []
    part, offset = workbench.jobs.log(job_id)
    while part:
        joined = (kept.pop() if kept else "") + part
        kept = [*kept, *joined.split("\n")][-LOG_LINES - 1 :]
        part, offset = workbench.jobs.log(job_id, offset)
    return safe_lines("\n".join(kept)).strip("\n")


def _read(workbench: Workbench) -> HomeJobsRead | None:
    try:
        return HomeJobsRead(workbench.jobs.list(limit=MAX_READ))
    except QuickServeError as error:
        log.warning("the jobs cannot be read: %s (%s)", error.message, error.code)
        return None
