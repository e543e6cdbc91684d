"""Collection takes what nothing needs and nothing else, and a dry run says exactly what it would take."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from dataclasses import replace

import pytest
from reference_artifacts import MemoryArtifacts, sha256

from quickserveml_tui.core.errors import CancelledError, ReadOnlyError, StoreError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.storage import artifact_collect, fs
from quickserveml_tui.storage.artifacts import BlobArtifactStore, blob_path

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def disk(home):
    return BlobArtifactStore(home / "blobs", home / "cache", wait_s=0.05)


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path, disk):
    return MemoryArtifacts(tmp_path / "memory") if request.param == "memory" else disk


def make_older(store, digest, age_s):
    if isinstance(store, MemoryArtifacts):
        store.written_at[digest] -= age_s
    else:
        back_date(store.blob_path(digest), age_s)


def back_date(path, age_s):
    os.utime(path, (time.time() - age_s,) * 2, follow_symlinks=False)


def collect(store, *needed, grace_s=0.0, cache_budget_bytes=None, **options):
    return store.collect(lambda: frozenset(needed), grace_s=grace_s, cache_budget_bytes=cache_budget_bytes, **options)


def everything_in(folder):
    """Every file and folder with its content and times: what a dry run must leave alone."""
    return {
        path.relative_to(folder): (path.lstat().st_mtime_ns, path.lstat().st_ino, path.is_file() and path.read_bytes())
        for path in [folder, *folder.rglob("*")]
    }


# ---- every store ----------------------------------------------------------------------------------------------------


def test_what_nothing_needs_goes_and_the_rest_stays(store):
    wanted, unwanted = store.put_bytes(b"wanted"), store.put_bytes(b"unwanted")
    report = collect(store, wanted)
    assert (report.blobs, report.blob_bytes, report.digests) == (1, 8, (unwanted,))
    assert (report.kept_blobs, report.kept_bytes) == (1, 6)
    assert store.read_bytes(wanted) == b"wanted"
    assert not store.has(unwanted)
    assert [blob.digest for blob in store.blobs()] == [wanted]
    assert collect(store, wanted).blobs == 0


def test_what_is_younger_than_the_grace_is_counted_and_stays(store):
    young, old = store.put_bytes(b"young"), store.put_bytes(b"old")
    make_older(store, old, 25 * HOUR)
    report = collect(store, grace_s=DAY)
    assert (report.digests, report.young, report.kept_blobs) == ((old,), 1, 1)
    assert store.has(young)


def test_what_is_put_again_is_young_again(store):
    digest = store.put_bytes(b"again")
    make_older(store, digest, 25 * HOUR)
    store.put_bytes(b"again")
    assert collect(store, grace_s=DAY).young == 1


def test_a_dry_run_says_what_a_run_takes_and_takes_nothing(store):
    digests = [store.put_bytes(b"%d" % number) for number in range(5)]
    make_older(store, digests[3], 25 * HOUR)
    dry = collect(store, *digests[:2], grace_s=DAY, dry_run=True)
    assert dry.dry_run
    assert all(store.has(digest) for digest in digests)
    assert collect(store, *digests[:2], grace_s=DAY) == replace(dry, dry_run=False)
    assert dry.digests == (digests[3],)


def test_nothing_is_collected_while_somebody_guards_the_store(store):
    digest = store.put_bytes(b"data")
    with store.guard("backup"):
        with pytest.raises(StoreError) as caught:
            collect(store)
        with store.guard("check"):
            pass
    assert caught.value.code == "store.locked"
    assert store.has(digest)
    assert collect(store).blobs == 1


def test_nothing_is_collected_by_the_thread_that_is_publishing(store):
    with store.publishing(), store.publishing():
        digest = store.put_bytes(b"data")
        for refused in (lambda: collect(store), lambda: store.guard("backup").__enter__()):
            with pytest.raises(StoreError) as caught:
                refused()
            assert caught.value.code == "store.locked"
    assert store.has(digest)


def test_when_what_is_needed_cannot_be_told_nothing_goes(store):
    digest = store.put_bytes(b"data")

    def needed():
        raise StoreError("The registry is damaged.", code="store.corrupt")

    with pytest.raises(StoreError, match="damaged"):
        store.collect(needed, grace_s=0.0, cache_budget_bytes=None)
    assert store.has(digest)


# ---- locks ----------------------------------------------------------------------------------------------------------


def in_thread(work):
    """The error that `work` raises in another thread, None if it raises none."""
    errors = []

    def run():
        try:
            work()
        except StoreError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return errors[0] if errors else None


def test_who_holds_the_store_is_named(disk, home):
    other = BlobArtifactStore(home / "blobs", home / "cache", wait_s=0.0)
    with disk.guard("backup to a folder"):
        error = in_thread(lambda: collect(other))
    assert error is not None
    assert error.code == "store.locked"
    assert f"backup to a folder (process {os.getpid()})" in error.message
    with disk.publishing():
        error = in_thread(lambda: other.put_bytes(b"x"))
    assert error is not None
    assert error.code == "store.locked"
    assert not list((home / "blobs").glob(f"{fs.TEMP_PREFIX}*"))


def test_a_second_object_on_the_same_store_enters_with_its_thread(disk, home):
    other = BlobArtifactStore(home / "blobs", home / "cache", wait_s=0.0)
    with disk.publishing():
        assert other.has(other.put_bytes(b"x"))


def test_a_collection_asks_what_is_needed_while_nothing_can_be_published(disk, home):
    other = BlobArtifactStore(home / "blobs", home / "cache", wait_s=0.0)
    errors = []
    disk.put_bytes(b"x")

    def needed():
        errors.append(in_thread(lambda: other.publishing().__enter__()))
        return frozenset()

    disk.collect(needed, grace_s=0.0, cache_budget_bytes=None)
    assert [error.code for error in errors] == ["store.locked"]


def test_a_blob_that_is_put_between_the_look_and_the_question_stays(disk, home):
    """The collection has seen the old blob; it is put anew and named before the collection asks."""
    digest = disk.put_bytes(b"data")
    taken = disk._locks.publishing
    named = set()

    def publishing(**options):
        if not named:
            named.add(digest)
            disk.put_bytes(b"data")
        return taken(**options)

    disk._locks.publishing = publishing
    report = disk.collect(lambda: frozenset(named), grace_s=0.0, cache_budget_bytes=None)
    assert (report.blobs, report.kept_blobs) == (0, 1)
    assert disk.read_bytes(digest) == b"data"


# ---- what killed writers left ---------------------------------------------------------------------------------------


def make_upload(home, name, age_h):
    folder = home / "blobs" / "staging" / name
    (folder / "files" / "deep").mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / "files" / "deep" / "model.onnx").write_bytes(b"half")
    back_date(folder, age_h * HOUR)
    return folder


def test_uploads_expire_after_a_day_but_never_while_their_owner_lives(disk, home):
    with disk.stage() as staging:
        live = staging.folder.parent
        back_date(live, 1000 * HOUR)
        old, new = make_upload(home, "old", 25), make_upload(home, "new", 23)
        dry = collect(disk, dry_run=True)
        report = collect(disk)
        assert live.exists()
    assert (report.uploads, report.upload_bytes) == (1, 4) == (dry.uploads, dry.upload_bytes)
    assert (old.exists(), new.exists()) == (False, True)


def test_temporary_files_of_killed_writers_go_after_an_hour(disk, home):
    shard = blob_path(home / "blobs", disk.put_bytes(b"x")).parent
    for folder in (home / "blobs", shard):
        for name, age_h in ((".tmp-old", 2), (".tmp-new", 0.5)):
            (folder / name).write_bytes(b"left")
            back_date(folder / name, age_h * HOUR)
    held = home / "blobs" / ".tmp-held"
    descriptor = fs.open_new(held)
    assert fs.try_lock(descriptor)
    back_date(held, 5 * HOUR)
    report = collect(disk, sha256(b"x"))
    assert (report.uploads, report.upload_bytes) == (2, 8)
    assert sorted(path.name for path in (home / "blobs").glob(".tmp-*")) == [".tmp-held", ".tmp-new"]
    fs.unlock(descriptor)
    assert collect(disk, sha256(b"x")).uploads == 1


def test_a_link_or_fifo_in_the_place_of_a_temporary_file_is_left_alone(disk, home, tmp_path):
    disk.put_bytes(b"x")
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (home / "blobs" / ".tmp-link").symlink_to(victim)
    os.mkfifo(home / "blobs" / ".tmp-fifo")
    back_date(home / "blobs" / ".tmp-link", 5 * HOUR)
    assert collect(disk).uploads == 0
    assert victim.read_bytes() == b"mine"


def test_an_expired_upload_is_removed_without_following_links(disk, home, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_bytes(b"mine")
    folder = make_upload(home, "old", 1)
    (folder / "files" / "link").symlink_to(victim)
    back_date(folder, 25 * HOUR)
    assert collect(disk).uploads == 1
    assert (victim / "file").read_bytes() == b"mine"


def test_empty_folders_go_and_come_again(disk, home):
    digest = disk.put_bytes(b"x")
    collect(disk)
    assert list((home / "blobs" / "sha256").iterdir()) == []
    assert disk.put_bytes(b"x") == digest
    assert disk.read_bytes(digest) == b"x"


def test_adders_get_their_turn_between_batches(disk, home, monkeypatch):
    """What is named between two batches is not in what the first one asked for, and stays."""
    monkeypatch.setattr(artifact_collect, "BATCH", 2)
    digests = sorted(disk.put_bytes(b"%d" % number) for number in range(7))
    other = BlobArtifactStore(home / "blobs", home / "cache", wait_s=0.0)
    plain, named = disk._locks.publishing, set()

    def publishing(**options):
        if not named and len(list(disk.blobs())) == 5:  # the first batch is done
            error = in_thread(lambda: other.publishing().__enter__())
            assert error is None
            named.add(digests[-1])
        return plain(**options)

    disk._locks.publishing = publishing
    report = disk.collect(lambda: frozenset(named), grace_s=0.0, cache_budget_bytes=None)
    assert (report.blobs, report.kept_blobs) == (6, 1)
    assert [blob.digest for blob in disk.blobs()] == digests[-1:]


def test_what_is_no_blob_is_left_alone(disk, home):
    disk.put_bytes(b"x")
    folder = home / "blobs" / "sha256" / "ab"
    folder.mkdir()
    (folder / "README").write_bytes(b"not ours")
    (folder / ("ab" + "0" * 62)).mkdir()
    (folder / ("cd" + "0" * 62)).write_bytes(b"in the wrong folder")
    assert collect(disk).blobs == 1
    assert len(list(folder.iterdir())) == 3


# ---- cache ----------------------------------------------------------------------------------------------------------


def add_external(store, folder, number, size=1000):
    """A model with external data; its cache entry and what keeps its blobs."""
    folder.mkdir(exist_ok=True)
    model, data = folder / f"{number}.onnx", folder / f"{number}.bin"
    model.write_bytes(b"model %d" % number)
    data.write_bytes(bytes([number]) * size)
    with store.stage() as staging:
        staging.add(model, "model.onnx")
        staging.add(data, "weights.bin")
        return staging.commit()


@pytest.fixture
def zoo(disk, tmp_path):
    manifests = [add_external(disk, tmp_path / "sources", number) for number in range(4)]
    for age_h, manifest in zip((4, 3, 2, 1), manifests, strict=True):
        back_date(disk.open_path(manifest).parent, age_h * HOUR)
    return manifests


def cached(home):
    return {path.name for path in (home / "cache").iterdir() if path.is_dir()}


def collect_cache(disk, zoo, budget, **options):
    needed = frozenset().union(*(manifest.blobs for manifest in zoo))
    return collect(disk, *needed, cache_budget_bytes=budget, **options)


def test_what_was_opened_longest_ago_leaves_the_cache_until_the_budget_holds(disk, home, zoo):
    dry = collect_cache(disk, zoo, 2100, dry_run=True)
    assert len(cached(home)) == 4
    report = collect_cache(disk, zoo, 2100)
    assert (report.cache_entries, report.cache_bytes) == (2, 2014) == (dry.cache_entries, dry.cache_bytes)
    assert cached(home) == {manifest.digest for manifest in zoo[2:]}
    assert {path.name for path in (home / "cache").glob("*.files")} == {f"{item.digest}.files" for item in zoo[2:]}
    assert collect_cache(disk, zoo, 2100).cache_entries == 0
    assert collect_cache(disk, zoo, None).cache_entries == 0


def test_opening_an_entry_again_keeps_it(disk, home, zoo):
    disk.open_path(zoo[0])
    collect_cache(disk, zoo, 2100)
    assert cached(home) == {zoo[0].digest, zoo[3].digest}


def test_what_was_opened_within_ten_minutes_or_is_pinned_stays_whatever_the_budget(disk, home, zoo):
    disk.open_path(zoo[1])
    collect_cache(disk, zoo, 0, pinned=frozenset({zoo[3].digest}))
    assert cached(home) == {zoo[1].digest, zoo[3].digest}


def test_an_entry_that_is_opened_while_it_is_to_be_evicted_stays(disk, home, zoo):
    """The collection has chosen the entry; a runner opens it before it is taken."""
    evict = disk._cache.evict

    def opened_first(entry):
        disk.open_path(zoo[0])
        return evict(entry)

    disk._cache.evict = opened_first
    collect_cache(disk, zoo, 3100)
    assert zoo[0].digest in cached(home)
    assert not list((home / "cache").glob(f"{fs.TEMP_PREFIX}*"))


def test_files_that_are_open_stay_readable_after_their_entry_was_evicted(disk, zoo):
    path = disk.open_path(zoo[0])
    with (path.parent / "weights.bin").open("rb") as file:
        back_date(path.parent, 4 * HOUR)
        assert collect_cache(disk, zoo, 0).cache_entries == 4
        assert file.read() == bytes(1000)
    assert disk.open_path(zoo[0]).read_bytes() == b"model 0"


def test_incomplete_entries_leave_the_cache_within_the_budget(disk, home, zoo):
    folder = home / "cache" / zoo[2].digest
    (folder / "weights.bin").unlink()
    back_date(folder, HOUR)
    report = collect_cache(disk, zoo, None)
    assert (report.cache_entries, report.cache_bytes) == (1, 7)
    assert zoo[2].digest not in cached(home)


def test_entries_whose_files_were_collected_leave_the_cache_with_them(disk, home, zoo):
    needed = zoo[1].blobs
    dry = collect(disk, *needed, dry_run=True)
    report = collect(disk, *needed)
    assert (report.blobs, report.cache_entries) == (6, 3) == (dry.blobs, dry.cache_entries)
    assert cached(home) == {zoo[1].digest}


def test_what_a_killed_materialisation_left_goes_after_an_hour(disk, home, zoo):
    for name, age_h in (("old", 2), ("new", 0.5)):
        folder = home / "cache" / f".tmp-{name}"
        (folder / "files").mkdir(parents=True)
        (folder / ".lock").touch()
        (folder / "files" / "weights.bin").write_bytes(b"half")
        back_date(folder, age_h * HOUR)
    report = collect_cache(disk, zoo, None)
    assert (report.cache_entries, report.cache_bytes) == (1, 4)
    assert (home / "cache" / ".tmp-new").exists()


# ---- dry runs, read-only stores, cancelling -------------------------------------------------------------------------


def test_a_dry_run_changes_nothing_at_all(disk, home, zoo):
    make_upload(home, "old", 25)
    (home / "blobs" / ".tmp-old").write_bytes(b"left")
    back_date(home / "blobs" / ".tmp-old", 5 * HOUR)
    before = everything_in(home)
    dry = collect(disk, *zoo[0].blobs, cache_budget_bytes=0, dry_run=True)
    assert everything_in(home) == before
    assert collect(disk, *zoo[0].blobs, cache_budget_bytes=0) == replace(dry, dry_run=False)


def test_a_dry_run_on_a_home_that_is_not_there_makes_none(disk, home):
    assert collect(disk, dry_run=True).kept_blobs == 0
    assert collect(disk).kept_blobs == 0
    assert not home.exists()


def test_a_read_only_store_refuses_every_write_and_changes_nothing(disk, home, zoo, tmp_path):
    single = disk.put_bytes(b"single")
    frozen = BlobArtifactStore(home / "blobs", home / "cache", read_only=True)
    (home / "cache" / zoo[1].digest / "weights.bin").unlink()
    before = everything_in(home)
    source = tmp_path / "sources" / "0.onnx"
    for write in (
        lambda: frozen.put_bytes(b"x"),
        lambda: frozen.put_file(source),
        lambda: frozen.stage().__enter__(),
        lambda: frozen.publishing().__enter__(),
        lambda: collect(frozen),
        lambda: frozen.open_path(zoo[1]),
    ):
        with pytest.raises(ReadOnlyError) as caught:
            write()
        assert caught.value.hint
    assert frozen.read_bytes(single) == b"single"
    assert frozen.open_path(zoo[0]).read_bytes() == b"model 0"
    assert collect(frozen, dry_run=True).blobs == 9
    with frozen.guard("backup"):
        assert frozen.check(single) == ""
    assert everything_in(home) == before


def test_a_guard_on_a_read_only_store_keeps_collections_away_too(disk, home):
    disk.put_bytes(b"x")
    collect(disk, sha256(b"x"))
    with BlobArtifactStore(home / "blobs", home / "cache", read_only=True).guard("backup"):
        assert in_thread(lambda: collect(disk)).code == "store.locked"


def test_a_cancelled_collection_stops_and_the_next_one_goes_on(disk):
    for number in range(10):
        disk.put_bytes(b"%d" % number)
    token = CancelToken()

    def needed():
        token.cancel()
        return frozenset()

    with pytest.raises(CancelledError):
        disk.collect(needed, grace_s=0.0, cache_budget_bytes=None, cancel=token)
    assert len(list(disk.blobs())) == 10
    assert collect(disk).blobs == 10


def test_locks_are_private_files(disk, home):
    disk.put_bytes(b"x")
    collect(disk)
    locks = [home / "blobs" / name for name in ("gc.lock", "publish.lock")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in locks] == [0o600, 0o600]


def test_a_read_only_volume_can_be_checked_but_not_collected(disk, monkeypatch):
    digest = disk.put_bytes(b"kept")
    real = fs.open_lock

    def open_lock(path, *, create=True):
        if create:
            raise OSError(errno.EROFS, "read-only file system")
        return real(path, create=False)

    monkeypatch.setattr(fs, "open_lock", open_lock)
    with disk.guard("check"):
        assert disk.check(digest) == ""
    with pytest.raises(StoreError) as refused:
        collect(disk)
    assert "read-only" in refused.value.message
    assert disk.has(digest)
