"""Every artifact store keeps the promises of `ArtifactStore`; the one on disk some more."""

from __future__ import annotations

import hashlib
import os
import stat
import time

import pytest
from reference_artifacts import MemoryArtifacts

from quickserveml_tui.core.errors import CancelledError, ModelError, StoreError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import ArtifactManifest, FileEntry
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifacts import BlobArtifactStore, blob_path


@pytest.fixture
def disk(tmp_path):
    return BlobArtifactStore(tmp_path / "home" / "blobs", tmp_path / "home" / "cache")


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path, disk):
    return MemoryArtifacts(tmp_path / "memory") if request.param == "memory" else disk


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(b"model bytes")
    (path.parent / "weights.bin").write_bytes(b"w" * 3_000_000)
    return path


def bring_in(store, source, *externals):
    with store.stage() as staging:
        staging.add(source, source.name)
        for name in externals:
            staging.add(source.parent / "weights.bin", name)
        return staging.commit()


def test_a_single_file_is_known_by_its_own_digest(store, source):
    manifest = bring_in(store, source)
    digest = hashlib.sha256(b"model bytes").hexdigest()
    assert manifest == ArtifactManifest(digest, (FileEntry("model.onnx", digest, 11),))
    assert store.open_path(manifest).read_bytes() == b"model bytes"
    assert store.read_bytes(digest) == b"model bytes"
    assert store.verify(manifest) == ()


def test_external_data_lies_where_the_model_expects_it(store, source):
    manifest = bring_in(store, source, "weights.bin", "deep/er/weights.bin")
    opened = store.open_path(manifest)
    assert opened.name == "model.onnx"
    assert opened.read_bytes() == b"model bytes"
    assert (opened.parent / "weights.bin").read_bytes() == b"w" * 3_000_000
    assert (opened.parent / "deep" / "er" / "weights.bin").read_bytes() == b"w" * 3_000_000
    assert [file.path for file in manifest.files] == ["model.onnx", "weights.bin", "deep/er/weights.bin"]
    assert manifest.digest not in {file.digest for file in manifest.files}


def test_equal_files_are_one_artifact(store, source):
    assert bring_in(store, source, "weights.bin") == bring_in(store, source, "weights.bin")
    assert bring_in(store, source).digest != bring_in(store, source, "weights.bin").digest


def test_a_staged_model_can_be_opened_before_it_is_committed(store, source):
    with store.stage() as staging:
        path = staging.add(source, "model.onnx")
        assert path == staging.folder / "model.onnx"
        assert path.read_bytes() == b"model bytes"


def test_nothing_is_kept_that_was_not_committed(store, source):
    with store.stage() as staging:
        staging.add(source, "model.onnx")
    with pytest.raises(StoreError) as caught:
        store.read_bytes(hashlib.sha256(b"model bytes").hexdigest())
    assert caught.value.code == "artifact.missing"


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//b", "", ".", "a/.", "..", "a\\b", "a\0b", "a/"])
def test_no_name_leaves_the_folder(store, source, name):
    with store.stage() as staging, pytest.raises(ModelError) as caught:
        staging.add(source, name)
    assert caught.value.code == "model.unsafe_path"


@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "loop", "device"])
def test_only_regular_files_are_taken_in(store, tmp_path, source, kind):
    path = tmp_path / "odd.onnx"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = type(path)("/dev/zero")
    else:
        path.symlink_to(path if kind == "loop" else source)
    with store.stage() as staging, pytest.raises(ModelError) as caught:
        staging.add(path, "model.onnx")
    assert caught.value.code == "model.not_a_file"


def test_a_missing_file_is_named(store, tmp_path):
    with store.stage() as staging, pytest.raises(ModelError) as caught:
        staging.add(tmp_path / "none.onnx", "model.onnx")
    assert caught.value.code == "model.missing"


def test_a_cancelled_copy_stops_and_keeps_nothing(store, source):
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError), store.stage() as staging:
        staging.add(source, "model.onnx", cancel=token)
    with pytest.raises(StoreError):
        store.read_bytes(hashlib.sha256(b"model bytes").hexdigest())


def test_a_copy_reports_its_progress(store, source):
    seen = []
    with store.stage() as staging:
        staging.add(source.parent / "weights.bin", "weights.bin", on_progress=seen.append)
    assert seen[-1].fraction == 1.0
    assert [step.done for step in seen] == sorted(step.done for step in seen)


def test_bytes_come_back_by_their_digest(store):
    data = os.urandom(1000)
    digest = store.put_bytes(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert store.read_bytes(digest) == data
    assert store.put_bytes(data) == digest
    assert store.read_bytes(store.put_bytes(b"")) == b""


def test_a_file_is_kept_as_a_blob(store, source):
    data = (source.parent / "weights.bin").read_bytes()
    digest, size = store.put_file(source.parent / "weights.bin")
    assert (digest, size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert store.read_bytes(digest) == data
    assert store.blob_path(digest).read_bytes() == data
    assert store.put_file(source.parent / "weights.bin") == (digest, size)


def test_a_file_that_is_none_is_not_kept(store, source, tmp_path):
    (tmp_path / "link").symlink_to(source)
    for path, code in ((tmp_path / "none", "model.missing"), (tmp_path / "link", "model.not_a_file")):
        with pytest.raises(ModelError) as caught:
            store.put_file(path)
        assert caught.value.code == code
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError):
        store.put_file(source, cancel=token)
    assert list(store.blobs()) == []


def test_all_blobs_are_listed_with_their_sizes(store, source):
    manifest = bring_in(store, source, "weights.bin")
    digest = store.put_bytes(b"samples")
    sizes = {blob.digest: blob.size_bytes for blob in store.blobs()}
    assert sizes == {file.digest: file.size_bytes for file in manifest.files} | {digest: 7}
    assert all(abs(time.time() - blob.modified_at) < 600 for blob in store.blobs())


def test_what_is_there_is_whole_and_what_is_not_is_missing(store, source):
    digest, absent = store.put_bytes(b"samples"), "0" * 64
    assert (store.has(digest), store.check(digest), store.check(digest, full=False)) == (True, "", "")
    assert (store.has(absent), store.check(absent), store.check(absent, full=False)) == (False, "missing", "missing")
    with pytest.raises(StoreError) as caught:
        store.blob_path(absent)
    assert caught.value.code == "artifact.missing"


# ---- on disk --------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    return tmp_path / "home" / "blobs"


def test_blobs_are_read_only_and_their_folders_private(disk, root, source):
    manifest = bring_in(disk, source)
    blob = blob_path(root, manifest.digest)
    assert disk.open_path(manifest) == blob
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    assert blob.parent.name == manifest.digest[:2]
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in (root, root.parent, blob.parent))
    assert stat.S_IMODE(blob_path(root, disk.put_bytes(b"x")).stat().st_mode) == 0o444


def test_a_materialised_model_is_a_copy_made_once(disk, root, source):
    manifest = bring_in(disk, source, "weights.bin")
    opened = disk.open_path(manifest)
    status = opened.stat()
    assert status.st_nlink == 1
    assert not opened.is_symlink()
    assert disk.open_path(manifest).stat().st_ino == status.st_ino


def test_an_incomplete_materialised_model_is_made_again(disk, source):
    manifest = bring_in(disk, source, "weights.bin")
    opened = disk.open_path(manifest)
    (opened.parent / "weights.bin").unlink()
    assert (disk.open_path(manifest).parent / "weights.bin").stat().st_size == 3_000_000
    entries = [entry.name for entry in opened.parent.parent.iterdir() if not entry.name.startswith(".")]
    assert sorted(entries) == [manifest.digest, f"{manifest.digest}.files"]


def damage(blob, content):
    blob.chmod(0o600)
    blob.write_bytes(content)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"short", "artifact.corrupt"), (b"MODEL BYTES", "artifact.corrupt"), (None, "artifact.missing")],
)
def test_a_damaged_blob_is_noticed_and_healed_by_adding_it_again(disk, root, source, content, code):
    manifest = bring_in(disk, source, "weights.bin")
    blob = blob_path(root, manifest.files[0].digest)
    blob.unlink() if content is None else damage(blob, content)
    with pytest.raises(StoreError) as caught:
        disk.open_path(manifest)
    assert caught.value.code == code
    with pytest.raises(StoreError) as caught:
        disk.read_bytes(manifest.files[0].digest)
    assert caught.value.code == code
    assert disk.verify(manifest) == ("model.onnx",)
    assert bring_in(disk, source, "weights.bin") == manifest
    assert disk.verify(manifest) == ()
    assert disk.open_path(manifest).read_bytes() == b"model bytes"


@pytest.mark.parametrize("digest", ["", "../../x", "A" * 64, "a" * 63, "/" * 64, "a" * 65])
def test_what_is_no_digest_names_no_file(disk, digest):
    with pytest.raises(StoreError) as caught:
        disk.read_bytes(digest)
    assert caught.value.code == "artifact.missing"


def test_a_file_that_changes_while_it_is_read_is_refused(disk, source):
    weights = source.parent / "weights.bin"

    def grow(_progress):
        with weights.open("ab") as file:
            file.write(b"more")

    with disk.stage() as staging, pytest.raises(ModelError) as caught:
        staging.add(weights, "weights.bin", on_progress=grow)
    assert caught.value.code == "model.changed"


def test_a_copy_is_cancelled_in_its_middle(disk, root, source):
    token = CancelToken()
    with pytest.raises(CancelledError), disk.stage() as staging:
        staging.add(source.parent / "weights.bin", "weights.bin", cancel=token, on_progress=lambda _: token.cancel())
    assert list((root / "staging").iterdir()) == []


def test_staging_leaves_nothing_behind_even_when_the_block_fails(disk, root, source):
    def fail():
        with disk.stage() as staging:
            staging.add(source, "model.onnx")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list((root / "staging").iterdir()) == []
    assert not (root / "sha256").exists()


def test_folders_of_killed_imports_go_after_a_day(disk, root, source):
    for name, age_h in (("old", 25), ("new", 1)):
        folder = root / "staging" / name
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"half")
        os.utime(folder, (time.time() - age_h * 3600,) * 2)
    bring_in(disk, source)
    assert [entry.name for entry in (root / "staging").iterdir()] == ["new"]


def test_nothing_is_committed_twice_under_one_name(disk, source):
    with disk.stage() as staging:
        staging.add(source, "model.onnx")
        with pytest.raises(ModelError):
            staging.add(source, "model.onnx")
        with pytest.raises(ModelError):
            staging.add(source, "model.onnx/weights.bin")


def test_an_empty_staging_cannot_be_committed(disk):
    with disk.stage() as staging, pytest.raises(StoreError):
        staging.commit()


def test_opening_reads_no_link_in_the_place_of_a_blob(disk, root, source, tmp_path):
    manifest = bring_in(disk, source)
    blob = blob_path(root, manifest.digest)
    blob.unlink()
    blob.symlink_to(source)
    with pytest.raises(StoreError):
        disk.open_path(manifest)
    with pytest.raises(StoreError):
        disk.read_bytes(manifest.digest)


def test_a_private_folder_is_created_with_its_parents(tmp_path):
    folder = tmp_path / "a" / "b" / "c"
    fs.make_private_dir(folder)
    fs.make_private_dir(folder)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in (folder, folder.parent, folder.parent.parent))


def test_a_full_check_finds_what_a_quick_one_cannot(disk, root, tmp_path):
    digest = disk.put_bytes(b"samples")
    damage(blob_path(root, digest), b"SAMPLES")
    assert (disk.check(digest, full=False), disk.check(digest)) == ("", "damaged")
    blob_path(root, digest).unlink()
    blob_path(root, digest).mkdir()
    assert (disk.check(digest, full=False), disk.check(digest)) == ("damaged", "damaged")
    assert not disk.has(digest)
