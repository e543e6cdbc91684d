"""Why something failed, in full, and another try."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.text import at_home
from quickserveml_tui.tui.flows.base import FlowScreen, ToldError
from quickserveml_tui.tui.jobs import UiJob

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import ModelView
    from quickserveml_tui.core.models import TrialReport


class ReasonFlow(FlowScreen):
    """`w` says why, `W` tries again."""

    def action_show_why(self) -> None:
        """Show the error that was just told, else what the trial of the version found."""
        told, shown = self.last_error, self.inspector_pane.shown
        trial = shown.trial if shown is not None else None
        if told is not None and (told.anywhere or told.ref == self.ref or trial is None):
            self._show_error(told)
        elif trial is not None:
            self._show_trial(trial)
        elif shown is not None:
            self.tell(f"{shown.ref} was not tried; W tries it", Role.INFO)

    def _show_error(self, told: ToldError) -> None:
        from quickserveml_tui.tui.screens.report import WhyDialog
        from quickserveml_tui.tui.sheets.trial import error_rows, error_text

        self.last_error = None
        self.refresh_bindings()
        error, doing = told.error, told.doing
        home = self.workbench.home_to_name if self.workbench is not None else ""
        error.message, error.hint = at_home(error.message, home), at_home(error.hint, home)
        self.app.push_screen(
            WhyDialog(
                "What went wrong", lambda width, glyphs: error_rows(error, doing, width, glyphs),
                error_text(error, doing),
            )
        )  # fmt: skip

    def _show_trial(self, trial: TrialReport) -> None:
        from quickserveml_tui.tui.screens.report import WhyDialog
        from quickserveml_tui.tui.sheets.trial import format_rows, trial_rows, trial_text

        shown = self.inspector_pane.shown
        if shown is None:
            return
        formats = shown.compatibility
        mismatched = formats is not None and not formats.ok and shown.version is not None
        ways = ["retry"] if not self.reason_against("try_again") else []
        if mismatched and not self.reason_against("convert_version"):
            ways.append("convert")
        title = "Why it cannot run" if trial.reason else "What the trial found"
        dialog = WhyDialog(
            title, lambda width, glyphs: [*trial_rows(trial, width, glyphs), *format_rows(formats, width, glyphs)],
            trial_text(shown.ref, trial), ways=ways, right=shown.ref,
        )  # fmt: skip
        self.app.push_screen(dialog, self._go_on)

    def _go_on(self, way: str | None) -> None:
        if way == "retry":
            self.action_try_again()
        elif way == "convert":
            self.action_convert_version()

    def action_try_again(self) -> None:
        """Try the version again, or the opened file for the first time, in a runner of its own."""
        workbench, shown, ref = self.ready(), self.inspector_pane.shown, self.ref
        if workbench is None or shown is None:
            return

        def retry(job: UiJob) -> ModelView:
            return workbench.catalog.retry(ref, cancel=job.cancel)

        def try_file(job: UiJob) -> TrialReport:
            return workbench.inspect.trial(ref, cancel=job.cancel)

        if self.submit_once(UiJob("trial", shown.ref, try_file if shown.path else retry, detail=ref)):
            self.tell(f"Trying {shown.ref}", Role.INFO)

    def show_outcome(self, job: UiJob) -> None:
        """The report of a file's trial stands with the file; that of a version comes with the catalog."""
        from quickserveml_tui.core.models import TrialReport

        super().show_outcome(job)
        shown = self.inspector_pane.shown
        if isinstance(job.result, TrialReport) and shown is not None and shown.path == job.detail:
            self.inspector_pane.show_subject(replace(shown, tried=job.result))
            self.refresh_bindings()
