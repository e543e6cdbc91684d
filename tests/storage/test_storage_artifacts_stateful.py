"""Whatever is done to the artifact store, it answers like the reference in memory."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from reference_artifacts import MemoryArtifacts
from storage_memory import MEMORY

from quickserveml_tui.core.errors import ModelError, StoreError
from quickserveml_tui.storage.artifacts import BlobArtifactStore

CONTENTS = st.sampled_from([b"", b"a", b"b", b"model" * 100, b"\0" * 3000])
NAMES = st.sampled_from(["weights.bin", "deep/er/weights.bin", "model.onnx", "../x", "", "a\\b", "/x"])
HOUR = 3600.0


class ArtifactsMachine(RuleBasedStateMachine):
    manifests = Bundle("manifests")
    linked = Bundle("linked")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, ignore_cleanup_errors=True)
        self.path = Path(self.folder.name)
        self.open_again()
        self.reference = MemoryArtifacts(self.path / "memory")
        self.digests = {"0" * 64}
        self.sources = 0

    @rule()
    def open_again(self):
        self.real = BlobArtifactStore(self.path / "blobs", self.path / "cache", wait_s=0.0)

    def both(self, work):
        """What both stores say to the same: results, or codes of errors."""
        outcomes = []
        for store in (self.real, self.reference):
            try:
                outcomes.append(work(store))
            except (ModelError, StoreError) as error:
                outcomes.append(error.code)
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    def source(self, content, name="source.bin"):
        self.sources += 1
        path = self.path / f"source-{self.sources}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    # ---- coming in ------------------------------------------------------------------------------------------------

    @rule(content=CONTENTS)
    def put_bytes(self, content):
        self.digests.add(self.both(lambda store: store.put_bytes(content)))

    @rule(content=CONTENTS)
    def put_file(self, content):
        source = self.source(content)
        self.digests.add(self.both(lambda store: store.put_file(source))[0])

    @rule(target=manifests, model=CONTENTS, data=CONTENTS, name=NAMES, commits=st.booleans())
    def add(self, model, data, name, commits):
        first, second = self.source(model), self.source(data)

        def work(store):
            with store.stage() as staging:
                staging.add(first, "model.onnx")
                staging.add(second, name)
                return staging.commit() if commits else None

        return self.keep(self.both(work))

    @rule(target=manifests, model=CONTENTS)
    def add_single(self, model):
        source = self.source(model)

        def work(store):
            with store.stage() as staging, store.publishing():
                staging.add(source, "model.onnx")
                return staging.commit()

        return self.keep(self.both(work))

    @rule(target=linked, model=CONTENTS, data=CONTENTS, name=NAMES, is_beside=st.booleans())
    def link(self, model, data, name, is_beside):
        source = self.source(model, "model.onnx")
        beside = source.parent / "weights.bin"
        beside.write_bytes(data)

        def work(store):
            with store.stage() as staging:
                staging.link(source, "model.onnx")
                staging.link(beside, "weights.bin" if is_beside else name)
                return staging.commit()

        made = self.both(work)
        return multiple() if isinstance(made, str) else made

    def keep(self, made):
        if made is None or isinstance(made, str):
            return multiple()
        self.digests |= made.blobs
        return made

    # ---- being changed ----------------------------------------------------------------------------------------------

    @rule(manifest=linked, at=st.integers(0, 1), content=CONTENTS)
    def change_linked_file(self, manifest, at, content):
        path = Path(manifest.files[at].link.path)
        if path.parent.exists():
            path.write_bytes(content)

    @rule(manifest=linked, at=st.integers(0, 1))
    def touch_linked_file(self, manifest, at):
        path = Path(manifest.files[at].link.path)
        if path.exists():
            os.utime(path, (1, 1))

    @rule(manifest=consumes(linked), at=st.integers(0, 1))
    def remove_linked_file(self, manifest, at):
        Path(manifest.files[at].link.path).unlink(missing_ok=True)
        self.both(lambda store: store.open_path(manifest))
        self.both(lambda store: store.verify(manifest))

    @rule(data=st.data())
    def damage(self, data):
        present = sorted(blob.digest for blob in self.reference.blobs())
        if present:
            digest = data.draw(st.sampled_from(present))
            path = self.real.blob_path(digest)
            path.chmod(0o600)
            content = b"x" * len(self.reference.contents[digest])
            path.write_bytes(content)
            self.reference.contents[digest] = content

    @rule(data=st.data(), hours=st.integers(1, 30))
    def let_time_pass(self, data, hours):
        present = sorted(blob.digest for blob in self.reference.blobs())
        if present:
            digest = data.draw(st.sampled_from(present))
            written_at = time.time() - hours * HOUR
            os.utime(self.real.blob_path(digest), (written_at, written_at))
            self.reference.written_at[digest] = written_at

    # ---- being collected ----------------------------------------------------------------------------------------------

    @rule(data=st.data(), grace_h=st.sampled_from([0, 10.5, 24.5]), budget=st.sampled_from([None, 0, 1000]))
    def collect(self, data, grace_h, budget):
        needed = frozenset(data.draw(st.sets(st.sampled_from(sorted(self.digests)))))

        def work(store, *, dry_run):
            report = store.collect(lambda: needed, grace_s=grace_h * HOUR, cache_budget_bytes=budget, dry_run=dry_run)
            return replace(report, cache_entries=0, cache_bytes=0, dry_run=False)

        dry = self.both(lambda store: work(store, dry_run=True))
        assert self.both(lambda store: work(store, dry_run=False)) == dry

    @rule()
    def collect_while_guarded(self):
        def work(store):
            with store.guard("test"):
                store.collect(frozenset, grace_s=0.0, cache_budget_bytes=None)

        assert self.both(work) == "store.locked"

    @rule()
    def collect_while_publishing(self):
        def work(store):
            with store.publishing(), store.publishing():
                store.collect(frozenset, grace_s=0.0, cache_budget_bytes=None)

        assert self.both(work) == "store.locked"

    # ---- being read ---------------------------------------------------------------------------------------------------

    @rule(manifest=manifests)
    def open_model(self, manifest):
        def work(store):
            # The disk sees a blob's size when it opens a model, and its content when it reads it.
            if store.verify(manifest):
                return "damaged"
            opened = store.open_path(manifest)
            return [(opened.parent / file.path).read_bytes() for file in manifest.files[1:]], opened.read_bytes()

        self.both(work)

    @rule(manifest=linked)
    def open_linked_model(self, manifest):
        self.both(lambda store: store.open_path(manifest))

    @rule(manifest=st.one_of(manifests, linked))
    def verify(self, manifest):
        self.both(lambda store: store.verify(manifest))

    @invariant()
    def both_hold_the_same(self):
        self.both(lambda store: sorted((blob.digest, blob.size_bytes) for blob in store.blobs()))
        for digest in self.digests:
            self.both(lambda store, d=digest: (store.has(d), store.check(d), store.check(d, full=False)))
            self.both(lambda store, d=digest: store.read_bytes(d))
            self.both(lambda store, d=digest: store.blob_path(d).exists())

    def teardown(self):
        self.folder.cleanup()


TestArtifactsAgainstReference = ArtifactsMachine.TestCase
TestArtifactsAgainstReference.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
