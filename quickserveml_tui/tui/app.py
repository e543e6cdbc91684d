"""The application: themes, options, crash and quit. What happens on the screen is the screens' business."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.actions import SkipAction
from textual.app import App
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.scrollbar import ScrollBar, ScrollBarRender

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.text import at_home, safe_lines
from quickserveml_tui.tui.diagnostics import log_to, silence, stop_logging, write_crash_report
from quickserveml_tui.tui.flows.calls import as_error, log
from quickserveml_tui.tui.heartbeat import Heartbeat
from quickserveml_tui.tui.keys import KeyEntry, bind, live_entries, reason_against, show_key
from quickserveml_tui.tui.memory import UiMemory
from quickserveml_tui.tui.messages import BackendFailed, BackendReady
from quickserveml_tui.tui.options import WorkbenchOptions
from quickserveml_tui.tui.places import SERVE, WORKBENCH
from quickserveml_tui.tui.screens.workbench import WorkbenchScreen
from quickserveml_tui.tui.themes import ThemeSupport
from quickserveml_tui.tui.widgets.status import HeaderBar

if TYPE_CHECKING:
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.core.serving import ServerRecord
    from quickserveml_tui.tui.screens.side import SideScreen

THEMES = {"dark": "ember-dark", "light": "ember-light", "contrast": "contrast"}
MAX_RECENT = 20
MAX_TOASTS = 3
MAX_NAMED = 4
TOAST_S = 10.0
_NOT_COMMANDS = {"Table", "Choices", "Start", "Page", "Form"}
"""Areas of keys that move or type: help lists them, the palette does not."""


class CrashError(Exception):
    """What is shown of a crash: one line, and where the report is."""

    def __init__(self, error: BaseException, report: Path | None) -> None:
        where = f" Report: {report}" if report else ""
        self.line = f"quickserveml stopped on an internal error ({type(error).__name__}).{where}"
        super().__init__(self.line)
        self.__cause__ = error

    def __rich__(self) -> Text:
        return Text(self.line)


class CellScrollBar(ScrollBarRender):
    """A scroll bar of whole cells: no part-filled signs, which an ASCII terminal has not and which show seams."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "]
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "]


ScrollBar.renderer = CellScrollBar


class WorkbenchApp(ThemeSupport, App[int], inherit_bindings=False):
    """The workbench over whatever `factory` opens."""

    CSS_PATH = "workbench.tcss"
    TITLE = "quickserveml"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("ctrl+p", "open_palette", "commands", "app.open_palette", "Find any action by its name and run it"),
        bind("q", "ask_quit", "quit", "app.quit_workbench", "Quit; asks only while jobs run"),
        bind(
            "question_mark,f1",
            "open_help",
            "more",
            "app.open_help",
            "Keys of what has the focus, then all keys",
            display="?",
        ),
        bind("f2", "go_to('workbench')", "workbench", "view.go_to_workbench", "Go to the workbench", show=False),
        bind(
            "N,f3",
            "go_to('serve')",
            "servers",
            "view.go_to_servers",
            "Go to the servers of this home: start, stop, log, requests",
            show=False,
        ),
        bind("M,f4", "go_to('monitor')", "monitor", "view.go_to_monitor", "Go to the monitor of a server", show=False),
        bind(
            "L", "switch_theme", "theme", "app.switch_theme", "Change between dark, light and high contrast", show=False
        ),
        bind(
            "ctrl+c",
            "interrupt",
            "cancel or quit",
            "app.interrupt",
            "Cancel the running job; without one, quit",
            show=False,
            priority=True,
        ),
        bind("ctrl+q", "ask_quit", "quit", "app.quit_workbench", "", show=False),
        bind(
            "escape",
            "dismiss_messages",
            "dismiss",
            "app.dismiss_messages",
            "Take the messages in the corner away, where there are any",
            show=False,
            priority=True,
        ),
    ]

    def __init__(self, factory: Callable[[], Workbench], options: WorkbenchOptions) -> None:
        super().__init__(ascii_only=True if options.ascii else None)
        self.animation_level = "none"
        silence()
        self.factory = factory
        self.options = options
        self.memory = UiMemory()
        self.home: Path | None = Path(options.home) if options.home else None
        if self.home and not options.fresh:
            self.memory = UiMemory.load(self.home)
        self.workbench: Workbench | None = None
        self.recent: list[str] = []
        self._held_toasts: list[str] = []
        """Messages that came while a dialog was open."""
        self.heartbeat = Heartbeat(lambda: any(worker.is_running for worker in self.workers))
        self.bench = WorkbenchScreen()
        self.sides: dict[str, SideScreen] = {}
        """Screens beside the workbench, by place, once they were opened."""
        self.server_keys: dict[str, str] = {}
        """API keys by address of their server: in this process's memory and nowhere else."""
        self.started: dict[str, ServerRecord] = {}
        """Servers that were started here and, as far as is known, still run."""
        self.choose_theme(THEMES.get(options.theme or self.memory.theme, THEMES["dark"]))
        if options.keymap:
            self.set_keymap(dict(options.keymap))

    def get_default_screen(self) -> Screen[None]:
        """The workbench is the first screen: one below it would be styled and laid out for nobody."""
        self.bench.fit(self.size)
        return self.bench

    def on_app_focus(self) -> None:
        """Another process may have changed the registry while the user was away."""
        self.bench.reload_catalog()
        self.bench.read_jobs()
        self.bench.watch_generation(on=True)

    def on_app_blur(self) -> None:
        """Nobody looks: nothing is read."""
        self.bench.watch_generation(on=False)

    def here(self, text: str) -> str:
        """`text` with the commands in it made for this home, so that they can be copied and pasted."""
        return at_home(text, self.workbench.home_to_name) if self.workbench is not None else text

    # ---- screens

    @property
    def front(self) -> WorkbenchScreen | SideScreen:
        """The screen below whatever dialog is open."""
        from quickserveml_tui.tui.screens.side import SideScreen

        shown = (one for one in reversed(self.screen_stack) if isinstance(one, (WorkbenchScreen, SideScreen)))
        return next(shown, self.bench)

    def side(self, place: str) -> SideScreen:
        """A screen beside the workbench, made when it is opened first."""
        if place not in self.sides:
            from quickserveml_tui.tui.screens.monitor import MonitorScreen
            from quickserveml_tui.tui.screens.serve import ServeScreen

            screen = ServeScreen() if place == SERVE else MonitorScreen()
            self.install_screen(screen, place)
            self.sides[place] = screen
        return self.sides[place]

    def go_to(self, place: str) -> None:
        """Show another screen; nothing happens while a dialog is open."""
        if isinstance(self.screen, ModalScreen):
            return
        if place == WORKBENCH:
            if self.screen is not self.bench:
                self.pop_screen()
        elif self.screen is self.bench:
            self.push_screen(self.side(place))
        elif self.screen is not self.side(place):
            self.switch_screen(self.side(place))

    def action_go_to(self, place: str) -> None:
        """Show another screen."""
        self.go_to(place)

    def on_header_bar_screen_clicked(self, event: HeaderBar.ScreenClicked) -> None:
        """A screen's name in the header was clicked."""
        event.stop()
        self.go_to(event.screen_id)

    # ---- messages in the corner

    def toast(self, words: str) -> None:
        """Show an error in the corner; equal ones once, and none over a dialog: they wait until it is closed."""
        if isinstance(self.screen, ModalScreen):
            held = [one for one in self._held_toasts if one != words]
            self._held_toasts = [*held, words][-MAX_TOASTS:]
        elif all(shown.message != words for shown in self._notifications):
            self.notify(words, severity="error", timeout=TOAST_S, markup=False)

    def release_toasts(self) -> None:
        """Show what waited for a dialog."""
        held, self._held_toasts = self._held_toasts, []
        for words in held:
            self.toast(words)

    def action_dismiss_messages(self) -> None:
        """Take the messages in the corner away."""
        self.clear_notifications()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Esc means what it means elsewhere where there is no message."""
        if action == "dismiss_messages":
            return not isinstance(self.screen, ModalScreen) and bool(self._notifications)
        return super().check_action(action, parameters)

    # ---- services

    def load_backend(self) -> None:
        """Open the services in a thread, so that the screen answers meanwhile."""
        self.run_worker(self._open_backend, thread=True, group="backend", exclusive=True, exit_on_error=False)

    def _open_backend(self) -> None:
        try:
            workbench = self.factory()
            memory = UiMemory() if self.options.fresh or self.home else UiMemory.load(workbench.home)
        except Exception as error:  # noqa: BLE001 - whatever keeps the services from opening is shown, not raised
            self.call_from_thread(self.bench.post_message, BackendFailed(as_error(error)))
            return
        self.call_from_thread(self._take_backend, workbench, memory)

    def _take_backend(self, workbench: Workbench, memory: UiMemory) -> None:
        self.workbench = workbench
        if self.home is None:
            self.home = workbench.home
            self._adopt(memory)
        log_to(self.home)
        log.info("workbench opened")
        self.bench.post_message(BackendReady(workbench))

    def _adopt(self, memory: UiMemory) -> None:
        """Take over what was remembered, where it was not known for the first frame."""
        if self.options.fresh:
            return
        self.memory = memory
        self.bench.restore()
        if memory.theme and not self.options.theme:
            self.choose_theme(THEMES.get(memory.theme, THEMES["dark"]))

    # ---- actions

    def get_key_display(self, binding: Binding) -> str:
        """A key as people write it."""
        return binding.key_display or show_key(binding.key)

    async def run_action(
        self,
        action: Any,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run an action; one that is disabled says why instead."""
        if isinstance(action, str) and default_namespace is not None:
            node = {"screen": self.screen, "app": self}.get(
                action.partition("(")[0].rpartition(".")[0], default_namespace
            )
            reason = reason_against(node, action)
            if reason:
                self.front.tell(reason, Role.INFO)
                return True
        return await super().run_action(action, default_namespace, namespaces)

    def entries(self) -> tuple[KeyEntry, ...]:
        """Every action on the screen, with its keys as remapped."""
        return live_entries(self.screen, self.options.keymap)

    def action_open_palette(self) -> None:
        """Find an action and run it."""
        from quickserveml_tui.tui.screens.actions import Palette

        skipped = {"app.open_palette"}
        entries = [entry for entry in self.entries() if entry.id not in skipped and entry.area not in _NOT_COMMANDS]
        self.push_screen(Palette(entries, self.recent), self._run_chosen)

    async def _run_chosen(self, entry: KeyEntry | None) -> None:
        if entry is None:
            return
        self.recent = [entry.id, *(one for one in self.recent if one != entry.id)][:MAX_RECENT]
        await self.run_action(entry.action, entry.node)

    def action_open_help(self) -> None:
        """Keys here, then all keys."""
        from quickserveml_tui.tui.screens.actions import Help

        focused = self.screen.focused
        chain = focused.ancestors_with_self if focused else []
        here = {active.binding.id for active in self.screen.active_bindings.values() if active.node in chain[:-2]}
        state = f"Event loop: {self.heartbeat.pulse.words}."
        self.push_screen(Help(self.entries(), [one for one in here if one], self.front.focused_words(), state))

    def action_switch_theme(self) -> None:
        """Dark, light, high contrast, round."""
        names = list(THEMES)
        now = next((at for at, name in enumerate(names) if THEMES[name] == self.wanted_theme), 0)
        name = names[(now + 1) % len(names)]
        self.choose_theme(THEMES[name])
        self.memory.theme = name

    def action_ask_quit(self) -> None:
        """Quit; asks only while jobs run."""
        self.bench.ask_to_quit()

    def action_interrupt(self) -> None:
        """Ctrl+c copies selected text, else cancels the job, else quits."""
        if self.screen.get_selected_text():
            raise SkipAction
        if self.bench.lane.busy:
            self.bench.action_cancel_job()
        else:
            self.leave()

    # ---- end

    def leave(self, *, keep_jobs: bool = False) -> None:
        """End; the jobs of this window are cancelled, or left to go on where they can. Runners close on the way out."""
        lane = self.bench.lane
        self.bench.stop_following()
        for job in lane.own:
            if not (keep_jobs and job.request is not None):
                lane.cancel(job, "")
        lane.close()
        self.exit(0, message=self.farewell())

    def farewell(self) -> Text | None:
        """What goes on without the window."""
        if not self.started:
            return None
        lines = [f"{server.url} (process {server.pid})" for server in list(self.started.values())[:MAX_NAMED]]
        more = len(self.started) - len(lines)
        rest = [f"and {more} more"] if more > 0 else []
        lead = "A server goes on:" if len(self.started) == 1 else f"{len(self.started)} servers go on:"
        stops = "stops it" if len(self.started) == 1 else "stops them"
        return Text(safe_lines(f"{lead} {', '.join([*lines, *rest])}.\nThe Serve screen {stops}."))

    def on_unmount(self) -> None:
        """Remember, and end the runners without keeping the terminal waiting."""
        self.heartbeat.stop()
        if self.home is not None and self.workbench is not None:
            try:
                self.memory.save(self.home)
            except OSError as error:
                log.warning("what the session remembers could not be saved: %s", error)
        if self.workbench is not None:
            threading.Thread(target=self.workbench.close, name="close-workbench").start()
        stop_logging()

    def _handle_exception(self, error: Exception) -> None:
        # Textual has no public hook for this; its own report prints local variables, and those may hold secrets.
        log.exception("crash", exc_info=error)
        report = write_crash_report(error, self.home)
        super()._handle_exception(CrashError(error, report))
