"""What the screens beside the workbench share: header, numbered panes, tabs where one fits, status line, footer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import ModalScreen

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.tui.flows.calls import CallingScreen, log
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.messages import ActionFailed
from quickserveml_tui.tui.pane_tabs import PaneTabs
from quickserveml_tui.tui.panes.base import WorkPane
from quickserveml_tui.tui.places import PLACES
from quickserveml_tui.tui.screens.workbench import LEAST, WorkbenchScreen
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.empty import centred
from quickserveml_tui.tui.widgets.ink import say
from quickserveml_tui.tui.widgets.key_footer import KeyFooter
from quickserveml_tui.tui.widgets.status import HeaderBar, StatusLine

if TYPE_CHECKING:
    from quickserveml_tui.core.errors import QuickServeError
    from quickserveml_tui.core.ports import Workbench


class SideScreen(CallingScreen):
    """A screen of panes; it exists once it was opened and stays until the end."""

    HORIZONTAL_BREAKPOINTS = WorkbenchScreen.HORIZONTAL_BREAKPOINTS
    VERTICAL_BREAKPOINTS = WorkbenchScreen.VERTICAL_BREAKPOINTS
    AUTO_FOCUS = ""
    PLACE: ClassVar[str] = ""
    TABS: ClassVar[Sequence[tuple[str, str]]] = ()
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("tab", "step_pane(1)", "next pane", "view.next_pane", "Go to the next pane", show=False),
        bind("shift+tab", "step_pane(-1)", "pane before", "view.previous_pane", "Go to the pane before", show=False),
        bind("z", "maximise_pane", "maximise", "view.maximise_pane",
             "Give the focused pane the whole screen, or give it back", show=False),
        bind("escape", "leave", "back", "view.leave_screen",
             "Give a maximised pane's room back, or go to the workbench", show=False),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.current = 1

    def compose_panes(self) -> ComposeResult:
        """The panes in their order."""
        yield from ()

    def compose(self) -> ComposeResult:
        """Header, panes, status, footer."""
        yield HeaderBar(screens=PLACES, current=self.PLACE)
        yield PaneTabs(self.TABS)
        with Container(id=f"{self.PLACE}-panes", classes="side--panes"):
            yield from self.compose_panes()
        yield StatusLine()
        yield KeyFooter()
        yield Sheet(lambda width, _: [centred([say(self._size_words(), Role.BODY)], width)], id="too-small")

    async def on_mount(self) -> None:
        """The focus goes to the first pane."""
        for pane in self.panes:
            await pane.furnish()
        self.show_pane(self.current)

    # ---- services and words

    @property
    def services(self) -> Workbench | None:
        """The services; None with a word to the user while they load."""
        if self.owner.workbench is None:
            self.tell("Still loading; one moment", Role.INFO)
        return self.owner.workbench

    @property
    def read_only(self) -> bool:
        """Whether nothing may be written."""
        return self.owner.bench.read_only

    def tell_error(self, error: QuickServeError, doing: str = "") -> None:
        """A toast with what, why and the next step; the first sentence stays in the status line."""
        log.warning("%s: %s (%s)", doing or "call", error.message, error.code)
        self.tell(error.message, Role.ERROR)
        self.toast_words("\n".join(filter(None, (error.message, error.hint))))

    @on(ActionFailed)
    def explain_failure(self, event: ActionFailed) -> None:
        """A call in a thread failed."""
        event.stop()
        self.tell_error(event.error, event.doing)

    @property
    def covered(self) -> bool:
        """Whether another screen, not only a dialog, is shown in its place."""
        stack = self.app.screen_stack
        return next((one for one in reversed(stack) if not isinstance(one, ModalScreen)), None) is not self

    def on_screen_resume(self) -> None:
        """What a dialog held back is said now."""
        self.owner.release_toasts()

    def focused_words(self) -> str:
        """What has the focus, for the help."""
        return self.panes[self.current - 1].title

    def reason_against(self, action: str) -> str:  # noqa: ARG002 - subclasses use it
        """Why an action does nothing now, in one sentence."""
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Greyed, never hidden."""
        return None if self.reason_against(action) else super().check_action(action, parameters)

    # ---- panes

    @property
    def panes(self) -> list[WorkPane]:
        """The panes in their order."""
        return list(self.query(WorkPane))

    def show_pane(self, number: int) -> None:
        """Bring a pane to the front and give it the focus."""
        self._mark_current(number)
        self.panes[number - 1].focus_body()
        self._show_tabs()

    def action_focus_pane(self, number: int) -> None:
        """Go to a pane by its number."""
        self.show_pane(number)

    def action_step_pane(self, by: int) -> None:
        """Go to the next pane, round."""
        self.show_pane((self.current - 1 + by) % len(self.panes) + 1)

    def action_maximise_pane(self) -> None:
        """Give the focused pane the whole screen, or give it back."""
        self.toggle_class("-maximised")

    def action_leave(self) -> None:
        """Give the room of a maximised pane back; without one, go to the workbench."""
        if self.has_class("-maximised"):
            self.remove_class("-maximised")
        else:
            self.owner.go_to("workbench")

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
        self.current = number
        for index, pane in enumerate(self.panes, 1):
            pane.set_class(index == number, "-current")

    @on(WorkPane.TitleChanged)
    def show_titles(self, event: WorkPane.TitleChanged) -> None:
        """The tab row stands in for titles on a small screen."""
        event.stop()
        self._show_tabs()

    def _show_tabs(self) -> None:
        self.query_one(PaneTabs).update_tabs(current=self.current, right=self.panes[self.current - 1].right_spans())

    def on_resize(self, event: events.Resize) -> None:
        """Below the least size there is one sentence."""
        self.set_class(event.size.width < LEAST[0] or event.size.height < LEAST[1], "-tiny")
        self.query_one("#too-small", Sheet).show(lambda width, _: [centred([say(self._size_words())], width)])

    def _size_words(self) -> str:
        return f"The workbench needs {LEAST[0]} × {LEAST[1]}; this is {self.size.width} × {self.size.height}."
