"""Golden outputs: recorded, checked, removed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.golden import GoldenReport
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.tui.drops import expanded
from quickserveml_tui.tui.flows.base import FlowScreen
from quickserveml_tui.tui.jobs import UiJob
from quickserveml_tui.tui.messages import ActionDone

if TYPE_CHECKING:
    from quickserveml_tui.core.feeds import FeedSpec
    from quickserveml_tui.core.models import GoldenOutput

VALUE_FILES = (".npz", ".json")
MAX_REPORTS = 50


def _file(text: str, what: str) -> Path | None:
    if not text:
        return None
    path = Path(expanded(text)).absolute()
    if path.suffix.lower() not in VALUE_FILES:
        raise UsageError(f"{what} come from an NPZ or a JSON file.", hint="Its name ends in .npz or .json.")
    if not path.is_file():
        raise UsageError(f"There is no file “{safe_text(path.name, 120)}” there.", hint="tab completes a path.")
    return path


def _tolerance(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(f"{what} is a number from 0 on, not “{safe_text(text, 40)}”.", hint="Write it like 1e-4.")
    return value


def _name(text: str, taken: frozenset[str]) -> str:
    """A name that the service will take, so that the form still stands when it will not."""
    from quickserveml_tui.core.refs import check_tag

    try:
        name = check_tag(text) if text else ""
    except UsageError as error:
        raise UsageError(f"“{safe_text(text, 60)}” cannot name a golden output.", hint=error.hint) from error
    if name.lower() in taken:
        raise UsageError(f"There is a golden output “{name}” already.", hint="Choose another name.")
    return name


def _check_record(values: dict[str, str], taken: frozenset[str] = frozenset()) -> dict[str, Any]:
    return {
        "name": _name(values["name"], taken),
        "inputs": _file(values["inputs"], "Inputs"),
        "outputs": _file(values["outputs"], "Outputs"),
        "rtol": _tolerance(values["rtol"] or "1e-4", "The relative tolerance"),
        "atol": _tolerance(values["atol"] or "1e-5", "The absolute tolerance"),
        "notes": values["notes"],
    }


class GoldenFlow(FlowScreen):
    """What `n`, `V` and the keys of the golden tab do."""

    def action_record_golden(self) -> None:
        """Record a golden output of the version under the cursor."""
        if self.selected is not None:
            self.record_golden_of(self.selected.ref, None)

    def record_golden_of(self, ref: str, inputs: Path | None, feed: FeedSpec | None = None) -> None:
        """Ask how, and record a golden output; `feed` makes the inputs where no file is named."""
        from quickserveml_tui.tui.feed_fields import made_up
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        if self.ready() is None:
            return
        row = self.selected
        known = row.version.golden if row is not None and row.ref == ref else ()
        taken = frozenset(item.name.lower() for item in known)
        start = "" if inputs is None else str(inputs)
        fields = [
            Field("name", "name", "", "default"),
            Field("inputs", "inputs", start, made_up(feed), path="file", suffixes=VALUE_FILES),
            Field("outputs", "expected", "", "what the model answers now", path="file", suffixes=VALUE_FILES),
            Field("rtol", "relative", "1e-4", "1e-4"),
            Field("atol", "absolute", "1e-5", "1e-5"),
            Field("notes", "notes", "", "none"),
        ]
        about = "Runs the model twice on these inputs; both must agree. Checked again where the version is put to use."
        form = FormDialog(
            "Record a golden output", fields, about=about, verb="record", right=ref,
            check=lambda values: _check_record(values, taken),
        )  # fmt: skip
        self.app.push_screen(form, lambda values: self._record(ref, values, feed))

    def _record(self, ref: str, values: dict[str, Any] | None, feed: FeedSpec | None) -> None:
        from quickserveml_tui.core.feeds import FeedSpec

        workbench = self.workbench
        if values is None or workbench is None:
            return
        made = feed if feed is not None and values["inputs"] is None else FeedSpec()

        def work(job: UiJob) -> GoldenOutput:
            return workbench.golden.record(
                ref, values["name"], inputs=values["inputs"], outputs=values["outputs"], feed=made,
                rtol=values["rtol"], atol=values["atol"], notes=values["notes"], cancel=job.cancel,
            )  # fmt: skip

        if self.submit_once(UiJob("recording", ref, work, detail=ref)):
            self.inspector_pane.show_tab("golden")

    def action_verify_golden(self) -> None:
        """Run all golden outputs of the version again."""
        from quickserveml_tui.tui.reporting import Reporter

        workbench, row = self.ready(), self.selected
        if workbench is None or row is None:
            return
        ref = row.ref

        def work(job: UiJob) -> GoldenReport:
            progress = Reporter(self.post_message, job).progress
            return workbench.golden.verify(ref, on_progress=progress, cancel=job.cancel)

        if self.submit_once(UiJob("verification", ref, work, detail=ref)):
            self.inspector_pane.show_tab("golden")

    def show_outcome(self, job: UiJob) -> None:
        """What a check found stands beside each golden output."""
        super().show_outcome(job)
        if not isinstance(job.result, GoldenReport):
            return
        ref = str(job.detail)
        self.reports[ref] = job.result
        self.reports.move_to_end(ref)
        while len(self.reports) > MAX_REPORTS:
            self.reports.popitem(last=False)
        if self.selected is not None and self.selected.ref == ref:
            self.inspector_pane.show_report(job.result)

    def action_show_check(self) -> None:
        """Show what the last check found, in full."""
        from quickserveml_tui.tui.screens.report import ReportDialog
        from quickserveml_tui.tui.sheets.golden import golden_rows, report_text

        view = self.inspector_pane.golden_view
        item = view.current
        if item is None:
            return
        check, report = view.check_of(item), view.report
        text = report_text(report) if report is not None else f"{item.name}\t{item.source}\t{item.created_at}"
        dialog = ReportDialog(
            f"Golden output {safe_text(item.name, 60)}",
            lambda width, glyphs: golden_rows(item, check, width, glyphs), text, right=self.ref,
        )  # fmt: skip
        self.app.push_screen(dialog)

    def action_remove_golden(self) -> None:
        """Remove the golden output under the cursor, after asking."""
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        workbench, row, item = self.ready(), self.selected, self.inspector_pane.golden_view.current
        if workbench is None or row is None or item is None:
            return
        ref, name = row.ref, item.name

        def work() -> ActionDone:
            workbench.golden.remove(ref, name)
            return ActionDone(f"Golden output {name} removed", ref)

        def confirmed(sure: bool | None) -> None:
            if sure:
                self.in_thread(work, group="change", doing=f"Removing {name}", exclusive=False)

        words = f"Its inputs and expected outputs go, and {ref} is no longer checked against them. This has no undo."
        self.app.push_screen(ConfirmDialog(f"Remove {safe_text(name, 60)}?", words, key="y", verb="remove"), confirmed)

    def why_no_golden(self, action: str) -> str:
        """Why a key of the golden tab does nothing now."""
        row = self.selected
        if row is None:
            return "Golden outputs belong to a version of the catalog." if self.ref else "No model is picked."
        if action == "verify_golden" and not row.version.golden:
            return f"{row.ref} has no golden outputs; n records one."
        return ""
