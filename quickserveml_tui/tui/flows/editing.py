"""Changing what is registered: tags, aliases, state, deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import plural
from quickserveml_tui.tui.flows.base import FlowScreen
from quickserveml_tui.tui.messages import ActionDone

if TYPE_CHECKING:
    from quickserveml_tui.core.models import ModelRecord


def _check_tags(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_tag

    return {"tags": tuple(check_tag(tag) for tag in values["tags"].replace(",", " ").split())}


def _check_alias(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_alias

    if not values["alias"]:
        raise UsageError("No alias is given.", hint="Type a name such as prod; a leading - takes it away.")
    check_alias(values["alias"].removeprefix("-"))
    return dict(values)


class EditingFlow(FlowScreen):
    """Edits of the version under the cursor."""

    def action_edit_tags(self) -> None:
        """Change the tags of the model."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        row, workbench = self.selected, self.workbench
        if row is None or workbench is None:
            return
        model = row.view.model

        def save(values: dict[str, Any] | None) -> None:
            if values is None:
                return
            new, old = set(values["tags"]), set(model.tags)
            self._change(
                lambda: workbench.catalog.tag(model.name, tuple(sorted(new - old)), tuple(sorted(old - new))),
                f"{model.name} has {plural(len(new), 'tag')}",
            )

        fields = [Field("tags", "tags", " ".join(model.tags), "words, separated by blanks")]
        self.app.push_screen(FormDialog(f"Tags of {model.name}", fields, check=_check_tags), save)

    def action_set_alias(self) -> None:
        """Point an alias at the version, or take one away."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        row, workbench = self.selected, self.workbench
        if row is None or workbench is None:
            return
        name, ref = row.view.model.name, row.ref

        def save(values: dict[str, Any] | None) -> None:
            if values is None:
                return
            alias = values["alias"]
            if alias.startswith("-"):
                self._change(
                    lambda: workbench.catalog.remove_alias(name, alias[1:]), f"{name} has no alias {alias[1:]} now"
                )
            else:
                self._change(lambda: workbench.catalog.set_alias(ref, alias), f"{alias} points at {ref}")

        have = ", ".join(row.view.model.aliases_of(row.version.version)) or "none"
        about = f"Aliases here now: {have}. A leading - takes an alias away."
        fields = [Field("alias", "alias", "", "prod, staging or a name of your own")]
        self.app.push_screen(FormDialog(f"Alias for {ref}", fields, about=about, check=_check_alias), save)

    def action_edit_state(self) -> None:
        """Change state and notes of the version."""
        from quickserveml_tui.core.models import MetadataPatch, VersionState
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        row, workbench = self.selected, self.workbench
        if row is None or workbench is None:
            return
        ref = row.ref

        def save(values: dict[str, Any] | None) -> None:
            if values is not None:
                patch = MetadataPatch(state=VersionState(values["state"]), notes=values["notes"])
                self._change(lambda: workbench.catalog.update(ref, patch), f"{ref} is {values['state']}")

        fields = [
            Field("state", "state", row.version.state.value, choices=tuple(state.value for state in VersionState)),
            Field("notes", "notes", row.version.notes, "none"),
        ]
        self.app.push_screen(FormDialog(f"State of {ref}", fields), save)

    def action_delete_version(self) -> None:
        """Delete the version under the cursor, after asking."""
        from quickserveml_tui.core.refs import PROTECTED_ALIASES
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        row, workbench = self.selected, self.workbench
        if row is None or workbench is None:
            return
        model, number, ref = row.view.model, row.version.version, row.ref
        only = len(model.versions) == 1
        protected = [alias for alias in model.aliases_of(number) if alias in PROTECTED_ALIASES]
        words = [f"{ref} disappears from the catalog" + (", and the model with it." if only else ".")]
        if protected:
            words.append(f"The protected alias {' and '.join(protected)} points at it: the registry will refuse.")
        words.append("Saved benchmarks stay.")

        def confirmed(sure: bool | None) -> None:
            if sure:
                self._change(lambda: workbench.catalog.delete(ref), f"{ref} is deleted", select=model.name)

        dialog = ConfirmDialog(f"Delete {ref}?", " ".join(words), key="y", verb=f"delete {ref}")
        self.app.push_screen(dialog, confirmed)

    def _change(self, call: Any, sentence: str, *, select: str | None = None) -> None:
        target = self.ref if select is None else select

        def work() -> ActionDone:
            result: ModelRecord | None = call()
            return ActionDone(sentence, target if result is not None else "")

        self.in_thread(work, group="change", doing=sentence, exclusive=False)
