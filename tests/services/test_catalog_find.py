"""Finding models: filters through the service, references, scans."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from catalog_builders import UNRUNNABLE, PoolDouble, RunnerDouble, make_facts, make_model, make_version, save_linear
from filter_zoo import make_run

from quickserveml_tui.core.catalog import AddRequest, CatalogQuery
from quickserveml_tui.core.errors import (
    CancelledError,
    FilterError,
    ModelError,
    ModelUnrunnableError,
    NotFoundError,
    StoreError,
)
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import MetadataPatch, VersionState
from quickserveml_tui.services import catalog_scan
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState


@pytest.fixture
def catalog(tmp_path):
    home = tmp_path / "home"
    artifacts = BlobArtifactStore(home / "blobs", home / "cache")
    registry = TinyDbRegistry(home / "registry.json")
    return CatalogService(registry, artifacts, SqliteState(home / "state.db"), PoolDouble(RunnerDouble()))


@pytest.fixture
def zoo(catalog):
    conv = make_facts(op_types={"Conv": 5, "com.microsoft:Gelu": 1}, params=1000)
    three = (make_version(1), make_version(2), make_version(3, label="1.3.0"))
    models = [
        make_model("resnet50", task="classification", tags=("vision",), versions=(make_version(1, facts=conv),)),
        make_model(
            "bert", task="embedding", tags=("text",), author="Ada Lovelace", description="Bidirectional\nencoder"
        ),
        make_model("old-net", tags=("vision", "legacy"), versions=(make_version(1, state=VersionState.ARCHIVED),)),
        make_model("broken", versions=(make_version(1, trial=UNRUNNABLE),)),
        make_model("empty", versions=()),
        make_model("many", versions=three, aliases={"prod": 2}),
    ]
    for model in models:
        catalog._registry.put(model.name, lambda _old, model=model: model)
    return catalog


def names(catalog, text="", **fields):
    return [view.model.name for view in catalog.list_models(CatalogQuery(text=text, **fields)).models]


# ---- filter ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["bert", "broken", "empty", "many", "old-net", "resnet50"]),
        ("RES", ["resnet50"]),
        ("gelu", ["resnet50"]),
        ("CONV", ["resnet50"]),
        ("con", []),
        ("vision", ["old-net", "resnet50"]),
        ("vision legacy", ["old-net"]),
        ("vision nothing", []),
        ("class", ["resnet50"]),
        ("lovelace", ["bert"]),
        ("encoder", ["bert"]),
        ("conv", ["resnet50"]),
        ("prod", ["many"]),
        ("1.3.0", ["many"]),
        ("tag:vis", ["old-net", "resnet50"]),
        ("tag:ision", []),
        ("op:conv", ["resnet50"]),
        ("op:gelu", ["resnet50"]),
        ("op:com.microsoft:gelu", ["resnet50"]),
        ("state:arch", ["old-net"]),
        ("state:unrun", ["broken"]),
        ("state:ready tag:text", ["bert"]),
        ("[/]", []),
        ("params >= 1000 AND NOT tag = legacy", ["resnet50"]),
        ("(tag = text OR state = archived) AND author EXISTS", ["bert"]),
    ],
)
def test_every_word_must_occur(zoo, text, expected):
    assert names(zoo, text) == expected


def test_a_filter_follows_a_change(zoo):
    assert names(zoo, "fresh") == []
    zoo.tag("bert", add=["fresh"])
    assert names(zoo, "fresh") == ["bert"]
    zoo.tag("bert", remove=["fresh"])
    assert names(zoo, "fresh") == []


def test_a_filter_that_cannot_be_read_names_the_column(zoo):
    for ask in (zoo.check_filter, lambda text: zoo.list_models(CatalogQuery(text=text))):
        with pytest.raises(FilterError) as caught:
            ask("vision AND prams < 5")
        assert (caught.value.column, caught.value.hint) == (12, "Did you mean params?")


def test_a_filter_completes_with_what_the_catalog_holds(zoo):
    completions = zoo.complete_filter("tag = v", 7)
    assert [item.text for item in completions] == ["tag = vision"]
    zoo.tag("bert", add=["vintage"])
    assert [item.label for item in zoo.complete_filter("tag = v", 7)] == ["vision", "vintage"]


def test_pages_go_through_the_whole_catalog(zoo):
    collected, token = [], ""
    while True:
        page = zoo.list_models(CatalogQuery(sort="-params", limit=4, page_token=token))
        collected += [view.model.name for view in page.models]
        if not (token := page.next_page_token):
            break
    assert collected == names(zoo, sort="-params")
    assert len(collected) == 6


def test_a_page_goes_on_behind_a_model_that_was_deleted(zoo):
    first = zoo.list_models(CatalogQuery(limit=2))
    zoo.delete("broken")
    rest = zoo.list_models(CatalogQuery(limit=10, page_token=first.next_page_token))
    assert [view.model.name for view in rest.models] == ["empty", "many", "old-net", "resnet50"]


# ---- references -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "version"),
    [("many", 3), ("many@latest", 3), ("many@1", 1), ("many@prod", 2), ("many@1.3.0", 3), ("many@prod#/a#b", 2)],
)
def test_a_reference_names_a_version(zoo, ref, version):
    for number in (1, 2, 3):
        zoo._artifacts.put_bytes(b"model %d" % number)
    resolved = zoo.resolve(ref, runnable=True)
    assert (resolved.ref, resolved.version.version) == (f"many@{version}", version)
    assert resolved.node == (ref.partition("#")[2] or None)
    assert Path(resolved.path).stat().st_size == resolved.version.artifact.size_bytes
    assert zoo.show(ref).model.name == "many"


def test_a_model_is_found_by_its_id_too(zoo):
    model = zoo.show("bert").model
    assert zoo.show(model.id).model == model


def test_an_unknown_name_hints_at_the_nearest(zoo):
    with pytest.raises(NotFoundError) as caught:
        zoo.show("resnet5")
    assert "resnet50" in caught.value.hint
    with pytest.raises(NotFoundError) as caught:
        zoo.show("zzzzzz")
    assert "quickserveml list" in caught.value.hint


def test_an_empty_catalog_hints_at_adding(catalog):
    with pytest.raises(NotFoundError) as caught:
        catalog.show("resnet50")
    assert "quickserveml add" in caught.value.hint


@pytest.mark.parametrize("ref", ["many@9", "many@canary", "many@9.9.9", "empty"])
def test_an_unknown_version_names_those_there_are(zoo, ref):
    with pytest.raises(NotFoundError) as caught:
        zoo.resolve(ref)
    assert caught.value.code == "version.not_found"
    assert "aliases" in caught.value.hint


def test_a_version_that_does_not_run_is_refused_where_it_must_run(zoo):
    zoo._artifacts.put_bytes(b"model 1")
    assert not zoo.resolve("broken").version.runnable
    with pytest.raises(ModelUnrunnableError, match="Frobnicate"):
        zoo.resolve("broken", runnable=True)


def test_a_blob_that_is_gone_is_a_store_error(zoo):
    with pytest.raises(StoreError) as caught:
        zoo.resolve("bert")
    assert caught.value.code == "artifact.missing"


def test_a_file_that_is_not_registered_resolves_to_itself(catalog, tmp_path):
    path = save_linear(tmp_path / "m.onnx")
    resolved = catalog.resolve(f"{path}#node")
    assert (resolved.path, resolved.ref, resolved.node) == (str(path), str(path), "node")
    assert resolved.model is None
    digest = resolved.digest
    assert catalog.resolve(str(path)).digest == digest
    save_linear(path, scale=2.0)
    changed = catalog.resolve(str(path))
    assert changed.digest != digest
    assert changed.identity != resolved.identity
    path.unlink()
    with pytest.raises(ModelError, match="gone"):
        assert changed.digest


@pytest.mark.parametrize("content", [None, b"", b"text\n"])
def test_a_path_that_is_no_model_is_a_model_error(catalog, tmp_path, content):
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError):
        catalog.resolve(str(path))


def test_a_path_is_not_a_registered_model(zoo):
    for operation in (zoo.show, zoo.delete, lambda ref: zoo.tag(ref, ["a"]), lambda ref: zoo.set_alias(ref, "a")):
        with pytest.raises(NotFoundError) as caught:
            operation("./bert.onnx")
        assert "Add the file" in caught.value.hint


def test_the_generation_changes_with_every_write(zoo):
    before = zoo.generation()
    assert zoo.generation() == before
    zoo.tag("bert", add=["x"])
    assert zoo.generation() != before


def test_reading_an_empty_catalog_writes_nothing(catalog, tmp_path):
    assert catalog.list_models().models == ()
    assert catalog.generation() == "0/0"
    assert list(catalog.scan(str(tmp_path))) == []
    assert not (tmp_path / "home").exists()


# ---- scan -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "tree"
    for place in ("b.onnx", "a.ONNX", "deep/er/c.onnx", ".hidden/d.onnx", "deep/.e.onnx", "deep/text.txt"):
        save_linear(tree / place)
    (tree / "folder.onnx").mkdir()
    (tree / "link.onnx").symlink_to(tree / "b.onnx")
    (tree / "loop").symlink_to(tree)
    os.mkfifo(tree / "fifo.onnx")
    return tree


def test_a_scan_finds_regular_model_files_only(catalog, tree):
    hits = list(catalog.scan(str(tree)))
    assert [os.path.relpath(hit.path, tree) for hit in hits] == ["a.ONNX", "b.onnx", "deep/er/c.onnx"]
    assert all(hit.size_bytes == (tree / "b.onnx").stat().st_size for hit in hits)
    assert not any(hit.known for hit in hits)


def test_a_scan_names_the_version_that_a_file_equals(catalog, tree):
    catalog.add(AddRequest(str(tree / "b.onnx"), name="m"))
    other = save_linear(tree / "other.onnx", scale=3.0)
    known = {Path(hit.path).name: hit.known for hit in catalog.scan(str(tree))}
    assert known == {"a.ONNX": "m@1", "b.onnx": "m@1", "c.onnx": "m@1", other.name: ""}


def test_a_scan_is_bounded(catalog, tree, monkeypatch, caplog):
    monkeypatch.setattr(catalog_scan, "MAX_ENTRIES", 3)
    assert len(list(catalog.scan(str(tree)))) <= 3
    assert "stopped" in caplog.text


def test_a_scan_goes_on_where_a_folder_cannot_be_read(catalog, tree, monkeypatch):
    real = os.scandir

    def scandir(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(catalog_scan.os, "scandir", scandir)
    assert [Path(hit.path).name for hit in catalog.scan(str(tree))] == ["a.ONNX", "b.onnx"]


def test_a_scan_stops_when_cancelled(catalog, tree):
    token = CancelToken()
    hits = catalog.scan(str(tree), cancel=token)
    next(hits)
    token.cancel()
    with pytest.raises(CancelledError):
        next(hits)


@pytest.mark.parametrize("folder", ["missing", "a\0b", "~no-such-user/x", "tree/b.onnx"])
def test_a_scan_needs_a_folder(catalog, tree, tmp_path, folder):
    with pytest.raises(NotFoundError) as caught:
        catalog.scan(folder if folder[0] == "~" else f"{tmp_path}/{folder}")
    assert caught.value.code == "folder.not_found"


def test_the_newest_benchmark_of_each_version_comes_along(zoo, tmp_path):
    home = tmp_path / "home"
    model = zoo.show("bert").model
    run = make_run(model, p50=2.5)
    before = zoo.generation()
    assert names(zoo, "bench.p50_ms < 5") == []
    SqliteState(home / "state.db").add_benchmark(run)
    assert zoo.generation() != before
    assert zoo.show("bert").p50_ms() == 2.5
    assert names(zoo, sort="p50")[0] == "bert"
    assert names(zoo, "bench.p50_ms < 5 AND measured = true") == ["bert"]
    SqliteState(home / "state.db").add_benchmark(
        make_run(model, p50=50, run_id="bench-2", created_at="2026-01-02T00:00:00.000Z")
    )
    assert zoo.list_models(CatalogQuery("bert")).models[0].benchmarks[1].id == "bench-2"
    assert names(zoo, "bench.p50_ms < 5") == []
    SqliteState(home / "state.db").add_benchmark(
        replace(make_run(model, p50=1, run_id="bench-3"), version=9, created_at="2026-01-03T00:00:00.000Z")
    )
    assert names(zoo, "bench.p50_ms < 5") == [], "a run of another version than the latest does not count"


@pytest.mark.parametrize("word", ["bench.", "bench.p9", "bench.p99_ms", "params < 10M AND bench.", "meta.x", "input."])
def test_half_a_comparison_is_an_error_and_no_word_that_matches_nothing(catalog, zoo, word):
    with pytest.raises(FilterError, match="needs a comparison") as caught:
        catalog.check_filter(word)
    assert caught.value.column == len(word) + 1
    assert "<" in caught.value.hint
    catalog.check_filter(f'"{word}"')
    catalog.check_filter("v1.3.0 resnet50.pt")


def test_metadata_of_the_latest_version_is_found_before_that_of_the_model(catalog, zoo):
    catalog.update("many", MetadataPatch(metadata={"accuracy": "0.5", "source": "lab"}))
    catalog.update("many@1", MetadataPatch(version_metadata={"accuracy": "0.1"}))
    assert names(catalog, "meta.accuracy = 0.5") == ["many"]
    catalog.update("many", MetadataPatch(version_metadata={"accuracy": "0.9"}))
    assert names(catalog, "meta.accuracy > 0.8") == ["many"]
    assert names(catalog, "meta.accuracy < 0.8") == []
    assert names(catalog, "meta.source = lab") == ["many"]
    assert catalog.show("many").model.version(1).metadata == {"accuracy": "0.1"}
    catalog.update("many", MetadataPatch(version_metadata={"accuracy": None}))
    assert names(catalog, "meta.accuracy = 0.5") == ["many"]


def test_a_file_that_is_gone_from_the_store_is_named_by_its_version(catalog, zoo):
    with pytest.raises(StoreError, match=r"many@2 cannot be opened") as caught:
        catalog.resolve("many@prod")
    assert caught.value.code == "artifact.missing"
    assert caught.value.hint
