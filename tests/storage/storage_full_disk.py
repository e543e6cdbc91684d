"""What a child does on a disk that fills up; it says a line for each promise that was broken, and `done N`."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from storage_samples import make_batch, make_model, make_run
from storage_small_disk import Filler

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

STEPS = range(0, 200_000, 4096)
"""Bytes left free; from none to more than any of the writes takes."""


def refused(say, kind, work):
    """Whether the work was refused for lack of space; says so when it was for another reason."""
    try:
        work()
    except StoreError as error:
        # A limit on file sizes is no full disk, though it breaks the same calls.
        if error.code != "store.full" and kind == "mount":
            say(f"broken: says {error.code}: {error.message} {error.detail}")
        if not error.hint:
            say("broken: gives no hint")
        return True
    return False


def fill_up(say, folder, kind, work, state):
    """Try the work with ever more space; while it is refused the state stays, then it is the new one and goes on."""
    filler = Filler(folder, kind)
    before, refusals = state(), 0
    for leave in STEPS:
        filler.fill(leave)
        is_refused = refused(say, kind, work)
        filler.free()
        after = state()
        if is_refused and after != before:
            say(f"broken: refused with {leave} bytes free, yet something changed")
        if not is_refused:
            if after == before:
                say("broken: acknowledged and lost")
            break
        refusals += 1
    else:
        say("broken: still refused with room for everything")
    before = state()
    work(True)
    if state() == before:
        say("broken: the write after is lost")
    say(f"done {refusals}")


def registry(say, folder, kind):
    """Fill the disk under the registry."""
    store = TinyDbRegistry(Path(folder) / "home" / "registry.json")
    store.put("first", lambda _old: make_model("first"))

    def work(again=False):
        name = "again" if again else "second"
        store.put(name, lambda _old: replace(make_model(name), description="x" * 60_000))

    fill_up(say, folder, kind, work, lambda: TinyDbRegistry(Path(folder) / "home" / "registry.json").models())


def artifacts(say, folder, kind):
    """Fill the disk under the artifact store."""
    home = Path(folder) / "home"
    store = BlobArtifactStore(home / "blobs", home / "cache")
    with store.publishing():
        store.put_bytes(b"first")

    def work(again=False):
        data = (b"again" if again else b"other") * 20_000
        with store.publishing():
            digest = store.put_bytes(data)
        assert digest == hashlib.sha256(data).hexdigest()

    def state():
        found = sorted(blob.digest for blob in store.blobs())
        for digest in found:
            if store.check(digest):
                say(f"broken: blob {digest} is {store.check(digest)}")
        return found

    fill_up(say, folder, kind, work, state)


def staging(say, folder, kind):
    """Fill the disk while a model is copied in."""
    home = Path(folder) / "home"
    source = Path(folder) / "model.onnx"
    source.write_bytes(b"model" * 20_000)
    other = Path(folder) / "other.onnx"
    other.write_bytes(b"other" * 20_000)
    store = BlobArtifactStore(home / "blobs", home / "cache")
    with store.publishing():
        store.put_bytes(b"first")

    def work(again=False):
        with store.stage() as stage:
            stage.add(other if again else source, "model.onnx")
            with store.publishing():
                stage.commit()

    fill_up(say, folder, kind, work, lambda: sorted(blob.digest for blob in store.blobs()))


def database(say, folder, kind):
    """Fill the disk under the state database."""
    path = Path(folder) / "home" / "state.db"
    SqliteState(path).add_batch(make_batch())
    runs = [make_run("m", number, command="x" * 5000) for number in range(1, 13)]

    def work(again=False):
        SqliteState(path).add_benchmarks([replace(run, id=f"{run.id}-again") for run in runs] if again else runs)

    def state():
        assert SqliteState(path).check() == ()
        return SqliteState(path).benchmarks(), SqliteState(path).batches()

    fill_up(say, folder, kind, work, state)


def migration(say, folder, kind):
    """Fill the disk while a database of the first schema is led to the new one."""
    from storage_state_operations import RUNS, make_template

    path = Path(folder) / "home" / "state.db"
    path.parent.mkdir()
    make_template(path, "migrate")

    def work(again=False):
        SqliteState(path).add_batch(make_batch(id="again" if again else "one"))

    def state():
        assert len(SqliteState(path).benchmarks()) == len(RUNS)
        return SqliteState(path).batches()

    fill_up(say, folder, kind, work, state)
