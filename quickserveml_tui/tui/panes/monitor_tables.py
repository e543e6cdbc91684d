"""Panes of the monitor that list: models, slowest requests, workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.monitoring import ModelRates, ModelSnapshot, MonitorSource, SlowRequest, WorkerSnapshot
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import format_bytes, significant
from quickserveml_tui.tui.glyphs import Glyphs, glyphs_of
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.monitor.events import Event
from quickserveml_tui.tui.monitor.view import View, clock_of
from quickserveml_tui.tui.panes.monitor_charts import ViewPane
from quickserveml_tui.tui.panes.tables import PaneTable
from quickserveml_tui.tui.widgets.table_cells import Cell, Column, TableRow
from quickserveml_tui.tui.widgets.table_messages import SortChanged

MAX_SLOW = 100


def _figure(key: str, title: str, width: int = 7, drop: int = 0) -> Column:
    return Column(key, title, width=width, kind="number", align="right", drop=drop)


MODELS = (
    Column("name", "model", kind="name", flex=1, min_width=20),
    _figure("rate", "req/s"),
    Column("share", "share", width=6, kind="bar", drop=8),
    _figure("p50", "p50 ms", drop=2),
    _figure("p95", "p95 ms", drop=6),
    _figure("p99", "p99 ms", drop=1),
    _figure("queue", "queue", drop=7),
    _figure("batch", "batch", 6, drop=5),
    _figure("errors", "err %", 6, drop=3),
    Column("state", "state", width=9, kind="state", drop=4),
)
SLOW = (
    Column("at", "time", width=8, drop=1),
    Column("name", "model", kind="name", flex=1, min_width=16),
    _figure("total", "ms"),
    _figure("queue", "queue", drop=3),
    _figure("run", "run", drop=4),
    _figure("rows", "rows", 5, drop=5),
    _figure("status", "code", 4, drop=2),
)
WORKERS = (
    Column("index", "worker", width=6, kind="number", align="left"),
    _figure("pid", "pid", 8, drop=2),
    _figure("cpu", "CPU %", 6),
    _figure("memory", "memory", 9),
    _figure("connections", "conns", 6, drop=3),
    _figure("requests", "requests", 10, drop=4),
    _figure("restarts", "restarts", 8, drop=5),
    Column("state", "state", width=9, kind="state", drop=1),
)
EVENTS = (
    Column("at", "time", width=8, sortable=False),
    Column("what", "what", kind="name", width=16, sortable=False),
    Column("words", "happened", flex=1, min_width=12, sortable=False),
)
_STATES = {"READY": ("ok", "ready", Role.OK), "LOADING": ("queued", "loading", Role.INFO),
           "UNLOADING": ("queued", "leaving", Role.MUTED), "UNAVAILABLE": ("error", "fails", Role.ERROR)}  # fmt: skip
_GONE = ("open", "unknown", Role.MUTED)


class TablePane(ViewPane):
    """A table that sorts by any column."""

    COLUMNS: ClassVar[Sequence[Column]] = ()
    EMPTY: ClassVar[str] = ""
    SORT: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("s", "sort_rows", "sort", "monitor.sort_rows", "Sort by the next column"),
        bind("i", "reverse_rows", "reverse", "monitor.reverse_rows", "Turn the order round", show=False),
    ]

    def compose_body(self) -> ComposeResult:
        """The table."""
        yield PaneTable(
            self.COLUMNS, empty=self.EMPTY, sort_key=self.SORT, sort_descending=True, classes="-cursor-in-focus"
        )

    def fill(self, rows: Sequence[TableRow]) -> None:
        """Show other rows; a cursor at the top that nobody looks at stays there, whatever comes to stand above it."""
        table = self.table
        at_top = not table.has_focus and table.cursor_line == 0
        table.set_rows(rows)
        if at_top:
            table.action_top()

    @property
    def table(self) -> PaneTable:
        """The table."""
        return self.query_one(PaneTable)

    def focus_body(self) -> None:
        """Move the focus to the table."""
        self.screen.set_focus(self.table)

    def action_sort_rows(self) -> None:
        """Sort by the next column."""
        self.table.action_sort_next()

    def action_reverse_rows(self) -> None:
        """Turn the order round."""
        self.table.action_sort_reverse()

    @on(SortChanged)
    def name_order(self, event: SortChanged) -> None:
        """The title says the order."""
        event.stop()
        self.sort_note = self.table.sort_note

    def on_mount(self) -> None:
        """The order stands in the title from the start."""
        super().on_mount()
        self.sort_note = self.table.sort_note


class ModelsPane(TablePane):
    """Each version: rate, percentiles, batches, errors, state; enter narrows the charts to it."""

    COLUMNS = MODELS
    EMPTY = "No model is served."
    SORT = "rate"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("enter", "screen.narrow", "only this", "monitor.narrow_charts",
             "Draw the charts for this model only, or for all again"),
    ]  # fmt: skip

    def __init__(self, view: View) -> None:
        super().__init__(view, key="3", title="Models", id="monitor-models")

    def show_view(self) -> None:
        """A row for each version in the newest snapshot."""
        snapshot, point = self.view.snapshot, self.view.history.newest
        models = snapshot.models if snapshot is not None else ()
        known = {(one.name, one.version): one for one in point.rates.models} if point is not None else {}
        total = sum(one.requests_per_s for one in known.values())
        glyphs = glyphs_of(self)
        self.fill([model_row(one, known.get((one.name, one.version)), total, self.view, glyphs) for one in models])
        self.count_text = plural(len(models), "model") if snapshot is not None else ""


def model_row(model: ModelSnapshot, rates: ModelRates | None, total: float, view: View, glyphs: Glyphs) -> TableRow:
    """A version as a row of the table."""
    sign, word, role = _STATES.get(model.state, ("open", model.state.lower(), Role.WARN)) if not view.gone else _GONE
    rate = rates.requests_per_s if rates is not None else None
    errors = None if rates is None or not rates.requests_per_s else 100 * rates.errors_per_s / rates.requests_per_s
    chosen = view.model == (model.name, model.version)
    row: dict[str, Any] = {
        "_key": (model.name, model.version),
        "name": Cell(model.name, suffix=f" @{model.version}", role=Role.ACCENT if chosen else None, bold=chosen),
        "rate": Cell(rate, text="0" if rate == 0 else ""),
        "share": Cell(rate / total if rate and total else 0.0, role=Role.ALT),
        "p50": rates.p50_ms if rates else None,
        "p95": rates.p95_ms if rates else None,
        "p99": rates.p99_ms if rates else None,
        "queue": rates.queue_ms if rates else None,
        "batch": Cell(rates.batch if rates else None, text=f"{rates.batch:.1f}" if rates and rates.batch else ""),
        "errors": Cell(errors, text="" if errors is None else f"{errors:.2f}", role=Role.ERROR if errors else None,
                       bold=bool(errors)),
        "state": Cell(f"{getattr(glyphs, sign)} {word}", role=role, short=getattr(glyphs, sign)),
    }  # fmt: skip
    return row


class SlowPane(TablePane):
    """The slowest requests of the last minutes."""

    COLUMNS = SLOW
    EMPTY = "No request in the last minutes."
    SORT = "total"

    def __init__(self, view: View) -> None:
        super().__init__(view, key="5", title="Slowest", id="monitor-slow")

    def show_view(self) -> None:
        """A row for each."""
        snapshot = self.view.snapshot
        foreign = snapshot is not None and snapshot.source is not MonitorSource.OURS
        self.table.empty = "This server keeps no requests." if foreign else self.EMPTY
        found = [
            one for one in (snapshot.slow if snapshot else ()) if self.view.model in (None, (one.model, one.version))
        ]
        self.fill([slow_row(one, index) for index, one in enumerate(found[:MAX_SLOW])])
        self.count_text = plural(len(found), "request") if found else ""


def slow_row(slow: SlowRequest, index: int) -> TableRow:
    """A slow request as a row of the table."""
    return {
        "_key": slow.request_id or f"{slow.at}-{index}",
        "at": Cell(slow.at, text=clock_of(slow.at), role=Role.MUTED),
        "name": Cell(slow.model, suffix=f" @{slow.version}" if slow.version else ""),
        "total": slow.elapsed_s * 1e3,
        "queue": slow.queue_s * 1e3,
        "run": slow.compute_s * 1e3,
        "rows": slow.rows,
        "status": Cell(slow.status, text=str(slow.status), role=Role.ERROR if slow.status >= 400 else None),
    }


class WorkersPane(TablePane):
    """The processes that answer, or what happened to them and to the models."""

    COLUMNS = WORKERS
    EMPTY = "This server does not tell of its processes."
    SORT = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("v", "toggle_events", "events or workers", "monitor.toggle_events",
             "Change between the workers and what happened to them and to the models"),
    ]  # fmt: skip

    def __init__(self, view: View) -> None:
        super().__init__(view, key="6", title="Workers", id="monitor-workers")
        self._before: dict[int, tuple[float, WorkerSnapshot]] = {}
        self._cores: dict[int, float] = {}
        self._at = 0.0
        self._shows_events = False

    def compose_body(self) -> ComposeResult:
        """The workers, and the events in their place."""
        yield from super().compose_body()
        events = PaneTable(
            EVENTS, empty="Nothing has happened since this is watched.", id="monitor-events",
            classes="-cursor-in-focus",
        )  # fmt: skip
        events.display = False
        yield events

    @property
    def table(self) -> PaneTable:
        """The table that is shown."""
        return self.query(PaneTable)[1 if self._shows_events else 0]

    def action_toggle_events(self) -> None:
        """Workers or events."""
        self._shows_events = not self._shows_events
        workers, events = self.query(PaneTable)
        workers.display, events.display = not self._shows_events, self._shows_events
        self.title = "Events" if self._shows_events else "Workers"
        self.sort_note = "" if self._shows_events else self.table.sort_note
        self.show_view()
        self.focus_body()

    def action_sort_rows(self) -> None:
        """Events stay in their order."""
        if not self._shows_events:
            super().action_sort_rows()

    def action_reverse_rows(self) -> None:
        """Events stay in their order."""
        if not self._shows_events:
            super().action_reverse_rows()

    def show_view(self) -> None:
        """The rows of what is shown."""
        if self._shows_events:
            self._show_events()
        else:
            self._show_workers()

    def _show_events(self) -> None:
        events = self.view.history.events
        self.query(PaneTable)[1].set_rows([event_row(one, index) for index, one in reversed(list(enumerate(events)))])
        self.count_text = plural(len(events), "event") if events else ""

    def _show_workers(self) -> None:
        """A row for each; cores are those of the newest interval."""
        snapshot = self.view.snapshot
        workers = snapshot.workers if snapshot is not None else ()
        if snapshot is not None and snapshot.taken_at != self._at:
            self._count_cores(snapshot.taken_at, workers)
        glyphs = glyphs_of(self)
        self.query(PaneTable)[0].set_rows(
            [worker_row(one, self._cores.get(one.index), glyphs, gone=self.view.gone) for one in workers]
        )
        restarts = sum(one.restarts for one in workers)
        happened = [plural(len(self.view.history.events), "event")] if self.view.history.events else []
        words = [plural(len(workers), "worker"), plural(restarts, "restart")] if workers else []
        self.count_text = "   ".join([*words, *happened])

    def _count_cores(self, at: float, workers: Sequence[WorkerSnapshot]) -> None:
        self._cores = {}
        for one in workers:
            before_at, before = self._before.get(one.index, (at, one))
            if before.pid == one.pid and at > before_at:
                self._cores[one.index] = max(one.cpu_s - before.cpu_s, 0.0) / (at - before_at)
        self._before = {one.index: (at, one) for one in workers}
        self._at = at


def event_row(event: Event, index: int) -> TableRow:
    """An event as a row of the table."""
    return {
        "_key": f"{event.at}-{index}",
        "at": Cell(event.at, text=clock_of(event.at), role=Role.MUTED),
        "what": Cell(event.what),
        "words": Cell(event.words, role=event.role),
    }


def worker_row(worker: WorkerSnapshot, cores: float | None, glyphs: Glyphs, *, gone: bool = False) -> TableRow:
    """A worker as a row of the table; nobody knows how it is where the server is `gone`."""
    sign, word, role = (glyphs.ok, "ready", Role.OK) if worker.ready else (glyphs.queued, "starting", Role.WARN)
    if gone:
        sign, word, role = glyphs.open, _GONE[1], Role.MUTED
    return {
        "_key": worker.index,
        "index": Cell(worker.index, role=Role.BODY),
        "pid": Cell(worker.pid, text=str(worker.pid) if worker.pid else "", role=Role.MUTED),
        "cpu": Cell(cores, text="" if cores is None else significant(100 * cores)),
        "memory": Cell(worker.rss_bytes, text=format_bytes(worker.rss_bytes) if worker.rss_bytes else ""),
        "connections": worker.connections,
        "requests": worker.requests,
        "restarts": Cell(worker.restarts, role=Role.WARN if worker.restarts else None),
        "state": Cell(f"{sign} {word}", role=role, short=sign),
    }
