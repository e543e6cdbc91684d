"""Special files and files that change while they are used: refused in a sentence, never waited for, nothing kept."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import hostile_models as hostile
import pytest
from test_hostile_models import check_sentence, kept

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import ModelError, QuickServeError
from quickserveml_tui.runtime.limits import RunnerLimits
from quickserveml_tui.runtime.pool import LocalRunnerPool
from quickserveml_tui.services import catalog_add, catalog_bring
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.storage import artifact_files
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

FOUR_FLOATS = b"\0\0\x80?" * 4


@pytest.fixture(scope="module")
def runners(tmp_path_factory):
    pool = LocalRunnerPool(tmp_path_factory.mktemp("logs"), limits=RunnerLimits(trial_s=20.0))
    yield pool
    pool.close()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def catalog(home, runners):
    artifacts = BlobArtifactStore(home / "blobs", home / "cache")
    return CatalogService(TinyDbRegistry(home / "registry.json"), artifacts, SqliteState(home / "state.db"), runners)


@pytest.fixture
def good(tmp_path):
    return hostile.save(hostile.good(), tmp_path / "models" / "good.onnx")


@pytest.fixture
def heavy(tmp_path):
    """A model of 3 MB, so that it is copied in several pieces."""
    proto = hostile.good()
    proto.graph.doc_string = "d" * 3_000_000
    return hostile.save(proto, tmp_path / "models" / "heavy.onnx")


def refused(catalog, home, path, **fields):
    with pytest.raises(QuickServeError) as caught:
        catalog.add(AddRequest(str(path), name="odd", **fields))
    check_sentence(caught.value.message)
    assert caught.value.hint
    assert kept(home) == []
    assert catalog.list_models().models == ()
    return caught.value


# ---- what is no file ------------------------------------------------------------------------------------------------


def make_special(kind: str, path: Path) -> Path:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop of links":
        path.symlink_to(path)
    elif kind == "link to nothing":
        path.symlink_to(path.parent / "absent")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "link to a pipe":
        os.mkfifo(path.parent / "pipe")
        path.symlink_to(path.parent / "pipe")
    elif kind == "unreadable":
        path.write_bytes(b"x")
        path.chmod(0)
    return path


@pytest.mark.parametrize(
    "kind", ["fifo", "folder", "loop of links", "link to nothing", "link to a device", "link to a pipe", "missing"]
)
@pytest.mark.parametrize("link", [False, True], ids=["copied", "linked"])
def test_only_a_regular_file_is_taken(catalog, home, tmp_path, kind, link):
    refused(catalog, home, make_special(kind, tmp_path / "x.onnx"), link=link)


@pytest.mark.parametrize(
    "path", ["/dev/zero", "/dev/null", "/proc/self/maps", "/proc/self/mem", "/proc/1/environ", "/sys/kernel/notes", "/"]
)
def test_what_belongs_to_the_system_is_refused(catalog, home, path):
    refused(catalog, home, path)


def test_a_socket_is_refused(catalog, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # socket paths hold 107 bytes at most
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.onnx")
        refused(catalog, home, tmp_path / "s.onnx")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_refused(catalog, home, tmp_path):
    refused(catalog, home, make_special("unreadable", tmp_path / "x.onnx"))


@pytest.mark.parametrize(
    "name",
    [b"two\nlines.onnx", b"esc\x1b]52;c;eA==\x07.onnx", "rtl\u202exnno.onnx".encode(), b"bad\xff\xfe.onnx",
     b"x" * 250 + b".onnx", b" .onnx", b"-rf.onnx", b"x[b]y.onnx", b"#.onnx"],
)  # fmt: skip
def test_a_model_with_an_odd_file_name_comes_in_under_a_plain_one(catalog, good, name):
    odd = good.parent / os.fsdecode(name)
    good.rename(odd)
    result = catalog.add(AddRequest(str(odd), name="plain"))
    assert result.version.runnable
    assert all(file.path.isprintable() for file in result.version.artifact.files)
    assert result.version.source.encode()


# ---- external data --------------------------------------------------------------------------------------------------

DATA = {
    "link": lambda path, secret: path.symlink_to(secret),
    "hard link": lambda path, secret: path.hardlink_to(secret),
    "fifo": lambda path, _secret: os.mkfifo(path),
    "folder": lambda path, _secret: path.mkdir(),
    "link to a device": lambda path, _secret: path.symlink_to("/dev/zero"),
    "link to itself": lambda path, _secret: path.symlink_to(path),
    "short": lambda path, _secret: path.write_bytes(FOUR_FLOATS[:-1]),
    "empty": lambda path, _secret: path.write_bytes(b""),
}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "data/w.bin"])
def test_external_data_must_be_a_file_of_its_own(catalog, home, tmp_path, kind, location):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(FOUR_FLOATS * 100)
    path = hostile.save(hostile.external(location), tmp_path / "m" / "model.onnx")
    (path.parent / location).parent.mkdir(exist_ok=True)
    DATA[kind](path.parent / location, secret)
    refused(catalog, home, path)


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        ("-1", "16"),
        ("x", "16"),
        ("9" * 30, "16"),
        ("8", "16"),
        ("", "15"),
        ("", "17"),
        ("", "-16"),
        ("1e1", ""),
        ("٣", ""),
    ],
)
def test_external_data_lies_within_its_file(catalog, home, tmp_path, offset, length):
    path = hostile.save(hostile.external("w.bin", offset=offset, length=length), tmp_path / "m" / "model.onnx")
    (path.parent / "w.bin").write_bytes(FOUR_FLOATS)
    assert refused(catalog, home, path).code in ("model.external_range", "model.external_invalid")


def test_two_tensors_in_one_file_and_twins_but_for_case_come_along(catalog, tmp_path):
    path = hostile.save(hostile.external("w.bin", "w.bin", "W.bin"), tmp_path / "m" / "model.onnx")
    for name in ("w.bin", "W.bin"):
        (path.parent / name).write_bytes(FOUR_FLOATS)
    result = catalog.add(AddRequest(str(path)))
    assert result.version.runnable
    assert sorted(file.path for file in result.version.artifact.files) == ["W.bin", "model.onnx", "w.bin"]


def test_data_in_very_many_files_is_refused_before_any_is_copied(catalog, home, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog_add, "MAX_DATA_FILES", 20)
    names = [f"w{number}.bin" for number in range(21)]
    path = hostile.save(hostile.external(*names), tmp_path / "m" / "model.onnx")
    for name in names:
        (path.parent / name).write_bytes(FOUR_FLOATS)
    assert "21 files" in refused(catalog, home, path).message


# ---- what changes while it is used ----------------------------------------------------------------------------------


def at_check(monkeypatch, act):
    """Do something between the look at a file and its copy."""
    check = catalog_add.check_open

    def check_then(file, path):
        check(file, path)
        act()

    monkeypatch.setattr(catalog_add, "check_open", check_then)


@pytest.mark.parametrize("by", ["another file", "a link", "a pipe", "nothing", "a linked folder"])
@pytest.mark.parametrize("link", [False, True], ids=["copied", "linked"])
def test_a_file_that_is_swapped_after_the_check_is_refused(catalog, home, good, tmp_path, monkeypatch, by, link):
    secret = hostile.save(hostile.good(5.0), tmp_path / "secret" / "good.onnx")

    def swap():
        if by == "a linked folder":
            good.parent.rename(tmp_path / "moved")
            good.parent.symlink_to(secret.parent)
            return
        good.rename(tmp_path / "aside.onnx")
        if by == "another file":
            good.write_bytes(secret.read_bytes())
        elif by == "a link":
            good.symlink_to(secret)
        elif by == "a pipe":
            os.mkfifo(good)

    at_check(monkeypatch, swap)
    try:
        result = catalog.add(AddRequest(str(good), name="odd", link=link))
    except ModelError as error:
        check_sentence(error.message)
        assert kept(home) == []
    else:  # the folder that was opened is the one that counts, whatever has its name now
        assert by == "a linked folder"
        assert not link
        assert result.version.artifact.files[0].digest != artifact_files.file_digest(secret)[0]


@pytest.mark.parametrize("how", ["grows", "shrinks", "is overwritten"])
def test_a_file_that_changes_while_it_is_copied_is_refused(catalog, home, heavy, how):
    def change(progress):
        if progress.phase != "copying":
            return
        if how == "grows":
            with heavy.open("ab") as file:
                file.write(b"\0" * 4096)
        elif how == "shrinks":
            os.truncate(heavy, 5000)
        else:
            with heavy.open("r+b") as file:
                file.seek(2_500_000)
                file.write(b"e" * 1000)

    with pytest.raises(ModelError) as caught:
        catalog.add(AddRequest(str(heavy)), on_progress=change)
    assert caught.value.code == "model.changed"
    assert kept(home) == []


def test_a_file_that_is_replaced_while_a_runner_reads_it_is_refused(catalog, home, tmp_path, monkeypatch):
    path = hostile.save(hostile.external("w.bin"), tmp_path / "m" / "model.onnx")
    (path.parent / "w.bin").write_bytes(FOUR_FLOATS)
    bring = catalog_bring.Bringing.data

    def bring_then_replace(self, name):
        bring(self, name)
        path.rename(path.parent / "aside.onnx")
        hostile.save(hostile.external("w.bin", "w.bin"), path)

    monkeypatch.setattr(catalog_bring.Bringing, "data", bring_then_replace)
    assert refused(catalog, home, path).code == "model.changed"


def test_data_is_copied_from_the_folder_that_was_opened(catalog, home, tmp_path, monkeypatch):
    """Whoever moves the folder away and puts a link to another in its place gets that one's data into no model."""
    path = hostile.save(hostile.external("w.bin"), tmp_path / "m" / "model.onnx")
    (path.parent / "w.bin").write_bytes(FOUR_FLOATS)
    private = tmp_path / "private"
    private.mkdir()
    (private / "w.bin").write_bytes(b"secret, 16 bytes")
    check = catalog_bring.external_source

    def check_then_swap(folder, name):
        found = check(folder, name)
        folder.rename(tmp_path / "moved")
        folder.symlink_to(private)
        return found

    monkeypatch.setattr(catalog_bring, "external_source", check_then_swap)
    result = catalog.add(AddRequest(str(path)))
    data = next(file for file in result.version.artifact.files if file.path == "w.bin")
    assert data.digest == artifact_files.file_digest(tmp_path / "moved" / "w.bin")[0]


def test_the_next_good_model_comes_in_after_all_of_it(catalog, home, good, tmp_path):
    for kind in ("fifo", "loop of links"):
        refused(catalog, home, make_special(kind, tmp_path / f"{kind}.onnx"))
    assert catalog.add(AddRequest(str(good))).version.runnable
