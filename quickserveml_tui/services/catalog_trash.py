"""Deleting into the trash, restoring from it, and purging it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from quickserveml_tui.core.catalog import Deletion
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, NotFoundError, StoreError, UsageError
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.core.models import ModelRecord, TrashEntry, TrashKind, VersionRecord
from quickserveml_tui.core.refs import ModelRef, PathRef, check_name, parse_ref
from quickserveml_tui.core.stores import ArtifactStore, RegistryEdit, RegistryStore
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.services import catalog_aliases as aliases
from quickserveml_tui.services.catalog_lookup import (
    Find,
    check_rev,
    names_version,
    select_version,
    unknown_model,
    without_node,
)

MAX_WHAT = 10_000


def move_to_trash(edit: RegistryEdit, model: ModelRecord, number: int | None, *, force: bool) -> Deletion:
    """Move a version (`number`), or the whole model, to the trash; the last version takes the model along.

    Raises `NotFoundError` for an unknown version, `ConflictError` while a protected alias points at it, unless forced.
    """
    entry = TrashEntry(new_id("trash"), TrashKind.MODEL, model.id, model.name, utc_now(), model=model)
    left = None
    if number is None:
        aliases.check_deletable(model, tuple(model.aliases), model.name, force=force)
    else:
        left = aliases.without_version(model, number, force=force)
    if left is None:
        edit.remove(model.id)
    else:
        entry = replace(
            entry,
            kind=TrashKind.VERSION,
            model=None,
            version=model.version(number or 0),
            aliases=model.aliases_of(number or 0),
        )
        left = edit.put(left)
    edit.put_trash(entry)
    return Deletion(entry, left)


class CatalogTrash:
    """The trash of a registry."""

    def __init__(self, registry: RegistryStore, artifacts: ArtifactStore) -> None:
        self._registry = registry
        self._artifacts = artifacts

    def delete(self, ref: str, *, force: bool = False, expected_rev: int | None = None) -> Deletion:
        """Move what a reference names to the trash; see `CatalogPort.delete`."""
        parsed = without_node(ref)

        def work(edit: RegistryEdit) -> Deletion:
            model = edit.find(parsed.name)
            if model is None:
                raise unknown_model(self._registry, parsed.name)
            check_rev(model, expected_rev)
            number = select_version(model, parsed.selector).version if names_version(ref) else None
            return move_to_trash(edit, model, number, force=force)

        return self._registry.edit(work)

    def entries(self) -> tuple[TrashEntry, ...]:
        """What can be restored, newest first."""
        return self._registry.trash()

    def restore(self, what: str, *, name: str = "") -> ModelRecord:
        """Bring back what an id or title names; see `CatalogPort.restore`.

        A model comes back as it was. A version goes back into its model, with its aliases, unless they point elsewhere
        now or may not point at it, and with its label, unless another version bears it now; with a `name` it becomes a
        model of its own.
        """
        if name:
            check_name(name)

        def work(edit: RegistryEdit) -> ModelRecord:
            entry = find_entry(edit.trash(), what)
            self._check_files(entry)
            record = edit.put(_restored(edit, entry, name))
            edit.remove_trash(entry.id)
            return record

        with self._artifacts.publishing():  # no collection may take the files between the check and the write
            return self._registry.edit(work)

    def _check_files(self, entry: TrashEntry) -> None:
        missing = sum(not self._artifacts.has(blob) for version in entry.versions for blob in sorted(version.blobs))
        if missing:
            raise StoreError(
                f"{entry.title} cannot be restored: {plural(missing, 'file')} of it "
                f"{'is' if missing == 1 else 'are'} no longer in the store.",
                hint="Add the model file again with `quickserveml add PATH`, which brings it back to the store; "
                f"then restore {entry.id}.",
                code="artifact.missing",
            )

    def purge(
        self, what: Sequence[str] = (), *, older_than_s: float = 0.0, dry_run: bool = False
    ) -> tuple[TrashEntry, ...]:
        """Forget entries for good: these, or all; only those that are older. Returns them, newest first.

        Nothing goes when one of `what` is not there (`NotFoundError`). Their files go with the next collection.
        """
        if len(what) > MAX_WHAT:
            raise UsageError(f"At most {MAX_WHAT:,} entries can be purged by name.", hint="Purge by age, or all.")
        if older_than_s < 0:
            raise UsageError("An age cannot be negative.", hint="Give an age such as 30d.", code="usage.age")
        if dry_run:
            return _purgeable(self._registry.trash(), what, older_than_s)

        def work(edit: RegistryEdit) -> tuple[TrashEntry, ...]:
            gone = _purgeable(edit.trash(), what, older_than_s)
            for entry in gone:
                edit.remove_trash(entry.id)
            return gone

        return self._registry.edit(work)


def find_entry(entries: Sequence[TrashEntry], what: str) -> TrashEntry:
    """The entry with this id, else the newest one with this title. Raises `NotFoundError` (`trash.not_found`)."""
    return next(iter(_matching(entries, what)))


def _matching(entries: Sequence[TrashEntry], what: str) -> list[TrashEntry]:
    """The entry with an id, or all with a title, newest first; at least one."""
    known = next((entry for entry in entries if entry.id == what), None)
    if known is not None:
        return [known]
    found: list[TrashEntry] = []
    parsed = parse_ref(what)
    if isinstance(parsed, ModelRef) and parsed.node is None:
        found = [entry for entry in entries if entry.name == parsed.name and _has_title(entry, what, parsed)]
    if not found:
        raise _not_in_trash(entries, what, "" if isinstance(parsed, PathRef) else parsed.name)
    return found


def _has_title(entry: TrashEntry, what: str, parsed: ModelRef) -> bool:
    if entry.version is None:
        return not names_version(what)
    if not parsed.selector:
        return False
    return parsed.version == entry.version.version or parsed.selector in (entry.version.label, *entry.aliases)


def _not_in_trash(entries: Sequence[TrashEntry], what: str, name: str) -> NotFoundError:
    near = [f"{entry.title} ({entry.id})" for entry in entries if entry.name == name][:3]
    return NotFoundError(
        f"“{safe_text(what, 80)}” is not in the trash.",
        hint=f"There is {', '.join(near)}." if near else "`quickserveml trash` lists what is there.",
        code="trash.not_found",
    )


def _purgeable(entries: Sequence[TrashEntry], what: Sequence[str], older_than_s: float) -> tuple[TrashEntry, ...]:
    # An id or a title may be named twice, and a title may stand for several entries.
    ids = {entry.id for entry in entries}
    wanted = ids & set(what)
    titles = [item for item in dict.fromkeys(what) if item not in ids]
    wanted |= {entry.id for title in titles for entry in _matching(entries, title)}
    newest = utc_now()
    if older_than_s:
        try:
            newest = (datetime.now(UTC) - timedelta(seconds=older_than_s)).isoformat(timespec="milliseconds")
        except OverflowError:  # older than the calendar: nothing is
            return ()
    moment = newest.replace("+00:00", "Z")
    return tuple(
        entry
        for entry in entries
        if (not what or entry.id in wanted) and (not older_than_s or entry.deleted_at <= moment)
    )


def _restored(edit: RegistryEdit, entry: TrashEntry, name: str) -> ModelRecord:
    """The record to write for an entry."""
    if entry.model is not None:
        return _whole_model(edit.find, entry, replace(entry.model, name=name or entry.model.name))
    version = entry.version
    if version is None:
        raise StoreError("This entry of the trash is empty.", hint="Purge it.", code="store.corrupt")
    if name:
        return _whole_model(edit.find, entry, _own_model(entry, version, name))
    model = edit.find(entry.model_id)
    if model is None or model.id != entry.model_id:
        raise _model_gone(edit.trash(), entry)
    return _with_version_back(model, entry, version)


def _whole_model(find: Find, entry: TrashEntry, record: ModelRecord) -> ModelRecord:
    taken = find(record.name)
    if taken is not None:
        is_id = taken.name != record.name
        raise ConflictError(
            f"{record.name} is the id of {taken.name}." if is_id else f"There is already a model called {record.name}.",
            hint=f"Restore it under another name: quickserveml restore {entry.id} --name NEW",
            code="name.taken",
        )
    same = find(record.id)
    if same is not None and same.id == record.id:
        raise ConflictError(
            f"{entry.title} is in the catalog again already, as {same.name}.",
            hint=f"Purge what is left in the trash: quickserveml purge {entry.id}",
            code="trash.restored",
        )
    return record


def _own_model(entry: TrashEntry, version: VersionRecord, name: str) -> ModelRecord:
    now = utc_now()
    kept = [alias for alias in entry.aliases if aliases.may_return(version) or not aliases.is_always_protected(alias)]
    return ModelRecord(
        new_id("model"),
        name,
        created_at=now,
        updated_at=now,
        versions=(version,),
        aliases=dict.fromkeys(kept, version.version),
        next_version=version.version + 1,
    )


def _model_gone(entries: Sequence[TrashEntry], entry: TrashEntry) -> NotFoundError:
    model = next((item for item in entries if item.model_id == entry.model_id and item.model is not None), None)
    if model is not None:
        what, hint = "is in the trash too", f"Restore the model first: quickserveml restore {model.id}"
    else:
        what = "was purged"
        hint = f"Make it a model of its own: quickserveml restore {entry.id} --name NEW"
    return NotFoundError(f"The model of {entry.title} {what}.", hint=hint, code="model.not_found")


def _with_version_back(model: ModelRecord, entry: TrashEntry, version: VersionRecord) -> ModelRecord:
    number = version.version
    if model.version(number) is not None:
        raise ConflictError(
            f"{model.name} has a version {number} already.",
            hint=f"Purge what is left in the trash: quickserveml purge {entry.id}",
            code="trash.restored",
        )
    if version.label and any(item.label == version.label for item in model.versions):
        version = replace(version, label="")
    versions = tuple(sorted((*model.versions, version), key=lambda item: item.version))
    grown = replace(model, versions=versions, next_version=max(model.next_version, number + 1))
    return aliases.with_aliases_back(grown, entry.aliases, number)


def lost_on_return(entry: TrashEntry, model: ModelRecord) -> tuple[str, ...]:
    """What a restored version had when it was deleted and does not have now, a sentence each."""
    version = entry.version
    if version is None:
        return ()
    now = model.version(version.version)
    lost = []
    if now is not None and now.label != version.label:
        lost.append(f"Its label {version.label} belongs to another version now.")
    for alias in entry.aliases:
        target = model.aliases.get(alias)
        if target != version.version:
            where = f"points at version {target} now." if target else _why_not_set(model, now, alias)
            lost.append(f"The alias {alias} {where}")
    return tuple(lost)


def _why_not_set(model: ModelRecord, version: VersionRecord | None, alias: str) -> str:
    if version is None or not version.golden or not version.runnable or not aliases.is_protected(model, alias):
        return "could not be set again."
    ref = f"{model.name}@{version.version}"
    return f"is protected and was not set again: `quickserveml alias {ref} {alias}` verifies golden outputs first."
