"""Files that are referenced in place: never copied, opened where they lie, and looked at each time."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

import pytest
from reference_artifacts import MemoryArtifacts

from quickserveml_tui.core.errors import CancelledError, ModelError, StoreError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import FileEntry, FileLink
from quickserveml_tui.storage import artifact_links
from quickserveml_tui.storage.artifacts import BlobArtifactStore, manifest_digest


@pytest.fixture
def disk(tmp_path):
    return BlobArtifactStore(tmp_path / "home" / "blobs", tmp_path / "home" / "cache")


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path, disk):
    return MemoryArtifacts(tmp_path / "memory") if request.param == "memory" else disk


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source" / "model.onnx"
    (path.parent / "deep").mkdir(parents=True)
    path.write_bytes(b"model bytes")
    (path.parent / "deep" / "weights.bin").write_bytes(b"w" * 3_000_000)
    return path


def link(store, source, *externals):
    with store.stage() as staging:
        assert staging.link(source, source.name) == source
        for name in externals:
            staging.link(source.parent / name, name)
        return staging.commit()


def code_of(work):
    with pytest.raises((ModelError, StoreError)) as caught:
        work()
    assert caught.value.message
    return caught.value.code


def test_a_linked_file_is_known_by_its_digest_and_opened_where_it_lies(store, source):
    manifest = link(store, source)
    status = source.stat()
    digest = hashlib.sha256(b"model bytes").hexdigest()
    assert (manifest.digest, manifest.size_bytes, manifest.is_linked) == (digest, 11, True)
    assert manifest.files[0].link == FileLink(str(source), status.st_mtime_ns, status.st_ino, status.st_dev)
    assert store.open_path(manifest) == source
    assert store.verify(manifest) == ()


def test_the_store_holds_nothing_of_a_linked_file(store, source):
    manifest = link(store, source, "deep/weights.bin")
    assert manifest.blobs == frozenset()
    assert list(store.blobs()) == []
    assert not store.has(manifest.files[1].digest)


def test_a_linked_model_and_a_copied_one_have_the_same_digest(store, source):
    with store.stage() as staging:
        staging.add(source, "model.onnx")
        staging.add(source.parent / "deep" / "weights.bin", "deep/weights.bin")
        copied = staging.commit()
    assert link(store, source, "deep/weights.bin").digest == copied.digest


@pytest.mark.parametrize("name", ["model.onnx", "deep/weights.bin"])
def test_a_linked_file_that_changed_is_refused(store, source, name):
    manifest = link(store, source, "deep/weights.bin")
    path = source.parent / name
    path.write_bytes(b"W" * path.stat().st_size)
    assert code_of(lambda: store.open_path(manifest)) == "artifact.changed"
    assert store.verify(manifest) == (name,)
    path.write_bytes(b"shorter")
    assert code_of(lambda: store.open_path(manifest)) == "artifact.changed"


@pytest.mark.parametrize("name", ["model.onnx", "deep/weights.bin"])
def test_a_linked_file_that_is_gone_is_missed(store, source, name):
    manifest = link(store, source, "deep/weights.bin")
    (source.parent / name).unlink()
    assert code_of(lambda: store.open_path(manifest)) == "artifact.missing"
    assert store.verify(manifest) == (name,)


def test_a_linked_file_that_only_looks_different_is_fine(store, source):
    manifest = link(store, source)
    os.utime(source, (1, 1))
    assert store.open_path(manifest) == source
    other = source.with_name("other")
    other.write_bytes(source.read_bytes())
    other.replace(source)
    assert store.open_path(manifest) == source


def test_linked_data_lies_where_the_model_expects_it_or_is_refused(store, source, tmp_path):
    elsewhere = tmp_path / "weights.bin"
    elsewhere.write_bytes(b"w")
    for path, name in ((elsewhere, "weights.bin"), (source.parent / "deep" / "weights.bin", "weights.bin")):
        with store.stage() as staging:
            staging.link(source, "model.onnx")
            assert code_of(lambda s=staging, p=path, n=name: s.link(p, n)) == "model.misplaced"


def test_files_are_all_linked_or_all_copied(store, source):
    data = source.parent / "deep" / "weights.bin"
    with store.stage() as staging:
        staging.link(source, "model.onnx")
        assert code_of(lambda: staging.add(data, "deep/weights.bin")) == "model.misplaced"
    with store.stage() as staging:
        staging.add(source, "model.onnx")
        assert code_of(lambda: staging.link(data, "deep/weights.bin")) == "model.misplaced"


@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "missing"])
def test_only_regular_files_are_linked(store, tmp_path, source, kind):
    path = tmp_path / "odd.onnx"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(source)
    with store.stage() as staging:
        code = code_of(lambda: staging.link(path, "model.onnx"))
    assert code == ("model.missing" if kind == "missing" else "model.not_a_file")


def test_linking_is_cancelled_and_leaves_the_file_alone(store, source):
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError), store.stage() as staging:
        staging.link(source, "model.onnx", cancel=token)
    assert source.read_bytes() == b"model bytes"


def test_collection_leaves_linked_files_alone(store, source):
    manifest = link(store, source, "deep/weights.bin")
    store.collect(frozenset, grace_s=0.0, cache_budget_bytes=0)
    assert store.open_path(manifest) == source
    assert store.verify(manifest) == ()


# ---- on disk --------------------------------------------------------------------------------------------------------


def test_a_file_is_not_hashed_again_unless_it_looks_different_and_then_once(disk, source, monkeypatch):
    manifest = link(disk, source, "deep/weights.bin")
    hashed = []
    plain = artifact_links.hash_copy
    monkeypatch.setattr(
        artifact_links, "hash_copy", lambda *args, **options: hashed.append(1) or plain(*args, **options)
    )
    disk.open_path(manifest)
    assert hashed == []
    os.utime(source, (1, 1))
    for _ in range(3):
        disk.open_path(manifest)
    assert hashed == [1]
    source.write_bytes(b"MODEL BYTES")
    assert code_of(lambda: disk.open_path(manifest)) == "artifact.changed"


def test_what_is_remembered_is_bounded(disk, tmp_path, monkeypatch):
    monkeypatch.setattr(artifact_links, "MAX_KNOWN", 5)
    for number in range(8):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(b"%d" % number)
        manifest = link(disk, path)
        os.utime(path, (1, 1))
        disk.open_path(manifest)
    assert len(disk._links._known) == 5


def test_a_link_in_the_place_of_a_linked_file_is_refused(disk, source, tmp_path):
    manifest = link(disk, source)
    moved = tmp_path / "moved.onnx"
    source.rename(moved)
    source.symlink_to(moved)
    assert code_of(lambda: disk.open_path(manifest)) == "artifact.changed"
    assert disk.verify(manifest) == ("model.onnx",)


def test_a_file_written_within_the_same_tick_after_it_was_hashed_is_noticed(disk, source):
    """A file system's clock ticks every few milliseconds; a write within one tick must not go unnoticed."""
    for number in range(20):
        source.write_bytes(b"model %05d" % number)
        manifest = link(disk, source)
        source.write_bytes(b"MODEL %05d" % number)
        assert code_of(lambda m=manifest: disk.open_path(m)) == "artifact.changed"


def test_only_a_file_that_was_written_just_now_is_given_a_tick_before_it_is_hashed(disk, source, monkeypatch):
    waits = []
    monkeypatch.setattr(artifact_links.time, "sleep", waits.append)
    monkeypatch.setattr(artifact_links.time, "time", lambda: source.stat().st_mtime + 0.005)
    link(disk, source)
    assert [round(wait, 3) for wait in waits] == [0.015]
    monkeypatch.setattr(artifact_links.time, "time", lambda: source.stat().st_mtime + 5.0)
    link(disk, source)
    assert len(waits) == 1


def test_a_manifest_whose_files_do_not_lie_together_is_refused(disk, source, tmp_path):
    manifest = link(disk, source, "deep/weights.bin")
    moved = replace(manifest.files[1], link=replace(manifest.files[1].link, path=str(tmp_path / "weights.bin")))
    half = replace(manifest.files[1], link=None)
    for file in (moved, half):
        odd = replace(manifest, files=(manifest.files[0], file))
        assert code_of(lambda m=odd: disk.open_path(m)) == "artifact.corrupt"


def test_a_linked_folder_on_the_way_to_the_data_is_refused(disk, source, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret.bin").write_bytes(b"s")
    (source.parent / "sub").symlink_to(elsewhere)
    with disk.stage() as staging:
        staging.link(source, "model.onnx")
        assert code_of(lambda: staging.link(source.parent / "sub" / "secret.bin", "sub/secret.bin")) == (
            "model.misplaced"
        )


def test_linked_models_open_in_a_read_only_store(disk, source, tmp_path):
    manifest = link(disk, source)
    frozen = BlobArtifactStore(tmp_path / "home" / "blobs", tmp_path / "home" / "cache", read_only=True)
    assert frozen.open_path(manifest) == source


@pytest.mark.parametrize("name", ["n\udcff.onnx", "d\udcff/model.onnx"])
def test_a_path_that_could_not_be_kept_is_not_linked(disk, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"model")
    with disk.stage() as staging:
        assert code_of(lambda: staging.link(path, path.name)) == "model.unsafe_path"
        assert code_of(lambda: staging.add(path, "n\udcff.onnx")) == "model.unsafe_path"


def test_no_two_lists_of_files_have_one_digest_by_a_line_break_in_a_name(disk, source):
    digest = hashlib.sha256(b"").hexdigest()
    first = (FileEntry("m", digest, 0), FileEntry("a", digest, 0), FileEntry("b", digest, 0))
    second = (FileEntry(f"a\n{digest} 0 b", digest, 0), FileEntry("m", digest, 0))
    assert manifest_digest(first) == manifest_digest(second)
    with disk.stage() as staging:
        for bring_in in (staging.add, staging.link):
            assert code_of(lambda bring_in=bring_in: bring_in(source, second[0].path)) == "model.unsafe_path"
