"""The trash: undo of deletions, restoring, purging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.binding import BindingType

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import ConflictError
from quickserveml_tui.core.text import plural
from quickserveml_tui.tui.flows.base import FlowScreen
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.messages import ActionDone, NameTaken, NewestInTrash, TrashRead
from quickserveml_tui.tui.times import local_clock

if TYPE_CHECKING:
    from textual.message import Message

    from quickserveml_tui.core.models import TrashEntry
    from quickserveml_tui.core.ports import Workbench

MAX_UNDO = 100


class TrashFlow(FlowScreen):
    """What was deleted can be brought back: the last deletion by one key, all others from a list."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "u",
            "undo_delete",
            "undo",
            "trash.undo_delete",
            "Bring back what was deleted last; asks where an earlier session deleted it",
            show=False,
        ),
        bind("U", "open_trash", "trash", "trash.open_trash", "Restore or purge what was deleted", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.undo_stack: list[tuple[str, ...]] = []
        """Ids in the trash by deletion of this session, the last one at the end."""

    def note_deletion(self, trash_ids: Sequence[str]) -> None:
        """Remember what `u` brings back."""
        if trash_ids:
            self.undo_stack = [*self.undo_stack, tuple(trash_ids)][-MAX_UNDO:]
            self.refresh_bindings()

    def action_undo_delete(self) -> None:
        """Bring back what was deleted last; what an earlier session deleted, only after asking."""
        workbench = self.ready()
        if workbench is None:
            return
        if not self.undo_stack:
            self.in_thread(lambda: NewestInTrash(next(iter(workbench.catalog.trash()), None)), group="trash",
                           doing="Reading the trash")  # fmt: skip
            return
        ids = self.undo_stack.pop()
        self.in_thread(lambda: _restore(workbench, ids), group="change", doing="Undoing the deletion", exclusive=False)

    @on(NewestInTrash)
    def ask_to_restore(self, event: NewestInTrash) -> None:
        """Nothing was deleted in this session: name what would come back."""
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        event.stop()
        entry, workbench = event.entry, self.workbench
        if entry is None:
            self.tell("The trash is empty: nothing to bring back", Role.INFO)
            return
        if workbench is None or self.app.screen is not self:
            return
        words = (
            f"It was deleted before this session, at {local_clock(entry.deleted_at)}, and is the newest entry of the "
            "trash. U opens the trash."
        )
        self.app.push_screen(
            ConfirmDialog(f"Bring {entry.title} back?", words, key="y", verb=f"restore {entry.title}"),
            lambda sure: (
                self.in_thread(lambda: _restore(workbench, (entry.id,)), group="change", doing="Restoring",
                               exclusive=False)
                if sure
                else None
            ),
        )  # fmt: skip

    def action_open_trash(self) -> None:
        """List what was deleted."""
        workbench = self.ready()
        if workbench is not None:
            self.in_thread(lambda: TrashRead(workbench.catalog.trash()), group="trash", doing="Reading the trash")

    @on(TrashRead)
    def show_trash(self, event: TrashRead) -> None:
        """Open the list, unless something else was opened meanwhile."""
        from quickserveml_tui.tui.screens.trash import TrashDialog

        event.stop()
        if self.app.screen is self:
            self.app.push_screen(TrashDialog(event.entries, read_only=self.read_only), self._trash_chosen)

    def _trash_chosen(self, choice: tuple[str, tuple[TrashEntry, ...]] | None) -> None:
        workbench = self.workbench
        if choice is None or workbench is None:
            return
        what, entries = choice
        ids = tuple(entry.id for entry in entries)
        if what == "restore":
            self.in_thread(lambda: _restore(workbench, ids), group="change", doing="Restoring", exclusive=False)
            return
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        titles = ", ".join(entry.title for entry in entries[:3])
        titles += f" and {len(entries) - 3} more" if len(entries) > 3 else ""
        verb = "goes" if len(entries) == 1 else "go"
        words = f"{titles} {verb} for good; files that nothing else needs go with the next collection. Benchmarks stay."
        title = f"Purge {titles if len(entries) == 1 else plural(len(entries), 'entry', 'entries')}?"
        self.app.push_screen(
            ConfirmDialog(title, words, key="y", verb="purge for good"),
            lambda sure: self._purge(workbench, ids) if sure else self.action_open_trash(),
        )

    def _purge(self, workbench: Workbench, ids: tuple[str, ...]) -> None:
        def work() -> ActionDone:
            gone = workbench.catalog.purge(ids)
            return ActionDone(f"{plural(len(gone), 'entry', 'entries')} purged for good", self.ref)

        self.undo_stack = [left for batch in self.undo_stack if (left := tuple(one for one in batch if one not in ids))]
        self.in_thread(work, group="change", doing="Purging", exclusive=False)

    @on(NameTaken)
    def ask_for_name(self, event: NameTaken) -> None:
        """The name has a new owner: restore under another one."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        event.stop()
        workbench, what = self.workbench, event.what
        self.tell(event.error.message, Role.WARN)

        def restore(values: dict[str, Any] | None) -> None:
            if values is not None and workbench is not None:
                name = values["name"]
                self.in_thread(
                    lambda: _restore(workbench, what, name), group="change", doing="Restoring", exclusive=False
                )

        fields = [Field("name", "name", "", "a name that is free")]
        form = FormDialog("Restore under another name", fields, about=event.error.message, verb="restore",
                          check=_check_name)  # fmt: skip
        self.app.push_screen(form, restore)


def _check_name(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_name

    return {"name": check_name(values["name"])}


def _restore(workbench: Workbench, ids: tuple[str, ...], name: str = "") -> Message:
    back: list[str] = []
    titles = {entry.id: entry.title for entry in workbench.catalog.trash()}
    for index, trash_id in enumerate(ids):
        try:
            model = workbench.catalog.restore(trash_id, name=name)
        except ConflictError as error:
            if error.code != "name.taken":
                raise
            return NameTaken(ids[index:], error)
        back.append(name or titles.get(trash_id, model.name))
    words = back[0] if len(back) == 1 else plural(len(back), "entry", "entries")
    return ActionDone(f"{words} {'is' if len(back) == 1 else 'are'} back", back[-1] if back else "")
