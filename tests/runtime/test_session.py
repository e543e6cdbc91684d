from __future__ import annotations

import os
import threading

import ml_dtypes
import numpy as np
import pytest
import runner_models as models
from onnx import TensorProto, helper

from quickserveml_tui.core.errors import CancelledError, DataError, ModelError, ModelUnrunnableError, UnavailableError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime.dtypes import tensor_spec
from quickserveml_tui.runtime.ort_text import one_sentence
from quickserveml_tui.runtime.session import Session
from quickserveml_tui.runtime.settings import SessionSettings


def test_a_session_tells_inputs_outputs_and_runs(tmp_path):
    session = Session(models.adder(tmp_path))
    assert session.inputs == (TensorSpec("x", "float32", ("N", 4)),)
    assert session.outputs == (TensorSpec("y", "float32", ("N", 4)),)
    assert session.provider == "CPUExecutionProvider"
    result = session.run({"x": np.zeros((2, 4), np.float32)})
    np.testing.assert_array_equal(result["y"], np.ones((2, 4), np.float32))


@pytest.mark.parametrize(
    ("type_name", "shape", "spec"),
    [
        ("tensor(double)", ["?", None, -1, 3], TensorSpec("t", "float64", (None, None, None, 3))),
        ("tensor(string)", ["N"], TensorSpec("t", "string", ("N",))),
        ("seq(map(int64,tensor(float)))", [], TensorSpec("t", "seq(map(int64,tensor(float)))", None, "sequence")),
        ("map(string,tensor(float))", [], TensorSpec("t", "map(string,tensor(float))", None, "map")),
        ("optional(tensor(float))", [], TensorSpec("t", "optional(tensor(float))", None, "optional")),
    ],
)
def test_the_runtimes_type_strings_become_specs(type_name, shape, spec):
    assert tensor_spec("t", type_name, shape) == spec


@pytest.mark.parametrize("dtype", [TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN])
def test_types_that_numpy_lacks_pass_through_unchanged(tmp_path, dtype):
    session = Session(models.identity(tmp_path, dtype, opset=19))
    numpy_type = ml_dtypes.bfloat16 if dtype == TensorProto.BFLOAT16 else ml_dtypes.float8_e4m3fn
    given = np.array([[1, -2, 0.5, 4]], dtype=numpy_type)
    result = session.run({"x": given})["y"]
    assert result.dtype == given.dtype
    np.testing.assert_array_equal(result.astype(np.float32), given.astype(np.float32))


@pytest.mark.parametrize(
    ("feeds", "code", "words"),
    [
        ({}, "data.missing_input", "x"),
        ({"x": np.zeros((1, 3), np.float32)}, "data.shape", "has size 3 in dimension 1, expected 4"),
        ({"x": np.zeros(4, np.float32)}, "data.shape", "has 1 dimension, expected 2"),
        ({"x": np.zeros((1, 4))}, "data.dtype", "float64, expected float32"),
    ],
)
def test_inputs_that_do_not_fit_are_data_errors_that_say_why(tmp_path, feeds, code, words):
    with pytest.raises(DataError) as caught:
        Session(models.adder(tmp_path)).run(feeds)
    assert caught.value.code == code
    assert words in caught.value.message


def test_an_opset_newer_than_the_runtime_is_named_with_the_limit(tmp_path):
    path = models.adder(tmp_path)
    model = models.load(path)
    model.opset_import[0].version = 99
    path.write_bytes(model.SerializeToString())
    with pytest.raises(
        ModelUnrunnableError, match=r"Opset 99 is newer than onnxruntime \d+\.\d+ takes \(\d+\)\."
    ) as caught:
        Session(path)
    assert caught.value.code == "model.opset_too_new"


def test_an_ir_version_newer_than_the_runtime_is_named_with_the_limit(tmp_path):
    path = models.adder(tmp_path)
    model = models.load(path)
    model.ir_version = 99
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelUnrunnableError, match=r"IR version 99 is newer than onnxruntime \d+\.\d+ takes \(\d+\)\."):
        Session(path)


@pytest.mark.parametrize(("domain", "shown"), [("", "Frobnicate"), ("com.acme", "com.acme:Frobnicate")])
def test_an_unknown_operator_is_named(tmp_path, domain, shown):
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], domain=domain)]
    path = models.save(
        tmp_path / "m.onnx", nodes, [models.value("x")], [models.value("y")], domains=[domain] if domain else []
    )
    with pytest.raises(ModelUnrunnableError, match=f"The operator {shown} is unknown to onnxruntime") as caught:
        Session(path)
    assert caught.value.code == "model.unknown_operator"


def test_error_texts_hold_no_folder_of_this_machine(tmp_path):
    path = models.external(tmp_path, "gone.bin")
    with pytest.raises(ModelError) as caught:
        Session(path)
    assert caught.value.code == "model.external_missing"
    assert str(tmp_path) not in caught.value.message + caught.value.detail


def test_source_locations_and_signatures_are_left_out_of_sentences():
    text = (
        "[ONNXRuntimeError] : 1 : FAIL : Load model from /a/b.onnx failed:/onnxruntime_src/core/graph/model.cc:256 "
        "onnxruntime::Model::Model(onnx::ModelProto&&, const std::map<int, int>*)::<lambda()> Something (odd) is wrong."
    )
    assert one_sentence(text) == "Something (odd) is wrong."


def test_node_names_that_look_like_paths_are_kept():
    assert one_sentence("Node /encoder/layer.0/MatMul is wrong") == "Node /encoder/layer.0/MatMul is wrong."


def test_control_characters_in_the_runtimes_words_are_dropped():
    assert "\x1b" not in one_sentence("bad node \x1b[31m\x1b]0;owned\x07")


@pytest.mark.parametrize("content", [b"hello, I am text" * 20, b"\x08\x08"])
def test_a_file_that_is_no_model_is_a_model_error(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        Session(path)
    assert not isinstance(caught.value, ModelUnrunnableError)


def test_a_fifo_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "m.onnx")
    with pytest.raises(ModelError) as caught:
        Session(tmp_path / "m.onnx")
    assert caught.value.code == "model.not_a_file"


def test_an_unknown_provider_is_unavailable_and_the_hint_lists_the_others(tmp_path):
    with pytest.raises(UnavailableError) as caught:
        Session(models.adder(tmp_path), SessionSettings(provider="MoonExecutionProvider"))
    assert "CPUExecutionProvider" in caught.value.hint


def test_a_run_without_end_is_stopped_by_its_token_and_by_terminate(tmp_path):
    session = Session(models.endless_loop(tmp_path))
    feeds = {"x": np.ones((1, 4), np.float32)}
    token = CancelToken()
    threading.Timer(0.1, token.cancel).start()
    with pytest.raises(CancelledError):
        session.run(feeds, cancel=token)
    threading.Timer(0.1, session.terminate).start()
    with pytest.raises(CancelledError):
        session.run(feeds)


def test_a_failing_node_is_named_without_the_chain_that_passed_it_on(tmp_path):
    session = Session(models.unsized_convolution(tmp_path))
    with pytest.raises(DataError) as caught:
        session.run({"x": np.zeros((1, 1, 1, 1), np.float32)})
    assert caught.value.message.startswith("Conv “")
    assert "Non-zero status" not in caught.value.message
    assert "Non-zero status" in caught.value.detail


@pytest.mark.parametrize("words", [b"caf\xe9", b"Failed to allocate memory \xff"])
def test_a_string_output_that_is_no_text_is_not_taken_for_what_the_runtime_says(tmp_path, words):
    node = helper.make_node("Constant", [], ["y"], value=helper.make_tensor("c", TensorProto.STRING, [1], [words]))
    path = models.save(tmp_path / "words.onnx", [node], [], [models.value("y", TensorProto.STRING, [1])])
    with pytest.raises(ModelUnrunnableError) as caught:
        Session(path).run({})
    assert caught.value.code == "model.output_text"
    assert caught.value.message == "A string in the model's outputs is not valid UTF-8."
    assert words[:3].decode() in caught.value.detail
