"""Opening: a reference or a path, from the command line or by key, shown without being added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import on

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.tui.flows.base import FlowScreen
from quickserveml_tui.tui.messages import ReferenceResolved
from quickserveml_tui.tui.widgets.status import StatusLine

if TYPE_CHECKING:
    from quickserveml_tui.core.ports import Workbench


class OpeningFlow(FlowScreen):
    """What `quickserveml open REF` and `o` have in common."""

    sequence: int
    """Grows with every change of the selection."""
    opened_file: str
    """File that is shown in place of the version under the cursor."""

    def action_open_reference(self) -> None:
        """Ask for a reference or a path and show it."""
        if self.ready() is None:
            return
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        fields = [
            Field("ref", "open", "", "digits@2, digits@prod#conv1 or model.onnx", path="file", suffixes=(".onnx",))
        ]
        about = "A registered version, by number, label or alias; or a file, which is shown without being added."
        self.app.push_screen(FormDialog("Open", fields, about=about, verb="open"), self._open_form)

    def _open_form(self, values: dict[str, Any] | None) -> None:
        if values is not None and values["ref"]:
            self.open_reference(values["ref"])

    def open_reference(self, ref: str) -> None:
        """Resolve a reference in the background and show what it stands for."""
        workbench = self.workbench
        if workbench is not None:
            self.in_thread(lambda: _resolve(workbench, ref), group="open", doing=f"Opening {ref}")

    @on(ReferenceResolved)
    def show_reference(self, event: ReferenceResolved) -> None:
        """A registered version gets the cursor, a file is shown in the inspector."""
        event.stop()
        resolved = event.resolved
        if event.facts is None:
            self.reload_catalog(resolved.ref)
        else:
            from quickserveml_tui.tui.sheets.model import Subject

            self.sequence += 1
            self.selected, self.ref, self.opened_file = None, resolved.ref, resolved.ref
            self.query_one(StatusLine).breadcrumb = ("file", resolved.ref.rpartition("/")[2])
            self.inspector_pane.show_subject(Subject(resolved.ref.rpartition("/")[2], event.facts))
            self.benchmark_pane.show_selection("", (), "A file is measured once it is added: press a.")
            self.refresh_bindings()
            self.tell("Not in the registry; a adds it", Role.INFO)
        if resolved.node:
            self.inspector_pane.show_tab("layers")
            shown = resolved.ref if event.facts is None else resolved.ref.rpartition("/")[2]
            self.inspector_pane.layer_view.find(resolved.node, shown)
        if resolved.node or event.facts is not None:
            self.show_pane(2)


def _resolve(workbench: Workbench, ref: str) -> ReferenceResolved:
    resolved = workbench.catalog.resolve(ref)
    return ReferenceResolved(resolved, None if resolved.model else workbench.inspect.facts(resolved.ref))
