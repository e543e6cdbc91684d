"""The registry in memory: what every back end must behave like."""

from __future__ import annotations

from dataclasses import replace

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError


class MemoryRegistry:
    """`RegistryStore` in a dict by id."""

    def __init__(self):
        self._models = {}
        self._writes = 0

    def generation(self):
        return str(self._writes)

    def models(self):
        return tuple(sorted(self._models.values(), key=lambda model: model.name))

    def find(self, name):
        by_name = {model.name: model for model in self._models.values()}
        return by_name.get(name) or self._models.get(name)

    def put(self, name, change, *, expected_rev=None):
        old = self.find(name)
        if expected_rev is not None and (old is None or old.rev != expected_rev):
            raise ConflictError("changed", code="model.changed")
        new = change(old)
        if new is None:
            if old is not None:
                del self._models[old.id]
                self._writes += 1
            return None
        if old is not None and replace(new, rev=old.rev, updated_at=old.updated_at) == old:
            return old
        if any(model.name == new.name and model is not old for model in self._models.values()):
            raise ConflictError("taken", code="name.taken")
        record = replace(new, rev=old.rev + 1 if old else 1, updated_at=utc_now())
        if old is not None:
            del self._models[old.id]
        self._models[record.id] = record
        self._writes += 1
        return record
