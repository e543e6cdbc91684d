"""Quitting while jobs run: they go on without this window, or end with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.text import plural
from quickserveml_tui.tui.flows.home_jobs import HomeJobsFlow
from quickserveml_tui.tui.messages import QueueHandedOver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.tui.jobs import UiJob


class LeavingFlow(HomeJobsFlow):
    """The question, and what each answer does."""

    def ask_to_quit(self) -> None:
        """Quit at once, unless jobs of this window run."""
        from quickserveml_tui.tui.screens.quit import QuitDialog

        live = self.lane.own
        if not live:
            self.owner.leave()
            return
        lasting = [job for job in live if job.request is not None]
        ending = [job for job in live if job.request is None]
        dialog = QuitDialog(quit_words(lasting, ending), can_keep=bool(lasting))
        self.app.push_screen(dialog, self._quit_chosen)

    def _quit_chosen(self, choice: str | None) -> None:
        if choice == "quit":
            self.owner.leave()
        elif choice == "keep":
            self._keep_running()

    def _keep_running(self) -> None:
        """Hand over what waits, in its order; only then stop watching and leave."""
        workbench = self.workbench
        waiting = [job.request for job in self.lane.own if job.started is None and job.request is not None]
        if workbench is None or not waiting:
            self.post_message(QueueHandedOver(0))
            return
        requests = tuple(waiting)
        self.tell(f"Handing over {plural(len(requests), 'waiting job')}", Role.INFO)
        self.in_thread(
            lambda: QueueHandedOver(len(workbench.jobs.start_all(requests))), group="hand-over",
            doing="Handing over the queue",
        )  # fmt: skip

    @on(QueueHandedOver)
    def leave_behind(self, event: QueueHandedOver) -> None:
        """What can go on does; the rest is cancelled on the way out."""
        event.stop()
        self.owner.leave(keep_jobs=True)


def quit_words(lasting: Sequence[UiJob], ending: Sequence[UiJob]) -> str:
    """What each answer would mean for the jobs that run and wait."""
    parts = []
    if lasting:
        parts.append(f"{plural(len(lasting), 'job')} can go on without this window: {_names(lasting)}.")
    if ending:
        lead = "These end with it in any case" if lasting else "They end with this window"
        parts.append(f"{lead}, what they have so far is kept: {_names(ending)}.")
    return " ".join(parts)


def _names(jobs: Sequence[UiJob]) -> str:
    names = ", ".join(f"{job.kind} {job.subject}" for job in jobs[:3])
    return f"{names} and {len(jobs) - 3} more" if len(jobs) > 3 else names
