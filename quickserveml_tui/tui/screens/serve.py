"""The Serve screen: servers of this home, a request to one of them, and its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.text import plural
from quickserveml_tui.tui.flows.server_requests import RequestFlow
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.messages import ActionFailed
from quickserveml_tui.tui.panes.request import RequestEditor, RequestPane
from quickserveml_tui.tui.panes.server_log import NOTHING as NO_SERVER_LOG
from quickserveml_tui.tui.panes.server_log import LogPane
from quickserveml_tui.tui.panes.servers import ServersPane
from quickserveml_tui.tui.places import MONITOR, SERVE
from quickserveml_tui.tui.serving.messages import LogRead, ServersListed, ServerStopped, StopWeighed
from quickserveml_tui.tui.serving.states import ServerState, host_of, look_at
from quickserveml_tui.tui.widgets.status import StatusLine

if TYPE_CHECKING:
    from textual.timer import Timer

    from quickserveml_tui.core.serving import ServerRecord

LOG = 3
LOOK_S = 2.0
"""Time between two looks at the servers while the screen is shown."""
LOG_READS = 64
"""Pieces of a log that are read at once."""
NO_LOG = "It runs in a terminal, which shows its log."
NO_LOG_KEYS = [("n", "starts one that keeps its log")]
NEEDS_SERVER = {"stop_server", "watch_server", "copy_url", "enter_key"}
NEEDS_TARGET = {
    "send_request", "edit_request", "pick_target", "step_target", "copy_curl", "reset_request", "copy_answer",
}  # fmt: skip


class ServeScreen(RequestFlow):
    """Servers, request, log."""

    PLACE = SERVE
    TABS = (("1", "Servers"), ("2", "Request"), ("3", "Log"))
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("m", "watch_server", "monitor", "serve.watch_server", "Open the monitor on the server"),
        bind("n", "start_server", "start", "serve.start_server", "Start a server for the marked models, or for all"),
        bind(
            "K", "enter_key", "key", "serve.enter_key", "Enter an API key of the server, for this session", show=False
        ),
        bind("1", "focus_pane(1)", "servers", "serve.go_to_list", "Go to the list of servers", show=False),
        bind("2", "focus_pane(2)", "request", "serve.go_to_request", "Go to the request", show=False),
        bind("3", "focus_pane(3)", "log", "serve.go_to_log", "Go to the log", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, ServerState] = {}
        self._timer: Timer | None = None
        self._looking = False
        self._offset = 0
        self._reading = False
        self._select = ""
        self._served: tuple[str, ...] | None = None
        """What the server under the cursor served when it was looked at last."""
        self._stopping: set[str] = set()
        """Servers that were told to end."""

    def compose_panes(self) -> ComposeResult:
        """The three panes."""
        yield ServersPane()
        yield RequestPane()
        yield LogPane()

    async def on_mount(self) -> None:
        """Look at once, then every two seconds while this is shown."""
        await super().on_mount()
        self.query_one(StatusLine).breadcrumb = ("Serve",)
        self._timer = self.set_interval(LOOK_S, self.look)
        self.look()

    @property
    def servers_pane(self) -> ServersPane:
        """Pane 1."""
        return self.query_one(ServersPane)

    @property
    def log_pane(self) -> LogPane:
        """Pane 3."""
        return self.query_one(LogPane)

    # ---- looking

    def on_screen_resume(self) -> None:
        """Shown again: look at once."""
        super().on_screen_resume()
        if self._timer is not None:
            self._timer.resume()
            self.look()

    def on_screen_suspend(self) -> None:
        """Hidden: nothing is asked."""
        if self._timer is not None and self.covered:
            self._timer.pause()

    def look(self) -> None:
        """Ask for the servers and how each is."""
        services = self.owner.workbench
        if services is None or self._looking:
            return
        self._looking = True
        known, keys = self.states, dict(self.owner.server_keys)

        def ask() -> ServersListed:
            servers = services.servers.list()
            states = {
                one.id: look_at(services.monitor, one, keys.get(one.url, ""), known.get(one.id)) for one in servers
            }
            return ServersListed(servers, states)

        self.in_thread(ask, group="servers", doing="Looking for servers")
        self._read_log()

    @on(ServersListed)
    def show_servers(self, event: ServersListed) -> None:
        """Show the list."""
        event.stop()
        self._looking = False
        self.states = event.states
        alive = {server.id for server in event.servers}
        self._say_ended([one for one in self.servers_pane.servers if one.id not in alive])
        for gone in [key for key in self.owner.started if key not in alive]:
            del self.owner.started[gone]
        self._renew(event.servers)
        self.servers_pane.show(event.servers, event.states, select=self._select)
        if self._select in alive:
            self._select = ""

    def _renew(self, servers: tuple[ServerRecord, ...]) -> None:
        """What is served may have changed since the server under the cursor was asked for it."""
        server = self.server
        newer = next((one for one in servers if server is not None and one.id == server.id), None)
        if newer is None:
            return
        self.server = newer
        state = self.states.get(newer.id)
        if state is None or state.snapshot is None:
            return
        served = state.models(newer)
        if self._served is not None and served != self._served:
            self.find_targets(anew=False)
        self._served = served

    def _say_ended(self, gone: list[ServerRecord]) -> None:
        """Servers that ended without being told to from here: what was said of them before is no longer true."""
        ended = [one.url for one in gone if one.id not in self._stopping]
        self._stopping -= {one.id for one in gone}
        if ended:
            words = f"{host_of(ended[0])} has" if len(ended) == 1 else f"{plural(len(ended), 'server')} have"
            self.tell(f"{words} ended", Role.WARN)

    @on(ActionFailed)
    def explain_failure(self, event: ActionFailed) -> None:
        """A call in a thread failed; a look that fails says so in its place, not in a toast every two seconds."""
        event.stop()
        if event.doing == "Looking for servers":
            self._looking = False
            self.servers_pane.say_failure(event.error.message)
            self.tell(event.error.message, Role.ERROR)
        elif event.doing == "Reading the log":
            self._reading = False
            self.log_pane.begin(event.error.message)
        else:
            self.tell_error(event.error, event.doing)

    @on(ServersPane.Picked)
    def turn_to(self, event: ServersPane.Picked) -> None:
        """Another server is under the cursor: its models and its log."""
        event.stop()
        server = event.server
        if (server.id if server else "") == (self.server.id if self.server else ""):
            return
        state = self.states.get(server.id) if server is not None else None
        self.server = server
        self._served = state.models(server) if server and state is not None and state.snapshot is not None else None
        self._offset, self._reading = 0, False
        self.query_one(StatusLine).breadcrumb = ("Serve", host_of(server.url)) if server else ("Serve",)
        if server is None:
            self.log_pane.begin(*NO_SERVER_LOG)
        elif server.log_path:
            self.log_pane.begin("Nothing is written yet")
        else:
            self.log_pane.begin(NO_LOG, NO_LOG_KEYS)
        self.find_targets()
        self._read_log()
        self.refresh_bindings()

    # ---- log

    def _read_log(self) -> None:
        services, server = self.owner.workbench, self.server
        if services is None or server is None or not server.log_path or self._reading:
            return
        self._reading = True
        offset = self._offset

        def read() -> LogRead:
            parts, at = [], offset
            for _ in range(LOG_READS):
                text, then = services.servers.log(server.id, at)
                if not text:
                    break
                parts.append(text)
                at = then
            return LogRead(server.id, "".join(parts), at)

        self.in_thread(read, group="log", doing="Reading the log")

    @on(LogRead)
    def show_log(self, event: LogRead) -> None:
        """Show what was written since."""
        event.stop()
        self._reading = False
        if self.server is not None and event.server_id == self.server.id:
            self._offset = event.offset
            self.log_pane.add(event.text)

    def action_show_log_line(self) -> None:
        """Show the whole line under the cursor."""
        from quickserveml_tui.tui.screens.report import ReportDialog
        from quickserveml_tui.tui.serving.requests import answer_rows

        line = self.log_pane.line
        if line:
            rows = answer_rows(line)
            self.app.push_screen(ReportDialog("Log line", lambda _width, _glyphs: rows, line))

    def action_leave_log_filter(self) -> None:
        """Go from the filter to the lines."""
        self.log_pane.leave_filter(clear=False)

    def action_clear_log_filter(self) -> None:
        """Show all lines again."""
        self.log_pane.leave_filter(clear=True)

    def action_leave(self) -> None:
        """First show all lines of the log again."""
        if self.log_pane.filtered and self.current == LOG and not self.has_class("-maximised"):
            self.log_pane.leave_filter(clear=True)
        else:
            super().action_leave()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where the body is edited, enter is a line of it: the footer does not offer to edit."""
        if action == "edit_request" and isinstance(self.focused, RequestEditor):
            return False
        return super().check_action(action, parameters)

    # ---- start and stop

    def reason_against(self, action: str) -> str:
        """Why an action does nothing now."""
        if action == "edit_request" and self.request_pane.outlined:
            return "The request is too long to be edited here; f5 sends it whole."
        if action == "start_server" and self.read_only:
            return "The workbench is read-only: no server is started."
        if action in NEEDS_SERVER and self.server is None:
            return "No server is under the cursor; n starts one."
        if action == "show_log_line" and not self.log_pane.lines:
            return "There is no line of a log yet." if self.server is None or self.server.log_path else NO_LOG
        if action in NEEDS_TARGET and self.request_pane.target is None and self.server is None:
            return "There is no server to ask; n starts one."
        return ""

    def action_start_server(self) -> None:
        """Ask how, and start a server."""
        from quickserveml_tui.tui.screens.start_server import StartServerForm

        services = self.services
        if services is None:
            return
        bench = self.owner.bench
        marked = [str(mark) for mark in bench.catalog_pane.marks]
        picked = marked or ([bench.selected.ref] if bench.selected is not None else [])
        taken = any(server.url.endswith(":8000") for server in self.servers_pane.servers)
        form = StartServerForm(services.servers, " ".join(picked), port="0" if taken else "")
        self.app.push_screen(form, self._started)

    def _started(self, result: dict[str, Any] | None) -> None:
        server: ServerRecord | None = (result or {}).get("server")
        if server is None:
            return
        self.owner.started[server.id] = server
        self._select = server.id
        self.tell(f"Serving {plural(len(server.models), 'model')}, also after you quit", Role.OK)
        self.look()

    def action_stop_server(self) -> None:
        """Find out what would be interrupted, then ask."""
        services, server = self.services, self.server
        if services is None or server is None:
            return
        key = self.key_of(server)

        def weigh() -> StopWeighed:
            return StopWeighed(server, look_at(services.monitor, server, key, None).pending)

        self.in_thread(weigh, group="stop", doing="Asking the server what it does")

    @on(StopWeighed)
    def ask_to_stop(self, event: StopWeighed) -> None:
        """Say what stopping means."""
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        event.stop()
        server, pending = event.server, event.pending
        models = plural(len(server.models), "model")
        if pending is None:
            work = "It does not say what is under way; whatever is gets up to 30 s to finish."
        elif pending:
            work = f"{plural(pending, 'request')} under way: {'it is' if pending == 1 else 'they are'} finished first."
        else:
            work = "Nothing is under way."
        words = f"{server.url} serves {models} and will be gone for its clients. {work}"
        dialog = ConfirmDialog("Stop this server?", words, key="y", verb="stop")
        self.app.push_screen(dialog, lambda yes: self._stop(server) if yes else None)

    def _stop(self, server: ServerRecord) -> None:
        services = self.services
        if services is None:
            return
        self._stopping.add(server.id)
        self.tell(f"Stopping {host_of(server.url)}: what is under way is finished first", Role.INFO)

        def stop() -> ServerStopped:
            services.servers.stop(server.id)
            return ServerStopped(server)

        self.in_thread(stop, group=f"stop-{server.id}", doing="Stopping the server")

    @on(ServerStopped)
    def say_stopped(self, event: ServerStopped) -> None:
        """It is gone."""
        event.stop()
        self.owner.started.pop(event.server.id, None)
        self.owner.server_keys.pop(event.server.url, None)
        self.tell(f"{host_of(event.server.url)} has stopped", Role.OK)
        self.look()

    # ---- keys, copies, monitor

    def action_enter_key(self) -> None:
        """Ask for an API key; it is kept in memory for this session."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        server = self.server
        if server is None:
            return
        form = FormDialog(
            "API key",
            [Field("key", "key", "", "qsml_…", secret=True)],
            about=f"For requests to {server.url}. It is not written anywhere and is forgotten when you quit.",
            verb="use",
        )
        self.app.push_screen(form, lambda values: self._use_key(server, values))

    def _use_key(self, server: ServerRecord, values: dict[str, Any] | None) -> None:
        if values is None:
            return
        self.owner.server_keys[server.url] = values["key"]
        self.find_targets()
        self.look()

    def action_copy_url(self) -> None:
        """Copy the address."""
        if self.server is not None:
            self.copy_words(self.server.url, "the address")

    def action_watch_server(self) -> None:
        """Open the monitor on the server under the cursor."""
        from quickserveml_tui.tui.screens.monitor import MonitorScreen

        if self.server is None:
            return
        screen = self.owner.side(MONITOR)
        assert isinstance(screen, MonitorScreen)
        screen.watch_url(self.server.url)
        screen.back_to = SERVE
        self.owner.go_to(MONITOR)
