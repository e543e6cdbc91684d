"""The form that starts a server, and the list to pick a model from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.widgets import Input

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import QuickServeError, UsageError
from quickserveml_tui.core.serving import ServerPlan
from quickserveml_tui.core.units import parse_duration
from quickserveml_tui.tui.screens.actions import SearchInput, fuzzy_rank
from quickserveml_tui.tui.screens.dialog import Dialog
from quickserveml_tui.tui.screens.forms import Field, FormDialog
from quickserveml_tui.tui.sheets.rows import labelled
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.ink import key_row
from quickserveml_tui.tui.widgets.table_cells import Cell, Column
from quickserveml_tui.tui.widgets.table_messages import RowSelected
from quickserveml_tui.tui.widgets.virtual_table import VirtualTable

if TYPE_CHECKING:
    from quickserveml_tui.core.jobs import CancelToken
    from quickserveml_tui.core.ports import ServersPort
    from quickserveml_tui.core.serving import ServerRecord

AUTH = ("auto", "keys", "none")
ALL = ("", "all", "*")


def _whole(text: str, what: str, low: int, high: int) -> str:
    """A whole number as the command takes it; empty stays empty. Raises `UsageError`."""
    if not text:
        return ""
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise UsageError(
            f"{what} must be a whole number from {low:,} to {high:,}.", hint="Change it or empty the field."
        )
    return str(int(text))


def plan_of(values: dict[str, str]) -> ServerPlan:
    """What the form asks for. Raises `UsageError` that names the field that is wrong."""
    words = values["models"].split()
    every = values["models"].strip().casefold() in ALL
    delay = values["delay"]
    try:
        delay_us = round(parse_duration(delay) * 1e6) if delay not in ("", "0") else 0
    except UsageError:
        raise UsageError(f"Batch delay “{delay[:40]}” is no duration.", hint="Write 500us as 0.5ms, or 2ms.") from None
    if delay_us > 10_000_000:
        raise UsageError("A batch delay is at most 10 s.", hint="Requests wait that long for others to share a run.")
    options = (
        ("port", _whole(values["port"], "The port", 0, 65_535)),
        ("workers", _no_default(_whole(values["workers"], "Workers", 1, 256), "1")),
        ("threads", _no_default(_whole(values["threads"], "Threads", 1, 1_024), "1")),
        ("max-delay-us", str(delay_us) if delay_us else ""),
        ("grpc-port", _whole(values["grpc"], "The gRPC port", 0, 65_535)),
        ("access-log", values["log"]),
        ("auth", _no_default(values["auth"], "auto")),
    )
    return ServerPlan(
        refs=() if every else tuple(words), every=every, options=tuple(item for item in options if item[1])
    )


def _no_default(text: str, default: str) -> str:
    return "" if text == default else text


class StartServerForm(FormDialog):
    """The settings of a server; below them the command that does the same, as it would be now."""

    def __init__(self, servers: ServersPort, models: str, *, port: str = "", right: str = "") -> None:
        self.servers = servers
        self.started: ServerRecord | None = None
        fields = [
            Field("models", "models", models, "all models of the catalog that run"),
            Field("port", "port", port, "8000; 0 takes a free one"),
            Field("workers", "workers", "1", "1"),
            Field("threads", "threads", "1", "1 for each model"),
            Field("delay", "batch delay", "0", "0; 2ms waits so long for requests to share a run"),
            Field("grpc", "gRPC port", "", "no gRPC; 0 takes a free one"),
            Field("log", "access log", "", "none; a file, or - for the log shown here", path="file"),
            Field("auth", "API keys", "auto", choices=AUTH),
        ]
        super().__init__(
            "Start a server",
            fields,
            about="It is a process of its own and goes on when the workbench ends.",
            verb="start",
            check=lambda values: {"plan": plan_of(values)},
            apply=self._start,
            doing="starting: models are loaded and checked…",
            right=right,
        )

    def _start(self, result: dict[str, Any], cancel: CancelToken) -> None:
        result["server"] = self.servers.start(result["plan"], cancel=cancel)

    def compose_notes(self) -> ComposeResult:
        """The command."""
        yield Sheet(id="form-command")

    def on_mount(self) -> None:
        """The command of the settings as they are."""
        self.field_changed()

    def field_changed(self) -> None:
        """The command follows the fields; while one is wrong it stays as it was."""
        try:
            command = self.at_home(self.servers.command(plan_of(self.values)))
        except QuickServeError:
            return
        for sheet in self.query("#form-command").results(Sheet):
            sheet.show(lambda width, _: labelled("command", command, width, 12, Role.MUTED))


class PickDialog(Dialog[int]):
    """A list with a search field; comes back with the index of what was picked."""

    def __init__(self, title: str, names: Sequence[str], *, current: int = 0) -> None:
        super().__init__(title, f"{len(names):,}")
        self.names = tuple(names)
        self.current = current
        self.fitting: list[int] = []

    def compose_body(self) -> ComposeResult:
        """Search, list, keys."""
        yield SearchInput(placeholder="type a part of the name", id="search", compact=True, select_on_focus=False)
        yield VirtualTable((Column("name", "name", kind="name", flex=1),), empty="No name matches.", show_header=False,
                           id="picks")  # fmt: skip
        yield Sheet(lambda _width, _: [key_row([("enter", "pick"), ("esc", "cancel")])], classes="dialog--keys")

    def on_mount(self) -> None:
        """All names, the cursor on the current one."""
        table = self.query_one("#picks", VirtualTable)
        table.can_focus = False
        field = self.query_one(SearchInput)
        field.on_enter = self.take
        field.focus()
        self.fill("")
        table.move_to_key(self.current)

    def fill(self, words: str) -> None:
        """Show the names that match."""
        self.fitting = [index for index, name in enumerate(self.names) if fuzzy_rank(words, name) is not None]
        table = self.query_one("#picks", VirtualTable)
        table.set_rows([{"_key": index, "name": Cell(self.names[index])} for index in self.fitting])
        table.action_top()

    @on(Input.Changed, "#search")
    def search(self, event: Input.Changed) -> None:
        """Search as the user types."""
        event.stop()
        if event.value or len(self.fitting) != len(self.names):
            self.fill(event.value)

    def action_move(self, by: int) -> None:
        """Move the list's cursor."""
        self.query_one("#picks", VirtualTable).action_move(by)

    def take(self) -> None:
        """Come back with the row under the cursor."""
        key = self.query_one("#picks", VirtualTable).cursor_key
        if isinstance(key, int):
            self.dismiss(key)
        else:
            self.query_one(SearchInput).reopen()

    @on(RowSelected)
    def take_clicked(self, event: RowSelected) -> None:
        """A double click picks too."""
        event.stop()
        self.take()
