"""The monitor: any server, local or remote, while it works."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import QuickServeError, UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_duration
from quickserveml_tui.tui.flows.monitor_figures import FiguresFlow
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.memory import MAX_URLS
from quickserveml_tui.tui.messages import ActionFailed
from quickserveml_tui.tui.monitor.history import History
from quickserveml_tui.tui.monitor.messages import AddressFound
from quickserveml_tui.tui.monitor.view import INTERVALS_S, WINDOWS_S, View, clock_of
from quickserveml_tui.tui.monitor.watcher import SnapshotArrived, WatchFailed, watch_server
from quickserveml_tui.tui.panes.monitor_charts import LatencyPane, LoadPane, TrafficPane, ViewPane
from quickserveml_tui.tui.panes.monitor_tables import ModelsPane, SlowPane, TablePane, WorkersPane
from quickserveml_tui.tui.places import MONITOR, WORKBENCH
from quickserveml_tui.tui.widgets.empty import EmptyState
from quickserveml_tui.tui.widgets.status import HeaderBar, StatusLine

if TYPE_CHECKING:
    from collections.abc import Mapping

_URL = re.compile(r"https?://(\[[0-9a-f:.]+\]|[^\s/@?#:\[\]]+)(:\d{1,5})?(/[^\s?#]*)?", re.IGNORECASE)
NOTHING = (
    "Requests, latency, errors and load of any server that speaks the inference protocol",
    [("o", "opens one by its address"), ("N", "goes to the servers of this home")],
)
DOING_LOOK = "Looking for a server"


def address_of(text: str) -> str:
    """An address as people write it (`8000`, `host:8000`, `https://host/base`) as a URL. Raises `UsageError`."""
    words = text.strip()
    if words.isascii() and words.isdigit():
        words = f"127.0.0.1:{words}"
    if "://" not in words:
        words = f"http://{words}"
    if "@" in words:
        raise UsageError("The address holds a name or a password.", hint="Leave it out; a key goes into its own field.")
    if not _URL.fullmatch(words):
        raise UsageError(
            f"“{safe_text(text, 60)}” is no address of a server.", hint="Write host:port, or http://host:port."
        )
    return words.rstrip("/")


class MonitorScreen(FiguresFlow):
    """Traffic, latency, models, load, slowest requests, workers."""

    PLACE = MONITOR
    TABS = (("1", "Traffic"), ("2", "Latency"), ("3", "Models"), ("4", "Load"), ("5", "Slowest"), ("6", "Workers"))
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("o", "open_address", "open", "monitor.open_address", "Watch a server by its address"),
        bind("p", "toggle_pause", "pause", "monitor.toggle_pause", "Pause, or go on"),
        bind("w", "next_window", "window", "monitor.next_window", "Show the last 1, 5 or 10 minutes"),
        bind("plus,equals_sign", "step_interval(1)", "slower", "monitor.ask_less", "Ask the server less often",
             display="+ -"),
        bind("minus", "step_interval(-1)", "faster", "monitor.ask_more", "Ask the server more often", show=False),
        bind("y", "copy_url", "copy URL", "monitor.copy_url", "Copy the address of the server", show=False),
        bind("Y", "copy_table", "copy table", "monitor.copy_table", "Copy the table of the pane", show=False),
        *(bind(str(number), f"focus_pane({number})", name.lower(), f"monitor.go_to_{name.lower()}",
               f"Go to {name.lower()}", show=False) for number, name in enumerate(
                   ("Traffic", "Latency", "Models", "Load", "Slowest", "Workers"), 1)),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.view = View()
        self.url = ""
        self.back_to = WORKBENCH
        """Where esc leads: to the servers from where this was opened on one of them."""
        self.interval_s = 1.0
        self.paused = False
        self.failure: QuickServeError | None = None
        self._said: tuple[str, Role] = ("", Role.OK)
        self._cancel: CancelToken | None = None
        self._number = 0

    def compose_panes(self) -> ComposeResult:
        """The empty state, then the six panes."""
        yield EmptyState(*NOTHING, id="monitor-empty")
        yield TrafficPane(self.view)
        yield LatencyPane(self.view)
        yield ModelsPane(self.view)
        yield LoadPane(self.view)
        yield SlowPane(self.view)
        yield WorkersPane(self.view)

    async def on_mount(self) -> None:
        """Watch what was asked for, else the newest server of this home."""
        await super().on_mount()
        self._arrange()
        if self.url:
            self._begin()
        else:
            self._find_local()

    def _find_local(self) -> None:
        services = self.owner.workbench
        if services is not None:
            self.in_thread(
                lambda: AddressFound(next((server.url for server in services.servers.list()), "")), group="address",
                doing=DOING_LOOK,
            )  # fmt: skip

    @on(AddressFound)
    def watch_local(self, event: AddressFound) -> None:
        """Watch the server that was found, unless another one was asked for meanwhile."""
        event.stop()
        if event.url and not self.url:
            self.watch_url(event.url)

    @on(ActionFailed)
    def explain_failure(self, event: ActionFailed) -> None:
        """That no server of this home can be listed matters to the Serve screen only."""
        event.stop()
        if event.doing != DOING_LOOK:
            self.tell_error(event.error, event.doing)

    # ---- watching

    def watch_url(self, url: str) -> None:
        """Watch a server from now on; what was seen of another one is forgotten."""
        if url != self.url:
            self.view.history, self.view.model, self.view.ago_s = History(), None, None
            self.failure = None
        self.url, self.paused = url, False
        memory = self.owner.memory
        memory.server_urls = [url, *(one for one in memory.server_urls if one != url)][:MAX_URLS]
        if self.is_mounted:
            self._arrange()
            self._begin()

    def _begin(self) -> None:
        """Start the thread that asks, unless it is paused or nobody looks."""
        self._end()
        services = self.owner.workbench
        if services is None or not self.url or self.paused or self.covered:
            return
        cancel = self._cancel = CancelToken()
        self._number += 1
        number, url, key, interval_s = self._number, self.url, self.owner.server_keys.get(self.url, ""), self.interval_s
        port, post = services.monitor, self.post_message
        self.run_worker(
            lambda: watch_server(port, url, cancel, post, key=key, interval_s=interval_s, number=number),
            group="watch", exclusive=True, thread=True, exit_on_error=False,
        )  # fmt: skip

    def _end(self) -> None:
        if self._cancel is not None:
            self._cancel.cancel()
            self._cancel = None
        self._number += 1

    def on_screen_resume(self) -> None:
        """Shown again: go on."""
        super().on_screen_resume()
        if self.is_mounted and self._cancel is None:
            if self.url:
                self._begin()
            else:
                self._find_local()

    def on_screen_suspend(self) -> None:
        """Hidden: nothing is asked, nothing is drawn."""
        if self.covered:
            self._end()
            self.back_to = WORKBENCH

    def on_unmount(self) -> None:
        """The thread ends with the screen."""
        self._end()

    @on(SnapshotArrived)
    def take_snapshot(self, event: SnapshotArrived) -> None:
        """Show a snapshot of the watch that is on."""
        event.stop()
        if event.watch != self._number:
            return
        first = self.view.snapshot is None
        if self.failure is not None:
            self.failure = None
            if not first:
                self.view.history.note(event.snapshot.taken_at, "answers again", Role.OK)
            self.tell("The server answers again", Role.OK)
        unseen = not self.view.history.points
        self.view.history.add(event.snapshot, event.rates)
        if first:
            self._arrange()
        self._show()
        if unseen and self.view.history.points:
            self.refresh_bindings()  # now there are figures to show and to write

    @on(WatchFailed)
    def take_failure(self, event: WatchFailed) -> None:
        """Say that the server is gone; what was seen stays."""
        event.stop()
        if event.watch != self._number:
            return
        if self.failure is None and self.view.snapshot is not None:
            self.view.history.note(time.time(), "does not answer", Role.ERROR)
        self.failure = event.error
        self._arrange()
        self._show()

    # ---- showing

    def _arrange(self) -> None:
        """Panes where there is something to see; else why there is nothing."""
        empty = self.query_one("#monitor-empty", EmptyState)
        there = self.view.snapshot is not None
        had_focus = self.focused
        self.set_class(not there, "-nothing")
        if not there:
            keys: list[tuple[str, str]] = list(NOTHING[1])
            sentence = NOTHING[0] if not self.url else f"Asking {self.url}…"
            if self.failure is not None:
                sentence = f"{self.failure.message} {self.failure.hint} It is asked again every few seconds."
                keys = [("o", "opens another one, or this one with a key")]
            empty.show(sentence, keys)
            self.set_focus(empty)
        elif had_focus is None or had_focus is empty:
            self.show_pane(self.current)
        self._show()

    def _show(self) -> None:
        self.view.gone = self.failure is not None
        if self.view.snapshot is not None:
            for pane in self.query(ViewPane):
                pane.show_view()
        header, line = self.query_one(HeaderBar), self.query_one(StatusLine)
        snapshot = self.view.snapshot
        name = self.url.partition("://")[2] or "no server"
        words = [name]
        if snapshot is not None:
            words += [f"{snapshot.name} {snapshot.version}".strip() or snapshot.source.value]
            words += [f"up {format_duration(snapshot.uptime_s)}"] if snapshot.uptime_s else []
        header.place = "   ".join(safe_text(word, 60) for word in words)
        model = self.view.model
        line.breadcrumb = tuple(
            part for part in ("Monitor", name if self.url else "", "@".join(model) if model else "") if part
        )
        said = self._state_words()
        if said != self._said:
            # Only what is new: else the answer to a key would be gone within a second.
            self._said = said
            line.tell(*said, at="")
        self._show_live()

    def _state_words(self) -> tuple[str, Role]:
        snapshot = self.view.snapshot
        if self.failure is not None and snapshot is None:
            return "No answer; asking again", Role.ERROR
        if self.failure is not None and snapshot is not None:
            last = clock_of(snapshot.taken_at)
            return f"No answer since {last}; asking again. {self.failure.message}", Role.ERROR
        if self.paused:
            return "Paused; p goes on", Role.WARN
        if snapshot is not None and not snapshot.ready:
            return "The server says that it is not ready", Role.WARN
        every = f"{self.interval_s:g} s"
        source = "" if snapshot is None or snapshot.source.value == "quickserveml" else f"{snapshot.source.value}; "
        return (
            (f"{source}asked every {every}, {self.view.window_words}", Role.OK)
            if snapshot is not None
            else ("", Role.OK)
        )

    def _show_live(self) -> None:
        self.query_one(TrafficPane).live = self._cancel is not None and self.failure is None

    def reason_against(self, action: str) -> str:
        """Why an action does nothing now."""
        if action in ("show_figures", "export_figures") and not self.view.history.points:
            return "Nothing was seen of a server yet."
        if action in ("toggle_pause", "copy_url", "next_window", "move_cursor", "narrow") and not self.url:
            return "No server is watched; o opens one."
        return ""

    # ---- actions

    def action_toggle_pause(self) -> None:
        """Pause, or go on."""
        self.paused = not self.paused
        if self.paused:
            self._end()
        else:
            self._begin()
        self._show()

    def action_next_window(self) -> None:
        """1, 5, 10 minutes, round."""
        self.view.window_s = WINDOWS_S[(WINDOWS_S.index(self.view.window_s) + 1) % len(WINDOWS_S)]
        self.view.ago_s = None
        self._show()

    def action_step_interval(self, by: int) -> None:
        """Ask more or less often."""
        at = min(max(INTERVALS_S.index(self.interval_s) + by, 0), len(INTERVALS_S) - 1)
        if INTERVALS_S[at] != self.interval_s:
            self.interval_s = INTERVALS_S[at]
            self._begin()
        self._show()

    def action_move_cursor(self, by: int) -> None:
        """Move the cursor over time."""
        self.view.move_cursor(by, self.query_one(LatencyPane).columns)
        self._show()

    def action_narrow(self) -> None:
        """Charts of the model under the cursor only, or of all again."""
        key = self.query_one(ModelsPane).table.cursor_key
        if isinstance(key, tuple):
            self.view.model = None if self.view.model == key else (str(key[0]), str(key[1]))
            self._show()

    def action_leave(self) -> None:
        """First take the cursor and the narrowing away."""
        if self.view.ago_s is not None or self.view.model is not None:
            self.view.ago_s = self.view.model = None
            self._show()
        elif self.back_to != WORKBENCH and not self.has_class("-maximised"):
            self.owner.go_to(self.back_to)
        else:
            super().action_leave()

    def action_copy_url(self) -> None:
        """Copy the address."""
        self.copy_words(self.url, "the address")

    def action_copy_table(self) -> None:
        """Copy the table of the pane, or that of the models."""
        pane = self.panes[self.current - 1]
        table = pane.table if isinstance(pane, TablePane) else self.query_one(ModelsPane).table
        titles, rows = table.as_table()
        self.copy_words("\n".join("\t".join(row) for row in (titles, *rows)), "the table")

    def action_open_address(self) -> None:
        """Ask for an address and, where it needs one, a key."""
        from quickserveml_tui.tui.screens.address import AddressForm

        known = [self.url, *(one for one in self.owner.memory.server_urls if one != self.url)]
        self.app.push_screen(AddressForm([one for one in known if one]), self._opened)

    def _opened(self, values: Mapping[str, Any] | None) -> None:
        if values is None:
            return
        if values["key"]:
            self.owner.server_keys[values["url"]] = values["key"]
        self.watch_url(values["url"])
