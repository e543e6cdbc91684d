"""Asking a server from the Serve screen: which models, an example, the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.text import safe_lines
from quickserveml_tui.tui.flows.calls import as_error
from quickserveml_tui.tui.panes.inspector import Page
from quickserveml_tui.tui.panes.request import RequestEditor, RequestPane
from quickserveml_tui.tui.screens.side import SideScreen
from quickserveml_tui.tui.serving.examples import lay_out
from quickserveml_tui.tui.serving.messages import AnswerArrived, ExampleFound, ModelsFound
from quickserveml_tui.tui.serving.requests import MAX_KEPT, Target, answer_rows, certificate_of, curl_line, targets_of

if TYPE_CHECKING:
    from quickserveml_tui.core.ports import RemotePort, Workbench
    from quickserveml_tui.core.serving import ServerRecord

TIMEOUT_S = 60.0


class RequestFlow(SideScreen):
    """One server and one target at a time; what arrives for another one is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.server: ServerRecord | None = None
        """The server under the cursor."""
        self.targets: list[Target] = []
        self._sent = 0

    @property
    def request_pane(self) -> RequestPane:
        """Pane 2."""
        return self.query_one(RequestPane)

    def key_of(self, server: ServerRecord) -> str:
        """The API key that was entered for a server; empty without one."""
        return self.owner.server_keys.get(server.url, "")

    # ---- what can be asked

    def find_targets(self, *, anew: bool = True) -> None:
        """Ask the server under the cursor what it serves.

        Without `anew` the request stays as it is for as long as its model is there: what is served has changed.
        """
        services, server = self.owner.workbench, self.server
        if not anew and services is not None and server is not None and self.request_pane.target is not None:
            self._ask_for_targets(services, server)
            return
        self.targets = []
        self._sent += 1
        if services is None or server is None:
            self.request_pane.show_nothing()
            return
        self.request_pane.show_nothing("Asking the server for its models…", ())
        self._ask_for_targets(services, server)

    def _ask_for_targets(self, services: Workbench, server: ServerRecord) -> None:
        key = self.key_of(server)

        def ask() -> ModelsFound | ExampleFound:
            try:
                return ModelsFound(server.id, services.remote.models(server.url, key=key))
            except QuickServeError as error:
                return ExampleFound(server.id, "", error=error)

        self.in_thread(ask, group="targets", doing="Asking for the models")

    @on(ModelsFound)
    def take_targets(self, event: ModelsFound) -> None:
        """Show the first model with its example, or go on with the one that is shown."""
        event.stop()
        if self.server is None or event.server_id != self.server.id:
            return
        self.targets = targets_of(event.models)
        shown = self.request_pane.target
        if shown in self.targets:
            self.request_pane.show_place(self.targets.index(shown) + 1, len(self.targets))
            return
        if self.targets:
            self.show_target(0)
        else:
            self.request_pane.show_nothing("This server serves no model now", ())

    def show_target(self, index: int) -> None:
        """Turn to another model and get its example."""
        services, server = self.owner.workbench, self.server
        if services is None or server is None or not self.targets:
            return
        target = self.targets[index]
        self._sent += 1
        self.request_pane.show_target(target, index + 1, len(self.targets))
        key, width = self.key_of(server), self.request_pane.editor_width

        def ask() -> ExampleFound:
            try:
                text = services.remote.example(server.url, target.model, target.version, key=key)
            except QuickServeError as error:
                return ExampleFound(server.id, target.path, error=error)
            return ExampleFound(server.id, target.path, lay_out(text, width))

        self.in_thread(ask, group="example", doing="Asking for an example")

    @on(ExampleFound)
    def take_example(self, event: ExampleFound) -> None:
        """Put the example into the editor, or say why there is none."""
        event.stop()
        pane = self.request_pane
        if self.server is None or event.server_id != self.server.id:
            return
        if event.error is not None and not event.path:
            keys = (("K", "enters its key"),) if event.error.http_status in (401, 403) else ()
            pane.show_nothing(event.error.message if keys else f"{event.error.message} {event.error.hint}", keys)
        elif pane.target is not None and pane.target.path == event.path:
            if event.error is not None:
                pane.show_error(event.error)
            elif event.example is not None:
                pane.show_example(event.example)
                self.refresh_bindings()

    def action_step_target(self, by: int) -> None:
        """Turn to the next model, round."""
        pane = self.request_pane
        if pane.target is not None and len(self.targets) > 1:
            self.show_target((self.targets.index(pane.target) + by) % len(self.targets))

    def action_pick_target(self) -> None:
        """Pick the model and version to ask from a list."""
        from quickserveml_tui.tui.screens.start_server import PickDialog

        pane = self.request_pane
        if pane.target is None:
            return
        names = [target.name for target in self.targets]
        dialog = PickDialog("Model to ask", names, current=self.targets.index(pane.target))
        self.app.push_screen(dialog, lambda index: self.show_target(index) if index is not None else None)

    # ---- sending

    def action_edit_request(self) -> None:
        """Put the cursor into the body."""
        if self.request_pane.target is None:
            self.show_pane(2)
            return
        self.show_pane(2)
        self.set_focus(self.query_one(RequestEditor))

    def action_leave_editor(self) -> None:
        """Go from the body to the answer."""
        self.set_focus(self.request_pane.query_one(Page))

    def action_reset_request(self) -> None:
        """Put the example back."""
        pane = self.request_pane
        if pane.target is not None:
            self.show_target(self.targets.index(pane.target))

    def action_send_request(self) -> None:
        """Send the body as it is, also where it is no JSON: what the server says to that is worth seeing."""
        services, server, pane = self.services, self.server, self.request_pane
        target = pane.target
        if services is None or server is None or target is None:
            return
        if pane.sending:
            self.tell("A request is under way already", Role.INFO)
            return
        self._sent += 1
        number, body, key, remote = self._sent, pane.body, self.key_of(server), services.remote
        width = pane.query_one(Page).sheet.content_size.width
        wrong = pane.begin_sending()
        if wrong:
            self.tell(f"Sent as it is; it is no JSON. {wrong}", Role.WARN)
        self.in_thread(
            lambda: _send(remote, server.url, target.path, body, key=key, number=number, width=width), group="send",
            doing="Sending the request",
        )  # fmt: skip

    @on(AnswerArrived)
    def take_answer(self, event: AnswerArrived) -> None:
        """Show the answer, unless another model was turned to meanwhile."""
        event.stop()
        self.request_pane.sending = False
        if event.sequence != self._sent or self.request_pane.target is None:
            return
        if event.error is not None:
            self.request_pane.show_error(event.error)
            self.tell(event.error.message, Role.ERROR)
        else:
            self.request_pane.show_answer(event)

    # ---- copies

    def action_copy_curl(self) -> None:
        """Copy the curl line that sends the same."""
        pane, server = self.request_pane, self.server
        if server is None or pane.target is None:
            return
        line = curl_line(
            server.url, pane.target, pane.body, with_key=server.auth == "keys",
            certificate=certificate_of(server.command),
        )  # fmt: skip
        self.copy_words(line, "the curl line")

    def action_copy_answer(self) -> None:
        """Copy the answer as it came."""
        answer = self.request_pane.answer
        if answer is not None:
            self.copy_words(answer.text, "the answer")


def _send(remote: RemotePort, url: str, path: str, body: str, *, key: str, number: int, width: int) -> AnswerArrived:
    """Send in a worker thread; the answer is read and laid out there as well."""
    try:
        status, text, elapsed_ms = remote.send(url, path, body.encode(), key=key, timeout_s=TIMEOUT_S)
        rows = answer_rows(text, width)
    except Exception as error:  # noqa: BLE001 - whatever it is stands where the answer would
        return AnswerArrived(number, error=as_error(error))
    return AnswerArrived(number, status, elapsed_ms, len(text.encode()), rows, safe_lines(text, MAX_KEPT))
