"""Backups of a home: what is kept, what is shared, what is verified, and what a restore brings back."""

from __future__ import annotations

import gc
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from bad_names import NAMES
from maintenance_homes import add_model, add_run, damage

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import (
    CancelledError,
    ConflictError,
    NotFoundError,
    QuickServeError,
    StoreError,
    UsageError,
)
from quickserveml_tui.core.job_records import JobKind, JobRecord, JobRequest
from quickserveml_tui.core.jobs import CancelToken, JobState, Progress
from quickserveml_tui.core.models import ModelRecord, TrashEntry, TrashKind
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.services import backup_create
from quickserveml_tui.services.backup_create import id_of, next_id
from quickserveml_tui.services.canonical import canonical
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.storage import backup_folder, fs, intent


@pytest.fixture(autouse=True, scope="module")
def handles_are_given_back():
    """What the tests opened and left is closed with them, so that no run needs more files than a system gives."""
    yield
    gc.collect()


@pytest.fixture
def home(tmp_path):
    return open_workbench(tmp_path / "home")


@pytest.fixture
def other(tmp_path):
    return open_workbench(tmp_path / "other")


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "backups")


def names(home):
    return [model.name for model in home.registry.models()]


def add(home, tmp_path, name, content=b""):
    return add_model(home, tmp_path, name, {"model.onnx": content or name.encode(), "d/w.bin": b"shared weights"})


def fill(home, tmp_path):
    """Models, trash, runs, a batch result, and jobs of every kind."""
    model = add(home, tmp_path, "a")
    add_run(home, model)
    gone = add(home, tmp_path, "gone")
    home.catalog.delete("gone")
    home.state.add_batch(BatchResult("batch-1", "a@1", "x.csv", 3, 0, 1.0, 3.0, created_at=utc_now()))
    request = JobRequest(JobKind.BENCHMARK, "a@1", benchmark=BenchmarkSpec())
    jobs = [JobRecord(f"job-{state}", request, "a@1", state, Progress("x"), utc_now()) for state in (*JobState,)]
    home.state.add_jobs(jobs)
    return model, gone


# ---- round trips ----------------------------------------------------------------------------------------------------


def test_a_restore_into_an_empty_home_brings_everything_back_with_an_equal_digest(home, other, folder, tmp_path):
    fill(home, tmp_path)
    made = home.backups.create(folder)
    assert made.content_digest == home.backups.content_digest() == home.maintenance.check().content_digest
    info = other.backups.restore(folder)
    assert (info.id, info.kept, info.problems) == (made.id, "", ())
    assert other.backups.content_digest() == made.content_digest
    assert other.registry.models() == home.registry.models()
    assert other.registry.trash() == home.registry.trash()
    assert other.state.benchmarks() == home.state.benchmarks()
    assert other.state.batches() == home.state.batches()
    assert other.state.jobs() == home.state.jobs()
    assert not [item for item in other.maintenance.check(full=True).findings if item.severity == "error"]


def test_the_digest_is_of_the_content_not_of_how_it_is_stored(home, tmp_path):
    model, _gone = fill(home, tmp_path)
    before = home.backups.content_digest()
    home.state.add_benchmarks(list(home.state.benchmarks()))  # written again: other row numbers
    path = home.home / "registry.json"
    tables = msgspec.json.decode(path.read_bytes())
    tables["models"] = {str(int(key) + 40): dict(reversed(value.items())) for key, value in tables["models"].items()}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(dict(reversed(tables.items())))))
    assert home.backups.content_digest() == before
    add_run(home, model)
    assert home.backups.content_digest() != before


def test_a_field_that_holds_its_default_is_not_in_the_digest():
    record = ModelRecord("model-1", "a", "t", "t")
    assert canonical(record) == {"id": "model-1", "name": "a", "created_at": "t", "updated_at": "t"}
    entry = TrashEntry("trash-1", TrashKind.MODEL, "model-1", "a", "t", model=record)
    assert canonical(entry)["kind"] == "model"


def test_jobs_that_go_on_or_were_lost_do_not_change_the_digest(home, tmp_path):
    fill(home, tmp_path)
    before = home.backups.content_digest()
    home.state.change_job("job-running", lambda job: replace(job, state=JobState.LOST))
    assert home.backups.content_digest() == before
    home.state.change_job("job-queued", lambda job: replace(job, state=JobState.DONE))
    assert home.backups.content_digest() != before


def test_every_generation_can_be_reached_by_id_and_by_time(home, folder, tmp_path, monkeypatch):
    stamps = ["2026-03-01T10:00:00.000Z", "2026-03-01T10:00:00.001Z", "2026-03-02T09:00:00.000Z"]
    made = []
    for number, stamp in enumerate(stamps):
        add(home, tmp_path, f"m{number}")
        monkeypatch.setattr(
            backup_create, "next_id", lambda _now, _ids, stamp=stamp: id_of(datetime.fromisoformat(stamp))
        )
        made.append(home.backups.create(folder))
    monkeypatch.undo()
    assert [info.id for info in home.backups.list(folder)] == [info.id for info in reversed(made)]
    for at, expected in {
        "": 2,
        made[0].id: 0,
        made[1].id: 1,
        "2026-03-01T10:00:00.001Z": 1,
        "2026-03-01T11:00:00.0005+01:00": 0,
        "2026-03-01": 1,
        "2026-03-02T08:59": 1,
        "2026-03-02 09:00": 2,
    }.items():
        if not at:
            continue  # kept generations of these restores would be newer
        home.backups.restore(folder, at=at)
        assert names(home) == [f"m{number}" for number in range(expected + 1)], at
        assert home.backups.content_digest() == made[expected].content_digest
    for at in ("2026-02-28", "2026-03-01T09:59:59.999Z", "20260301T095959999Z"):
        with pytest.raises(NotFoundError) as caught:
            home.backups.restore(folder, at=at)
        assert caught.value.code == "backup.not_found"


def test_what_the_home_held_before_a_restore_is_kept_and_can_be_brought_back(home, folder, tmp_path):
    add(home, tmp_path, "a")
    first = home.backups.create(folder)
    model = add(home, tmp_path, "b")
    add_run(home, model)
    before = home.backups.content_digest()
    info = home.backups.restore(folder, at=first.id)
    assert names(home) == ["a"]
    assert [item.id for item in home.backups.list(folder)] == [info.kept, first.id]
    home.backups.restore(folder, at=info.kept)
    assert names(home) == ["a", "b"]
    assert home.backups.content_digest() == before


def test_a_dry_run_says_what_would_change_and_changes_nothing(home, folder, tmp_path):
    add(home, tmp_path, "a")
    add_run(home, add(home, tmp_path, "b"))
    made = home.backups.create(folder)
    home.catalog.tag("a", ["new"])
    home.catalog.delete("b")
    add(home, tmp_path, "c")
    before = (home.backups.content_digest(), sorted((tmp_path / "home").rglob("*")), home.backups.list(folder))
    info = home.backups.restore(folder, dry_run=True)
    assert info.id == made.id
    assert set(info.changes) == {"adds b (1 version)", "changes a", "removes c (1 version)"}
    assert (home.backups.content_digest(), sorted((tmp_path / "home").rglob("*")), home.backups.list(folder)) == before


def test_an_open_home_goes_on_with_what_was_restored(home, folder, tmp_path):
    add(home, tmp_path, "a")
    home.backups.create(folder)
    watcher = open_workbench(tmp_path / "home")
    add_run(home, add(home, tmp_path, "b"))
    assert names(watcher) == ["a", "b"]
    before = watcher.catalog.generation()
    home.backups.restore(folder)
    assert watcher.catalog.generation() != before
    assert names(watcher) == ["a"]
    assert watcher.state.benchmarks() == ()
    add_run(watcher, add(watcher, tmp_path, "c"))
    assert names(home) == ["a", "c"]
    assert len(home.state.benchmarks()) == 1


# ---- files ----------------------------------------------------------------------------------------------------------


def test_files_are_copied_once_and_generations_share_them(home, folder, tmp_path):
    add(home, tmp_path, "a", b"x" * 100_000)
    first = home.backups.create(folder)
    second = home.backups.create(folder)
    documents = sum((tmp_path / "backups" / "generations" / second.id / name).stat().st_size for name in ("registry.json", "state.db"))  # fmt: skip
    assert first.new_bytes >= 100_000
    assert second.new_bytes == documents
    assert second.size_bytes == first.size_bytes


def test_a_file_that_a_killed_backup_left_is_durable_before_a_generation_names_it(home, folder, tmp_path, monkeypatch):
    model = add(home, tmp_path, "a")
    digest = model.versions[0].artifact.files[0].digest
    backup = backup_folder.BackupFolder(tmp_path / "backups")
    (tmp_path / "backups").mkdir()
    backup.prepare()
    assert backup.add_blob(home.artifacts.blob_path(digest), digest, CancelToken()) == ""  # and then it was killed
    synced = []
    sync = fs.fsync_dir
    monkeypatch.setattr(fs, "fsync_dir", lambda path: (synced.append(path), sync(path)))
    home.backups.create(folder)
    assert backup.blob(digest).parent in synced


def test_sha256sum_checks_a_generation(home, folder, tmp_path):
    fill(home, tmp_path)
    made = home.backups.create(folder)
    where = tmp_path / "backups" / "generations" / made.id
    done = subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SUMS"], cwd=where, check=False)
    assert done.returncode == 0


def test_old_generations_go_with_the_files_that_only_they_needed(home, folder, tmp_path):
    made = []
    for number in range(4):
        made.append(home.backups.create(folder, keep=3 if number == 3 else None))
        home.catalog.delete(f"m{number - 1}", force=True) if number else None
        home.catalog.purge(older_than_s=0)
        add(home, tmp_path, f"m{number}")
    assert [info.id for info in home.backups.list(folder)] == [info.id for info in reversed(made[1:])]
    last = home.backups.create(folder, keep=1)
    assert [info.problems for info in home.backups.verify(folder)] == [()]
    kept = {path.name for path in (tmp_path / "backups" / "blobs").rglob("*") if path.is_file()}
    document = msgspec.json.decode((tmp_path / "backups" / "generations" / last.id / "backup.json").read_bytes())
    assert kept == set(document["blobs"])


def test_no_file_goes_while_nobody_knows_which_ones_a_generation_needs(home, folder, tmp_path):
    add(home, tmp_path, "a")
    first = home.backups.create(folder)
    damage(tmp_path / "backups" / "generations" / first.id / "backup.json", b"{")
    home.catalog.delete("a", force=True)
    home.catalog.purge(older_than_s=0)
    before = sorted((tmp_path / "backups" / "blobs").rglob("*"))
    info = home.backups.create(folder, keep=2)
    assert any("No file was removed" in problem for problem in info.problems)
    assert sorted((tmp_path / "backups" / "blobs").rglob("*")) == before


def test_a_file_that_the_home_lacks_or_holds_damaged_is_named_and_the_rest_is_kept(home, other, folder, tmp_path):
    model = add(home, tmp_path, "a")
    add(home, tmp_path, "b")
    blob = home.artifacts.blob_path(model.versions[0].artifact.files[0].digest)
    damage(blob, b"z" * blob.stat().st_size)
    made = home.backups.create(folder)
    assert len(made.problems) == 1
    assert "a@1" in made.problems[0]
    assert "damaged" in made.problems[0]
    assert home.backups.verify(folder)[0].problems == made.problems
    info = other.backups.restore(folder)
    assert info.problems == made.problems
    assert names(other) == ["a", "b"]
    blob.unlink()
    assert "missing" in home.backups.create(folder).problems[0]


def test_a_file_that_the_home_lost_later_comes_back_by_a_restore(home, folder, tmp_path):
    model = add(home, tmp_path, "a")
    home.backups.create(folder)
    digest = model.versions[0].artifact.files[0].digest
    home.artifacts.blob_path(digest).unlink()
    assert "the backup has it" in home.backups.create(folder).problems[0]
    home.backups.restore(folder)
    assert home.artifacts.read_bytes(digest) == b"a"
    damage(home.artifacts.blob_path(digest), b"b")
    home.backups.restore(folder)
    assert home.artifacts.read_bytes(digest) == b"a"


def test_a_restored_generation_without_a_registry_leaves_an_empty_one_that_is_whole(home, folder, tmp_path):
    empty = home.backups.create(folder)
    add(home, tmp_path, "a")
    home.catalog.tag("a", ["x"])
    assert list((tmp_path / "home" / "backups").glob("registry-*"))
    home.backups.restore(folder, at=empty.id)
    assert (tmp_path / "home" / "registry.json").is_file()
    again = open_workbench(tmp_path / "home")
    assert again.registry.problem() is None
    assert names(again) == []
    assert again.backups.content_digest() == empty.content_digest
    report = again.maintenance.check(full=True)
    assert report.clean
    assert [item.code for item in report.findings] in ([], ["blob.stray"])
    add(again, tmp_path, "b")


def test_a_home_whose_registry_is_gone_is_not_backed_up_and_can_be_restored(home, folder, tmp_path):
    add(home, tmp_path, "a")
    home.catalog.tag("a", ["x"])
    made = home.backups.create(folder)
    (tmp_path / "home" / "registry.json").unlink()
    again = open_workbench(tmp_path / "home")
    with pytest.raises(StoreError) as caught:
        again.backups.create(folder, keep=1)
    assert caught.value.code == "store.gone"
    assert [info.id for info in again.backups.list(folder)] == [made.id]
    again.backups.restore(folder)
    assert again.backups.content_digest() == made.content_digest
    assert again.maintenance.check().clean


def test_linked_files_are_kept_by_name_only(home, folder, tmp_path):
    add_model(home, tmp_path, "linked", {"model.onnx": b"linked model"}, link=True)
    made = home.backups.create(folder)
    assert (made.linked, made.blobs, made.problems) == (1, 0, ())


# ---- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["registry.json", "state.db", "backup.json", "SUMS"])
@pytest.mark.parametrize("how", ["changed", "cut", "gone", "link"])
def test_a_generation_whose_documents_are_damaged_is_found_and_not_restored(home, other, folder, tmp_path, name, how):
    add(home, tmp_path, "a")
    made = home.backups.create(folder)
    path = tmp_path / "backups" / "generations" / made.id / name
    data = path.read_bytes()
    if how == "changed":
        at = len(data) // 2
        damage(path, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    elif how == "cut":
        damage(path, data[:-1])
    else:
        path.unlink()
    if how == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere")
    assert home.backups.verify(folder, made.id)[0].problems
    with pytest.raises(StoreError) as caught:
        other.backups.restore(folder)
    assert caught.value.code == "backup.damaged"
    assert names(other) == []


def test_a_damaged_file_of_a_backup_is_found_and_comes_again_with_the_next_one(home, other, folder, tmp_path):
    model = add(home, tmp_path, "a")
    made = home.backups.create(folder)
    digest = model.versions[0].artifact.files[0].digest
    blob = tmp_path / "backups" / "blobs" / "sha256" / digest[:2] / digest
    damage(blob, b"b")
    with pytest.raises(StoreError) as caught:
        other.backups.restore(folder)
    assert caught.value.code == "backup.damaged"
    assert home.backups.verify(folder)[0].problems
    home.backups.create(folder)
    assert [info.problems for info in home.backups.verify(folder)] == [(), ()]
    other.backups.restore(folder, at=made.id)
    assert names(other) == ["a"]


@pytest.mark.parametrize("store", ["registry.json", "state.db"])
def test_a_home_whose_stores_are_damaged_is_restored_and_keeps_the_damaged_files(home, folder, tmp_path, store):
    add_run(home, add(home, tmp_path, "a"))
    made = home.backups.create(folder)
    home.close()
    damage(tmp_path / "home" / store, b"this is no store" * 400)
    shutil.rmtree(tmp_path / "home" / "backups", ignore_errors=True)
    broken = open_workbench(tmp_path / "home")
    with pytest.raises(StoreError) as caught:
        broken.backups.create(folder)
    assert caught.value.code == "store.corrupt"
    info = broken.backups.restore(folder)
    assert f"{store}.damaged-" in info.kept
    assert broken.backups.content_digest() == made.content_digest
    aside = next(path for path in (tmp_path / "home").iterdir() if path.name.startswith(f"{store}.damaged-"))
    assert aside.read_bytes() == b"this is no store" * 400


# ---- an interrupted switch ------------------------------------------------------------------------------------------


@pytest.fixture
def interrupted(home, folder, tmp_path, monkeypatch):
    """A home whose restore ended right after its intent was durable; the generation that it goes to."""
    add_run(home, add(home, tmp_path, "a"))
    made = home.backups.create(folder)
    add(home, tmp_path, "b")

    def stop(_switch, _plan):
        raise StoreError("The disk is gone.", hint="x")

    with monkeypatch.context() as patch:
        patch.setattr(intent.Switch, "finish", stop)
        with pytest.raises(StoreError) as caught:
            home.backups.restore(folder)
    assert caught.value.code == "restore.pending"
    return made


def test_whoever_opens_the_home_next_finishes_the_restore(interrupted, tmp_path):
    again = open_workbench(tmp_path / "home")
    assert names(again) == ["a"]
    assert again.backups.content_digest() == interrupted.content_digest
    assert not intent.is_pending(tmp_path / "home")
    assert not list((tmp_path / "home").glob(".restore-*"))


def test_nothing_is_written_before_an_interrupted_restore_is_finished(interrupted, home, tmp_path):
    for write in (lambda: home.catalog.tag("a", ["x"]), lambda: add_run(home, home.registry.find("a"))):
        with pytest.raises(StoreError) as caught:
            write()
        assert caught.value.code == "restore.pending"
    open_workbench(tmp_path / "home").registry.models()
    assert home.catalog.tag("a", ["x"]).tags == ("x",)


def test_a_home_opened_read_only_does_not_finish_a_restore_but_says_so(interrupted, tmp_path):
    with pytest.raises(StoreError) as caught:
        open_workbench(tmp_path / "home", read_only=True).registry.models()
    assert caught.value.code == "restore.pending"
    assert intent.is_pending(tmp_path / "home")


def test_what_was_switched_already_is_not_switched_again(home, folder, tmp_path, monkeypatch):
    """A kill between the last rename and the end of the intent: what was written since stays."""
    add(home, tmp_path, "a")
    home.backups.create(folder)
    add(home, tmp_path, "b")
    real = intent.os.unlink

    def stop(path, *args, **kwargs):
        if str(path).endswith(intent.INTENT):
            raise OSError(5, "Input/output error")
        real(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(intent.os, "unlink", stop)
        with pytest.raises(StoreError):
            home.backups.restore(folder)
    with monkeypatch.context() as patch:
        for module in ("registry", "state_file"):
            patch.setattr(f"quickserveml_tui.storage.{module}.refuse_pending", lambda _home: None)
        add(home, tmp_path, "c")  # by a program that does not know of the restore
    assert names(open_workbench(tmp_path / "home")) == ["a", "c"]


def test_leftovers_of_killed_runs_are_taken_away(home, folder, tmp_path):
    add(home, tmp_path, "a")
    home.backups.create(folder)
    left = [
        tmp_path / "backups" / "generations" / ".tmp-x",
        tmp_path / "home" / f".restore-{'0' * 32}",
    ]
    for path in left:
        path.mkdir()
        (path / "registry.json").write_text("half")
    (tmp_path / "backups" / "blobs" / ".tmp-y").write_text("half")
    assert len(home.backups.list(folder)) == 1
    home.backups.restore(folder)
    assert not [path for path in left if path.exists()]
    assert not (tmp_path / "backups" / "blobs" / ".tmp-y").exists()


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_a_folder_that_belongs_to_something_else_is_refused_and_left_alone(home, tmp_path):
    add(home, tmp_path, "a")
    foreign = tmp_path / "foreign"
    (foreign / "blobs").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    before = sorted(tmp_path.rglob("*"))
    for path, code in {
        "foreign": "backup.foreign",
        "photos": "backup.foreign",
        "file": "backup.link",
        "link": "backup.link",
        "home": "usage.path",
        "home/blobs": "usage.path",
        "home/new": "usage.path",
        ".": "usage.path",
        "no/such": "usage.path",
        "real/../home/x": "usage.path",
    }.items():
        with pytest.raises(QuickServeError) as caught:
            home.backups.create(str(tmp_path / path))
        assert caught.value.code == code, path
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("part", ["blobs", "blobs/sha256", "generations"])
def test_links_inside_a_backup_folder_are_refused(home, folder, tmp_path, part):
    add(home, tmp_path, "a")
    home.backups.create(folder)
    path = tmp_path / "backups" / part
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    for action in (home.backups.create, home.backups.list, home.backups.verify, home.backups.restore):
        with pytest.raises(UsageError) as caught:
            action(folder)
        assert caught.value.code == "backup.link"


@pytest.mark.parametrize("folder", ["a\0b", "\udcc0", "x" * 300, "~nobody-here/x", "/", "/dev/null", "/proc/x", ""])
def test_a_path_that_can_be_no_folder_is_refused(home, tmp_path, monkeypatch, folder):
    add(home, tmp_path, "a")
    monkeypatch.chdir(tmp_path)
    for action in (home.backups.create, home.backups.list, home.backups.verify, home.backups.restore):
        with pytest.raises(QuickServeError) as caught:
            action(folder)
        assert caught.value.hint
    assert names(home) == ["a"]


def test_a_folder_without_a_backup_is_told_apart_from_one_that_is_not_there(home, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in ("empty", "missing"):
        for action in (home.backups.list, home.backups.verify, home.backups.restore):
            with pytest.raises(NotFoundError) as caught:
                action(str(tmp_path / path))
            assert caught.value.code == "backup.not_found"


@pytest.mark.parametrize("text", [*NAMES[1:], "../20260101T000000000Z", "0", "9999-99-99", "٢٠٢٦-01-01", "10000-01-01"])
def test_no_bad_generation_or_time_is_taken(home, folder, tmp_path, text):
    if not (tmp_path / "backups").exists():
        home.backups.create(folder)
    if text.strip():
        with pytest.raises((UsageError, NotFoundError)):
            home.backups.restore(folder, at=text)
    if text:
        with pytest.raises(NotFoundError):
            home.backups.verify(folder, text)


@pytest.mark.parametrize("keep", [0, -1, 10**9])
def test_a_number_of_generations_out_of_range_is_refused(home, folder, tmp_path, keep):
    with pytest.raises(UsageError) as caught:
        home.backups.create(folder, keep=keep)
    assert caught.value.code == "usage.keep"
    assert not (tmp_path / "backups").exists()


def test_a_generation_of_a_newer_program_is_not_touched(home, folder, tmp_path):
    add(home, tmp_path, "a")
    made = home.backups.create(folder)
    path = tmp_path / "backups" / "generations" / made.id / "backup.json"
    damage(path, path.read_bytes().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(StoreError) as caught:
        home.backups.restore(folder)
    assert caught.value.code == "store.newer_schema"
    assert names(home) == ["a"]


def test_a_backup_keeps_collections_and_other_backups_away(home, folder, tmp_path):
    add(home, tmp_path, "a")
    with home.artifacts.guard("a test"), pytest.raises(StoreError) as caught:
        home.maintenance.collect(grace_s=0)
    assert caught.value.code == "store.locked"
    seen = []

    def on_progress(_progress):
        with pytest.raises(StoreError) as caught:
            home.maintenance.collect(grace_s=0)
        seen.append(caught.value.code)

    home.backups.create(folder, on_progress=on_progress)
    assert set(seen) == {"store.locked"}


def test_a_cancel_leaves_everything_as_it_was(home, folder, tmp_path):
    add(home, tmp_path, "a")
    first = home.backups.create(folder)
    add(home, tmp_path, "b")
    before = home.backups.content_digest()
    for at_phase in ("copying the catalog", "copying files", "verifying", "looking at the home"):
        for action in (home.backups.create, home.backups.restore):
            token = CancelToken()

            def on_progress(progress, token=token, at_phase=at_phase):
                if progress.phase == at_phase:
                    token.cancel()

            try:
                action(folder, on_progress=on_progress, cancel=token)
            except CancelledError:
                assert home.backups.content_digest() == before
            else:
                home.backups.restore(folder, at=home.backups.list(folder)[0].id)
        assert home.backups.list(folder)[-1].id == first.id


def test_ids_ascend_where_the_clock_was_set_back():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_id(now, []) == "20260101T000000000Z"
    assert next_id(now, ["20260101T000000000Z"]) == "20260101T000000001Z"
    assert next_id(now, ["20301231T235959999Z", "20260101T000000000Z"]) == "20310101T000000000Z"


def test_a_full_disk_is_told_before_files_are_copied(home, folder, tmp_path, monkeypatch):
    add(home, tmp_path, "a", b"x" * 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 100}))
    with pytest.raises(StoreError) as caught:
        home.backups.create(folder)
    assert caught.value.code == "store.full"
    assert home.backups.list(folder) == ()


def test_a_home_that_is_opened_read_only_can_be_backed_up(home, folder, tmp_path):
    add(home, tmp_path, "a")
    made = open_workbench(tmp_path / "home", read_only=True).backups.create(folder)
    assert made.content_digest == home.backups.content_digest()
    with pytest.raises(StoreError):
        open_workbench(tmp_path / "home", read_only=True).backups.restore(folder)
    assert names(home) == ["a"]


def test_one_folder_takes_one_backup_at_a_time(home, folder, tmp_path):
    from quickserveml_tui.storage.backup_folder import BackupFolder

    home.backups.create(folder)
    backup = BackupFolder(tmp_path / "backups")
    with (
        backup.locked(to_write=True),
        pytest.raises(StoreError) as caught,
        backup.locked(to_write=True, wait_s=0.05),
    ):
        pass
    assert caught.value.code == "store.locked"


def test_an_occupied_name_is_no_backup(home, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "registry.json").write_text("{}")
    with pytest.raises(ConflictError):
        home.backups.create(str(place))
