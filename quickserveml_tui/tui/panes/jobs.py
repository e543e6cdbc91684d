"""Pane 4: what runs, waits and has ended, and what the last batch showed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widget import Widget

from quickserveml_tui.charts.cells import Role, Span
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.units import format_duration, significant
from quickserveml_tui.tui.jobs import RESUMABLE, JobLane, UiJob
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.base import WorkPane
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.empty import EmptyState
from quickserveml_tui.tui.widgets.ink import say

MAX_SHOWN = 60


class JobItem(Widget):
    """A job's row on a surface that can carry the cursor."""

    DEFAULT_CSS = (
        "JobItem { height: auto; padding: 0 2; } JobItem.-cursor { background: $select; text-style: $cursor-style; }"
    )

    def __init__(self, job: UiJob) -> None:
        from quickserveml_tui.tui.widgets.progress_row import ProgressRow

        super().__init__()
        self.job = job
        self.row = ProgressRow(job.kind, job.subject)

    def compose(self) -> ComposeResult:
        """The row."""
        yield self.row

    def show(self, held: str) -> None:
        """Show the job as it is now."""
        job, progress = self.job, self.job.progress
        state = held if job.state is JobState.QUEUED and held else job.state.value
        keys = [("x", "cancel")] if job.live else []
        if job.state is JobState.LOST:
            keys = [("R", "resume"), ("del", "forget")]
        self.row.show(
            state=state,
            fraction=progress.fraction if job.state is JobState.RUNNING else None,
            right=self._right(state),
            note=self._note(),
            keys=keys,
        )

    def _right(self, state: str) -> Sequence[Span]:
        job, progress = self.job, self.job.progress
        if job.state is JobState.RUNNING:
            if job.cancelling:
                return (Span("cancelling", Role.WARN),)
            if progress.eta_s is not None:
                return (Span(format_duration(progress.eta_s), Role.STRONG, bold=True), Span(" left", Role.MUTED))
            return (say(progress.phase, Role.MUTED),)
        if state == "held":
            return (Span("held", Role.WARN), Span(" while measuring", Role.MUTED))
        if state == "queued":
            return (Span("queued", Role.MUTED),)
        if state == "lost":
            return (Span("lost", Role.WARN),)
        return (say(f"{job.state.value} {job.ended_clock}".rstrip(), Role.MUTED),)

    def _note(self) -> Sequence[Span]:
        job, progress = self.job, self.job.progress
        if job.outcome:
            return (say(job.outcome, Role.ERROR if job.state is JobState.FAILED else Role.MUTED),)
        if job.state is not JobState.RUNNING:
            return ()
        spans: list[Span] = []
        if progress.total and progress.unit:
            spans = [say(f"{progress.done:,.0f}"), say(f" of {progress.total:,.0f} {progress.unit}", Role.MUTED)]
        if progress.rate_per_s:
            lead = "   " if spans else ""
            spans += [
                say(f"{lead}{significant(progress.rate_per_s)}"),
                say(f" {progress.unit}/s".replace(" /", " /"), Role.MUTED),
            ]
        if progress.failed:
            spans += [Span("   "), say(f"{progress.failed:,}", Role.ERROR), Span(" set apart", Role.MUTED)]
        if not spans and progress.note:
            spans = [say(progress.note, Role.MUTED)]
        return tuple(spans)


class JobList(VerticalScroll, can_focus=True):
    """The jobs; takes the focus for all of them."""


class JobsPane(WorkPane):
    """Jobs of this window, and those of the home that other fronts started."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("down,j", "move(1)", "next job", "jobs.next_job", "Move to the next job", show=False),
        bind("up,k", "move(-1)", "previous job", "jobs.previous_job", "Move to the job before", show=False),
        bind("R", "screen.resume_job", "resume", "jobs.resume_job", "Start a lost, failed or cancelled job again"),
        bind("enter", "screen.show_log", "log", "jobs.show_log", "Show the end of the job's log"),
        bind("delete", "screen.clean_job", "forget", "jobs.clean_job", "Forget an ended job and its log; results stay"),
    ]

    class CursorMoved(Message):
        """Another job is under the cursor, or it is in another state."""

        def __init__(self, job: UiJob | None) -> None:
            super().__init__()
            self.job = job

        def can_replace(self, message: Message) -> bool:
            """The newest one stands for all."""
            return isinstance(message, JobsPane.CursorMoved)

    def __init__(self, lane: JobLane) -> None:
        super().__init__(key="4", title="Batch and jobs", id="jobs")
        self.set_reactive(JobsPane.count_text, "no jobs")
        self.lane = lane
        self.cursor: UiJob | None = None
        self._items: dict[str, JobItem] = {}
        self._told: tuple[str, str] = ("", "")

    def compose_body(self) -> ComposeResult:
        """What would be here."""
        yield EmptyState(
            "Data sets, scans and everything else that takes a while",
            [("r", "runs a data set through the model")],
            id="jobs-empty",
        )

    def compose_rest(self) -> ComposeResult:
        """Jobs, and facts of the one under the cursor."""
        from quickserveml_tui.tui.widgets.shelf import Shelf

        yield JobList(id="job-list", classes="-bleed")
        yield Shelf(Sheet(id="job-sheet"), id="job-shelf")

    def on_furnished(self) -> None:
        """Nothing runs yet."""
        self.refresh_jobs()

    def focus_body(self) -> None:
        """Move the focus to what is shown."""
        self.screen.set_focus(self.query_one("#job-list" if self._items else "#jobs-empty"))

    def on_resize(self, event: events.Resize) -> None:
        """The shelf needs room."""
        height = event.size.height - (0 if self.screen.has_class("-narrow") else 3)
        self.update_classes({"-low": height < 6, "-compact": height < 14, "-whole": height >= 20})
        self._show_cursor()

    def refresh_jobs(self) -> None:
        """Bring rows in line with the lane."""
        if self.lane.closed:
            return
        had_focus = self.focus_inside
        jobs = self.lane.jobs[:MAX_SHOWN]
        wanted = {job.id for job in jobs}
        listing = self.query_one("#job-list", JobList)
        for gone in [item for key, item in self._items.items() if key not in wanted]:
            del self._items[gone.job.id]
            gone.remove()
        for job in jobs:
            if job.id not in self._items:
                self._items[job.id] = JobItem(job)
                listing.mount(self._items[job.id])
        for index, job in enumerate(jobs):
            item = self._items[job.id]
            if index < len(listing.children) and listing.children[index] is not item:
                listing.move_child(item, before=index)
            item.show(self.lane.hold_reason(job))
        if jobs and self.cursor not in jobs:
            self.cursor = jobs[0]
        self.query_one("#jobs-empty").display = not jobs
        listing.display = bool(jobs)
        self._show_counts()
        self._show_cursor()
        if had_focus and not self.focus_inside:
            self.focus_body()

    def follow(self, job: UiJob) -> None:
        """Put the cursor on a job."""
        self.cursor = job
        self._show_cursor()

    def _show_counts(self) -> None:
        counts = Counter(job.state for job in self.lane.jobs)
        running, waiting, lost = counts[JobState.RUNNING], counts[JobState.QUEUED], counts[JobState.LOST]
        words = [
            f"{count:,} {word}" for count, word in ((running, "running"), (waiting, "waiting"), (lost, "lost")) if count
        ]
        ended = counts.total() - running - waiting - lost
        if not words and ended:
            words.append(f"{ended:,} ended")
        self.count_text = "   ".join(words) or "no jobs"

    def _show_cursor(self) -> None:
        if not self.furnished:
            return
        from quickserveml_tui.core.predictions import BatchResult
        from quickserveml_tui.tui.sheets.runs import batch_rows
        from quickserveml_tui.tui.widgets.shelf import Shelf

        for item in self._items.values():
            item.set_class(item.job is self.cursor and self.focus_inside, "-cursor")
        job = self.cursor
        state = (job.id, job.state.value) if job is not None else ("", "")
        if state != self._told:
            self._told = state
            self.post_message(self.CursorMoved(job))
        shelf = self.query_one("#job-shelf", Shelf)
        result = job.result if job is not None else None
        shelf.display = isinstance(result, BatchResult) and not self.has_class("-compact")
        self.set_class(shelf.display, "-shelved")
        if isinstance(result, BatchResult):
            whole = self.has_class("-whole")
            self.query_one("#job-sheet", Sheet).show(
                lambda width, glyphs: batch_rows(result, width, glyphs, whole=whole)
            )

    def on_descendant_focus(self) -> None:
        """The cursor shows while the focus is here."""
        self._show_cursor()

    def on_descendant_blur(self) -> None:
        """The cursor goes with the focus."""
        self.call_after_refresh(self._show_cursor)

    def reason_against(self, action: str) -> str:
        """Why an action does nothing now."""
        job = self.cursor
        if action not in ("resume_job", "clean_job", "show_log"):
            return ""
        if job is None:
            return "No job is under the cursor."
        if action == "show_log":
            return "" if job.record_id else "It has no log: it runs in this window, and says all in its row."
        if job.live:
            return "It runs or waits; x cancels it."
        if action == "resume_job" and job.state not in RESUMABLE:
            return "It is done; only a lost, failed or cancelled job is resumed."
        if action == "resume_job" and not job.record_id:
            return "It ended with the process that it ran in; start it anew."
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's own
        """Greyed, never hidden."""
        return None if self.reason_against(action) else True

    def action_move(self, by: int) -> None:
        """Move the cursor by some jobs."""
        jobs = list(self.lane.jobs[:MAX_SHOWN])
        if not jobs:
            return
        at = jobs.index(self.cursor) if self.cursor in jobs else 0
        self.cursor = jobs[min(max(at + by, 0), len(jobs) - 1)]
        self._show_cursor()
        self._items[self.cursor.id].scroll_visible(animate=False)
