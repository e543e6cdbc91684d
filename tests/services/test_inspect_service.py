"""Inspecting reads registered facts at once, files in a runner, and keeps layer pages."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import jsonschema
import pytest

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import ModelError, NotFoundError
from quickserveml_tui.core.facts import LayerPage, LayerRow
from quickserveml_tui.services.demo import demo_folder
from quickserveml_tui.services.home import LocalWorkbench
from quickserveml_tui.services.inspect import HeaderCache, InspectService, PageCache

CNN = demo_folder() / "digits_cnn.onnx"


class NoRunners:
    """A pool that must not be asked."""

    def borrow(self):
        raise AssertionError("a runner was asked for")


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    workbench = LocalWorkbench(tmp_path_factory.mktemp("home"))
    workbench.catalog.add(AddRequest(str(CNN), name="cnn"))
    yield workbench
    workbench.close()


def test_facts_of_a_registered_version_need_no_runner(workbench):
    facts = InspectService(workbench.catalog, NoRunners()).facts("cnn@1")
    assert facts.inputs[0].name == "pixels"
    assert facts.params > 10_000


def test_facts_of_a_file_equal_those_of_its_registered_copy(workbench):
    assert workbench.inspect.facts(str(CNN)) == workbench.inspect.facts("cnn")


def test_the_header_of_a_file_is_that_of_its_registered_copy_and_agrees_with_the_facts(workbench):
    header, facts = workbench.inspect.header("cnn"), workbench.inspect.facts("cnn")
    assert workbench.inspect.header(str(CNN)) == header
    assert (header.inputs, header.outputs, header.opsets) == (facts.inputs, facts.outputs, facts.opsets)
    assert header.size_bytes == header.file_bytes == CNN.stat().st_size


def test_the_header_of_a_registered_version_is_read_once(workbench):
    assert workbench.inspect.header("cnn@1") is workbench.inspect.header("cnn")


def test_the_header_of_a_file_is_read_without_hashing_it(workbench):
    class NoHash:
        def __getattr__(self, name):
            raise AssertionError(f"the catalog was asked to {name}")

    service = InspectService(NoHash(), workbench._runners)
    assert service.header(str(CNN)).nodes > 0


def test_totals_are_the_kept_facts_or_those_of_a_file_without_multiply_adds(workbench):
    facts = workbench.inspect.facts("cnn")
    assert InspectService(workbench.catalog, NoRunners()).totals("cnn@1") == facts
    totals = workbench.inspect.totals(str(CNN))
    assert totals == replace(facts, macs=None, warnings=totals.warnings)
    assert facts.macs


def test_rows_without_shapes_come_first_and_are_never_kept(workbench, tmp_path):
    path = tmp_path / "model.onnx"
    shutil.copy(CNN, path)
    quick = workbench.inspect.layers(str(path), shapes=False)
    whole = workbench.inspect.layers(str(path))
    assert [row.name for row in quick.rows] == [row.name for row in whole.rows]
    assert (quick.shapes, whole.shapes) == (False, True)
    assert quick.rows[0].output_shape is None
    assert whole.rows[0].output_shape
    assert workbench.inspect.layers(str(path), shapes=False) is whole


def test_looking_at_a_file_does_not_hash_it(workbench, monkeypatch):
    from quickserveml_tui.services import catalog

    def refuse(_path):
        raise AssertionError("the file was hashed")

    monkeypatch.setattr(catalog, "file_digest", refuse)
    inspect, ref = workbench.inspect, str(CNN)
    for look in (inspect.header, inspect.totals, inspect.facts, inspect.layers, inspect.compatibility, inspect.trial):
        assert look(ref)


def test_few_headers_are_kept():
    cache = HeaderCache(max_headers=2)
    for key in ("a", "b", "a", "c"):
        if cache.get(key) is None:
            cache.put(key, key)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("a", None, "c")


def test_layers_of_a_file_equal_those_of_its_registered_copy(workbench):
    assert workbench.inspect.layers(str(CNN)).rows == workbench.inspect.layers("cnn").rows


def test_a_layer_page_is_read_once(workbench):
    first = workbench.inspect.layers("cnn", 2, 3)
    assert [row.index for row in first.rows] == [2, 3, 4]
    assert workbench.inspect.layers("cnn", 2, 3) is first


def test_a_file_that_changed_is_read_again(workbench, tmp_path):
    path = tmp_path / "model.onnx"
    shutil.copy(CNN, path)
    before = workbench.inspect.layers(str(path)).total
    shutil.copy(demo_folder() / "digits_mlp.onnx", path)
    assert workbench.inspect.layers(str(path)).total < before


def test_the_example_of_the_schema_is_accepted_by_the_model(workbench, tmp_path):
    document = workbench.inspect.schema("cnn")
    request = tmp_path / "request.json"
    request.write_text(json.dumps(document["example"]))
    jsonschema.Draft202012Validator(document["request"]).validate(document["example"])
    prediction = workbench.predict.predict("cnn", inputs=request)
    answer = {"outputs": {name: array.tolist() for name, array in prediction.outputs.items()}}
    jsonschema.Draft202012Validator(document["response"]).validate(answer)


def test_unknown_models_and_broken_files_are_named(workbench, tmp_path):
    with pytest.raises(NotFoundError):
        workbench.inspect.facts("nothing")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(CNN.read_bytes()[:1000])
    with pytest.raises(ModelError):
        workbench.inspect.facts(str(broken))
    with pytest.raises(ModelError):
        workbench.inspect.layers(str(broken))


def _page(rows):
    row = LayerRow(0, "n", "Relu", "", 0, (), (), None, "", 0, None, None)
    return LayerPage((row,) * rows, rows)


def test_the_page_cache_is_bounded_in_rows_and_pages():
    cache = PageCache(max_rows=10, max_pages=3)
    for name in "abcd":
        cache.put((name, 0, 2), _page(2))
    assert cache.get(("a", 0, 2)) is None
    assert cache.get(("b", 0, 2)) is not None
    cache.put(("e", 0, 8), _page(8))
    assert cache.get(("c", 0, 2)) is None, "the least recently used page goes first"
    assert cache.get(("b", 0, 2)) is not None
    cache.put(("f", 0, 11), _page(11))
    assert cache.get(("f", 0, 11)) is None, "a page larger than the cache is not kept"
