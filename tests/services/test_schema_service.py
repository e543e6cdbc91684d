"""The schema of a request accepts what the model accepts, and its example is one of those requests."""

from __future__ import annotations

import jsonschema
import pytest

from quickserveml_tui.core.facts import ModelFacts
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.services.schema import MAX_EXAMPLE_ELEMENTS, model_schema

OUTPUT = TensorSpec("y", "float32", ("batch", 3))


def facts(inputs, outputs=(OUTPUT,)):
    return ModelFacts(
        ir_version=8, opsets={"ai.onnx": 17}, producer="", graph_name="", inputs=tuple(inputs), outputs=tuple(outputs),
        nodes=1, params=0, macs=0, size_bytes=1,
    )  # fmt: skip


def accepts(schema, document):
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema).is_valid(document)


IMAGE = TensorSpec("image", "float32", ("batch", 2, 2))


def test_both_forms_of_a_request_are_accepted():
    schema = model_schema(facts([IMAGE]))["request"]
    flat = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 2, 2], "data": [1, 2.5, 3, 4]}]}
    nested = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 2, 2], "data": [[[1, 2], [3, 4]]]}]}
    short = {"inputs": {"image": [[[1, 2], [3, 4]], [[1, 2], [3, 4]]]}}
    assert accepts(schema, flat)
    assert accepts(schema, nested)
    assert accepts(schema, short)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"inputs": {}},
        {"inputs": {"image": [[[1, 2], [3]]]}},
        {"inputs": {"image": [[["a", 2], [3, 4]]]}},
        {"inputs": []},
        {"inputs": [{"name": "other", "datatype": "FP32", "shape": [1, 2, 2], "data": [1, 2, 3, 4]}]},
        {"inputs": [{"name": "image", "datatype": "INT64", "shape": [1, 2, 2], "data": [1, 2, 3, 4]}]},
        {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 2, 3], "data": [1, 2, 3, 4, 5, 6]}]},
        {"inputs": [{"name": "image", "datatype": "FP32", "shape": [4], "data": [1, 2, 3, 4]}]},
    ],
    ids=str,
)
def test_requests_that_do_not_fit_are_refused(document):
    assert not accepts(model_schema(facts([IMAGE]))["request"], document)


def test_all_inputs_must_be_given_in_any_order():
    schema = model_schema(facts([IMAGE, TensorSpec("flag", "bool", ())]))["request"]
    image = {"name": "image", "datatype": "FP32", "shape": [1, 2, 2], "data": [1, 2, 3, 4]}
    flag = {"name": "flag", "datatype": "BOOL", "shape": [], "data": [True]}
    assert accepts(schema, {"inputs": [flag, image]})
    assert not accepts(schema, {"inputs": [image]})
    assert not accepts(schema, {"inputs": [image, image]})


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float32", 0.0), ("float16", 0.0), ("int64", 0), ("uint8", 0), ("bool", False), ("string", "")],
)
def test_the_example_is_a_request_with_free_dims_of_one(dtype, value):
    document = model_schema(facts([TensorSpec("x", dtype, ("batch", None, 3))]))
    (tensor,) = document["example"]["inputs"]
    assert (tensor["shape"], tensor["data"]) == ([1, 1, 3], [value] * 3)
    assert accepts(document["request"], document["example"])
    assert "note" not in document


def test_scalars_empty_tensors_and_unknown_ranks_have_examples():
    specs = [TensorSpec("a", "float32", ()), TensorSpec("b", "float32", (0, 4)), TensorSpec("c", "float32", None)]
    document = model_schema(facts(specs))
    assert [tensor["shape"] for tensor in document["example"]["inputs"]] == [[], [0, 4], [1]]
    assert accepts(document["request"], document["example"])


def test_an_input_that_json_cannot_carry_or_hold_has_no_example_and_says_why():
    sequence = model_schema(facts([TensorSpec("x", "seq(tensor(float32))", None, "sequence")]))
    assert sequence["example"] is None
    assert "seq(tensor(float32))" in sequence["note"]
    huge = model_schema(facts([TensorSpec("x", "float32", (2**60, 4))]))
    assert huge["example"] is None
    assert "binary" in huge["note"]
    assert model_schema(facts([TensorSpec("x", "float32", (MAX_EXAMPLE_ELEMENTS,))]))["example"] is not None


def test_the_response_of_both_forms_is_accepted():
    outputs = [
        TensorSpec("y", "float32", ("batch", 2)),
        TensorSpec("z", "seq(map(int64,tensor(float32)))", None, "sequence"),
    ]
    schema = model_schema(facts([IMAGE], outputs))["response"]
    protocol = {
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 0.5]}],
    }
    assert accepts(schema, protocol)
    assert accepts(schema, {"outputs": {"y": [[0.5, 0.5]], "z": [{"0": 0.5, "1": 0.5}]}, "latency_ms": 0.1})
    assert not accepts(schema, {"outputs": {"y": [["a"]], "z": []}})
