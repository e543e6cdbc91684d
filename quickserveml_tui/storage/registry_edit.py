"""One transaction on the registry: its writes are gathered, then given to TinyDB in few operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinydb import TinyDB

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, StoreError
from quickserveml_tui.core.models import ModelRecord, TrashEntry
from quickserveml_tui.storage.documents import to_document
from quickserveml_tui.storage.registry_schema import MODELS, TRASH
from quickserveml_tui.storage.registry_snapshot import Snapshot, newest_first
from quickserveml_tui.storage.registry_tables import LazyDocument


@dataclass(frozen=True, slots=True)
class RegistryLimits:
    """How much a registry holds; a write costs time in proportion to all of it."""

    warn_models: int = 5_000
    max_models: int = 10_000
    max_trash: int = 5_000
    max_bytes: int = 512 << 20


@dataclass(frozen=True, slots=True)
class _Change:
    """What becomes of one document: another content, or nothing."""

    key: str | None
    """Document id; None for a document that is new."""
    fields: dict[str, Any] | None


class TableEdit:
    """`RegistryEdit` over a snapshot.

    TinyDB rebuilds a whole table in every operation (7 ms at 10,000 documents), so all changes of a transaction go into
    at most three of them per table.
    """

    def __init__(self, snapshot: Snapshot, limits: RegistryLimits) -> None:
        self._snapshot = snapshot
        self._limits = limits
        self._models: dict[str, ModelRecord | None] = {}
        """What was written, by id; None where it was removed."""
        self._names: dict[str, str | None] = {}
        """Ids by name, as far as they changed; None for a name that was freed."""
        self._count = len(snapshot.models)
        self._model_changes: dict[str, _Change] = {}
        self._entries: dict[str, TrashEntry] | None = None
        self._entry_keys: dict[str, str] = {}
        self._entry_changes: dict[str, _Change] = {}

    # ---- models ---------------------------------------------------------------------------------------------------

    def find(self, name: str) -> ModelRecord | None:
        """The model with this name or id, as it is in this transaction."""
        return self._by_id(self._owner(name) or name)

    def _owner(self, name: str) -> str | None:
        return self._names[name] if name in self._names else self._snapshot.id_of(name)

    def _by_id(self, model_id: str) -> ModelRecord | None:
        if model_id in self._models:
            return self._models[model_id]
        key = self._snapshot.key_of(model_id)
        return None if key is None else self._snapshot.record(key)

    def put(self, record: ModelRecord) -> ModelRecord:
        """Write a model by its id; see `RegistryEdit.put`."""
        old = self._by_id(record.id)
        if old is not None and replace(record, rev=old.rev, updated_at=old.updated_at) == old:
            return old
        owner = self._owner(record.name)
        if owner is not None and owner != record.id:
            raise ConflictError(
                f"There is already a model called {record.name}.", hint="Choose another name.", code="name.taken"
            )
        if old is None and self._count >= self._limits.max_models:
            raise _full(self._count)
        # A model that comes back, from the trash or a bundle, goes on counting: its old ETags stay stale.
        written = replace(record, rev=(old or record).rev + 1, updated_at=utc_now())
        self._model_changes[record.id] = _Change(self._snapshot.key_of(record.id), to_document(written))
        if old is None:
            self._count += 1
        elif old.name != record.name:
            self._names[old.name] = None
        self._names[record.name] = record.id
        self._models[record.id] = written
        return written

    def remove(self, model_id: str) -> None:
        """Take a model away; nothing happens when there is none."""
        old = self._by_id(model_id)
        if old is None:
            return
        self._count -= 1
        self._models[model_id] = None
        self._names[old.name] = None
        self._model_changes[model_id] = _Change(self._snapshot.key_of(model_id), None)

    # ---- trash ----------------------------------------------------------------------------------------------------

    def trash(self) -> tuple[TrashEntry, ...]:
        """Deleted models and versions, newest first."""
        return newest_first(list(self._trashed().values()))

    def put_trash(self, entry: TrashEntry) -> None:
        """Keep a deleted model or version. Raises `StoreError` (`trash.full`, `store.unrepresentable`)."""
        entries = self._trashed()
        if entries.get(entry.id) == entry:
            return
        if entry.id not in entries and len(entries) >= self._limits.max_trash:
            raise StoreError(
                f"The trash is full: it holds {len(entries):,} deleted models and versions.",
                hint="Purge what is no longer needed, then delete again; nothing was changed.",
                code="trash.full",
            )
        self._entry_changes[entry.id] = _Change(self._entry_keys.get(entry.id), to_document(entry))
        entries[entry.id] = entry

    def remove_trash(self, entry_id: str) -> None:
        """Forget a deleted model or version for good; nothing happens when there is none."""
        if self._trashed().pop(entry_id, None) is not None:
            self._entry_changes[entry_id] = _Change(self._entry_keys.get(entry_id), None)

    def _trashed(self) -> dict[str, TrashEntry]:
        if self._entries is None:
            found = self._snapshot.trash()
            self._entries = {entry.id: entry for entry in found.values()}
            self._entry_keys = {entry.id: key for key, entry in found.items()}
        return self._entries

    # ---- end ------------------------------------------------------------------------------------------------------

    def flush(self, db: TinyDB) -> None:
        """Give all changes to TinyDB."""
        _flush(db, MODELS, self._model_changes)
        _flush(db, TRASH, self._entry_changes)


def _flush(db: TinyDB, name: str, changes: Mapping[str, _Change]) -> None:
    table = db.table(name)
    kept = [(int(change.key), change.fields) for change in changes.values() if change.key is not None]
    removed = [key for key, fields in kept if fields is None]
    updated = {key: fields for key, fields in kept if fields is not None}
    inserted = [change.fields for change in changes.values() if change.key is None and change.fields is not None]
    if removed:
        table.remove(doc_ids=removed)
    if updated:
        contents = iter(updated.values())

        def put_next(document: Any) -> None:
            # TinyDB calls this once for each id, in the order of `doc_ids`.
            assert isinstance(document, LazyDocument)
            document.replace(next(contents))

        table.update(put_next, doc_ids=list(updated))
    if inserted:
        table.insert_multiple(inserted)


def _full(count: int) -> StoreError:
    return StoreError(
        f"The registry is full: it holds {count:,} models.",
        hint="Delete models that are no longer needed and purge the trash, move some out with `quickserveml export`, "
        "or begin another home with --home.",
        code="registry.full",
    )
