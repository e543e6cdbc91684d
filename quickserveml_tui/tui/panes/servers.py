"""Pane 1 of Serve: the servers of this home, and what is known of the one under the cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message

from quickserveml_tui.charts.cells import Role, Span
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import format_duration, significant
from quickserveml_tui.tui.glyphs import Glyphs, glyphs_of
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.base import WorkPane
from quickserveml_tui.tui.panes.tables import PaneTable
from quickserveml_tui.tui.serving.states import host_of
from quickserveml_tui.tui.sheets.rows import labelled
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.times import local_clock
from quickserveml_tui.tui.widgets.empty import EmptyState
from quickserveml_tui.tui.widgets.shelf import Fact, Shelf
from quickserveml_tui.tui.widgets.table_cells import Cell, CellLike, Column
from quickserveml_tui.tui.widgets.table_messages import RowHighlighted

if TYPE_CHECKING:
    from quickserveml_tui.charts.cells import Row
    from quickserveml_tui.core.serving import ServerRecord
    from quickserveml_tui.tui.serving.states import ServerState

COLUMNS = (
    Column("url", "server", kind="name", flex=1, min_width=14),
    Column("models", "models", width=7, align="right", kind="number", drop=2),
    Column("rate", "req/s", width=7, align="right", kind="number", drop=1),
    Column("state", "state", width=13, kind="state"),
)
NOTHING = (
    "No server of this home runs",
    [("n", "starts one for the marked models, or for all"), ("M", "watches any server by its address")],
)
_SIGNS = {"ready": ("ok", Role.OK), "not ready": ("queued", Role.WARN), "needs a key": ("held", Role.WARN)}


def state_sign(word: str, glyphs: Glyphs) -> tuple[str, Role]:
    """Glyph and role of a server's state."""
    name, role = _SIGNS.get(word, ("error", Role.ERROR) if word == "no answer" else ("open", Role.MUTED))
    return getattr(glyphs, name), role


class ServersPane(WorkPane):
    """The list; what can be done with a server stands in the keys of the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "e,enter", "screen.edit_request", "request", "serve.edit_request", "Edit an example request to the server"
        ),
        bind("y", "screen.copy_url", "copy URL", "serve.copy_url", "Copy the address of the server"),
        bind("D,delete", "screen.stop_server", "stop", "serve.stop_server", "Stop the server, after asking"),
    ]

    class Picked(Message):
        """Another server is under the cursor."""

        def __init__(self, server: ServerRecord | None) -> None:
            super().__init__()
            self.server = server

    def __init__(self) -> None:
        super().__init__(key="1", title="Servers", noun="server", id="servers")
        self.servers: tuple[ServerRecord, ...] = ()
        self.states: Mapping[str, ServerState] = {}
        self._picked = ""

    def compose_body(self) -> ComposeResult:
        """The table, what stands in its place, and the shelf."""
        yield EmptyState(*NOTHING, id="servers-empty")
        yield PaneTable(COLUMNS, id="server-table")
        yield Shelf(Sheet(id="server-words"), id="server-shelf")

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self.query_one("#servers-empty", EmptyState).show("Looking for servers…")
        self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        """The shelf needs room."""
        self.set_class(event.size.height < 18, "-low")

    def _arrange(self) -> None:
        had_focus = self.focus_inside
        any_there = bool(self.servers)
        self.query_one("#servers-empty").display = not any_there
        self.query_one("#server-table").display = any_there
        self.query_one("#server-shelf").display = any_there
        if had_focus:
            self.focus_body()

    def focus_body(self) -> None:
        """Move the focus to what is shown."""
        self.screen.set_focus(self.query_one("#server-table" if self.servers else "#servers-empty"))

    @property
    def picked(self) -> ServerRecord | None:
        """The server under the cursor."""
        key = self.query_one(PaneTable).cursor_key
        return next((server for server in self.servers if server.id == key), None)

    def show(self, servers: tuple[ServerRecord, ...], states: Mapping[str, ServerState], *, select: str = "") -> None:
        """Show the servers and how they are; `select` is the id to put the cursor on."""
        self.servers, self.states = servers, states
        glyphs = glyphs_of(self)
        table = self.query_one(PaneTable)
        table.set_rows([_row(server, states.get(server.id), glyphs) for server in servers])
        if select:
            table.move_to_key(select)
        self.count = len(servers)
        self.query_one("#servers-empty", EmptyState).show(*NOTHING)
        self._arrange()
        self._show_picked()

    def say_failure(self, sentence: str) -> None:
        """Why the servers cannot be listed."""
        if not self.servers:
            self.query_one("#servers-empty", EmptyState).show(sentence)

    @on(RowHighlighted)
    def follow_cursor(self, event: RowHighlighted) -> None:
        """Facts of the server under the cursor."""
        event.stop()
        self._show_picked()

    def _show_picked(self) -> None:
        server = self.picked
        if (server.id if server else "") != self._picked:
            self._picked = server.id if server else ""
            self.post_message(self.Picked(server))
        if server is None:
            return
        state, glyphs = self.states.get(server.id), glyphs_of(self)
        sign, role = state_sign(state.word if state else "", glyphs)
        word = state.word if state else "looking…"
        self.query_one("#server-shelf", Shelf).show(
            title=server.url, right=[Span(f"{sign} {word}", role)], facts=_facts(server, state)
        )
        self.query_one("#server-words", Sheet).show(lambda width, _: server_words(server, state, width))


def _row(server: ServerRecord, state: ServerState | None, glyphs: Glyphs) -> dict[str, CellLike]:
    word = state.word if state is not None else "looking…"
    sign, role = state_sign(word, glyphs)
    rate = None if state is None or state.rates is None else state.rates.total.requests_per_s
    return {
        "_key": server.id,
        "url": Cell(host_of(server.url)),
        "models": Cell(len(state.models(server) if state is not None else server.models)),
        "rate": Cell(rate, text=significant(rate) if rate else "0" if rate == 0 else ""),
        "state": Cell(f"{sign} {word}", role=role, short=sign),
    }


def _facts(server: ServerRecord, state: ServerState | None) -> Sequence[Fact]:
    snapshot = state.snapshot if state is not None else None
    pending = state.pending if state is not None else None
    return (
        Fact("process", str(server.pid)),
        Fact("workers", f"{server.workers:,}"),
        Fact("since", local_clock(server.started_at) or "–"),
        Fact("up", format_duration(snapshot.uptime_s) if snapshot is not None else "–"),
        Fact("under way", "–" if pending is None else f"{pending:,}"),
        Fact("keys", "asked for" if server.auth == "keys" else "none"),
    )


def server_words(server: ServerRecord, state: ServerState | None, width: int) -> list[Row]:
    """What is wrong, models as they are served now, further addresses, and the command: rows of label and value."""
    models = state.models(server) if state is not None else server.models
    names = ", ".join(models[:12]) + (f" and {len(models) - 12} more" if len(models) > 12 else "")
    rows: list[Row] = [()]
    if state is not None and state.problem:
        rows += labelled("problem", state.problem, width, 10, Role.WARN)
    rows += labelled(plural(len(models), "model").partition(" ")[2], names or "–", width, 10)
    if server.grpc_url:
        rows += labelled("gRPC", server.grpc_url, width, 10)
    if server.command and not (state is not None and state.problem):  # the list needs the room
        rows += labelled("command", server.command, width, 10, Role.MUTED)
    return rows
