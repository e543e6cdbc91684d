"""What the children of the artifact tests do: they put, name, drop, read and collect, and say what they have done."""

from __future__ import annotations

import json
import random
from pathlib import Path

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifacts import BlobArtifactStore


class References:
    """A registry that is only as much of one as collection needs: digests by key, in one file."""

    def __init__(self, folder):
        self._path = Path(folder) / "references.json"
        self._lock = Path(folder) / "references.lock"

    def read(self):
        try:
            return json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}

    def change(self, key, digests):
        with fs.locked(self._lock, "references", timeout_s=120):
            fs.remove_stale_temps(self._path.parent)
            named = self.read()
            if digests:
                named[key] = list(digests)
            else:
                named.pop(key, None)
            fs.write_atomic(self._path, json.dumps(named).encode())

    def blobs(self):
        return frozenset(digest for digests in self.read().values() for digest in digests)


class Writer:
    """One child: every key it names is its own, but contents are shared with all others."""

    def __init__(self, say, home, name, seed, contents):
        self.home = Path(home)
        self.say = say
        self.name = name
        self.store = BlobArtifactStore(self.home / "blobs", self.home / "cache", wait_s=120)
        self.references = References(home)
        self.random = random.Random(seed)
        self.sources = sorted((self.home / "sources").iterdir())[:contents]
        self.mine = []
        self.count = 0

    def step(self):
        operation = self.random.choices(
            [self.put, self.put_file, self.add, self.read, self.drop, self.collect], [4, 2, 3, 4, 3, 2]
        )[0]
        operation()
        self.say("step")

    def key(self):
        self.count += 1
        return f"{self.name}-{self.count}"

    def name_it(self, key, digests):
        self.references.change(key, digests)
        self.mine.append(key)
        self.say(f"named {key} {' '.join(digests)}")

    def put(self):
        data = self.random.choice(self.sources).read_bytes()
        with self.store.publishing():
            self.name_it(self.key(), [self.store.put_bytes(data)])

    def put_file(self):
        with self.store.publishing():
            self.name_it(self.key(), [self.store.put_file(self.random.choice(self.sources))[0]])

    def add(self):
        with self.store.stage() as staging:
            staging.add(self.random.choice(self.sources), "model.onnx")
            staging.add(self.random.choice(self.sources), "weights.bin")
            with self.store.publishing():
                manifest = staging.commit()
                self.name_it(self.key(), sorted(manifest.blobs))
        self.store.open_path(manifest)

    def read(self):
        for key, digests in self.random.sample(sorted(self.references.read().items()), k=1) if self.count else []:
            for digest in digests:
                try:
                    self.store.read_bytes(digest)
                except StoreError:
                    if key in self.references.read():  # unless its owner dropped it meanwhile
                        raise

    def drop(self):
        if self.mine:
            key = self.mine.pop(self.random.randrange(len(self.mine)))
            self.say(f"dropping {key}")
            self.references.change(key, [])

    def collect(self):
        self.store.collect(self.references.blobs, grace_s=0.0, cache_budget_bytes=0)


def work(say, home, name, seed, steps, contents):
    """So many steps of a writer."""
    writer = Writer(say, home, name, seed, contents)
    for _ in range(steps):
        writer.step()
    say("done")
