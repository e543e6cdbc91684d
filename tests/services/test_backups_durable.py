"""What backups and restores make durable, what they keep away meanwhile, and what of the old home they leave behind."""

from __future__ import annotations

import gc

import pytest
from maintenance_homes import add_model, add_run

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.storage import fs


@pytest.fixture(autouse=True, scope="module")
def handles_are_given_back():
    """What the tests opened and left is closed with them, so that no run needs more files than a system gives."""
    yield
    gc.collect()


@pytest.fixture
def home(tmp_path):
    opened = open_workbench(tmp_path / "home")
    add_run(opened, add_model(opened, tmp_path, "a", {"model.onnx": b"a"}))
    return opened


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "backups"


def seen_at_syncs(monkeypatch, of, look):
    """What `look` says each time the folder `of` is made durable."""
    seen = []
    sync = fs.fsync_dir

    def recorded(path):
        if path == of:
            seen.append(look())
        sync(path)

    monkeypatch.setattr(fs, "fsync_dir", recorded)
    return seen


def test_a_generation_is_durable_under_its_name_before_it_is_acknowledged(home, folder, monkeypatch):
    generations = folder / "generations"
    seen = seen_at_syncs(monkeypatch, generations, lambda: sorted(path.name for path in generations.iterdir()))
    made = home.backups.create(str(folder))
    assert [made.id] in seen


def test_a_restore_is_durable_before_it_is_acknowledged(home, folder, tmp_path, monkeypatch):
    home.backups.create(str(folder))
    other = open_workbench(tmp_path / "other")
    note = other.home / "restore.json"
    stores = [other.home / name for name in ("registry.json", "state.db")]
    look = lambda: (note.exists(), all(path.exists() for path in stores))  # noqa: E731
    seen = seen_at_syncs(monkeypatch, other.home, look)
    other.backups.restore(str(folder))
    # The note, then both stores while it is there, then its end.
    assert [state for index, state in enumerate(seen) if index == 0 or seen[index - 1] != state][-3:] == [
        (True, False),
        (True, True),
        (False, True),
    ]


def test_no_collection_takes_what_a_restore_brings(home, folder, tmp_path):
    home.backups.create(str(folder))
    other = open_workbench(tmp_path / "other")
    seen = {}

    def on_progress(progress):
        if progress.phase == "copying files":  # there, and not named by anything yet
            with pytest.raises(StoreError) as caught:
                open_workbench(tmp_path / "other").maintenance.collect(grace_s=0)
            seen[progress.phase] = caught.value.code

    other.backups.restore(str(folder), on_progress=on_progress)
    assert seen == {"copying files": "store.locked"}
    assert other.maintenance.check(full=True).findings == ()


def test_a_journal_of_the_old_database_is_not_played_into_the_restored_one(home, folder, tmp_path):
    home.backups.create(str(folder))
    path, new = home.home / "state.db", home.home / "new.db"
    rows = home.state.benchmarks()
    home.state.snapshot(new)
    journal = path.with_name("state.db-journal")
    path.write_bytes(b"what no database looks like" * 1000)  # too damaged to be locked, so nobody rolls back
    with home.state.replacing() as put:
        journal.write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7" + bytes(4096))
        put(new)
        assert not journal.exists()
    assert home.state.benchmarks() == rows
    assert home.state.check() == ()
