"""What the runtime refuses becomes one sentence with a code and a hint; its own words stay in the detail."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from ort_text_samples import RUNTIME, SAMPLES

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.runtime import ort_errors
from quickserveml_tui.runtime.ort_errors import ALL_RUN_CAUSES, LOAD_CAUSES, MAX_DETAIL, load_error, run_error
from quickserveml_tui.runtime.session import Session

SOURCES = re.compile(r"\.(?:cc|h|cpp)\b|onnxruntime_src|::|std\.|0x[0-9a-f]{6}|ONNXRuntimeError")
TRANSLATE = {"load": load_error, "run": run_error}


def translated(stage: str, text: str, path: Path | None = None) -> QuickServeError:
    return TRANSLATE[stage](RuntimeError(text), path, RUNTIME)


def check_sentence(error: QuickServeError) -> None:
    assert 0 < len(error.message) <= 300
    assert error.message.isprintable()
    assert error.message[-1] in ".!?…"
    assert error.hint
    assert len(error.detail) <= MAX_DETAIL + 1


@pytest.mark.parametrize(("stage", "text", "code", "sentence"), SAMPLES, ids=range(len(SAMPLES)))
def test_what_the_runtime_said_is_one_sentence_of_its_family(stage, text, code, sentence):
    error = translated(stage, text)
    assert (error.code, error.message) == (code, sentence)
    check_sentence(error)
    assert not SOURCES.search(error.message)


@pytest.mark.parametrize("stage", ["load", "run"])
def test_every_family_has_a_real_text(stage):
    causes = LOAD_CAUSES if stage == "load" else ALL_RUN_CAUSES
    seen = {code for when, _, code, _ in SAMPLES if when == stage}
    assert {item.code for item in causes} - seen <= {"model.external_unreadable", "model.too_large"}


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=400), stage=st.sampled_from(["load", "run"]))
def test_any_text_is_one_printable_sentence(text, stage):
    check_sentence(translated(stage, text))


_WORDS = sorted({word for _, text, _, _ in SAMPLES for word in re.findall(r"\S+\s?", text)})


@settings(max_examples=400, deadline=None)
@given(
    parts=st.lists(st.one_of(st.sampled_from(_WORDS), st.text(max_size=8)), max_size=40),
    stage=st.sampled_from(["load", "run"]),
)
def test_any_mixture_of_what_the_runtime_says_is_one_printable_sentence(parts, stage):
    check_sentence(translated(stage, "".join(parts)))


@settings(max_examples=300, deadline=None)
@given(sample=st.sampled_from(SAMPLES), data=st.data())
def test_a_text_cut_or_changed_anywhere_is_still_one_sentence(sample, data):
    stage, text, _, _ = sample
    at = data.draw(st.integers(0, len(text)))
    put = data.draw(
        st.sampled_from(["", "\x1b[31m", "\u202e", "\x00", "(" * 50, "\n", "“", "'", '"', "{", "999999999999999999999"])
    )
    end = data.draw(st.integers(at, len(text)))
    check_sentence(translated(stage, text[:at] + put + text[end:]))


@pytest.mark.parametrize("stage", ["load", "run"])
@pytest.mark.parametrize(
    "filler", ["(", "In Node, (", "x.cc:1 a::b(", "Node (", " : ", "was false. ", "Name:'", "/home/", "\\x"]
)
def test_a_text_of_a_million_characters_costs_no_time(stage, filler):
    code = (
        "import sys; from quickserveml_tui.runtime.ort_errors import load_error, run_error\n"
        f"translate = {{'load': load_error, 'run': run_error}}[{stage!r}]\n"
        f"print(translate(RuntimeError({filler!r} * (1_000_000 // {len(filler)})), None, 'onnxruntime').code)"
    )
    root = Path(ort_errors.__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip()


def test_neither_the_sentence_nor_the_detail_names_a_folder_of_this_machine(tmp_path):
    home, other = Path.home(), Path(tempfile.gettempdir())
    model = tmp_path / "deep" / "m.onnx"
    text = (
        f"[ONNXRuntimeError] : 1 : FAIL : Load model from {model} failed:Something odd with {model.parent}/w.bin, "
        f"{home}/secret/x and {other}/y at /srv/data/models/z.bin and node /encoder/layer.0/Add"
    )
    error = translated("load", text, model)
    assert "/encoder/layer.0/Add" in error.message
    for folder in (str(model.parent), f"{other}/"):
        assert folder not in error.message + error.detail
    assert "/srv/data" not in error.message
    assert len(str(home)) == 1 or f"{home}/" not in error.message + error.detail


def test_a_hostile_name_is_shown_without_its_escapes(tmp_path):
    name = "x\x1b]52;c;aGk=\x07\u202e[@click=app.quit]"
    node = helper.make_node("NoSuch\x1b[2J", ["a"], ["b"], name=name)
    values = [helper.make_tensor_value_info(item, TensorProto.FLOAT, [1]) for item in ("a", "b")]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(QuickServeError) as caught:
        Session(path)
    assert caught.value.message.startswith("The operator NoSuch[2J is unknown")
    assert all(line.isprintable() for line in caught.value.detail.splitlines())


def test_a_name_that_is_no_utf_8_does_not_hide_the_reason(tmp_path):
    node = helper.make_node("Qqqqqqqq", ["a"], ["b"])
    values = [helper.make_tensor_value_info(item, TensorProto.FLOAT, [1]) for item in ("a", "b")]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString().replace(b"Qqqqqqqq", b"Qqqqqqq\xff"))
    with pytest.raises(QuickServeError) as caught:
        Session(path)
    assert caught.value.code == "model.unknown_operator"
    assert caught.value.message.startswith("The operator Qqqqqqq")


def test_an_exception_without_words_is_named():
    for translate in (load_error, run_error):
        error = translate(RuntimeError(), None, RUNTIME)
        check_sentence(error)
        assert "RuntimeError" in error.message


def test_this_runtime_still_says_what_the_families_know(tmp_path):
    """The texts come from the installed runtime: an upgrade that words them anew fails here, not at a user's."""
    value = helper.make_tensor_value_info
    x, y = value("x", TensorProto.FLOAT, [2]), value("y", TensorProto.FLOAT, [2])

    def refused(nodes, opset=17, ir=8, inputs=(x,)):
        graph = helper.make_graph(nodes, "g", list(inputs), [y])
        path = tmp_path / "m.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), path)
        with pytest.raises(QuickServeError) as caught:
            Session(path)
        return caught.value.code

    node = helper.make_node
    assert refused([node("Relu", ["x"], ["y"])], opset=999) == "model.opset_too_new"
    assert refused([node("Relu", ["x"], ["y"])], ir=999) == "model.ir_too_new"
    assert refused([node("Nope", ["x"], ["y"])]) == "model.unknown_operator"
    assert refused([node("Nope", ["x"], ["y"], domain="com.acme")]) == "model.unknown_domain"
    assert refused([node("Relu", ["x", "x"], ["y"])]) == "model.node_arity"
    assert refused([node("Relu", ["x"], ["y"], odd=1)]) == "model.attribute"
    assert refused([node("Relu", ["ghost"], ["y"])]) == "model.missing_value"
    assert refused([node("Relu", ["x"], ["z"])]) == "model.missing_output"
    assert refused([node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["y"])]) == "model.duplicate_name"
    assert refused([node("Add", ["x", "i"], ["y"])], inputs=[x, value("i", TensorProto.INT64, [2])]) == "model.types"
    assert refused([node("Add", ["x", "w"], ["y"])], inputs=[x, value("w", TensorProto.FLOAT, [3])]) == "model.shapes"
    assert refused([node("And", ["x", "x"], ["y"])]) == "model.types"
    assert onnxruntime.__version__
