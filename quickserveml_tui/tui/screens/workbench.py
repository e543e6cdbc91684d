"""The workbench: four panes, their keys, and how they share the screen."""

from __future__ import annotations

import gc
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.widget import Widget

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.tui.flows.adding import AddingFlow
from quickserveml_tui.tui.flows.care import CareFlow
from quickserveml_tui.tui.flows.catalog import CatalogFlow
from quickserveml_tui.tui.flows.converting import ConvertingFlow
from quickserveml_tui.tui.flows.copying import CopyingFlow
from quickserveml_tui.tui.flows.editing import EditingFlow
from quickserveml_tui.tui.flows.golden import GoldenFlow
from quickserveml_tui.tui.flows.health import NEEDS_STATE, WRITES, HealthFlow
from quickserveml_tui.tui.flows.leaving import LeavingFlow
from quickserveml_tui.tui.flows.opening import OpeningFlow
from quickserveml_tui.tui.flows.reasons import ReasonFlow
from quickserveml_tui.tui.flows.running import RunningFlow
from quickserveml_tui.tui.flows.values import ValuesFlow
from quickserveml_tui.tui.messages import BackendFailed, BackendReady, HostSampled
from quickserveml_tui.tui.pane_tabs import PaneTabs
from quickserveml_tui.tui.panes.base import WorkPane
from quickserveml_tui.tui.panes.benchmark import BenchmarkPane
from quickserveml_tui.tui.panes.catalog import CatalogPane
from quickserveml_tui.tui.panes.inspector import InspectorPane
from quickserveml_tui.tui.panes.jobs import JobsPane
from quickserveml_tui.tui.places import PLACES, WORKBENCH
from quickserveml_tui.tui.screens.workbench_keys import KEYS
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.empty import centred
from quickserveml_tui.tui.widgets.ink import say
from quickserveml_tui.tui.widgets.key_footer import KeyFooter
from quickserveml_tui.tui.widgets.status import HeaderBar, StatusLine

LEAST = (60, 16)
NEEDS_MODEL = {
    "run_benchmark", "edit_settings", "run_data", "edit_tags", "edit_categories", "set_alias", "edit_state",
    "delete_version", "export_version", "edit_inputs", "convert_version",
}  # fmt: skip
NEEDS_RUNNABLE = {"run_benchmark", "run_data", "run_once", "run_file", "record_golden", "verify_golden"}
NEEDS_SUBJECT = {"copy_reference", "copy_view", "step_tab", "run_once", "run_file", "try_again"}
"""Actions on what the inspector shows, be it a version or a file."""
GOLDEN = {"record_golden", "verify_golden", "remove_golden"}


class WorkbenchScreen(
    ReasonFlow, ValuesFlow, GoldenFlow, ConvertingFlow, OpeningFlow, AddingFlow, EditingFlow, RunningFlow, LeavingFlow,
    CareFlow, HealthFlow, CopyingFlow, CatalogFlow,
):  # fmt: skip
    """Catalog, inspector, benchmark, jobs."""

    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - declared on the instance by Textual
        (0, "-narrow"),
        (100, "-medium"),
        (140, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012 - the same
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = KEYS

    def __init__(self) -> None:
        super().__init__()
        self.current = 1
        self.add_class("-no-models")

    def fit(self, size: Size) -> None:
        """Take the classes of a size before anything is styled, so that the first frame is styled once."""
        horizontal = self._get_breakpoint_classes(size.width, self.HORIZONTAL_BREAKPOINTS)
        vertical = self._get_breakpoint_classes(size.height, self.VERTICAL_BREAKPOINTS)
        self.add_class(*horizontal, *vertical)

    def compose(self) -> ComposeResult:
        """Header, panes, status, footer."""
        yield HeaderBar(screens=PLACES, current=WORKBENCH)
        yield PaneTabs()
        with Container(id="panes"):
            yield CatalogPane()
            yield InspectorPane()
            yield BenchmarkPane()
            yield JobsPane(self.lane)
        yield StatusLine()
        yield KeyFooter()
        yield Sheet(lambda width, _: [centred([say(self._size_words(), Role.BODY)], width)], id="too-small")

    def on_mount(self) -> None:
        """The first frame; all else comes after it."""
        self.query_one(StatusLine).breadcrumb = ("Workbench", "opening")
        self.show_pane(1)
        self.call_after_refresh(self.furnish)

    async def furnish(self) -> None:
        """The rest of the panes, what the last session remembered, then the services."""
        for pane in self.panes:
            await pane.furnish()
        if not gc.isenabled():  # see `run_workbench`
            gc.freeze()
            gc.enable()
        self.restore()
        self.owner.load_backend()

    def restore(self) -> None:
        """Sorts, tab and settings of the last session; what makes no sense any more is left out."""
        memory = self.memory
        self.catalog_pane.set_sort(memory.catalog_sort)
        self.inspector_pane.layer_view.set_sort(memory.layer_sort)
        self.inspector_pane.show_tab(memory.tab)
        self.restore_spec()

    def on_screen_resume(self) -> None:
        """A dialog was closed: what it held back is said now."""
        self.owner.release_toasts()

    # ---- services

    @on(BackendReady)
    def begin(self, event: BackendReady) -> None:
        """Registry and services are there."""
        event.stop()
        self.workbench = event.workbench
        options = self.owner.options
        self.header().read_only = options.read_only
        self.open_first = options.open_ref
        self.reload_catalog("" if options.fresh else self.memory.ref)
        self.check_health()
        self.read_jobs()
        self.watch_generation(on=True)
        self.sample_host()
        event.workbench.warm_up()
        if options.demo:
            self.action_install_demo()

    @on(BackendFailed)
    def explain(self, event: BackendFailed) -> None:
        """Nothing works without the services: say why, and let the user copy it."""
        from quickserveml_tui.tui.screens.dialog import MessageDialog

        event.stop()
        error = event.error
        self.query_one(StatusLine).breadcrumb = ("Workbench", "cannot open the registry")
        self.app.push_screen(MessageDialog("The registry cannot be opened", error.message, error.hint, error.detail))

    def sample_host(self) -> None:
        """Read the load of the machine; called at starts and ends of work, never by a timer."""
        workbench = self.workbench
        if workbench is not None:
            self.in_thread(lambda: HostSampled(workbench.host.status()), group="host", doing="Reading the host's load")

    @on(HostSampled)
    def show_host(self, event: HostSampled) -> None:
        """Show the load."""
        event.stop()
        self.header().show_host(event.status)

    # ---- panes

    @property
    def panes(self) -> list[WorkPane]:
        """The four panes in their order."""
        return list(self.query(WorkPane))

    def show_pane(self, number: int) -> None:
        """Bring a pane to the front and give it the focus."""
        self._mark_current(number)
        if number in (3, 4):
            self.set_class(number == 4, "-jobs-below")
        self.panes[number - 1].focus_body()
        self._show_tabs()

    def reveal_pane(self, number: int) -> None:
        """Bring a pane to the front where it cannot be seen; the focus stays where all panes are in view."""
        if self.panes[number - 1].region.area == 0:
            self.show_pane(number)

    def action_focus_pane(self, number: int) -> None:
        """Go to a pane by its number."""
        self.show_pane(number)

    def action_step_pane(self, by: int) -> None:
        """Go to the next pane, round."""
        self.show_pane((self.current - 1 + by) % 4 + 1)

    @on(PaneTabs.Chosen)
    def go_to_clicked(self, event: PaneTabs.Chosen) -> None:
        """A click on a tab."""
        event.stop()
        self.show_pane(event.number)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The pane that holds the focus is the current one, however it got there."""
        for index, pane in enumerate(self.panes, 1):
            if pane in event.widget.ancestors_with_self and index != self.current:
                self._mark_current(index)
        self._show_tabs()

    def _mark_current(self, number: int) -> None:
        for index, pane in enumerate(self.panes, 1):
            pane.set_class(index == number, "-current")
        self.set_class(number == 2, "-inspecting")  # where panes share a column, the one that is read gets more room
        self.current = number

    @on(WorkPane.TitleChanged)
    def show_titles(self, event: WorkPane.TitleChanged) -> None:
        """The tab row stands in for titles on a small screen."""
        event.stop()
        self._show_tabs()

    def _show_tabs(self) -> None:
        jobs = sum(job.live for job in self.lane.jobs)
        right = self.panes[self.current - 1].right_spans()
        live = self.benchmark_pane.live_run is not None
        self.query_one(PaneTabs).update_tabs(current=self.current, live=live, jobs=jobs, right=right)

    def action_maximise_pane(self) -> None:
        """Give the focused pane the whole screen, or give it back."""
        self.toggle_class("-maximised")

    def action_leave_view(self) -> None:
        """Esc gives the room back; it never quits."""
        self.remove_class("-maximised")

    def action_step_tab(self, by: int) -> None:
        """Show another tab of the inspector."""
        if self.current != 2:
            self.show_pane(2)
        self.inspector_pane.action_step_tab(by)

    def on_resize(self, event: events.Resize) -> None:
        """Below the least size there is one sentence."""
        tiny = event.size.width < LEAST[0] or event.size.height < LEAST[1]
        self.set_class(tiny, "-tiny")
        self.query_one("#too-small", Sheet).show(lambda width, _: [centred([say(self._size_words())], width)])

    def _size_words(self) -> str:
        return f"The workbench needs {LEAST[0]} × {LEAST[1]}; this is {self.size.width} × {self.size.height}."

    # ---- keys

    def reason_against(self, action: str) -> str:
        """Why an action does nothing now, in one sentence."""
        if action in WRITES and (reason := self.why_read_only()):
            return reason
        if action in NEEDS_STATE and (reason := self.why_unrecorded()):
            return reason
        if self.catalog_pane.failure and action in (NEEDS_MODEL | {"install_demo", "copy_reference", "copy_view"}):
            return self.catalog_pane.failure
        if action in NEEDS_MODEL and self.selected is None:
            return self._why_nothing_is_picked()
        if action in NEEDS_RUNNABLE and self.selected is not None and not self.selected.version.runnable:
            return f"{self.selected.ref} cannot run: {self.selected.version.trial.reason} w says more."
        if action == "cancel_job" and not any(job.live for job in self.lane.jobs):
            return "Nothing runs."
        if action in ("resume_job", "clean_job", "show_log"):
            return self.jobs_pane.reason_against(action)
        if action in NEEDS_SUBJECT and not self.ref:
            return "Nothing is picked yet."
        if action in GOLDEN and (reason := self.why_no_golden(action)):
            return reason
        return self._why_no_details(action)

    def _why_no_details(self, action: str) -> str:
        if action == "show_why" and self.last_error is None and not self.ref:
            return "Nothing went wrong."
        if action == "try_again" and self.selected is not None and (reason := self.why_read_only()):
            return reason
        if action == "show_check" and self.inspector_pane.golden_view.current is None:
            return "There is no golden output under the cursor."
        return ""

    def _why_nothing_is_picked(self) -> str:
        pane = self.catalog_pane
        if pane.furnished and pane.filter_text and not pane.holds_nothing:
            return "No model matches the filter; esc clears it."
        return "No model is picked. Press d for the demo models, or a to add one."

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Greyed, never hidden."""
        if action == "leave_view" and not self.has_class("-maximised"):
            return False
        return None if self.reason_against(action) else super().check_action(action, parameters)

    def action_reload(self) -> None:
        """Read the registry again."""
        self.reload_catalog()

    def focused_words(self) -> str:
        """What has the focus, for the help."""
        focused: Widget | None = self.focused
        pane = next((pane for pane in self.panes if focused is not None and pane in focused.ancestors_with_self), None)
        return pane.title if pane else "Workbench"
