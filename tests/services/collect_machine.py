"""A home on which models are added, deleted, restored, purged, measured and collected, at the worst moments too."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from catalog_builders import RunnerDouble, linear_proto, make_facts
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quickserveml_tui.core.benchmarks import (
    BenchmarkRun,
    BenchmarkSpec,
    BenchmarkSummary,
    Fingerprint,
    HistogramData,
    LatencySummary,
)
from quickserveml_tui.core.care import CarePolicy
from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, NotFoundError, StoreError
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.services.collect import collect
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

MEMORY = Path("/dev/shm")
KEEP_TRASH = CarePolicy(cache_budget_bytes=0, grace_s=0.0, trash_s=1e9, keep_runs=1, keep_days=0.0)
NAMES = st.sampled_from(["a", "b", "c"])
CONTENTS = st.integers(0, 3)
INDEXES = st.integers(0, 5)
MOMENTS = st.sampled_from(["never", "before the write", "within the write"])


class ExternalDouble(RunnerDouble):
    """A runner double for which every model called `external…` has its data in another file."""

    def external_files(self, path):
        return ("weights.bin",) if path.name.startswith("external") else ()

    def read_facts(self, path):
        return make_facts()


class Pool:
    @contextlib.contextmanager
    def borrow(self):
        yield ExternalDouble()

    fresh = borrow


class HookedRegistry(TinyDbRegistry):
    """Calls `hook(moment)` before each write of one thread and within it."""

    hook = staticmethod(lambda moment: None)

    def edit(self, work):
        self.hook("before the write")

        def hooked(edit):
            result = work(edit)
            self.hook("within the write")
            return result

        return super().edit(hooked)


@functools.cache
def model_bytes(content):
    return linear_proto(scale=content).SerializeToString()


def make_run(model_id, digest):
    figures = LatencySummary(*[1.0] * 8)
    summary = BenchmarkSummary(
        n=1, warmup=0, latency_ms=figures, intervals={}, throughput_per_s=1.0, elapsed_s=1.0, peak_rss_bytes=1,
        cpu_percent=1.0, noisy=False, noise_reason="", steady=True, histogram=HistogramData((0.0, 1.0), (1,)),
        cancelled=False,
    )  # fmt: skip
    fingerprint = Fingerprint("d", "cpu", 2, 8_000_000_000, "linux", "3.11", "ort", "CPUExecutionProvider")
    return BenchmarkRun(
        id=new_id("bench"), ref="m@1", model=model_id, version=1, created_at=utc_now(), spec=BenchmarkSpec(),
        summary=summary, fingerprint=fingerprint, samples_digest=digest,
    )  # fmt: skip


class CollectMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, what models, trash and runs name is there."""

    done: ClassVar = collections.Counter()
    """What happened how often, in all runs: a test that refuses everything proves nothing."""

    @initialize()
    def open_home(self):
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, ignore_cleanup_errors=True)
        self.home = Path(self.folder.name) / "home"
        self.registry = HookedRegistry(self.home / "registry.json")
        self.artifacts = self.open_artifacts()
        self.state = SqliteState(self.home / "state.db")
        self.catalog = CatalogService(self.registry, self.artifacts, self.state, Pool())
        self.numbers = itertools.count()
        self.moment = "never"
        self.registry.hook = self.at_moment

        for name in ("a", "b"):
            self.add(name, 0, external=True, moment="never")

    def open_artifacts(self):
        """The store under test; a test that breaks it on purpose opens another."""
        return BlobArtifactStore(self.home / "blobs", self.home / "cache", wait_s=0.0)

    # ---- collecting at the worst moments ----------------------------------------------------------------------------

    def at_moment(self, moment):
        if moment == self.moment:
            self.moment = "never"
            self.in_thread(lambda: self.collect_now(self.open_artifacts()))

    def in_thread(self, work):
        """Another thread, which holds no lock of ours; it is refused, or all it does is done when this returns."""
        errors = []

        def run():
            try:
                work()
            except StoreError as error:
                if error.code != "store.locked":
                    errors.append(error)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
        assert not errors, errors

    def collect_now(self, artifacts, policy=KEEP_TRASH, **options):
        registry, state = TinyDbRegistry(self.home / "registry.json"), SqliteState(self.home / "state.db")
        try:
            report = collect(registry, artifacts, state, policy, **options)
            self.done["collect"] += 1
            return report
        finally:
            state.close()

    # ---- what people do ---------------------------------------------------------------------------------------------

    def source(self, content, *, external):
        folder = self.home.parent / f"source-{next(self.numbers)}"
        folder.mkdir()
        path = folder / ("external.onnx" if external else "plain.onnx")
        path.write_bytes(model_bytes(content))
        (folder / "weights.bin").write_bytes(b"weights %d" % content)
        return str(path)

    @rule(name=NAMES, content=CONTENTS, external=st.booleans(), moment=MOMENTS)
    def add(self, name, content, external, moment):
        self.moment = moment
        request = AddRequest(self.source(content, external=external), name=name)
        self.attempt("add", lambda: self.catalog.add(request))

    @precondition(lambda self: self.registry.models())
    @rule(index=INDEXES, whole=st.booleans(), moment=MOMENTS)
    def delete(self, index, whole, moment):
        models = self.registry.models()
        model = models[index % len(models)]
        version = model.versions[index % len(model.versions)].version
        self.moment = moment
        self.attempt("delete", lambda: self.catalog.delete(model.name if whole else f"{model.name}@{version}"))

    @precondition(lambda self: self.registry.trash())
    @rule(index=INDEXES, moment=MOMENTS, new_name=st.sampled_from(["", "", "d", "e"]))
    def restore(self, index, moment, new_name):
        entries = self.registry.trash()
        self.moment = moment
        self.attempt("restore", lambda: self.catalog.restore(entries[index % len(entries)].id, name=new_name))

    @precondition(lambda self: self.registry.trash())
    @rule(index=INDEXES, moment=MOMENTS)
    def purge(self, index, moment):
        entries = self.registry.trash()
        self.moment = moment
        self.attempt("purge", lambda: self.catalog.purge([entries[index % len(entries)].id]))

    @rule(name=NAMES, content=CONTENTS, moment=MOMENTS)
    def measure(self, name, content, moment):
        """As the benchmark service keeps a run: samples first, then the row that names them."""
        with self.artifacts.publishing():
            digest = self.artifacts.put_bytes(b"samples %d" % content)
            if moment != "never":
                self.in_thread(lambda: self.collect_now(self.open_artifacts()))
            model = self.registry.find(name)
            self.state.add_benchmark(make_run(model.id if model else "", digest))

    @precondition(lambda self: self.registry.models())
    @rule(index=INDEXES)
    def open_model(self, index):
        models = self.registry.models()
        resolved = self.catalog.resolve(models[index % len(models)].name)
        assert Path(resolved.path).read_bytes() in map(model_bytes, range(4))
        self.done["open"] += 1

    @rule(trash_too=st.booleans(), content=CONTENTS, name=NAMES, adds=st.booleans())
    def gc(self, trash_too, content, name, adds):
        """A collection, and somebody who adds a file between its question and its answer."""
        policy = replace(KEEP_TRASH, trash_s=0.0) if trash_too else KEEP_TRASH
        state = SqliteState(self.home / "state.db")
        plain = state.blobs

        def blobs():
            found = plain()
            if adds:
                catalog = CatalogService(
                    TinyDbRegistry(self.home / "registry.json"), self.open_artifacts(), self.state, Pool()
                )
                request = AddRequest(self.source(content, external=True), name=name)
                self.in_thread(lambda: self.attempt("add meanwhile", lambda: catalog.add(request)))
            return found

        state.blobs = blobs
        dry = self.collect_now(self.open_artifacts(), policy, dry_run=True)
        try:
            report = collect(self.registry, self.artifacts, state, policy)
        finally:
            state.close()
        assert report.trash == dry.trash
        self.done["blobs collected"] += report.blobs

    def attempt(self, what, work):
        """Conflicts, and waiting for somebody else, are fine; anything else that goes wrong is not."""
        try:
            work()
            self.done[what] += 1
        except (NotFoundError, ConflictError):
            self.done[f"{what} refused"] += 1
        except StoreError as error:
            if error.code != "store.locked":
                raise
            self.done[f"{what} kept waiting"] += 1
        finally:
            self.moment = "never"

    @invariant()
    def nothing_that_is_named_is_missing(self):
        if not hasattr(self, "home"):
            return
        versions = [version for model in self.registry.models() for version in model.versions]
        versions += [version for entry in self.registry.trash() for version in entry.versions]
        needed = {digest for version in versions for digest in version.blobs} | self.state.blobs()
        assert {digest for digest in needed if self.artifacts.check(digest)} == set()
        assert self.registry.blobs() | self.state.blobs() == needed

    def teardown(self):
        if hasattr(self, "home"):
            self.state.close()
            self.folder.cleanup()
