"""Adding a model: rejected, unrunnable or ready, with real runners; nothing is kept that is not whole."""

from __future__ import annotations

import os
import threading

import pytest
from catalog_builders import (
    READY,
    UNRUNNABLE,
    PoolDouble,
    RunnerDouble,
    make_facts,
    save_crashing,
    save_external,
    save_linear,
)

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import (
    CancelledError,
    ConflictError,
    ModelError,
    ModelUnrunnableError,
    RunnerCrashedError,
    RunnerTimeoutError,
    StoreError,
    UsageError,
)
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import Lineage, TrialOutcome, TrialReport
from quickserveml_tui.runtime.pool import LocalRunnerPool
from quickserveml_tui.services import catalog_bring
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState


@pytest.fixture(scope="module")
def runners(tmp_path_factory):
    pool = LocalRunnerPool(tmp_path_factory.mktemp("logs"))
    yield pool
    pool.close()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def make_catalog(home):
    def make(pool):
        artifacts = BlobArtifactStore(home / "blobs", home / "cache")
        return CatalogService(TinyDbRegistry(home / "registry.json"), artifacts, SqliteState(home / "state.db"), pool)

    return make


@pytest.fixture
def catalog(make_catalog, runners):
    return make_catalog(runners)


@pytest.fixture
def linear(tmp_path):
    return save_linear(tmp_path / "models" / "Linear (1).onnx")


def add(catalog, path, **fields):
    return catalog.add(AddRequest(str(path), **fields))


def stored_files(home):
    return [path for path in (home / "blobs").rglob("*") if path.is_file() and path.suffix != ".lock"]


# ---- three outcomes -------------------------------------------------------------------------------------------------


def test_a_model_that_runs_is_ready(catalog, linear):
    result = add(catalog, linear, tags=("b", "a"), alias="prod", label="1.0.0", task="regression", metadata={"k": "v"})
    assert (result.model.name, result.version.version, result.existed) == ("linear-1", 1, False)
    assert result.trial.outcome is TrialOutcome.READY
    assert result.trial.run_ms > 0
    assert result.version.facts.params == 12
    assert result.version.source == "Linear (1).onnx"
    assert (result.model.tags, result.model.aliases, result.model.task) == (("a", "b"), {"prod": 1}, "regression")
    assert (result.version.metadata, result.model.metadata) == ({"k": "v"}, {})
    assert catalog.show("linear-1@prod").model == result.model
    assert catalog.resolve("linear-1", runnable=True).digest == result.version.artifact.digest


def test_a_model_that_reads_but_does_not_run_is_kept_with_the_reason(catalog, tmp_path):
    result = add(catalog, save_linear(tmp_path / "odd.onnx", op="Frobnicate"), alias="candidate")
    assert result.trial.outcome is TrialOutcome.UNRUNNABLE
    assert "Frobnicate" in result.trial.reason
    assert catalog.resolve("odd").version.facts.op_types == {"Frobnicate": 1}
    with pytest.raises(ModelUnrunnableError, match="Frobnicate"):
        catalog.resolve("odd", runnable=True)


def test_a_model_that_kills_its_runner_is_kept_with_the_signal(catalog, tmp_path, linear):
    result = add(catalog, save_crashing(tmp_path / "crash.onnx"))
    assert result.trial.outcome is TrialOutcome.UNRUNNABLE
    assert result.trial.signal == "SIGFPE"
    assert add(catalog, linear).trial.outcome is TrialOutcome.READY


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"text, not a model\n", b"<!DOCTYPE html><html>", b"PK\x03\x04" + b"x" * 50, os.urandom(5000)],
    ids=["empty", "zeros", "text", "html", "zip", "random"],
)
def test_what_is_no_model_is_rejected_and_nothing_is_kept(catalog, home, tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        add(catalog, path)
    assert caught.value.hint
    assert catalog.list_models().models == ()
    assert stored_files(home) == []


def test_a_model_cut_off_anywhere_is_rejected(catalog, tmp_path, linear):
    whole = linear.read_bytes()
    path = tmp_path / "cut.onnx"
    for size in range(1, len(whole), 17):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError):
            add(catalog, path)
    assert catalog.list_models().models == ()


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "missing", "nul", "device"])
def test_only_a_regular_file_can_be_added(catalog, tmp_path, kind):
    path = tmp_path / "odd.onnx"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    target = {"nul": "a\0b.onnx", "device": "/dev/zero"}.get(kind, str(path))
    with pytest.raises(ModelError):
        catalog.add(AddRequest(target))


def test_a_link_to_a_model_is_followed_and_named_by_the_link(catalog, tmp_path, linear):
    link = tmp_path / "nice-name.onnx"
    link.symlink_to(linear)
    result = add(catalog, link)
    assert (result.model.name, result.version.source) == ("nice-name", "nice-name.onnx")


# ---- external data --------------------------------------------------------------------------------------------------


def test_external_data_comes_along(catalog, tmp_path):
    path = save_external(tmp_path / "m" / "ext.onnx")
    result = add(catalog, path)
    assert result.trial.outcome is TrialOutcome.READY
    assert [file.path for file in result.version.artifact.files] == ["ext.onnx", "weights.bin"]
    path.unlink()
    (path.parent / "weights.bin").unlink()
    opened = catalog.resolve("ext").path
    with catalog._runners.borrow() as runner:
        assert runner.read_facts(type(path)(opened)).params == 12


def test_other_external_data_is_another_version(catalog, tmp_path):
    path = save_external(tmp_path / "m" / "ext.onnx", scale=1.0)
    add(catalog, path)
    (path.parent / "weights.bin").unlink()
    save_external(path, scale=2.0)
    result = add(catalog, path)
    assert (result.version.version, result.existed) == (2, False)
    assert add(catalog, path).existed


@pytest.mark.parametrize("kind", ["missing", "symlink", "hardlink", "folder", "fifo", "short", "linked folder"])
def test_external_data_that_is_no_file_of_its_folder_is_rejected(catalog, home, tmp_path, kind):
    location = "data/weights.bin" if kind == "linked folder" else "weights.bin"
    path = tmp_path / "m" / "ext.onnx"
    (tmp_path / "m" / "data").mkdir(parents=True)
    save_external(path, location)
    weights = path.parent / location
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"s" * 1000)
    data = weights.read_bytes()
    weights.unlink()
    if kind == "symlink":
        weights.symlink_to(secret)
    elif kind == "hardlink":
        weights.hardlink_to(secret)
    elif kind == "folder":
        weights.mkdir()
    elif kind == "fifo":
        os.mkfifo(weights)
    elif kind == "short":
        weights.write_bytes(data[:-1])
    elif kind == "linked folder":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "weights.bin").write_bytes(data)
        weights.parent.rmdir()
        weights.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError):
        add(catalog, path)
    assert catalog.list_models().models == ()
    assert stored_files(home) == []


@pytest.mark.parametrize("swap", ["folder", "file", "hardlink"])
def test_external_data_that_is_swapped_for_a_link_after_the_check_is_not_copied(
    catalog, home, tmp_path, monkeypatch, swap
):
    (tmp_path / "m" / "data").mkdir(parents=True)
    path = save_external(tmp_path / "m" / "ext.onnx", "data/weights.bin")
    weights = path.parent / "data" / "weights.bin"
    elsewhere = tmp_path / "elsewhere"
    check = catalog_bring.external_source

    def check_then_swap(folder, name):
        found = check(folder, name)
        weights.parent.rename(elsewhere)
        if swap == "folder":
            weights.parent.symlink_to(elsewhere)
        else:
            weights.parent.mkdir()
            secret = elsewhere / "weights.bin"
            weights.symlink_to(secret) if swap == "file" else weights.hardlink_to(secret)
        return found

    monkeypatch.setattr(catalog_bring, "external_source", check_then_swap)
    with pytest.raises(ModelError):
        add(catalog, path)
    assert catalog.list_models().models == ()
    assert stored_files(home) == []


@pytest.mark.parametrize("name", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "weights.bin\0", ""])
def test_no_external_name_leaves_the_folder_whatever_a_runner_says(make_catalog, home, tmp_path, linear, name):
    (tmp_path / "secret.bin").write_bytes(b"secret")
    catalog = make_catalog(PoolDouble(RunnerDouble(external=[name])))
    with pytest.raises(ModelError):
        add(catalog, linear)
    assert stored_files(home) == []


# ---- versions -------------------------------------------------------------------------------------------------------


def test_every_new_file_is_the_next_version(catalog, tmp_path):
    for number in (1, 2, 3):
        result = add(catalog, save_linear(tmp_path / "m.onnx", scale=number), tags=(f"t{number}",))
        assert result.version.version == number
    assert result.model.tags == ("t1", "t2", "t3")
    assert [version.version for version in catalog.show("m").model.versions] == [1, 2, 3]
    catalog.delete("m@3")
    assert add(catalog, save_linear(tmp_path / "m.onnx", scale=3)).version.version == 4


def test_an_equal_file_is_not_added_twice(catalog, linear, tmp_path):
    first = add(catalog, linear, name="m")
    again = add(catalog, save_linear(tmp_path / "copy.onnx"), name="m")
    assert again.existed
    assert again.model == first.model
    assert not add(catalog, linear, name="other").existed


def test_an_equal_file_gives_its_version_the_details_that_are_named(catalog, linear, tmp_path):
    add(catalog, linear, name="m", tags=("early",), task="t", notes="old")
    add(catalog, save_linear(tmp_path / "two.onnx", 2.0), name="m")
    details = {
        "label": "9.9.9", "tags": ("late",), "categories": ("vision/ocr",), "alias": "prod", "author": "Ada",
        "notes": "new", "metadata": {"k": "v"}, "lineage": Lineage("run 7", "torch 2.9", "m@2"),
    }  # fmt: skip
    again = add(catalog, linear, name="m", **details)
    assert (again.existed, again.version.version, again.model.aliases) == (True, 1, {"prod": 1})
    assert (again.model.tags, again.model.categories) == (("early", "late"), ("vision/ocr",))
    assert (again.model.task, again.model.author, again.version.metadata) == ("t", "Ada", {"k": "v"})
    assert (again.version.label, again.version.notes) == ("9.9.9", "new")
    assert again.version.lineage == Lineage("run 7", "torch 2.9", "m@2")
    assert add(catalog, linear, name="m", **details).model == again.model


def test_an_equal_file_with_another_label_is_a_conflict(catalog, linear, tmp_path):
    add(catalog, linear, name="m", label="1.0.0")
    add(catalog, save_linear(tmp_path / "two.onnx", 2.0), name="m", label="2.0.0")
    before = catalog.show("m").model
    for label in ("1.0.1", "2.0.0"):
        with pytest.raises(ConflictError) as caught:
            add(catalog, linear, name="m", label=label)
        assert caught.value.code == "label.taken"
    assert catalog.show("m").model == before


def test_two_files_added_at_once_get_two_versions(catalog, tmp_path):
    paths = [save_linear(tmp_path / f"{number}.onnx", scale=number) for number in range(1, 5)]
    results = []
    threads = [
        threading.Thread(target=lambda path=path: results.append(add(catalog, path, name="m"))) for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(result.version.version for result in results) == [1, 2, 3, 4]


# ---- nothing half-done ----------------------------------------------------------------------------------------------


def test_the_model_is_tried_with_its_data_before_anything_is_kept(make_catalog, home, linear):
    (linear.parent / "w.bin").write_bytes(b"w")
    runner = RunnerDouble(external=["w.bin"], on_call=lambda name: seen.append((name, stored_blobs(home))))
    seen = []
    add(make_catalog(PoolDouble(runner)), linear)
    assert seen == [("external_files", []), ("read_facts", []), ("trial", [])]
    assert runner.calls[1:] == [(name, ["Linear (1).onnx", "w.bin"]) for name in ("read_facts", "trial")]


def stored_blobs(home):
    return list((home / "blobs" / "sha256").rglob("*"))


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"facts": RunnerCrashedError("It died.", signal="SIGSEGV")}, "SIGSEGV"),
        ({"facts": RunnerTimeoutError("Too long.")}, "took too long"),
        ({"facts": ModelError("No graph.")}, "No graph"),
        ({"facts": make_facts(params=2**63)}, "out of all bounds"),
        ({"report": TrialReport(TrialOutcome.REJECTED, reason="It is unsafe \x1b[2J.")}, "It is unsafe"),
    ],
)
def test_a_rejected_model_leaves_nothing(make_catalog, home, linear, answers, words):
    catalog = make_catalog(PoolDouble(RunnerDouble(**answers)))
    with pytest.raises(ModelError, match=words) as caught:
        add(catalog, linear)
    assert "\x1b" not in caught.value.message
    assert catalog.list_models().models == ()
    assert stored_files(home) == []


def test_a_crash_while_listing_external_data_rejects_the_model(make_catalog, linear):
    runner = RunnerDouble()
    runner._answers["external_files"] = RunnerCrashedError("It died.", signal="SIGFPE")
    with pytest.raises(ModelError, match="SIGFPE") as caught:
        add(make_catalog(PoolDouble(runner)), linear)
    assert caught.value.code == "model.rejected"


def test_when_the_registry_cannot_be_written_nothing_is_visible(make_catalog, home, linear):
    catalog = make_catalog(PoolDouble(RunnerDouble()))
    add(catalog, linear, name="before")

    def fail(*_args, **_kwargs):
        raise StoreError("The registry could not be written: the disk is full.")

    catalog._registry.edit = fail
    with pytest.raises(StoreError):
        add(catalog, linear, name="after")
    assert [model.name for model in TinyDbRegistry(home / "registry.json").models()] == ["before"]


@pytest.mark.parametrize("stage", ["external_files", "read_facts", "trial"])
def test_cancel_stops_at_every_stage_and_keeps_nothing(make_catalog, home, linear, stage):
    token = CancelToken()

    def cancel(name):
        if name == stage:
            token.cancel()
            if not runner.alive:  # the cancel ended the runner
                raise RunnerCrashedError("It was ended.")

    runner = RunnerDouble(on_call=cancel)
    catalog = make_catalog(PoolDouble(runner))
    with pytest.raises(CancelledError):
        catalog.add(AddRequest(str(linear)), cancel=token)
    assert catalog.list_models().models == ()
    assert stored_files(home) == []


def test_progress_names_the_phases(catalog, linear):
    phases = []
    catalog.add(AddRequest(str(linear)), on_progress=lambda progress: phases.append(progress.phase))
    assert list(dict.fromkeys(phases)) == ["checking", "copying", "reading", "trial", "storing"]


# ---- what the request asks for --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../x"},
        {"name": "x.onnx"},
        {"tags": ("bad tag",)},
        {"tags": tuple(f"t{number}" for number in range(51))},
        {"label": "latest"},
        {"alias": "latest"},
        {"alias": "1"},
        {"alias": "1.0.0"},
        {"task": "x" * 201},
        {"author": "a\x1b[2J"},
        {"description": "x" * 10_001},
        {"license": "\u202e"},
        {"framework": "\ud800"},
        {"metadata": {"": "x"}},
        {"metadata": {"k": "v" * 5000}},
        {"metadata": {f"k{number}": "v" for number in range(201)}},
        {"categories": ("a//b",)},
        {"categories": ("a/b/c/d/e",)},
        {"categories": tuple(f"c{number}" for number in range(51))},
        {"notes": "\x1b[2J"},
        {"lineage": Lineage(made_from="a\nb")},
        {"lineage": Lineage(converted_by="x" * 1001)},
        {"lineage": Lineage(parent="../m")},
    ],
    ids=str,
)
def test_a_request_that_is_not_valid_is_refused_before_a_byte_is_written(make_catalog, home, linear, fields):
    runner = RunnerDouble()
    with pytest.raises(UsageError):
        add(make_catalog(PoolDouble(runner)), linear, **fields)
    assert runner.calls == []
    assert not home.exists()


def test_a_label_belongs_to_one_version(make_catalog, tmp_path, linear):
    catalog = make_catalog(PoolDouble(RunnerDouble()))
    add(catalog, linear, name="m", label="1.0.0")
    with pytest.raises(ConflictError) as caught:
        add(catalog, save_linear(tmp_path / "n.onnx", 2.0), name="m", label="1.0.0")
    assert caught.value.code == "label.taken"
    assert add(catalog, linear, name="other", label="1.0.0").version.label == "1.0.0"


@pytest.mark.parametrize("alias", ["prod", "staging", "Prod"])
def test_a_protected_alias_needs_a_model_that_runs(make_catalog, home, linear, alias):
    catalog = make_catalog(PoolDouble(RunnerDouble(report=UNRUNNABLE)))
    with pytest.raises(ModelUnrunnableError):
        add(catalog, linear, alias=alias)
    assert stored_files(home) == []
    assert add(catalog, linear, alias="candidate").model.aliases == {"candidate": 1}


def test_texts_are_kept_verbatim(make_catalog, linear):
    catalog = make_catalog(PoolDouble(RunnerDouble(report=READY)))
    text = "=cmd|' /C calc'!A0 [bold]x[/] <script>{{7*7}}'; DROP\nline\ttwo 👩\u200d🔬"
    result = add(catalog, linear, description=text, metadata={"[/]": text})
    assert result.model.description == text
    assert result.version.metadata == {"[/]": text}


def test_oversized_facts_are_cut_and_say_so(make_catalog, linear):
    facts = make_facts(
        doc="d" * 50_000,
        metadata={f"k{number}": "v" for number in range(600)},
        op_types={f"Op{number}": number for number in range(600)},
        macs=2**70,
    )
    result = add(make_catalog(PoolDouble(RunnerDouble(facts=facts))), linear)
    kept = result.version.facts
    assert (len(kept.doc), len(kept.metadata), len(kept.op_types), kept.macs) == (10_000, 500, 500, None)
    assert "documentation, metadata, operators" in kept.warnings[-1]


# ---- files that stay where they are ---------------------------------------------------------------------------------


def test_a_linked_model_is_tried_and_opened_where_it_lies(catalog, home, tmp_path):
    path = save_external(tmp_path / "m" / "ext.onnx")
    result = add(catalog, path, link=True)
    assert (result.trial.outcome, result.version.artifact.is_linked) == (TrialOutcome.READY, True)
    assert [file.link.path for file in result.version.artifact.files] == [str(path), str(path.parent / "weights.bin")]
    assert catalog.resolve("ext", runnable=True).path == str(path)
    assert list((home / "blobs" / "sha256").rglob("*.*")) == []
    assert add(catalog, path, link=True).model == result.model


def test_a_linked_file_that_is_replaced_is_noticed_and_can_be_added_again(catalog, tmp_path):
    path = save_linear(tmp_path / "m.onnx")
    add(catalog, path, link=True)
    path.unlink()
    with pytest.raises(StoreError) as caught:
        catalog.resolve("m")
    assert caught.value.code == "artifact.missing"
    moved = save_linear(tmp_path / "moved" / "m.onnx")
    again = add(catalog, moved, link=True)
    assert (again.existed, catalog.resolve("m").path) == (True, str(moved))
    copied = add(catalog, moved)
    assert (copied.existed, copied.version.version, copied.version.artifact.is_linked) == (True, 1, False)
    moved.unlink()
    assert catalog.resolve("m").digest == copied.version.artifact.digest


def test_a_copy_is_not_given_up_for_a_link(catalog, linear):
    first = add(catalog, linear, name="m")
    again = add(catalog, linear, name="m", link=True)
    assert (again.existed, again.model) == (True, first.model)
    assert "copy" in again.warning


@pytest.mark.parametrize("stage", ["external_files", "read_facts", "trial"])
def test_a_linked_file_that_changes_while_it_is_tried_is_refused(make_catalog, linear, stage):
    def replace_it(name):
        if name == stage:
            linear.unlink()
            save_linear(linear, 2.0)

    catalog = make_catalog(PoolDouble(RunnerDouble(on_call=replace_it)))
    with pytest.raises(ModelError) as caught:
        add(catalog, linear, link=True)
    assert caught.value.code == "model.changed"
    assert catalog.list_models().models == ()


# ---- room -----------------------------------------------------------------------------------------------------------


def test_a_full_registry_refuses_before_a_byte_is_copied(make_catalog, home, linear, tmp_path):
    catalog = make_catalog(PoolDouble(RunnerDouble()))
    add(catalog, linear, name="one")
    catalog._registry.capacity = lambda: (10_000, 5_000, 10_000)
    runner = catalog._runners.runner
    runner.calls.clear()
    with pytest.raises(StoreError) as caught:
        add(catalog, linear, name="two")
    assert (caught.value.code, runner.calls) == ("registry.full", [])
    assert "purge" in caught.value.hint
    another = add(catalog, save_linear(tmp_path / "another.onnx", 2.0), name="one")
    assert (another.version.version, "10,000" in another.warning) == (2, True)


def test_a_registry_with_room_warns_of_nothing(make_catalog, linear):
    assert add(make_catalog(PoolDouble(RunnerDouble())), linear).warning == ""
