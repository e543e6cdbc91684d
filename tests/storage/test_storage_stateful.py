"""Whatever is done to the registry, it answers like the reference in memory."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from reference_registry import MemoryRegistry
from storage_samples import make_model, make_version

from quickserveml_tui.core.errors import ConflictError
from quickserveml_tui.storage.registry import TinyDbRegistry

NAMES = st.sampled_from(["a", "b", "c", "a.b"])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


def plain(model):
    return None if model is None else replace(model, updated_at="")


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "registry.json"
        self.real = TinyDbRegistry(self.path)
        self.reference = MemoryRegistry()

    def both(self, name, change, expected_rev=None):
        outcomes = []
        for store in (self.real, self.reference):
            try:
                outcomes.append(plain(store.put(name, change, expected_rev=expected_rev)))
            except ConflictError as error:
                outcomes.append(error.code)
        assert outcomes[0] == outcomes[1]

    @rule(name=NAMES, task=TEXTS)
    def set_task(self, name, task):
        fresh = make_model(name)
        self.both(name, lambda old: replace(old or fresh, task=task))

    @rule(name=NAMES, key=TEXTS, value=TEXTS)
    def set_metadata(self, name, key, value):
        self.both(name, lambda old: old and replace(old, metadata=old.metadata | {key: value}))

    @rule(name=NAMES, content=st.binary(max_size=4))
    def add_version(self, name, content):
        version = make_version(1, content)
        self.both(name, lambda old: old and replace(old, versions=(*old.versions, version)))

    @rule(name=NAMES, new_name=NAMES)
    def rename(self, name, new_name):
        self.both(name, lambda old: old and replace(old, name=new_name))

    @rule(name=NAMES)
    def delete(self, name):
        self.both(name, lambda _old: None)

    @rule(name=NAMES, rev=st.integers(0, 4))
    def write_if_rev(self, name, rev):
        self.both(name, lambda old: old and replace(old, author=old.author + "x"), expected_rev=rev)

    @rule()
    def open_again(self):
        self.real = TinyDbRegistry(self.path)

    @invariant()
    def both_hold_the_same(self):
        assert [plain(model) for model in self.real.models()] == [plain(model) for model in self.reference.models()]
        for name in ("a", "b", "nothing"):
            assert plain(self.real.find(name)) == plain(self.reference.find(name))

    def teardown(self):
        self.folder.cleanup()


TestRegistryAgainstReference = RegistryMachine.TestCase
TestRegistryAgainstReference.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
