"""Golden outputs of every kind of value: recorded, verified, and given as JSON."""

from __future__ import annotations

import json

import pytest
from golden_homes import golden_of
from onnx import TensorProto, helper

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import ConflictError, DataError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.services.home import open_workbench

FLOAT = TensorProto.FLOAT


def tensor(name, dtype=FLOAT, shape=("n", 3)):
    return helper.make_tensor_value_info(name, dtype, list(shape))


def sequence_model():
    output = helper.make_tensor_sequence_value_info("y", FLOAT, None)
    return [helper.make_node("SplitToSequence", ["x"], ["y"], axis=1)], tensor("x"), output


def map_model():
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(FLOAT, []))
    )
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["a", "b", "c"])
    return [node], tensor("x"), helper.make_value_info("y", kind)


def string_model():
    return [helper.make_node("Identity", ["x"], ["y"])], *(tensor(name, TensorProto.STRING) for name in "xy")


def cast_model(dtype):
    return [helper.make_node("Cast", ["x"], ["y"], to=dtype)], tensor("x"), tensor("y", dtype)


def optional_model():
    tensor_type = helper.make_tensor_type_proto(FLOAT, ["n", 3])
    x = helper.make_value_info("x", helper.make_optional_type_proto(tensor_type))
    return (
        [helper.make_node("Identity", ["x"], ["y"])],
        x,
        helper.make_value_info("y", helper.make_optional_type_proto(tensor_type)),
    )


KINDS = {
    "sequence": sequence_model,
    "map": map_model,
    "string": string_model,
    "bool": lambda: cast_model(TensorProto.BOOL),
    "int64": lambda: cast_model(TensorProto.INT64),
    "float16": lambda: cast_model(TensorProto.FLOAT16),
    "bfloat16": lambda: cast_model(TensorProto.BFLOAT16),
    "float8": lambda: cast_model(TensorProto.FLOAT8E4M3FN),
    "int4": lambda: cast_model(TensorProto.INT4),
    "optional": optional_model,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    home = open_workbench(folder / "home")
    for name, build in KINDS.items():
        nodes, x, y = build()
        graph = helper.make_graph(nodes, name, [x], [y])
        domains = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
        (folder / f"{name}.onnx").write_bytes(
            helper.make_model(graph, opset_imports=domains, ir_version=10).SerializeToString()
        )
        home.catalog.add(AddRequest(str(folder / f"{name}.onnx")))
    yield home
    home.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_recorded_and_verified(home, kind, tmp_path):
    first = home.golden.record(kind, "a", feed=FeedSpec(batch=2, seed=1))
    assert home.golden.record(kind, "b", feed=FeedSpec(batch=2, seed=1)).outputs_digest == first.outputs_digest
    other = home.golden.record(kind, "c", feed=FeedSpec(batch=2, seed=2))
    assert home.golden.verify(kind).count == "3 of 3"
    inputs, outputs = home.golden.export(kind, "a", str(tmp_path))
    assert home.golden.record(kind, "d", inputs=inputs, outputs=outputs).outputs_digest == first.outputs_digest
    if other.outputs_digest != first.outputs_digest:
        wrong = home.golden.export(kind, "c", str(tmp_path))[1]
        with pytest.raises(ConflictError):
            home.golden.record(kind, "e", inputs=inputs, outputs=wrong, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "inputs", "good", "bad"),
    [
        ("sequence", [[1, 2, 3]], [[[1]], [[2]], [[3]]], [[[1]], [[2]]]),
        ("map", [[0.5, 0.25, 0.25]], [{"a": 0.5, "b": 0.25, "c": 0.25}], [{"a": 0.5, "b": 0.25}]),
        ("string", [["a", "b", "ü"]], [["a", "b", "ü"]], [[1, 2, 3]]),
        ("bool", [[0, 1, 2]], [[False, True, True]], [["a", "b", "c"]]),
        ("int64", [[0, 1, 2]], [[0, 1, 2]], [[0, 1.5, 2]]),
        ("float16", [[0, 1, 0.5]], [[0, 1, 0.5]], "x"),
        ("bfloat16", [[0, 1, 0.5]], [[0, 1, 0.5]], None),
    ],
)
def test_json_is_read_in_the_form_of_what_the_model_answers(home, kind, inputs, good, bad, tmp_path):
    source, expected = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text(json.dumps({"x": inputs}))
    expected.write_text(json.dumps({"y": good}))
    name = f"json-{kind}"
    assert home.golden.record(kind, name, inputs=source, outputs=expected).name == name
    expected.write_text(json.dumps({"y": bad}))
    with pytest.raises((DataError, ConflictError)):
        home.golden.record(kind, f"{name}-bad", inputs=source, outputs=expected)
    assert f"{name}-bad" not in golden_of(home, kind)


def test_numbers_that_json_has_no_word_for_are_read_by_name(home, tmp_path):
    source, expected = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text(json.dumps({"x": [[1, 2, 3]]}))
    expected.write_text(json.dumps({"y": [["NaN", "Infinity", "-Infinity"]]}))
    with pytest.raises(ConflictError) as caught:
        home.golden.record("float16", "odd", inputs=source, outputs=expected)
    assert caught.value.code == "golden.differs"
