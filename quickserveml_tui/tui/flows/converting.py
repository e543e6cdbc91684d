"""Converting: another opset and IR version, as a new version with equal outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.tui.flows.base import FlowScreen
from quickserveml_tui.tui.jobs import UiJob

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import AddResult
    from quickserveml_tui.core.compatibility import Compatibility

MAX_NUMBER = 10_000
ABOUT = "Converted, run beside the original on equal inputs, and added as a new version; the original stays as it is."


def _number(text: str, what: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:6]) <= MAX_NUMBER:
        raise UsageError(
            f"{what} is a whole number from 1 on, not “{safe_text(text, 40)}”.", hint="Empty takes what fits."
        )
    return int(text)


def _check_convert(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_label

    return {
        "opset": _number(values["opset"], "The opset"),
        "ir": _number(values["ir"], "The IR version"),
        "label": check_label(values["label"]) if values["label"] else "",
    }


def _remedy(compatibility: Compatibility | None) -> str:
    remedies = [item.remedy for item in compatibility.mismatches] if compatibility is not None else []
    return f"{safe_text(remedies[0], 200)} {ABOUT}" if remedies and remedies[0] else ABOUT


class ConvertingFlow(FlowScreen):
    """A form, then a job; the cursor goes to the new version."""

    def action_convert_version(self) -> None:
        """Ask for opset, IR version and label, and convert."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        row, shown = self.selected, self.inspector_pane.shown
        if row is None or shown is None or self.ready() is None:
            return
        ref, compatibility = row.ref, shown.compatibility
        takes = compatibility.limits if compatibility is not None else None
        newest = f"newest: {takes.opsets.get('ai.onnx', 0)}" if takes is not None else "the newest that is taken"
        fields = [
            Field("opset", "opset", "", f"{newest}; it has {shown.facts.opsets.get('ai.onnx', 0)}"),
            Field("ir", "IR version", "", f"what fits the opset; it has {shown.facts.ir_version}"),
            Field("label", "label", "", "none; such as 1.2.0"),
        ]
        form = FormDialog(
            "Convert", fields, about=_remedy(compatibility), verb="convert", check=_check_convert, right=ref
        )
        self.app.push_screen(form, lambda values: self._convert(ref, values))

    def _convert(self, ref: str, values: dict[str, Any] | None) -> None:
        from quickserveml_tui.core.compatibility import ConvertRequest
        from quickserveml_tui.tui.reporting import Reporter

        workbench = self.workbench
        if values is None or workbench is None:
            return
        request = ConvertRequest(ref, opset=values["opset"], ir_version=values["ir"], label=values["label"])

        def work(job: UiJob) -> AddResult:
            progress = Reporter(self.post_message, job).progress
            return workbench.convert.convert(request, on_progress=progress, cancel=job.cancel)

        self.submit_once(UiJob("conversion", ref, work))
