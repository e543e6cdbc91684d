"""Pane 2: what the selected version is, in tabs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Input

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.base import WorkPane
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.empty import EmptyState
from quickserveml_tui.tui.widgets.tab_row import TabRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.core.compatibility import Compatibility
    from quickserveml_tui.core.facts import LayerPage
    from quickserveml_tui.core.golden import GoldenReport
    from quickserveml_tui.tui.panes.golden import GoldenView
    from quickserveml_tui.tui.panes.layers import LayerView
    from quickserveml_tui.tui.sheets.subject import Subject

NOTHING = ("Layers, inputs and cost of the model you pick", (("d", "opens one to look at"),))
TABS = (("overview", "Overview"), ("layers", "Layers"), ("io", "I/O"), ("golden", "Golden"), ("metadata", "Metadata"))


class Page(VerticalScroll, can_focus=True):
    """A sheet that scrolls."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("down,j", "scroll_down", "scroll", "page.scroll_down", "Scroll down by a row", display="jk"),
        bind("up,k", "scroll_up", "up", "page.scroll_up", "Scroll up by a row", show=False),
        bind("ctrl+d,pagedown", "page_down", "page down", "page.scroll_page_down", "Scroll down by a page", show=False),
        bind("ctrl+u,pageup", "page_up", "page up", "page.scroll_page_up", "Scroll up by a page", show=False),
        bind("g,home", "scroll_home", "top", "page.go_to_top", "Go to the top", show=False),
        bind("G,end", "scroll_end", "end", "page.go_to_end", "Go to the end", show=False),
    ]

    def __init__(self, tab: str) -> None:
        super().__init__(id=f"page-{tab}", classes="inspector--page")
        self.sheet = Sheet()

    def compose(self) -> ComposeResult:
        """The sheet."""
        yield self.sheet


class InspectorPane(WorkPane):
    """Facts of the selected version."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "left_square_bracket",
            "step_tab(-1)",
            "tab before",
            "inspector.previous_tab",
            "Show the tab at the left",
            show=False,
        ),
        bind(
            "right_square_bracket",
            "step_tab(1)",
            "next tab",
            "inspector.next_tab",
            "Show the tab at the right",
            display="[ ]",
        ),
        bind("p", "screen.run_once", "run once", "inspector.run_once", "Run the model once and show what comes out"),
        bind("f", "screen.edit_inputs", "inputs", "inspector.edit_inputs", "Change the made-up inputs of the version"),
        bind("w", "screen.show_why", "why", "inspector.show_why", "Show what the trial or the last error said"),
    ]

    class LayersSorted(Message):
        """The layer table is sorted another way."""

    class TabShown(Message):
        """Another tab is shown."""

        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    def __init__(self) -> None:
        super().__init__(key="2", title="Inspector", noun="node", id="inspector")
        self.set_reactive(InspectorPane.count_text, "no model")
        self.shown: Subject | None = None
        self.example: Sequence[str] | None = None
        """Lines of the example request."""

    def compose_body(self) -> ComposeResult:
        """What would be here."""
        yield EmptyState(*NOTHING, id="inspector-empty")

    def compose_rest(self) -> ComposeResult:
        """Tabs and their pages."""
        from quickserveml_tui.tui.panes.golden import GoldenView
        from quickserveml_tui.tui.panes.layers import LayerView

        yield TabRow(TABS, id="inspector-tabs")
        yield Page("overview")
        yield LayerView(id="page-layers", classes="inspector--page -bleed")
        yield Page("io")
        yield GoldenView(id="page-golden", classes="inspector--page -bleed")
        yield Page("metadata")

    def on_furnished(self) -> None:
        """Nothing is selected yet."""
        self._arrange()

    @property
    def tabs(self) -> TabRow:
        """The row of tabs."""
        return self.query_one(TabRow)

    @property
    def tab(self) -> str:
        """Id of the tab that is shown."""
        return self.tabs.active

    @property
    def layer_view(self) -> LayerView:
        """The layer table with its filter and shelf."""
        from quickserveml_tui.tui.panes.layers import LayerView

        return self.query_one(LayerView)

    @property
    def golden_view(self) -> GoldenView:
        """The golden outputs with their shelf."""
        from quickserveml_tui.tui.panes.golden import GoldenView

        return self.query_one(GoldenView)

    @property
    def identity(self) -> str:
        """What tells the subject from others; empty without one."""
        return self.shown.identity if self.shown is not None else ""

    def show_tab(self, tab: str) -> None:
        """Show a tab by id; unknown ids are ignored."""
        if tab in dict(TABS):
            self.tabs.active = tab

    def reason_against(self, action: str) -> str:
        """Why an action does nothing now."""
        return "Nothing is picked yet." if action == "step_tab" and self.shown is None else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's own
        """Greyed, never hidden."""
        return None if self.reason_against(action) else True

    def action_step_tab(self, by: int) -> None:
        """Show another tab."""
        if by > 0:
            self.tabs.next_tab()
        else:
            self.tabs.previous_tab()

    def _arrange(self) -> None:
        filled = self.shown is not None
        had_focus = self.focus_inside
        self.tabs.display = filled
        self.query_one("#inspector-empty").display = not filled
        for tab, _ in TABS:
            self.query_one(f"#page-{tab}").display = filled and tab == self.tab
        self.set_class(filled and (self.tab == "layers" or self._has_golden), "-shelved")
        self._title()
        if had_focus:
            self.call_after_refresh(self.focus_body)

    @property
    def _has_golden(self) -> bool:
        return self.tab == "golden" and bool(self.golden_view.items)

    def focus_body(self) -> None:
        """Move the focus to the page that is shown."""
        if self.shown is None:
            self.screen.set_focus(self.query_one("#inspector-empty"))
        elif self.tab == "layers":
            self.screen.set_focus(self.layer_view.table)
        elif self.tab == "golden":
            self.golden_view.focus_body()
        else:
            self.screen.set_focus(self.query_one(f"#page-{self.tab}"))

    def _title(self) -> None:
        if self.shown is None:
            self.subject, self.count, self.count_text, self.sort_note = "", None, "no model", ""
            return
        layers = self.tab == "layers"
        self.subject = safe_text(self.shown.ref, 200)
        words = {"layers": lambda: self.layer_view.count_words, "golden": lambda: self.golden_view.count_words}
        self.count = None
        self.count_text = words.get(self.tab, lambda: "")() or plural(self.shown.facts.nodes, "node")
        self.sort_note = self.layer_view.sort_words if layers else ""

    @on(TabRow.Changed)
    def switch_page(self, event: TabRow.Changed) -> None:
        """Show the page of the tab."""
        event.stop()
        self._arrange()
        self.post_message(self.TabShown(event.tab))

    def on_layer_view_changed(self, event: LayerView.Changed) -> None:
        """Count and sort stand in the title."""
        event.stop()
        self._title()
        self.post_message(self.LayersSorted())

    @on(Input.Submitted)
    def keep_inside(self, event: Input.Submitted) -> None:
        """Nobody else's business."""
        event.stop()

    def clear(self, sentence: str = NOTHING[0], keys: Sequence[tuple[str, str]] = NOTHING[1]) -> None:
        """Show that nothing is selected, and what to do about it."""
        self.shown = self.example = None
        self.query_one("#inspector-empty", EmptyState).show(sentence, keys)
        self._arrange()

    def show_subject(self, subject: Subject, *, anew: bool = False) -> None:
        """Show facts; layers and example of another version, or of a file opened `anew`, are dropped."""
        if self.shown is None or self.shown.identity != subject.identity or anew:
            self.example = None
            self.layer_view.ref = subject.ref
            self.layer_view.clear("Reading the layers")
            for page in self.query(Page):
                page.scroll_home(animate=False)
        elif subject.compatibility is None:
            subject = replace(subject, compatibility=self.shown.compatibility)
        first = self.shown is None
        self.shown = subject
        if self.layer_view.total_macs != (macs := subject.facts.macs or 0):
            self.layer_view.count(macs)
        self._fill()
        if first:
            self._arrange()
        else:
            self._title()

    def _fill(self) -> None:
        from quickserveml_tui.tui.sheets.model import io_rows, metadata_rows, overview_rows

        subject, example = self.shown, self.example
        if subject is None:
            return
        self.query_one("#page-overview", Page).sheet.show(lambda width, glyphs: overview_rows(subject, width, glyphs))
        self.query_one("#page-io", Page).sheet.show(lambda width, _: io_rows(subject, example, width))
        self.query_one("#page-metadata", Page).sheet.show(lambda width, _: metadata_rows(subject, width))
        self._fill_golden()

    def _fill_golden(self) -> None:
        subject, view = self.shown, self.golden_view
        if subject is None:
            return
        had_items, had_focus = bool(view.items), view.has_focus_within
        version = subject.version
        view.show(version.golden if version else (), subject.report, registered=version is not None)
        self.set_class(self.tab == "layers" or self._has_golden, "-shelved")
        if had_focus and had_items != bool(view.items):
            view.focus_body()

    def show_report(self, report: GoldenReport) -> None:
        """Show what a check of the golden outputs found."""
        if self.shown is not None:
            self.shown = replace(self.shown, report=report)
            self._fill_golden()

    def show_compatibility(self, compatibility: Compatibility) -> None:
        """Add the formats that the runtime does not take."""
        if self.shown is not None:
            self.shown = replace(self.shown, compatibility=compatibility)
            self._fill()

    def show_example(self, lines: Sequence[str]) -> None:
        """Add the example request."""
        self.example = lines
        self._fill()

    def show_layers(self, page: LayerPage) -> None:
        """Fill the layer table."""
        self.layer_view.show_page(page)
        self._title()

    def show_error(self, identity: str, error: QuickServeError) -> None:
        """Say why there is nothing to show."""
        from quickserveml_tui.tui.sheets.rows import paragraph

        self.layer_view.clear(error.message)
        if self.shown is None or self.shown.identity != identity:
            self.query_one("#page-overview", Page).sheet.show(
                lambda width, _: paragraph(error.message, width, Role.ERROR)
            )
