"""Changing what is registered: tags, categories, aliases, details, deletion."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import plural
from quickserveml_tui.tui.flows.bulk import BulkFlow
from quickserveml_tui.tui.messages import ActionDone

if TYPE_CHECKING:
    from quickserveml_tui.core.models import ModelRecord
    from quickserveml_tui.core.ports import Workbench


def _check_tags(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_tag

    return {"tags": tuple(check_tag(tag) for tag in values["tags"].replace(",", " ").split())}


def _check_categories(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_category

    words = values["categories"].replace(",", " ").split()
    return {**values, "categories": tuple(check_category(word) for word in words)}


def _check_alias(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_alias

    if not values["alias"]:
        raise UsageError("No alias is given.", hint="Type a name such as prod; a leading - takes it away.")
    check_alias(values["alias"].removeprefix("-"))
    return dict(values)


class EditingFlow(BulkFlow):
    """Edits of the version under the cursor, or of all that are marked."""

    def action_edit_tags(self) -> None:
        """Change the tags of the model, or of all that are marked."""
        if self.marks:
            self.bulk_tags()
            return
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

    def action_edit_categories(self) -> None:
        """Change the categories of the model, or of all that are marked."""
        if self.marks:
            self.bulk_categories()
            return
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        row, workbench = self.selected, self.workbench
        if row is None or workbench is None:
            return
        model = row.view.model

        def save(values: dict[str, Any] | None) -> None:
            if values is not None:
                new = values["categories"]
                self._change(
                    lambda: _categorise(workbench, model, new), f"{model.name} has {_categories_words(len(new))}"
                )

        fields = [Field("categories", "categories", " ".join(model.categories), "such as vision/detection")]
        self.app.push_screen(FormDialog(f"Categories of {model.name}", fields, check=_check_categories), save)

    def action_set_alias(self) -> None:
        """Point an alias at the version, protect it, or take one away."""
        from quickserveml_tui.tui.screens.alias import AliasForm

        row, workbench = self.selected, self.workbench
        if row is None or workbench is None:
            return
        model, ref = row.view.model, row.ref

        def save(values: dict[str, Any] | None) -> None:
            if values is None:
                return
            alias = values["alias"]
            if alias.startswith("-"):
                self._take_alias(model, alias[1:])
                return
            protect = {"yes": True, "no": False}.get(values["protect"])
            words = f"{alias} points at {ref}" + ("" if protect is None else f", protected: {values['protect']}")
            self._change(lambda: _point_alias(workbench, model, ref, alias, protect), words)

        guarded = protected_aliases(model)
        have = ", ".join(
            f"{alias} (protected)" if alias in guarded else alias for alias in model.aliases_of(row.version.version)
        )
        about = f"Aliases here now: {have or 'none'}. A leading - takes an alias away. prod and staging are protected."
        self.app.push_screen(AliasForm(model, row.version.version, about=about, check=_check_alias), save)

    def _take_alias(self, model: ModelRecord, alias: str) -> None:
        """Take an alias away; a protected one only after asking."""
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        workbench, name = self.workbench, model.name
        if workbench is None:
            return
        sentence = f"{name} has no alias {alias} now"
        if alias not in model.aliases or alias not in protected_aliases(model):
            self._change(lambda: workbench.catalog.remove_alias(name, alias), sentence)
            return
        words = f"{alias} is protected and points at {name}@{model.aliases[alias]}. Whoever uses {name}@{alias} fails."
        self.app.push_screen(
            ConfirmDialog(f"Take {alias} away?", words, key="y", verb="take it away"),
            lambda sure: (
                self._change(lambda: workbench.catalog.remove_alias(name, alias, force=True), sentence)
                if sure
                else None
            ),
        )

    def action_edit_state(self) -> None:
        """Change state, categories, notes and lineage; of all that are marked, the state."""
        if self.marks:
            self.bulk_state()
            return
        from quickserveml_tui.core.models import MetadataPatch, VersionState
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        row, workbench = self.selected, self.workbench
        if row is None or workbench is None:
            return
        ref, model, version = row.ref, row.view.model, row.version

        def save(values: dict[str, Any] | None) -> None:
            if values is None:
                return
            patch = MetadataPatch(
                state=VersionState(values["state"]), notes=values["notes"], made_from=values["made_from"],
                converted_by=values["converted_by"], parent=values["parent"],
            )  # fmt: skip

            def change() -> ModelRecord:
                changed = workbench.catalog.update(ref, patch)
                return _categorise(workbench, changed, values["categories"])

            self._change(change, f"{ref} is {values['state']}")

        lineage = version.lineage
        fields = [
            Field("state", "state", version.state.value, choices=tuple(state.value for state in VersionState)),
            Field("categories", "categories", " ".join(model.categories), "such as vision/detection"),
            Field("notes", "notes", version.notes, "none"),
            Field("made_from", "made from", lineage.made_from, "checkpoint, data set or commit"),
            Field("converted_by", "converted by", lineage.converted_by, "tool and version"),
            Field("parent", "parent", lineage.parent, "name@version, or a sha256"),
        ]
        self.app.push_screen(FormDialog(f"Details of {ref}", fields, check=_check_categories), save)

    def action_delete_version(self) -> None:
        """Move the version under the cursor, or all that are marked, to the trash, after asking."""
        if self.marks:
            self.bulk_delete()
            return
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog, MessageDialog

        row, workbench = self.selected, self.workbench
        if row is None or workbench is None:
            return
        model, number, ref = row.view.model, row.version.version, row.ref
        only = len(model.versions) == 1
        guarded = protected_aliases(model)
        protected = [alias for alias in model.aliases_of(number) if alias in guarded]
        if protected:
            many = len(protected) > 1
            words = f"The protected {'aliases' if many else 'alias'} {' and '.join(protected)}"
            self.app.push_screen(
                MessageDialog(
                    f"{ref} stays", f"{words} {'point' if many else 'points'} at it, so it is not deleted.",
                    f"Move {'them' if many else 'it'} to another version first, or take {'them' if many else 'it'} "
                    "away: A.",
                )
            )  # fmt: skip
            return
        consequence = (
            f"{ref} moves to the trash{', and the model with it' if only else ''}. "
            "u brings it back, U opens the trash. Saved benchmarks stay."
        )

        def work() -> ActionDone:
            deletion = workbench.catalog.delete(ref)
            select = model.name if deletion.left is not None else ""
            return ActionDone(f"{ref} deleted; u brings it back", select, (deletion.entry.id,))

        def confirmed(sure: bool | None) -> None:
            if sure:
                self.in_thread(work, group="change", doing=f"Deleting {ref}", exclusive=False)

        dialog = ConfirmDialog(f"Delete {ref}?", consequence, key="y", verb=f"delete {ref}")
        self.app.push_screen(dialog, confirmed)

    def _change(self, call: Callable[[], ModelRecord], sentence: str) -> None:
        target = self.ref

        def work() -> ActionDone:
            call()
            return ActionDone(sentence, target)

        self.in_thread(work, group="change", doing=sentence, exclusive=False)


def protected_aliases(model: ModelRecord) -> frozenset[str]:
    """Aliases that are taken away or moved only on purpose."""
    from quickserveml_tui.core.refs import PROTECTED_ALIASES

    return PROTECTED_ALIASES | frozenset(model.protected)


def _categories_words(count: int) -> str:
    return plural(count, "category", "categories")


def _categorise(workbench: Workbench, model: ModelRecord, wanted: tuple[str, ...]) -> ModelRecord:
    new, old = set(wanted), set(model.categories)
    if new == old:
        return model
    return workbench.catalog.categorise(model.name, tuple(sorted(new - old)), tuple(sorted(old - new)))


def _point_alias(workbench: Workbench, model: ModelRecord, ref: str, alias: str, protect: bool | None) -> ModelRecord:
    changed = workbench.catalog.set_alias(ref, alias)
    if protect is not None:
        changed = workbench.catalog.protect_alias(model.name, alias, protected=protect)
    return changed
