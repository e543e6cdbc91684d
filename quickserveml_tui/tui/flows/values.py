"""Values: made-up inputs that are kept with a version, one run, its outputs saved."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.tui.drops import expanded
from quickserveml_tui.tui.flows.base import FlowScreen
from quickserveml_tui.tui.jobs import UiJob
from quickserveml_tui.tui.messages import ActionDone

if TYPE_CHECKING:
    from quickserveml_tui.core.feeds import FeedSpec
    from quickserveml_tui.core.jobs import CancelToken
    from quickserveml_tui.core.predictions import Prediction
    from quickserveml_tui.tui.sheets.values import ValueWords

VALUE_FILES = (".npz", ".json")


class ShownRun:
    """One run with its outputs in words."""

    def __init__(
        self, prediction: Prediction, words: tuple[ValueWords, ...], inputs: Path | None, feed: FeedSpec,
        fed: str = "",
    ) -> None:  # fmt: skip
        self.prediction = prediction
        self.words = words
        self.inputs = inputs
        """File that the inputs came from; None for made-up ones."""
        self.feed = feed
        """How they were made up, with what was kept with the version."""
        self.fed = fed
        """What they were, in words."""


def _check_data(values: dict[str, str]) -> dict[str, Any]:
    path = Path(expanded(values["inputs"])).absolute() if values["inputs"] else None
    if path is not None and path.suffix.lower() not in VALUE_FILES:
        raise UsageError("Inputs come from an NPZ or a JSON file.", hint="Its name ends in .npz or .json.")
    if path is not None and not path.is_file():
        raise UsageError(f"There is no file “{safe_text(path.name, 120)}” there.", hint="tab completes a path.")
    seed = values["seed"]
    if seed and (not (seed.isascii() and seed.isdigit()) or int(seed[:12]) >= 2**32):
        raise UsageError("The seed is a whole number from 0 to 4,294,967,295.", hint="Empty takes the kept one.")
    return {"inputs": path, "seed": int(seed) if seed else 0}


def _check_target(values: dict[str, str]) -> dict[str, Any]:
    path = Path(expanded(values["path"])).absolute() if values["path"] else None
    if path is None or path.suffix.lower() not in VALUE_FILES:
        raise UsageError("Outputs are written to an NPZ or a JSON file.", hint="Its name ends in .npz or .json.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder “{safe_text(path.parent, 120)}”.", hint="tab completes a path.")
    return {"path": path}


class ValuesFlow(FlowScreen):
    """`f` changes what goes in, `p` shows what comes out."""

    # ---- inputs

    def action_edit_inputs(self) -> None:
        """Change the made-up inputs of the version under the cursor."""
        from quickserveml_tui.tui.screens.inputs import InputsForm

        workbench, row = self.ready(), self.selected
        if workbench is None or row is None:
            return
        ref = row.ref

        def save(result: dict[str, Any], cancel: CancelToken) -> None:
            workbench.catalog.set_feed(ref, result["feed"], cancel=cancel)

        def saved(result: dict[str, Any] | None) -> None:
            if result is not None:
                words = "back to what the model says" if result["feed"] == type(result["feed"])() else "kept"
                self.post_message(ActionDone(f"Inputs of {ref} {words}", ref))

        self.app.push_screen(InputsForm(ref, row.version.facts.inputs, row.version.feed, save), saved)

    # ---- one run

    def action_run_once(self) -> None:
        """Run what is shown once on made-up inputs."""
        self._run_once(None, None)

    def action_run_file(self) -> None:
        """Ask for inputs or a seed, and run what is shown once."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        if self.ready() is None or not self.ref:
            return
        fields = [
            Field("inputs", "inputs", "", "made up; an .npz or .json file", path="file", suffixes=VALUE_FILES),
            Field("seed", "seed", "", "as kept with the version, else 0"),
        ]
        form = FormDialog("Run once", fields, verb="run", check=_check_data, right=self._shown_name())
        self.app.push_screen(form, self._run_form)

    def _run_form(self, values: dict[str, Any] | None) -> None:
        from quickserveml_tui.core.feeds import FeedSpec

        if values is not None:
            self._run_once(values["inputs"], FeedSpec(seed=values["seed"]))

    def _shown_name(self) -> str:
        shown = self.inspector_pane.shown
        return shown.ref if shown is not None else self.ref

    def _run_once(self, inputs: Path | None, feed: FeedSpec | None) -> None:
        from quickserveml_tui.core.feeds import FeedSpec

        workbench, ref = self.ready(), self.ref
        if workbench is None or not ref:
            return
        row = self.selected
        asked = (feed or FeedSpec()).over(row.version.feed if row is not None and row.ref == ref else FeedSpec())

        def work(job: UiJob) -> ShownRun:
            from quickserveml_tui.tui.sheets.values import describe_outputs, fed_words

            found = workbench.predict.predict(ref, inputs=inputs, feed=asked, keep_inputs=True, cancel=job.cancel)
            fed = fed_words(found.inputs)
            found = replace(found, inputs={})  # only what they were is shown; they may be large
            return ShownRun(found, describe_outputs(found.outputs, found.dtypes), inputs, asked, fed)

        self.submit_once(UiJob("run", self._shown_name(), work, detail=ref))

    def show_outcome(self, job: UiJob) -> None:
        """Outputs are shown at once, and held no longer than they are looked at."""
        super().show_outcome(job)
        if not isinstance(job.result, ShownRun):
            return
        run, job.result = job.result, None
        if self.app.screen is self:
            self._show_outputs(run)
        else:
            self.tell("The run is over; p runs it again and shows its outputs", Role.INFO)

    def _show_outputs(self, run: ShownRun) -> None:
        from quickserveml_tui.tui.screens.outputs import OutputsDialog

        registered = self.selected is not None and self.selected.ref == run.prediction.ref
        why = "" if registered else "Golden outputs belong to a version; a adds the file."
        why = self.why_read_only() or why
        dialog = OutputsDialog(run.prediction, run.words, fed=run.fed, why_not_record=why)
        self.app.push_screen(dialog, lambda way: self._after_outputs(way, run))

    def _after_outputs(self, way: str | None, run: ShownRun) -> None:
        if way == "save":
            self._ask_where(run)
        elif way == "record":
            self.record_golden_of(run.prediction.ref, run.inputs, run.feed)

    def _ask_where(self, run: ShownRun) -> None:
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        name = safe_text(run.prediction.ref.rpartition("/")[2].replace("@", "-"), 80)
        start = str(Path.cwd() / f"{name}-outputs.npz")
        fields = [Field("path", "write to", start, path="file", suffixes=VALUE_FILES)]
        about = "NPZ keeps every value exactly; JSON can be read without a program."
        form = FormDialog("Save the outputs", fields, about=about, verb="save", check=_check_target)
        self.app.push_screen(form, lambda values: self._save_form(values, run))

    def _save_form(self, values: dict[str, Any] | None, run: ShownRun) -> None:
        if values is None:
            self._show_outputs(run)
            return
        path: Path = values["path"]
        if not os.path.lexists(path):
            self._save(run, path, overwrite=False)
            return
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        words = f"{safe_text(path, 200)} is there already. Its content is replaced and cannot be brought back."
        self.app.push_screen(
            ConfirmDialog("Overwrite the file?", words, key="y", verb="overwrite"),
            lambda sure: self._save(run, path, overwrite=True) if sure else self._show_outputs(run),
        )

    def _save(self, run: ShownRun, path: Path, *, overwrite: bool) -> None:
        workbench = self.workbench
        if workbench is None:
            return

        def save() -> ActionDone:
            workbench.predict.save(run.prediction, path, overwrite=overwrite)
            return ActionDone(f"Wrote {safe_text(path, 200)}")

        self.in_thread(save, group="save-values", doing=f"Writing {path.name}", exclusive=False)
