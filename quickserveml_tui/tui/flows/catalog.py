"""Catalog: list, filter, select."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on

from quickserveml_tui.core.errors import FilterError, QuickServeError, StoreError
from quickserveml_tui.tui.flows.calls import log
from quickserveml_tui.tui.flows.details import DetailsFlow
from quickserveml_tui.tui.messages import (
    ActionDone,
    ActionFailed,
    CatalogFailed,
    CatalogLoaded,
    CompletionsFound,
    FactsLoaded,
    GenerationChanged,
)
from quickserveml_tui.tui.panes.catalog import CatalogPane
from quickserveml_tui.tui.panes.catalog_filter import FilterInput
from quickserveml_tui.tui.widgets.status import StatusLine

if TYPE_CHECKING:
    from textual.timer import Timer

    from quickserveml_tui.core.benchmarks import BenchmarkRun
    from quickserveml_tui.core.catalog import CatalogQuery
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.tui.panes.catalog_rows import CatalogRow
    from quickserveml_tui.tui.sheets.subject import Subject

DEBOUNCE_S = 0.12
GENERATION_S = 2.0
HISTORY = 60


class CatalogFlow(DetailsFlow):
    """The selection is one state: the row under the cursor, with a number that grows with every change."""

    def __init__(self) -> None:
        super().__init__()
        self._settle: Timer | None = None
        self._typing: Timer | None = None
        self.good_filter = ""
        """The last filter that could be read."""
        self.generation = ""
        self._generation_timer: Timer | None = None
        self.cursor_ref = ""
        """Version under the cursor of the catalog."""
        self.opened_file = ""
        """File that is shown in place of it."""
        self.open_first = ""
        """Reference to open once the catalog is there."""

    def open_reference(self, ref: str) -> None:
        """Resolve a reference in the background and show what it stands for."""
        raise NotImplementedError

    # ---- what others change

    def watch_generation(self, *, on: bool) -> None:
        """Look every two seconds whether another process changed the home; only while the terminal has the focus."""
        if self._generation_timer is None:
            self._generation_timer = self.set_interval(GENERATION_S, self._look_at_generation, pause=True)
        if on:
            self._generation_timer.resume()
        else:
            self._generation_timer.pause()

    def _look_at_generation(self) -> None:
        workbench, known = self.workbench, self.generation
        if workbench is None or not known or self.lane.running is not None:
            return

        def look() -> GenerationChanged | None:
            found = workbench.catalog.generation()
            return GenerationChanged(found) if found != known else None

        self.in_thread(look, group="generation", doing="Looking for changes")

    @on(GenerationChanged)
    def read_changes(self, event: GenerationChanged) -> None:
        """Read what another process changed."""
        event.stop()
        if event.generation != self.generation:
            self.generation = event.generation
            self.reload_catalog()
            self.read_jobs()

    # ---- list

    def reload_catalog(self, select: str = "") -> None:
        """Read the catalog with the filter and sort of the pane; the cursor goes to `select`, or stays."""
        from quickserveml_tui.core.catalog import CatalogQuery

        workbench = self.workbench
        if workbench is None:
            return
        pane = self.catalog_pane
        query = CatalogQuery(text=pane.filter_text.strip(), sort=pane.sort)
        good = self.good_filter
        self.in_thread(
            lambda: _try_catalog(workbench, query, select, good), group="catalog", doing="Reading the catalog"
        )

    @on(CatalogPane.QueryChanged)
    def read_again(self, event: CatalogPane.QueryChanged) -> None:
        """Filter or sort changed; while the user types it waits for a pause."""
        event.stop()
        self.memory.catalog_sort = self.catalog_pane.sort
        if self._typing is not None:
            self._typing.stop()
            self._typing = None
        if event.typed:
            self._typing = self.set_timer(DEBOUNCE_S, self._read_typed)
        else:
            self.reload_catalog()

    def _read_typed(self) -> None:
        self.reload_catalog()
        workbench, field = self.workbench, self.catalog_pane.query_one(FilterInput)
        if workbench is None or not field.has_focus:
            return
        text, cursor = field.value, field.cursor_position
        if not text.strip():
            field.listing.show(())
            return
        self.in_thread(
            lambda: CompletionsFound(text, workbench.catalog.complete_filter(text, cursor)),
            group="complete", doing="Completing the filter",
        )  # fmt: skip

    @on(CompletionsFound)
    def offer_completions(self, event: CompletionsFound) -> None:
        """Show them below the field."""
        event.stop()
        self.catalog_pane.show_completions(event.text, event.completions)

    @on(CatalogLoaded)
    def fill_catalog(self, event: CatalogLoaded) -> None:
        """Show the models; with none at all, the choices of a first start."""
        event.stop()
        workbench = self.workbench
        if workbench is None:
            return
        self.generation, self.good_filter = event.generation, event.text
        place = str(workbench.home)
        self.catalog_pane.show_models(event.page.models, event.everything, place, event.size_bytes, event.select)
        self.catalog_pane.show_filter_error(event.rejected)
        self.set_class(event.everything == 0, "-no-models")
        if not event.page.models and not self.opened_file:
            self.select(None)
        if self.open_first:
            first, self.open_first = self.open_first, ""
            self.open_reference(first)
        self.refresh_bindings()

    @on(CatalogFailed)
    def explain_catalog(self, event: CatalogFailed) -> None:
        """Say in the pane why there is no list; a list that is there stays, with a word about it."""
        event.stop()
        error = event.error
        if self.catalog_pane.has_class("-filled"):
            self.tell_error(error, "Reading the catalog")
            return
        log.warning("the catalog cannot be read: %s (%s)", error.message, error.code)
        words = self.owner.here(f"{error.message} {error.hint}".strip())
        self.catalog_pane.show_failure(words)
        self.query_one(StatusLine).breadcrumb = ("Workbench", "no catalog")
        self.inspector_pane.clear("The catalog cannot be read", [("ctrl+r", "reads it again"), ("H", "says more")])
        self.refresh_bindings()

    # ---- selection

    @on(CatalogPane.Highlighted)
    def follow_cursor(self, event: CatalogPane.Highlighted) -> None:
        """The cursor moved: what is known shows at once, the rest once it rests."""
        event.stop()
        ref = event.row.ref if event.row else ""
        if self.opened_file and ref == self.cursor_ref:
            return  # the list was read again below an opened file; the cursor did not move
        self.opened_file, self.cursor_ref = "", ref
        self.select(event.row)

    def select(self, row: CatalogRow | None) -> None:
        """Make a version the one that the other panes are about."""
        same = row is not None and self.selected is not None and row.ref == self.selected.ref
        self.selected = row
        status = self.query_one(StatusLine)
        if row is None:
            self.ref = ""
            self.sequence += 1
            nothing = self.catalog_pane.holds_nothing
            status.breadcrumb = ("Workbench", "empty registry" if nothing else "no match")
            if nothing:
                self.inspector_pane.clear()
            else:
                self.inspector_pane.clear("No model matches the filter", [("esc", "clears it in the catalog")])
            self.benchmark_pane.show_selection("", ())
            self.refresh_bindings()
            return
        if same and self.ref == row.ref:
            self._load_details()
            return
        self.ref = row.ref
        self.sequence += 1
        self.memory.ref = row.ref
        status.breadcrumb = (row.view.model.name, f"@{row.version.version}")
        runs = tuple(sorted(row.view.benchmarks.values(), key=lambda run: run.created_at, reverse=True))
        self.inspector_pane.show_subject(self._subject(row, runs))
        self.benchmark_pane.show_selection(row.ref, runs, self._why_not(row))
        self.refresh_bindings()
        if self._settle is not None:
            self._settle.stop()
        self._settle = self.set_timer(DEBOUNCE_S, self._load_details)

    @staticmethod
    def _why_not(row: CatalogRow) -> str:
        if row.version.runnable:
            return ""
        return f"{row.ref} cannot run. {row.version.trial.reason}".strip()

    def _load_details(self) -> None:
        """History always, layers and example where their tab is shown."""
        workbench, row, sequence = self.workbench, self.selected, self.sequence
        if workbench is None or row is None:
            return
        self.in_thread(lambda: _read_facts(workbench, row, sequence), group="facts", doing=f"Reading {row.ref}")
        if not row.version.runnable:
            self.read_compatibility()
        self.load_tab()

    def _subject(self, row: CatalogRow, runs: tuple[BenchmarkRun, ...]) -> Subject:
        from quickserveml_tui.tui.sheets.subject import Subject

        report = self.reports.get(row.ref)
        return Subject(row.ref, row.version.facts, row.view.model, row.version, runs, report=report)

    @on(FactsLoaded)
    def fill_facts(self, event: FactsLoaded) -> None:
        """Late answers about another selection are dropped."""
        event.stop()
        row = self.selected
        if event.sequence != self.sequence or row is None:
            return
        self.inspector_pane.show_subject(self._subject(row, event.history))
        self.benchmark_pane.show_selection(event.ref, event.history, self._why_not(row))

    # ---- short changes

    @on(ActionDone)
    def tell_done(self, event: ActionDone) -> None:
        """Say so and show the catalog as it is now."""
        event.stop()
        self.note_deletion(event.trash_ids)
        self.tell(event.sentence)
        self.reload_catalog(event.select)

    @on(ActionFailed)
    def tell_failed(self, event: ActionFailed) -> None:
        """Say why."""
        event.stop()
        self.tell_error(event.error, event.doing)


def _try_catalog(workbench: Workbench, query: CatalogQuery, select: str, good: str) -> CatalogLoaded | CatalogFailed:
    try:
        return _read_catalog(workbench, query, select, good)
    except QuickServeError as error:
        return CatalogFailed(error)


def _read_catalog(workbench: Workbench, query: CatalogQuery, select: str, good_filter: str) -> CatalogLoaded:
    from quickserveml_tui.core.catalog import CatalogQuery

    rejected = None
    try:
        page = workbench.catalog.list_models(query)
    except FilterError as error:  # the last result stays, brought up to date
        rejected, query = error, CatalogQuery(text=good_filter, sort=query.sort)
        page = workbench.catalog.list_models(query)
    everything = page if not query.text else workbench.catalog.list_models(CatalogQuery(limit=1))
    blobs = {
        version.artifact.digest: version.artifact.size_bytes for view in page.models for version in view.model.versions
    }
    total = max(everything.total, len(everything.models))
    generation = workbench.catalog.generation()
    return CatalogLoaded(page, total, generation, sum(blobs.values()), select, rejected, query.text)


def _read_facts(workbench: Workbench, row: CatalogRow, sequence: int) -> FactsLoaded:
    try:
        history = workbench.benchmark.history(row.view.model.name, limit=HISTORY)
    except StoreError as error:  # the banner says it; a toast with every move of the cursor would only be in the way
        log.warning("the runs of %s: %s (%s)", row.ref, error.message, error.code)
        history = ()
    return FactsLoaded(sequence, row.ref, history)
