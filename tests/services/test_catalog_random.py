"""Random histories of a catalog: nothing is lost before it is purged, and no number is given twice."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from catalog_builders import PoolDouble, RunnerDouble, save_linear
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quickserveml_tui.core.catalog import AddRequest, BulkAction
from quickserveml_tui.core.errors import ConflictError, NotFoundError
from quickserveml_tui.core.models import MetadataPatch
from quickserveml_tui.core.refs import parse_ref
from quickserveml_tui.services import catalog_aliases
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.services.catalog_trash import lost_on_return
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

NAMES = st.sampled_from(["a", "b"])
ALIASES = st.sampled_from(["prod", "canary", "Canary", "old"])
LABELS = st.sampled_from(["", "1.0.0", "2.0.0"])
SELECTORS = st.sampled_from(["", "@latest", "@1", "@2", "@3", "@prod", "@canary"])
EXPECTED = (ConflictError, NotFoundError)
MAX_HISTORY = 6


class Catalog(RuleBasedStateMachine):
    """A catalog, and what it must still know: every version ever added that was not purged."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.registry = TinyDbRegistry(self.folder / "registry.json")
        self.artifacts = BlobArtifactStore(self.folder / "blobs", self.folder / "cache")
        self.state = SqliteState(self.folder / "state.db")
        self.catalog = CatalogService(self.registry, self.artifacts, self.state, PoolDouble(RunnerDouble()))
        self.files = [str(save_linear(self.folder / f"{number}.onnx", float(number))) for number in range(4)]
        self.known = {}
        """Digest by model id and version number, of all that was added and not purged."""
        self.given = {}
        """Digest by model id and version number, of all that ever was."""
        self.next_version = {}
        self.revs = {}

    def teardown(self):
        self.state.close()
        shutil.rmtree(self.folder)

    # ---- what users do

    @rule(name=NAMES, file=st.integers(0, 3), label=LABELS, alias=st.sampled_from(["", "prod", "old"]))
    def add(self, name, file, label, alias):
        try:
            result = self.catalog.add(AddRequest(self.files[file], name=name, label=label, alias=alias))
        except ConflictError:
            return
        key = (result.model.id, result.version.version)
        assert result.existed == (key in self.known)
        if not result.existed:
            assert key not in self.given  # never a number again
        self.given[key] = self.known[key] = result.version.artifact.digest

    @rule(name=NAMES, selector=SELECTORS, force=st.booleans())
    def delete(self, name, selector, force):
        before = self.registry.find(name)
        try:
            deletion = self.catalog.delete(name + selector, force=force)
        except EXPECTED:
            assert self.registry.find(name) == before
            return
        gone = {version.version for version in deletion.entry.versions}
        if not force:
            assert not gone & {before.aliases[alias] for alias in catalog_aliases.protected_aliases(before)}
        left = {version.version for version in deletion.left.versions} if deletion.left else set()
        assert gone | left == {version.version for version in before.versions}
        assert not gone & left

    @precondition(lambda self: self.registry.trash())
    @rule(data=st.data(), name=st.sampled_from(["", "a", "b", "c"]))
    def restore(self, data, name):
        entry = data.draw(st.sampled_from(self.registry.trash()))
        before = self.registry.find(entry.model_id)
        try:
            model = self.catalog.restore(entry.id, name=name)
        except EXPECTED:
            assert entry in self.registry.trash()
            return
        assert entry not in self.registry.trash()
        if entry.model is not None:
            expected = replace(entry.model, name=name or entry.name, rev=model.rev, updated_at=model.updated_at)
            assert model == expected
        elif name:  # it became a model of its own
            number = entry.version.version
            key = (model.id, number)
            assert model.versions == (entry.version,)
            del self.known[(entry.model_id, number)]
            self.given[key] = self.known[key] = entry.version.artifact.digest
        else:
            number = entry.version.version
            lost = lost_on_return(entry, model)
            if not any("label" in sentence for sentence in lost):
                assert model.version(number) == entry.version
            assert tuple(item for item in model.versions if item.version != number) == before.versions
            assert before.aliases.items() <= model.aliases.items()
            assert set(model.aliases) - set(before.aliases) <= set(entry.aliases)

    @rule(data=st.data(), dry_run=st.booleans())
    def purge(self, data, dry_run):
        entries = self.registry.trash()
        chosen = data.draw(st.lists(st.sampled_from(entries), unique_by=id_of)) if entries else []
        if not chosen:
            return
        gone = self.catalog.purge([entry.id for entry in chosen], dry_run=dry_run)
        assert set(map(id_of, gone)) == set(map(id_of, chosen))
        if dry_run:
            assert self.registry.trash() == entries
            return
        for entry in gone:
            for version in entry.versions:
                del self.known[(entry.model_id, version.version)]

    @rule(name=NAMES, selector=SELECTORS, alias=ALIASES)
    def set_alias(self, name, selector, alias):
        try:
            model = self.catalog.set_alias(name + selector, alias)
        except EXPECTED:
            return
        assert model.alias_history[-1].version == model.aliases[alias] or model.alias_history[-1].alias != alias

    @rule(name=NAMES, alias=ALIASES, force=st.booleans())
    def remove_alias(self, name, alias, force):
        before = self.registry.find(name)
        try:
            model = self.catalog.remove_alias(name, alias, force=force)
        except EXPECTED:
            return
        assert force or not catalog_aliases.is_protected(before, alias)
        assert alias not in model.aliases

    @rule(name=NAMES, alias=ALIASES, protected=st.booleans())
    def protect(self, name, alias, protected):
        try:
            model = self.catalog.protect_alias(name, alias, protected=protected)
        except EXPECTED:
            return
        assert catalog_aliases.is_protected(model, alias) == protected

    @rule(name=NAMES, selector=SELECTORS, label=LABELS)
    def relabel(self, name, selector, label):
        try:
            self.catalog.update(name + selector, MetadataPatch(label=label))
        except EXPECTED:
            return

    @rule(name=NAMES, selector=SELECTORS, tags=st.lists(st.sampled_from(["x", "X", "y"])), delete=st.booleans())
    def bulk(self, name, selector, tags, delete):
        if not (delete or tags):
            return
        action = BulkAction(delete=True) if delete else BulkAction(add_tags=tuple(tags))
        before = self.registry.generation()
        dry = self.catalog.bulk([name + selector, "b"], action, dry_run=True)
        assert self.registry.generation() == before
        done = self.catalog.bulk([name + selector, "b"], action)
        assert [replace(item, trash_id="") for item in done.items] == list(dry.items)

    @rule()
    def collect(self):
        self.artifacts.collect(self.registry.blobs, grace_s=0.0, cache_budget_bytes=0)

    # ---- what holds at any time

    @invariant()
    def every_version_is_in_the_catalog_or_in_the_trash(self):
        alive = {
            (model.id, version.version): version.artifact.digest
            for model in self.registry.models()
            for version in model.versions
        }
        trashed = {
            (entry.model_id, version.version): version.artifact.digest
            for entry in self.registry.trash()
            for version in entry.versions
        }
        assert not alive.keys() & trashed.keys()
        assert alive | trashed == self.known

    @invariant()
    def every_file_that_is_named_is_there(self):
        for digest in self.known.values():
            assert self.artifacts.has(digest)

    @invariant()
    def models_are_sound(self):
        names = [model.name for model in self.registry.models()]
        assert len(set(names)) == len(names)
        for model in self.registry.models():
            numbers = [version.version for version in model.versions]
            labels = [version.label for version in model.versions if version.label]
            assert numbers
            assert numbers == sorted(set(numbers))
            assert set(model.aliases.values()) <= set(numbers)
            assert len({alias.lower() for alias in model.aliases}) == len(model.aliases)
            assert len(set(labels)) == len(labels)
            assert len({tag.lower() for tag in model.tags}) == len(model.tags)
            assert len(model.alias_history) <= MAX_HISTORY
            assert model.next_version > max(numbers)
            assert model.next_version >= self.next_version.get(model.id, 0)
            assert model.rev >= self.revs.get(model.id, 0)
            self.next_version[model.id], self.revs[model.id] = model.next_version, model.rev
            for alias, number in model.aliases.items():
                assert self.catalog.resolve(f"{model.name}@{alias}").version.version == number
                assert str(parse_ref(f"{model.name}@{alias}")) == f"{model.name}@{alias}"


def id_of(entry):
    return entry.id


@pytest.fixture(autouse=True)
def _short_history(monkeypatch):
    monkeypatch.setattr(catalog_aliases, "MAX_HISTORY", MAX_HISTORY)


def test_random_histories_keep_the_promises():
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Catalog,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        ),
    )
