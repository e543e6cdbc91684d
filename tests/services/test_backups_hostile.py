"""A backup folder may have been made by somebody else: nothing of it reaches the home or its neighbours unchecked."""

from __future__ import annotations

import gc
import hashlib
import json
import sqlite3

import pytest
from maintenance_homes import add_model, add_run

from quickserveml_tui.core.errors import QuickServeError, ReadOnlyError, StoreError, UsageError
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.storage import backup_folder as layout


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
    return str(tmp_path / "backups")


@pytest.fixture
def generation(home, folder, tmp_path):
    """Folder of the only generation."""
    return tmp_path / "backups" / "generations" / home.backups.create(folder).id


def forge(generation, **changes):
    """Give a generation that was changed a description and sums that fit."""
    document = json.loads((generation / layout.DOCUMENT).read_bytes()) | changes
    for name, key in ((layout.REGISTRY, "registry"), (layout.STATE, "state")):
        document[key] = hashlib.sha256((generation / name).read_bytes()).hexdigest()
    encoded = json.dumps(document).encode()
    (generation / layout.DOCUMENT).write_bytes(encoded)
    lines = [f"{hashlib.sha256(encoded).hexdigest()}  backup.json", f"{document['state']}  state.db"]
    lines.append(f"{document['registry']}  registry.json")
    lines += [f"{digest}  ../../blobs/sha256/{digest[:2]}/{digest}" for digest in sorted(document["blobs"])]
    (generation / layout.SUMS).write_text("\n".join(lines) + "\n")


def edit_registry(generation, change):
    """Change the first model of a generation's registry."""
    path = generation / layout.REGISTRY
    tables = json.loads(path.read_bytes())
    key = next(iter(tables["models"]))
    change(tables["models"], key)
    path.write_text(json.dumps(tables))
    forge(generation)


def edit_state(generation, *statements):
    """Run SQL on a generation's state database."""
    connection = sqlite3.connect(generation / layout.STATE)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    forge(generation)


def check_refused(tmp_path, folder, codes=("backup.damaged",)):
    """Neither a dry run nor a restore takes it, and the home stays empty."""
    other = open_workbench(tmp_path / "other")
    for dry_run in (True, False):
        with pytest.raises(StoreError) as caught:
            other.backups.restore(folder, dry_run=dry_run)
        assert caught.value.code in codes
        assert caught.value.hint
    assert other.registry.models() == ()
    assert not list((tmp_path / "other").glob(".restore-*"))
    assert not (tmp_path / "other" / "state.db").exists()


def test_what_the_forger_of_these_tests_leaves_alone_is_restored(generation, folder, tmp_path):
    forge(generation)
    other = open_workbench(tmp_path / "other")
    assert other.backups.restore(folder).problems == ()
    assert [model.name for model in other.registry.models()] == ["a"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON benchmark_runs BEGIN DELETE FROM benchmark_runs; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE more (x)",
        "DROP TABLE leases",
        "ALTER TABLE jobs ADD COLUMN x",
        "DROP INDEX jobs_by_time",
        "PRAGMA user_version = 99",
    ],
)
def test_a_state_database_that_this_program_would_not_make_is_refused(generation, folder, tmp_path, statement):
    edit_state(generation, statement)
    check_refused(tmp_path, folder, ("backup.damaged", "store.corrupt", "store.newer_schema"))


@pytest.mark.parametrize("suffix", ["-wal", "-journal", "-shm"])
def test_a_journal_beside_the_database_that_was_verified_is_refused(generation, folder, tmp_path, suffix):
    (generation / f"state.db{suffix}").write_bytes(b"x")
    check_refused(tmp_path, folder)


def _bad_name(models, key):
    models[key]["name"] = "\x1b]52;c;eA==\x07[/]x"


def _twin(models, key):
    models["77"] = models[key] | {"id": "model-other"}


def _same_id(models, key):
    models["77"] = models[key] | {"name": "other"}


def _bad_path(models, key):
    models[key]["versions"][0]["artifact"]["files"][0]["path"] = "../../../.bashrc"


def _bad_version(models, key):
    models[key]["versions"][0]["version"] = -1


def _twice(models, key):
    models[key]["versions"] *= 2


def _unnamed_file(models, key):
    file = models[key]["versions"][0]["artifact"]["files"][0]
    file["digest"] = models[key]["versions"][0]["artifact"]["digest"] = "0" * 64


def _bad_digest(models, key):
    models[key]["versions"][0]["artifact"]["digest"] = "../x"


@pytest.mark.parametrize(
    "change", [_bad_name, _twin, _same_id, _bad_path, _bad_version, _twice, _unnamed_file, _bad_digest]
)
def test_a_registry_that_no_home_could_have_is_refused(generation, folder, tmp_path, change):
    edit_registry(generation, change)
    check_refused(tmp_path, folder)


def test_a_description_that_leaves_out_files_is_refused(generation, folder, tmp_path):
    forge(generation, blobs={})
    check_refused(tmp_path, folder)


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"format":1,"x":' + b"[" * 100_000, b'{"format": 1}', b"\xff", b""])
def test_a_description_that_cannot_be_read_is_named_by_every_command(home, generation, folder, tmp_path, data):
    (generation / layout.DOCUMENT).write_bytes(data)
    assert home.backups.list(folder)[0].problems
    assert home.backups.verify(folder)[0].problems
    check_refused(tmp_path, folder)


def test_sizes_below_zero_are_refused(home, generation, folder, tmp_path):
    blobs = dict.fromkeys(json.loads((generation / layout.DOCUMENT).read_bytes())["blobs"], -5 * 10**18)
    forge(generation, blobs=blobs)
    assert home.backups.list(folder)[0].problems
    check_refused(tmp_path, folder)


@pytest.mark.parametrize("name", ["99999999T999999999Z", "20260230T100000000Z", "00000101T000000000Z"])
def test_a_folder_whose_name_is_no_time_is_no_generation(home, generation, folder, name):
    (generation.parent / name).mkdir()
    made = home.backups.create(folder)
    assert [item.id for item in home.backups.list(folder)] == [made.id, generation.name]
    assert home.backups.restore(folder).id == made.id


def test_an_id_that_none_can_follow_is_named(home, generation, folder):
    generation.rename(generation.with_name("99991231T235959999Z"))
    with pytest.raises(StoreError) as caught:
        home.backups.create(folder)
    assert caught.value.code == "backup.damaged"


@pytest.mark.parametrize("kind", ["no prefix of a digest", "an unused prefix"])
def test_pruning_removes_nothing_through_a_link_and_nothing_that_is_no_blob(home, generation, folder, tmp_path, kind):
    others = tmp_path / "others"
    others.mkdir()
    (others / "thesis.txt").write_text("years of work")
    fan_out = tmp_path / "backups" / "blobs" / "sha256"
    unused = next(name for number in range(256) if not (fan_out / (name := f"{number:02x}")).exists())
    (fan_out / ("zz" if kind == "no prefix of a digest" else unused)).symlink_to(others)
    for action in (lambda: home.backups.create(folder, keep=1), lambda: home.backups.restore(folder)):
        with pytest.raises(UsageError) as caught:
            action()
        assert caught.value.code == "backup.link"
    layout.BackupFolder(tmp_path / "backups").remove_blobs_except(set())  # as if it came after the check
    assert (others / "thesis.txt").read_text() == "years of work"


def test_pruning_leaves_what_is_no_blob(home, folder, generation, tmp_path):
    note = next((tmp_path / "backups" / "blobs" / "sha256").iterdir()) / "note.txt"
    note.write_text("mine")
    home.backups.create(folder, keep=1)
    assert note.read_text() == "mine"


def test_a_lock_that_is_a_link_leads_nowhere(home, generation, folder, tmp_path):
    (tmp_path / "precious").write_text("precious")
    lock = tmp_path / "backups" / "backup.lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(tmp_path / "precious")
    with pytest.raises(QuickServeError):
        home.backups.create(folder)
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_restore_into_a_home_that_is_opened_read_only_writes_nothing(generation, folder, tmp_path):
    closed = open_workbench(tmp_path / "closed", read_only=True)
    with pytest.raises(ReadOnlyError):
        closed.backups.restore(folder)
    assert not (tmp_path / "closed").exists()
