"""Opening: a reference or a path, from the command line or by key, shown without being added.

What the header says is shown at once; the totals are counted behind it, and then what takes shape inference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual import on

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.tui.flows.calls import as_error, log
from quickserveml_tui.tui.flows.details import DetailsFlow
from quickserveml_tui.tui.model_messages import HeaderRead, TotalsRead
from quickserveml_tui.tui.widgets.status import StatusLine

if TYPE_CHECKING:
    from quickserveml_tui.core.ports import Workbench


class OpeningFlow(DetailsFlow):
    """What `quickserveml open REF` and `o` have in common."""

    opened_file: str
    """File that is shown in place of the version under the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0

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
            self._asked += 1
            asked = self._asked
            self.in_thread(lambda: _resolve(workbench, ref, asked), group="open", doing=f"Opening {ref}")

    @on(HeaderRead)
    def show_reference(self, event: HeaderRead) -> None:
        """A registered version gets the cursor, a file is shown in the inspector."""
        event.stop()
        if event.asked != self._asked:
            return
        resolved, header = event.resolved, event.header
        shown = resolved.ref if header is None else resolved.ref.rpartition("/")[2]
        if header is None:
            self.reload_catalog(resolved.ref)
        else:
            from quickserveml_tui.tui.sheets.subject import Subject, facts_of_header

            self.sequence += 1
            self.selected, self.ref, self.opened_file = None, resolved.ref, resolved.ref
            self.query_one(StatusLine).breadcrumb = ("file", shown)
            subject = Subject(shown, facts_of_header(header), path=resolved.ref, counting=True)
            self.inspector_pane.show_subject(subject, anew=True)
            self.benchmark_pane.show_selection("", (), "A file is measured once it is added: press a.")
            self.refresh_bindings()
            self.tell("Not in the registry; a adds it", Role.INFO)
            self._count()
            self.load_tab()
            self.read_compatibility()
        if resolved.node:
            self.inspector_pane.show_tab("layers")
            self.inspector_pane.layer_view.find(resolved.node, shown)
        if resolved.node or header is not None:
            self.show_pane(2)

    def _count(self, *, complete: bool = False) -> None:
        """Count parameters and operators of the opened file; `complete`, also its multiply-adds."""
        workbench, ref, sequence = self.workbench, self.ref, self.sequence
        if workbench is None:
            return

        def count() -> TotalsRead:
            read = workbench.inspect.facts if complete else workbench.inspect.totals
            try:
                return TotalsRead(sequence, ref, read(ref), complete=complete)
            except Exception as error:  # noqa: BLE001 - a bad model shows its reason; the app goes on
                if not isinstance(error, QuickServeError):
                    log.exception("totals of %s", ref)
                return TotalsRead(sequence, ref, None, as_error(error), complete)

        self.in_thread(count, group="totals", doing=f"Counting {ref}")

    @on(TotalsRead)
    def show_totals(self, event: TotalsRead) -> None:
        """The totals take the place of `counting…`; what stops the counting is said beside the header."""
        event.stop()
        shown = self.inspector_pane.shown
        if event.sequence != self.sequence or shown is None or shown.path != event.ref:
            return
        if event.facts is not None:
            is_open = not event.complete
            self.inspector_pane.show_subject(replace(shown, facts=event.facts, counting=is_open, counted=True))
            if is_open:
                self._count(complete=True)
        elif event.error is not None:
            self.inspector_pane.show_subject(replace(shown, counting=False, problem=event.error.message))
            self.tell_error(event.error, f"Counting {shown.ref}")


def _resolve(workbench: Workbench, ref: str, asked: int) -> HeaderRead:
    resolved = workbench.catalog.resolve(ref)
    return HeaderRead(asked, resolved, None if resolved.model else workbench.inspect.header(resolved.ref))
