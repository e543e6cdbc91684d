"""One change for all marked models: a dry run first, then the question, then one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import on

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import plural
from quickserveml_tui.tui.flows.trash import TrashFlow
from quickserveml_tui.tui.messages import BulkDone, BulkPlanned

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import BulkAction, BulkReport


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _check_tags(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_tag

    return _some({key: tuple(check_tag(word) for word in _words(text)) for key, text in values.items()}, "tag")


def _check_categories(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_category

    return _some(
        {key: tuple(check_category(word) for word in _words(text)) for key, text in values.items()}, "category"
    )


def _some(values: dict[str, tuple[str, ...]], noun: str) -> dict[str, Any]:
    if not any(values.values()):
        raise UsageError(f"No {noun} is given.", hint="Fill one of the fields, or press esc.")
    return values


class BulkFlow(TrashFlow):
    """Changes of what `space` marked in the catalog."""

    @property
    def marks(self) -> tuple[str, ...]:
        """Keys of the marked rows: names, or `name@version` of unfolded versions."""
        return self.catalog_pane.marks

    def bulk_tags(self) -> None:
        """Add and remove tags."""
        from quickserveml_tui.core.catalog import BulkAction

        self._ask_words("Tags", "tags", _check_tags, lambda add, remove: BulkAction(add_tags=add, remove_tags=remove))

    def bulk_categories(self) -> None:
        """Add and remove categories."""
        from quickserveml_tui.core.catalog import BulkAction

        self._ask_words(
            "Categories", "categories", _check_categories,
            lambda add, remove: BulkAction(add_categories=add, remove_categories=remove),
        )  # fmt: skip

    def _ask_words(self, title: str, noun: str, check: Any, make: Any) -> None:
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        fields = [Field("add", "add", "", f"{noun}, separated by blanks"), Field("remove", "remove", "", "none")]
        form = FormDialog(f"{title} of {self._marked_words()}", fields, verb="preview", check=check)
        self.app.push_screen(form, lambda values: self._plan(make(values["add"], values["remove"])) if values else None)

    def bulk_state(self) -> None:
        """Set the state."""
        from quickserveml_tui.core.catalog import BulkAction
        from quickserveml_tui.core.models import MetadataPatch, VersionState
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        states = tuple(state.value for state in VersionState)
        about = "The newest version of a marked model, or the marked version itself."
        form = FormDialog(
            f"State of {self._marked_words()}", [Field("state", "state", choices=states)], about=about, verb="preview"
        )

        def chosen(values: dict[str, Any] | None) -> None:
            if values is not None:
                self._plan(BulkAction(patch=MetadataPatch(state=VersionState(values["state"]))))

        self.app.push_screen(form, chosen)

    def bulk_delete(self) -> None:
        """Move all to the trash."""
        from quickserveml_tui.core.catalog import BulkAction

        self._plan(BulkAction(delete=True))

    def _marked_words(self) -> str:
        return f"{len(self.marks):,} marked"

    def _plan(self, action: BulkAction) -> None:
        workbench, selection = self.workbench, self.marks
        if workbench is not None and selection:
            self.in_thread(
                lambda: BulkPlanned(selection, action, workbench.catalog.bulk(selection, action, dry_run=True)),
                group="bulk", doing="Trying the change",
            )  # fmt: skip

    @on(BulkPlanned)
    def ask_for_bulk(self, event: BulkPlanned) -> None:
        """Show what would happen, and ask."""
        from quickserveml_tui.tui.screens.bulk import BulkDialog

        event.stop()
        workbench, selection, action = self.workbench, event.selection, event.action
        if workbench is None or self.app.screen is not self:
            return

        def confirmed(sure: bool | None) -> None:
            if sure:
                self.in_thread(
                    lambda: BulkDone(action, workbench.catalog.bulk(selection, action)),
                    group="change", doing="Changing the marked", exclusive=False,
                )  # fmt: skip

        self.app.push_screen(BulkDialog(event.report, deletes=action.delete), confirmed)

    @on(BulkDone)
    def tell_bulk(self, event: BulkDone) -> None:
        """Say what was done; marks go, and a deletion can be undone."""
        event.stop()
        report = event.report
        self.catalog_pane.table.clear_marks()
        self.note_deletion(tuple(item.trash_id for item in report.items if item.trash_id))
        undo = "; u brings them back" if event.action.delete and report.changed else ""
        self.tell(f"{bulk_words(report)}{undo}", Role.WARN if report.refused else Role.OK)
        self.reload_catalog(self.ref)


def bulk_words(report: BulkReport) -> str:
    """`12 models: 10 change, 2 refused`."""
    same = len(report.items) - report.changed - report.refused
    verb = "change" if report.dry_run else "changed"
    parts = [f"{report.changed:,} {verb}"]
    if same:
        parts.append(f"{same:,} as they are")
    if report.refused:
        parts.append(f"{report.refused:,} refused")
    all_models = not any("@" in item.ref for item in report.items)
    noun = ("model", "models") if all_models else ("entry", "entries")
    return f"{plural(len(report.items), *noun)}: {', '.join(parts)}"
