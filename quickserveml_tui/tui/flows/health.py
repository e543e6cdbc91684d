"""Whether the home can be used: a banner while it cannot, and actions that say why they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import BindingType

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.tui.flows.base import FlowScreen
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.messages import HealthRead
from quickserveml_tui.tui.widgets.banner import Banner

if TYPE_CHECKING:
    from quickserveml_tui.core.care import HomeHealth

NEEDS_STATE = frozenset({"run_benchmark", "run_data", "resume_job", "clean_job"})
"""Actions that the state database keeps the record of."""
WRITES = frozenset(
    {
        "add_model", "scan_folder", "install_demo", "edit_tags", "edit_categories", "set_alias", "edit_state",
        "delete_version", "undo_delete", "run_data", "resume_job", "clean_job", "import_bundle", "collect_garbage",
        "edit_inputs", "convert_version", "record_golden", "remove_golden",
    }
)  # fmt: skip
"""Actions that change the home."""


class HealthFlow(FlowScreen):
    """Looks at the home once at the start, and whenever a store refused a write."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("H", "show_health", "health", "home.show_health", "Say what is wrong with the home", show=False)
    ]

    def check_health(self) -> None:
        """Look at the home in the background."""
        workbench = self.workbench
        if workbench is not None:
            self.in_thread(
                lambda: HealthRead(workbench.maintenance.health()), group="health", doing="Looking at the home"
            )

    @on(HealthRead)
    async def show_health(self, event: HealthRead) -> None:
        """A banner for as long as something is wrong."""
        event.stop()
        self.health = health = self._named(event.health)
        self.header().read_only = self.read_only
        banners = self.query(Banner)
        if not health.problems and not health.read_only:
            await banners.remove()
        elif banners:
            banners.first().show(health)
        else:
            await self.mount(Banner(health), before="#panes")
            # The header says it where there is one; a banner for what the user asked for would only take a row.
            asked = self.owner.options.read_only and len(health.problems) <= 1
            self.query_one(Banner).set_class(asked, "-asked")
        self.refresh_bindings()

    def _named(self, health: HomeHealth) -> HomeHealth:
        """The same, its commands made for this home."""
        here = self.owner.here
        return replace(
            health,
            problems=tuple(
                replace(item, message=here(item.message), hint=here(item.hint), command=here(item.command))
                for item in health.problems
            ),
        )

    def why_unrecorded(self) -> str:
        """Why nothing can be measured or run: its jobs cannot be recorded; empty when they can."""
        problems = self.health.problems if self.health is not None and not self.read_only else ()
        broken = next((item for item in problems if item.store == "state" and item.command), None)
        return f"{broken.message} Repair it: {broken.command}" if broken is not None else ""

    def why_read_only(self) -> str:
        """Why nothing can be written, in one sentence; empty when it can."""
        if not self.read_only:
            return ""
        problems = self.health.problems if self.health is not None else ()
        reason = problems[0].message if problems else "The home is opened read-only; nothing is changed."
        return f"{reason} H says more."

    def action_show_health(self) -> None:
        """Every problem with its way out; `y` copies them."""
        from quickserveml_tui.tui.screens.dialog import MessageDialog

        problems = self.health.problems if self.health is not None else ()
        if not problems:
            self.tell("All is well with the home", Role.OK)
            return
        first = problems[0]
        rest = [f"{item.message} {item.hint} {item.command}".strip() for item in problems[1:]]
        title = "The home is read-only" if self.read_only else "Something is wrong with the home"
        self.app.push_screen(MessageDialog(title, first.message, first.hint, " ".join(rest), command=first.command))
