"""The demo brings real models that work at once, and touches nothing of the user's."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import CancelledError, ConflictError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.services import demo
from quickserveml_tui.services.demo import demo_folder, digits_versions, light_folder, light_versions
from quickserveml_tui.services.home import LocalWorkbench

MODELS = ("digits_mlp.onnx", "digits_cnn.onnx", "digits_cnn_int8.onnx")


@pytest.fixture
def workbench(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "light_folder", lambda: None)
    workbench = LocalWorkbench(tmp_path / "home")
    yield workbench
    workbench.close()


def load_test_data():
    with np.load(demo_folder() / "digits_test.npz") as data:
        return data["pixels"], data["label"]


def save_relu(path):
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def run(name, pixels):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(demo_folder() / name, options, providers=["CPUExecutionProvider"])
    return session.run(["label", "probabilities"], {"pixels": pixels})


@pytest.mark.parametrize("name", MODELS)
def test_every_digits_model_is_right_on_96_percent_of_the_test_data(name):
    pixels, labels = load_test_data()
    found, probabilities = run(name, pixels)
    assert (found == labels).mean() >= 0.96
    assert (probabilities.argmax(axis=1) == found).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_single_and_batched_answers_agree(name):
    pixels, _ = load_test_data()
    _, together = run(name, pixels[:16])
    alone = np.concatenate([run(name, pixels[index : index + 1])[1] for index in range(16)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_the_test_data_is_stratified_and_equal_in_both_forms():
    pixels, labels = load_test_data()
    table = np.loadtxt(demo_folder() / "digits_test.csv", delimiter=",", skiprows=1)
    assert table.shape == (360, 65)
    assert (table[:, :64] == pixels).all()
    assert (table[:, 64] == labels).all()
    assert np.bincount(labels).min() >= 34


def test_the_packaged_files_are_small():
    assert sum(path.stat().st_size for path in demo_folder().iterdir()) < 300_000


def test_the_digits_are_registered_with_versions_labels_aliases_and_data(workbench):
    assert workbench.demo.install() == 3
    model = workbench.catalog.show("digits").model
    assert [(item.version, item.label, item.runnable) for item in model.versions] == [
        (1, "1.0.0", True), (2, "2.0.0", True), (3, "3.0.0", True),
    ]  # fmt: skip
    assert model.aliases == {"prod": 2, "staging": 3}
    assert model.task == "image-classification"
    assert all(item.notes for item in model.versions)
    data = workbench.demo.data_path("digits")
    assert workbench.demo.data_path("digits@prod") == data
    assert workbench.demo.data_path("squeezenet") is None
    result = workbench.batch.run("digits@prod", str(data))
    assert (result.rows, result.failed) == (360, 0)
    assert result.accuracy >= 0.96


def test_installing_again_adds_nothing_and_keeps_moved_aliases(workbench):
    workbench.demo.install()
    workbench.catalog.set_alias("digits@1", "prod")
    generation = workbench.catalog.generation()
    assert workbench.demo.install() == 0
    assert workbench.catalog.generation() == generation
    assert workbench.catalog.show("digits").model.aliases["prod"] == 1


def test_a_model_of_the_users_with_the_same_name_is_left_alone(workbench):
    workbench.catalog.add(AddRequest(str(demo_folder() / "digits_mlp.onnx"), name="digits"))
    assert workbench.demo.install() == 0
    assert len(workbench.catalog.show("digits").model.versions) == 1


def test_another_model_with_a_demo_name_is_named_before_anything_is_added(workbench, tmp_path):
    workbench.catalog.add(AddRequest(str(save_relu(tmp_path / "mine.onnx")), name="digits"))
    with pytest.raises(ConflictError, match=r"Another model is called digits here") as caught:
        workbench.demo.install()
    assert (caught.value.exit_code, "--home" in caught.value.hint) == (3, True)
    assert [len(view.model.versions) for view in workbench.catalog.list_models().models] == [1]


def test_the_test_data_is_offered_for_the_demos_own_versions_only(workbench, tmp_path):
    workbench.catalog.add(AddRequest(str(save_relu(tmp_path / "mine.onnx")), name="digits", tags=("demo",)))
    assert workbench.demo.data_path("digits") is None
    workbench.catalog.add(AddRequest(str(demo_folder() / "digits_cnn.onnx"), name="digits"))
    assert workbench.demo.data_path("digits@2") is not None
    assert workbench.demo.data_path("digits@1") is None
    assert workbench.demo.data_path("digits@9") is None


def test_cancel_keeps_what_was_added_and_a_later_run_adds_the_rest(workbench):
    token = CancelToken()

    def watch(progress):
        if progress.done == 1:
            token.cancel()

    with pytest.raises(CancelledError):
        workbench.demo.install(on_progress=watch, cancel=token)
    assert len(workbench.catalog.show("digits").model.versions) == 1
    assert workbench.demo.install() == 2
    assert workbench.catalog.show("digits").model.aliases == {"prod": 2, "staging": 3}


def test_a_network_that_cannot_be_used_does_not_break_the_demo(workbench, tmp_path, monkeypatch):
    (tmp_path / "light_squeezenet.onnx").write_bytes(b"\x08\x08 not a model")
    shutil.copy(demo_folder() / "digits_mlp.onnx", tmp_path / "light_shufflenet.onnx")
    monkeypatch.setattr(demo, "light_folder", lambda: tmp_path)
    steps = []
    assert workbench.demo.install(on_progress=steps.append) == 4
    assert [model.model.name for model in workbench.catalog.list_models().models] == ["digits", "shufflenet"]
    assert (steps[0].note, steps[-1].done, steps[-1].failed) == ("digits", 5, 1)
    assert "squeezenet" in steps[-1].note


@pytest.mark.skipif(light_folder() is None, reason="this onnx package comes without its light models")
def test_light_networks_are_labelled_as_untrained_and_come_after_the_digits():
    versions = light_versions(light_folder())
    assert versions[0].request.name == "squeezenet"
    assert len(versions) >= 5
    for version in versions:
        assert "predictions mean nothing" in version.request.description
        assert "reference" in version.request.tags
    assert all(version.request.name == "digits" for version in digits_versions())


def test_the_light_networks_are_found_without_importing_onnx():
    code = (
        "import sys; from quickserveml_tui.services.demo import light_versions, light_folder; "
        "light_versions(light_folder()); sys.exit(bool({'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
