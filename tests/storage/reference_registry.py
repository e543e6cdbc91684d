"""The registry in memory: what every back end must behave like."""

from __future__ import annotations

import copy
from dataclasses import replace

import msgspec

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, StoreError
from quickserveml_tui.core.heads import ModelHead


class MemoryEdit:
    """`RegistryEdit` on dicts of its own."""

    def __init__(self, models, trash, max_models, max_trash):
        self.models = models
        self.entries = trash
        self._max_models = max_models
        self._max_trash = max_trash

    def find(self, name):
        by_name = {model.name: model for model in self.models.values()}
        return by_name.get(name) or self.models.get(name)

    def put(self, record):
        old = self.models.get(record.id)
        if old is not None and replace(record, rev=old.rev, updated_at=old.updated_at) == old:
            return old
        if any(model.name == record.name and model.id != record.id for model in self.models.values()):
            raise ConflictError("taken", code="name.taken")
        if old is None and len(self.models) >= self._max_models:
            raise StoreError("full", code="registry.full")
        written = replace(record, rev=(old or record).rev + 1, updated_at=utc_now())
        self.models[record.id] = written
        return written

    def remove(self, model_id):
        self.models.pop(model_id, None)

    def trash(self):
        return tuple(sorted(self.entries.values(), key=lambda entry: (entry.deleted_at, entry.id), reverse=True))

    def put_trash(self, entry):
        if entry.id not in self.entries and len(self.entries) >= self._max_trash:
            raise StoreError("full", code="trash.full")
        self.entries[entry.id] = entry

    def remove_trash(self, entry_id):
        self.entries.pop(entry_id, None)


class MemoryRegistry:
    """`RegistryStore` in dicts by id."""

    def __init__(self, *, warn_models=5_000, max_models=10_000, max_trash=5_000):
        self._models = {}
        self._trash = {}
        self._writes = 0
        self._warn_models = warn_models
        self._max_models = max_models
        self._max_trash = max_trash

    def generation(self):
        return str(self._writes)

    def problem(self):
        return None

    def models(self):
        return tuple(sorted(self._models.values(), key=lambda model: model.name))

    def heads(self):
        return tuple(msgspec.convert(msgspec.to_builtins(model), ModelHead) for model in self.models())

    def find(self, name):
        return self._begin().find(name)

    def trash(self):
        return self._begin().trash()

    def blobs(self):
        versions = [version for model in self._models.values() for version in model.versions]
        versions += [version for entry in self._trash.values() for version in entry.versions]
        return frozenset(digest for version in versions for digest in version.blobs)

    def trash_room(self):
        return self._max_trash - len(self._trash)

    def capacity(self):
        return len(self._models), self._warn_models, self._max_models

    def _begin(self):
        return MemoryEdit(copy.copy(self._models), copy.copy(self._trash), self._max_models, self._max_trash)

    def edit(self, work):
        edit = self._begin()
        result = work(edit)
        if (edit.models, edit.entries) != (self._models, self._trash):
            self._models, self._trash = edit.models, edit.entries
            self._writes += 1
        return result

    def put(self, name, change, *, expected_rev=None):
        def work(edit):
            old = edit.find(name)
            if expected_rev is not None and (old is None or old.rev != expected_rev):
                raise ConflictError("changed", code="model.changed")
            new = change(old)
            if old is not None and (new is None or new.id != old.id):
                edit.remove(old.id)
            return None if new is None else edit.put(new)

        return self.edit(work)
