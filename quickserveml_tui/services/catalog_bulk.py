"""One change for many models, in one transaction; a dry run takes the same way and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quickserveml_tui.core.catalog import BulkAction, BulkItem, BulkReport
from quickserveml_tui.core.errors import NotFoundError, QuickServeError, StoreError, UsageError
from quickserveml_tui.core.models import MetadataPatch, ModelRecord, TrashEntry
from quickserveml_tui.core.refs import ModelRef
from quickserveml_tui.core.stores import RegistryEdit, RegistryStore
from quickserveml_tui.services import catalog_edit as edits
from quickserveml_tui.services.catalog_lookup import Find, names_version, select_version, without_node
from quickserveml_tui.services.catalog_trash import move_to_trash

MAX_ITEMS = 10_000
_SHORT = frozenset({"label", "state", "parent"})
_NAMES = {"made_from": "made from", "converted_by": "converted by"}


@dataclass(frozen=True, slots=True)
class Target:
    """One model or version to change."""

    ref: str
    parsed: ModelRef

    @property
    def names_version(self) -> bool:
        """Whether it is one version rather than the model."""
        return names_version(self.ref)


def targets_of(refs: Sequence[str]) -> tuple[Target, ...]:
    """The targets that references name, each once. Raises `UsageError` and `NotFoundError` for what is no reference."""
    if len(refs) > MAX_ITEMS:
        raise UsageError(
            f"{len(refs):,} models are too many for one change.",
            hint=f"Change at most {MAX_ITEMS:,} at once; a narrower filter finds fewer.",
            code="bulk.too_many",
        )
    return tuple(Target(ref, without_node(ref)) for ref in dict.fromkeys(refs))


def check_action(action: BulkAction) -> None:
    """Raise `UsageError` (`bulk.action`) for an action that does nothing, or deletes and changes."""
    changes = (
        action.add_tags, action.remove_tags, action.add_categories, action.remove_categories,
        action.patch is not None and action.patch != MetadataPatch(),
    )  # fmt: skip
    if action.delete and any(changes):
        raise UsageError("Deleting excludes all other changes.", hint="Do one of them.", code="bulk.action")
    if not action.delete and not any(changes):
        raise UsageError("There is nothing to change.", hint="Name a tag, a category or a field.", code="bulk.action")
    edits.check_tags(action.add_tags)
    edits.check_categories(action.add_categories)


def run_bulk(registry: RegistryStore, targets: Sequence[Target], action: BulkAction, *, dry_run: bool) -> BulkReport:
    """Do the action to each target, or say what it would do; what is refused for one target leaves the others alone.

    Raises `StoreError` when the registry cannot be written, and `trash.full`, also in a dry run; nothing is changed
    then.
    """
    check_action(action)

    def work(edit: RegistryEdit) -> tuple[BulkItem, ...]:
        return tuple(_item(edit, target, action) for target in targets)

    try:
        if dry_run:
            items = work(Draft(registry))
            return BulkReport(True, tuple(replace(item, trash_id="") for item in items))
        return BulkReport(False, registry.edit(work))
    except StoreError as error:
        if error.code != "trash.full":
            raise
        raise _too_much(registry.trash_room(), len(targets)) from error


def _too_much(room: int, count: int) -> StoreError:
    return StoreError(
        f"The trash has room for {room:,} more deleted models and versions, and these are {count:,}.",
        hint="Purge what is no longer needed, or delete fewer at once; nothing was changed.",
        code="trash.full",
    )


class Draft:
    """A `RegistryEdit` that keeps its writes to itself."""

    def __init__(self, registry: RegistryStore) -> None:
        self._registry = registry
        self._written: dict[str, ModelRecord] = {}
        self._removed: set[str] = set()
        self._trash: list[TrashEntry] = []
        self._trash_room = registry.trash_room()

    def find(self, name: str) -> ModelRecord | None:
        """The model as it would be."""
        model = self._registry.find(name)
        if model is None or model.id in self._removed:
            return None
        return self._written.get(model.id, model)

    def put(self, record: ModelRecord) -> ModelRecord:
        """Note a model."""
        self._written[record.id] = record
        return record

    def remove(self, model_id: str) -> None:
        """Note that a model goes."""
        self._removed.add(model_id)

    def trash(self) -> tuple[TrashEntry, ...]:
        """What would be in the trash."""
        return (*reversed(self._trash), *self._registry.trash())

    def put_trash(self, entry: TrashEntry) -> None:
        """Note what goes to the trash. Raises `StoreError` (`trash.full`)."""
        if len(self._trash) >= self._trash_room:
            raise StoreError("The trash is full.", hint="Purge what is no longer needed.", code="trash.full")
        self._trash.append(entry)

    def remove_trash(self, entry_id: str) -> None:
        """Note what leaves the trash."""
        self._trash = [entry for entry in self._trash if entry.id != entry_id]


def _item(edit: RegistryEdit, target: Target, action: BulkAction) -> BulkItem:
    try:
        model = edit.find(target.parsed.name)
        if model is None:
            raise NotFoundError(f"There is no model {target.parsed.name}.", code="model.not_found")
        return (_delete if action.delete else _change)(edit, model, target, action)
    except StoreError:
        raise  # it concerns the whole transaction
    except QuickServeError as error:
        return BulkItem(target.ref, "", refused=error.message, code=error.code)


def _delete(edit: RegistryEdit, model: ModelRecord, target: Target, action: BulkAction) -> BulkItem:
    number = select_version(model, target.parsed.selector).version if target.names_version else None
    deletion = move_to_trash(edit, model, number, force=action.force)
    count = len(deletion.entry.versions)
    what = f"moves {deletion.entry.title}" if number and count == 1 and deletion.left else f"moves {model.name}"
    versions = "" if deletion.left else f" with {count:,} version{'' if count == 1 else 's'}"
    return BulkItem(target.ref, f"{what}{versions} to the trash", trash_id=deletion.entry.id)


def changed(model: ModelRecord, selector: str, action: BulkAction, find: Find) -> tuple[ModelRecord, int | None]:
    """The model with all changes of an action, and the version that a selector or the action names, if any."""
    patch = action.patch or MetadataPatch()
    number = None
    if selector or edits.touches_version(patch):
        number = select_version(model, selector).version
    new = edits.with_tags(model, action.add_tags, action.remove_tags)
    new = edits.with_categories(new, action.add_categories, action.remove_categories)
    return edits.patched(new, number, patch, find), number


def _change(edit: RegistryEdit, model: ModelRecord, target: Target, action: BulkAction) -> BulkItem:
    new, number = changed(model, target.parsed.selector, action, edit.find)
    change = described(model, new, number)
    if change:
        edit.put(new)
    return BulkItem(target.ref, change)


def described(old: ModelRecord, new: ModelRecord, number: int | None) -> str:
    """What a change does, as part of a sentence: `adds tag vision, sets state to validated`; empty for nothing."""
    parts = _words("tag", "tags", old.tags, new.tags)
    parts += _words("category", "categories", old.categories, new.categories)
    for field in ("task", "author", "description", "framework", "license"):
        parts += _text(field, getattr(old, field), getattr(new, field))
    parts += _keys("metadata", old.metadata, new.metadata)
    before, after = (model.version(number) if number is not None else None for model in (old, new))
    if before is not None and after is not None:
        for field in ("label", "state", "notes"):
            parts += _text(field, str(getattr(before, field)), str(getattr(after, field)))
        parts += _keys("version metadata", before.metadata, after.metadata)
        for field in ("made_from", "converted_by", "parent"):
            parts += _text(_NAMES.get(field, field), getattr(before.lineage, field), getattr(after.lineage, field))
    return ", ".join(parts)


def _words(one: str, many: str, old: Sequence[str], new: Sequence[str]) -> list[str]:
    changes = {"adds": [word for word in new if word not in old], "removes": [word for word in old if word not in new]}
    return [
        f"{verb} {one if len(words) == 1 else many} {' and '.join(words)}" for verb, words in changes.items() if words
    ]


def _keys(what: str, old: dict[str, str], new: dict[str, str]) -> list[str]:
    keys = sorted(old.keys() | new.keys())
    return [part for key in keys for part in _text(f"{what} {key}", old.get(key, ""), new.get(key, ""))]


def _text(field: str, old: str, new: str) -> list[str]:
    if old == new:
        return []
    if not new:
        return [f"clears {field}"]
    return [f"sets {field} to {new}" if field in _SHORT else f"sets {field}"]
