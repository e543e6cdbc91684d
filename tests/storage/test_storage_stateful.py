"""Whatever is done to the registry, it answers like the reference in memory."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from reference_registry import MemoryRegistry
from storage_kills import folder_in_memory
from storage_samples import make_model, make_version

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.core.models import TrashEntry, TrashKind
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.registry_edit import RegistryLimits

NAMES = st.sampled_from(["a", "b", "c", "a.b"])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
LIMITS = {"max_models": 3, "max_trash": 4}
DAY_NS = 86_400 * 10**9


def plain(found):
    """Records without the time of their last write, which the two stores do not share."""
    if isinstance(found, tuple | list):
        return [plain(item) for item in found]
    return replace(found, updated_at="") if hasattr(found, "alias_history") else found


def plain_entry(entry):
    return replace(entry, model=plain(entry.model))


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.resources = ExitStack()
        self.path = self.resources.enter_context(folder_in_memory()) / "registry.json"
        self.real = self.open()
        self.other = self.open()
        """A second store on the same file, as another process has it."""
        self.reference = MemoryRegistry(**LIMITS)
        self.deletions = 0

    def open(self):
        return TinyDbRegistry(self.path, limits=RegistryLimits(**LIMITS))

    def both(self, operation):
        outcomes = []
        for store in (self.real, self.reference):
            try:
                outcomes.append(plain(operation(store)))
            except (QuickServeError, ZeroDivisionError) as error:
                outcomes.append(getattr(error, "code", "failed"))
        assert outcomes[0] == outcomes[1]

    def put(self, name, change, expected_rev=None):
        self.both(lambda store: store.put(name, change, expected_rev=expected_rev))

    @rule(name=NAMES, task=TEXTS)
    def set_task(self, name, task):
        fresh = make_model(name)
        self.put(name, lambda old: replace(old or fresh, task=task))

    @rule(name=NAMES, key=TEXTS, value=TEXTS)
    def set_metadata(self, name, key, value):
        self.put(name, lambda old: old and replace(old, metadata=old.metadata | {key: value}))

    @rule(name=NAMES, content=st.binary(max_size=4))
    def add_version(self, name, content):
        version = make_version(1, content)
        self.put(name, lambda old: old and replace(old, versions=(*old.versions, version)))

    @rule(name=NAMES, new_name=NAMES)
    def rename(self, name, new_name):
        self.put(name, lambda old: old and replace(old, name=new_name))

    @rule(name=NAMES)
    def remove(self, name):
        self.put(name, lambda _old: None)

    @rule(name=NAMES)
    def put_another_in_its_place(self, name):
        fresh = make_model(name)
        self.put(name, lambda _old: fresh)

    @rule(name=NAMES, rev=st.integers(0, 4))
    def write_if_rev(self, name, rev):
        self.put(name, lambda old: old and replace(old, author=old.author + "x"), expected_rev=rev)

    @rule(
        steps=st.lists(st.tuples(st.sampled_from(["put", "rename", "remove", "put again"]), NAMES, NAMES), max_size=6)
    )
    def edit_several(self, steps):
        fresh = [make_model(name) for _step, name, _other in steps]

        def work(edit):
            seen = []
            for model, (step, name, other) in zip(fresh, steps, strict=True):
                old = edit.find(name)
                if step == "remove":
                    edit.remove(old.id if old else "nothing")
                elif step == "rename" and old:
                    edit.put(replace(old, name=other))
                elif step == "put":
                    edit.put(replace(old or model, task=other))
                elif old:
                    edit.remove(old.id)
                    edit.put(old)
                seen.append(plain(edit.find(name)))
            return seen

        self.both(lambda store: store.edit(work))

    @rule(names=st.lists(NAMES, min_size=1, max_size=3))
    def fail_in_the_middle_of_an_edit(self, names):
        def work(edit):
            for name in names:
                old = edit.find(name)
                if old:
                    edit.put_trash(TrashEntry(new_id("trash"), TrashKind.MODEL, old.id, name, "t", model=old))
                    edit.remove(old.id)
            raise ZeroDivisionError

        self.both(lambda store: store.edit(work))

    @rule(names=st.lists(NAMES, min_size=1, max_size=3))
    def delete(self, names):
        entries = []
        for name in names:
            self.deletions += 1
            entries.append((name, f"trash-{self.deletions:03d}"))

        def work(edit):
            for name, entry_id in entries:
                old = edit.find(name)
                if old:
                    entry = TrashEntry(
                        entry_id, TrashKind.MODEL, old.id, old.name, f"{entry_id}", model=replace(old, updated_at="")
                    )
                    edit.put_trash(entry)
                    edit.remove(old.id)

        self.both(lambda store: store.edit(work))

    @rule(index=st.integers(0, 3))
    def restore(self, index):
        def work(edit):
            for entry in edit.trash()[index : index + 1]:
                edit.remove_trash(entry.id)
                edit.put(entry.model)

        self.both(lambda store: store.edit(work))

    @rule(index=st.integers(0, 3))
    def purge(self, index):
        self.both(
            lambda store: store.edit(lambda edit: [edit.remove_trash(e.id) for e in edit.trash()[index:]] and None)
        )

    @rule()
    def open_again(self):
        self.real = self.open()

    @rule()
    def use_the_other_store(self):
        self.real, self.other = self.other, self.real

    @precondition(lambda self: self.path.exists())
    @rule()
    def a_day_passes(self):
        yesterday = time.time_ns() - DAY_NS
        os.utime(self.path, ns=(yesterday, yesterday))

    @precondition(lambda self: self.path.exists())
    @rule(cut=st.integers(1, 200))
    def damage_and_bring_back(self, cut):
        whole = self.path.with_name("whole.json")
        shutil.copy2(self.path, whole)
        content = whole.read_bytes()
        self.path.write_bytes(content[: max(len(content) - cut, 0)])
        problem = self.real.problem()
        assert problem.code == "store.corrupt"
        shutil.copy2(whole, self.path)
        assert self.real.problem() is None

    @invariant()
    def both_hold_the_same(self):
        assert plain(self.real.models()) == plain(self.reference.models())
        assert [(head.name, head.rev, head.task) for head in self.real.heads()] == [
            (model.name, model.rev, model.task) for model in self.reference.models()
        ]
        assert [plain_entry(entry) for entry in self.real.trash()] == [
            plain_entry(entry) for entry in self.reference.trash()
        ]
        assert self.real.blobs() == self.reference.blobs()
        assert self.real.capacity()[0] == self.reference.capacity()[0]
        for name in ("a", "b", "nothing"):
            assert plain(self.real.find(name)) == plain(self.reference.find(name))

    def teardown(self):
        self.resources.close()


TestRegistryAgainstReference = RegistryMachine.TestCase
TestRegistryAgainstReference.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
