"""What the inspector shows beyond facts: layers by pages, an example request, formats beside the runtime's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.tui.flows.base import FlowScreen
from quickserveml_tui.tui.flows.calls import as_error, log
from quickserveml_tui.tui.messages import LayersLoaded, SchemaLoaded
from quickserveml_tui.tui.model_messages import CompatibilityRead, LayerFound, LayerPageRead
from quickserveml_tui.tui.panes.inspector import InspectorPane

if TYPE_CHECKING:
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.tui.panes.layers import LayerView

FIND_PAGE = 5_000
MAX_FIND = 2_000_000
LARGE = 5_000
"""Nodes beyond which layers are shown before their shapes are known."""
MAX_EXAMPLE_INPUTS = 200
"""Inputs up to which an example request is made; with more it is no example any more."""


class DetailsFlow(FlowScreen):
    """Reads for the tab that is shown, and only then."""

    def __init__(self) -> None:
        super().__init__()
        self.sequence = 0
        """Grows with every change of the selection: late answers about another one are dropped."""
        self._reading_page = False

    def load_tab(self) -> None:
        """Read what the tab that is shown needs and has not got."""
        workbench, ref, sequence, pane = self.workbench, self.ref, self.sequence, self.inspector_pane
        if workbench is None or not ref or pane.shown is None:
            return
        if pane.tab == "layers" and not pane.layer_view.loaded:
            self._read_layers(shapes=pane.shown.facts.nodes <= LARGE)
        elif pane.tab == "io" and pane.example is None and len(pane.shown.facts.inputs) <= MAX_EXAMPLE_INPUTS:
            self.in_thread(
                lambda: _read_example(workbench, ref, sequence), group="schema", doing=f"Reading inputs of {ref}"
            )

    def _read_layers(self, *, shapes: bool) -> None:
        workbench, ref, sequence = self.workbench, self.ref, self.sequence
        if workbench is not None:
            self.in_thread(
                lambda: _read_layers(workbench, ref, sequence, shapes=shapes),
                group="layers",
                doing=f"Reading layers of {ref}",
            )

    def read_compatibility(self) -> None:
        """Hold the formats of what is shown against the runtime's."""
        workbench, ref, sequence = self.workbench, self.ref, self.sequence
        if workbench is None or not ref:
            return

        def read() -> CompatibilityRead | None:
            try:
                return CompatibilityRead(sequence, ref, workbench.inspect.compatibility(ref))
            except QuickServeError as error:  # the reason of the trial is there; this only adds to it
                log.info("formats of %s: %s (%s)", ref, error.message, error.code)
                return None

        self.in_thread(read, group="compatibility", doing=f"Reading the formats of {ref}")

    @on(CompatibilityRead)
    def show_compatibility(self, event: CompatibilityRead) -> None:
        """Mismatches stand in the overview."""
        event.stop()
        if event.sequence == self.sequence:
            self.inspector_pane.show_compatibility(event.compatibility)
            self.refresh_bindings()

    @on(LayersLoaded)
    def fill_layers(self, event: LayersLoaded) -> None:
        """Fill the table, or say why not."""
        event.stop()
        view = self._layer_view
        if event.sequence != self.sequence or (view.loaded and not view.waiting):
            return  # they may have been asked for twice; the cursor stays where it is by now
        if event.page is not None:
            if view.waiting and not event.page.shapes:
                return
            self.inspector_pane.show_layers(event.page)
            self._seek_layer()
            if not event.page.shapes:
                self._read_layers(shapes=True)
        elif event.error is not None and view.waiting:
            view.stop_waiting()
            self.tell_error(event.error, f"Reading the shapes of {event.ref}")
        elif event.error is not None:
            self.inspector_pane.show_error(self.inspector_pane.identity, event.error)

    @on(SchemaLoaded)
    def fill_example(self, event: SchemaLoaded) -> None:
        """Add the example request."""
        event.stop()
        if event.sequence == self.sequence and event.lines is not None:
            self.inspector_pane.show_example(event.lines)

    @on(InspectorPane.TabShown)
    def remember_tab(self, event: InspectorPane.TabShown) -> None:
        """Read what the tab needs."""
        event.stop()
        self.memory.tab = event.tab
        self.load_tab()
        self.refresh_bindings()

    @on(InspectorPane.LayersSorted)
    def remember_layer_sort(self, event: InspectorPane.LayersSorted) -> None:
        """The sort comes back in the next session."""
        event.stop()
        self.memory.layer_sort = self.inspector_pane.layer_view.sort

    # ---- large graphs

    @property
    def _layer_view(self) -> LayerView:
        return self.inspector_pane.layer_view

    def on_layer_view_page_wanted(self, event: LayerView.PageWanted) -> None:
        """Read the page that is looked at; one at a time, because scrolling passes many by."""
        event.stop()
        self._read_wanted()

    def _read_wanted(self) -> None:
        from quickserveml_tui.tui.panes.layer_pages import PAGE

        workbench, ref, sequence, pages = self.workbench, self.ref, self.sequence, self._layer_view.pages
        if workbench is None or pages is None or pages.wanted is None or self._reading_page:
            return
        self._reading_page = True
        offset, inferred = pages.wanted * PAGE, pages.inferred

        def read() -> LayerPageRead:
            try:
                page = workbench.inspect.layers(ref, offset, PAGE, shapes=inferred)
                return LayerPageRead(sequence, ref, offset, page)
            except Exception as error:  # noqa: BLE001 - the table says why; the next page may be read
                return LayerPageRead(sequence, ref, offset, None, as_error(error))

        self.in_thread(read, group="layer-page", doing=f"Reading layers of {ref}", exclusive=False)

    @on(LayerPageRead)
    def put_page(self, event: LayerPageRead) -> None:
        """Show the page, then read the one that is looked at by now."""
        event.stop()
        self._reading_page = False
        if event.sequence == self.sequence and event.page is not None:
            self._layer_view.put_page(event.page)
        elif event.sequence == self.sequence and event.error is not None:
            self.tell_error(event.error, f"Reading layers of {event.ref}")
            return
        self._read_wanted()

    def _seek_layer(self) -> None:
        """Look for the layer that a reference names in a graph that is not held whole."""
        workbench, ref, sequence, view = self.workbench, self.ref, self.sequence, self._layer_view
        name = view.wanted
        if workbench is not None and view.pages is not None and name:
            self.in_thread(
                lambda: LayerFound(sequence, ref, name, _find(workbench, ref, name)), group="layer-find",
                doing=f"Looking for the layer {name}",
            )  # fmt: skip

    def on_layer_view_layer_wanted(self, event: LayerView.LayerWanted) -> None:
        """Look for it."""
        event.stop()
        self._seek_layer()

    @on(LayerFound)
    def go_to_layer(self, event: LayerFound) -> None:
        """Put the cursor on it."""
        event.stop()
        if event.sequence == self.sequence:
            self._layer_view.go_to(event.index)


def _find(workbench: Workbench, ref: str, name: str) -> int:
    offset, total = 0, 1
    while offset < min(total, MAX_FIND):
        page = workbench.inspect.layers(ref, offset, FIND_PAGE, shapes=False)
        found = next((row.index for row in page.rows if row.name == name), None)
        if found is not None:
            return found
        if not page.rows:
            break
        offset, total = offset + len(page.rows), page.total
    return -1


def _read_layers(workbench: Workbench, ref: str, sequence: int, *, shapes: bool) -> LayersLoaded:
    from quickserveml_tui.tui.panes.layer_pages import PAGE, WHOLE

    try:
        page = workbench.inspect.layers(ref, 0, PAGE, shapes=shapes)
        if len(page.rows) < page.total <= WHOLE:
            page = workbench.inspect.layers(ref, 0, WHOLE, shapes=shapes)
    except QuickServeError as error:
        return LayersLoaded(sequence, ref, None, error)
    except Exception as error:  # noqa: BLE001 - a bad model shows its reason; the app goes on
        log.exception("layers of %s", ref)
        return LayersLoaded(sequence, ref, None, as_error(error))
    return LayersLoaded(sequence, ref, page)


def _read_example(workbench: Workbench, ref: str, sequence: int) -> SchemaLoaded:
    from quickserveml_tui.tui.sheets.model import example_lines

    return SchemaLoaded(sequence, ref, example_lines(workbench.inspect.schema(ref)))
