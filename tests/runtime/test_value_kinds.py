"""Values of every kind and dtype go into a real session and come out of it, made up or given."""

from __future__ import annotations

import numpy as np
import pytest
from value_models import (
    DTYPES,
    RUNTIME_DTYPES,
    helper,
    map_type,
    number,
    optional,
    runs,
    same,
    save,
    seq,
    tensor,
    tensor_type,
    value_info,
)

from quickserveml_tui.core.errors import DataError, ModelError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.values import SparseValue
from quickserveml_tui.runtime.dtypes import NUMPY_DTYPES, integer_bounds, numpy_dtype
from quickserveml_tui.runtime.feeds import synthesize
from quickserveml_tui.runtime.inputs import fit_inputs
from quickserveml_tui.runtime.ort_values import pack_bits, unpack_bits
from quickserveml_tui.runtime.probing import find_feeds
from quickserveml_tui.runtime.session import Session
from quickserveml_tui.services.outputs import encode

node = helper.make_node
PLAIN = FeedSpec()


@pytest.fixture
def open_model(tmp_path):
    """Opens a model made of nodes, inputs and outputs."""
    made = iter(range(100))
    return lambda *args, **kwargs: Session(save(tmp_path / f"{next(made)}.onnx", *args, **kwargs))


def find(session, feed=PLAIN):
    return find_feeds(session, feed, CancelToken())


@pytest.mark.parametrize("dtype", RUNTIME_DTYPES)
def test_every_dtype_that_the_runtime_takes_is_made_up_and_runs(tmp_path, dtype):
    known = runs(dtype)
    if known is None:
        pytest.skip(f"this runtime takes {dtype} nowhere")
    data, operator = known
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    session = Session(path)
    for size in (0, 1, 5, 8):
        found = find(session, FeedSpec(dims={"n": size}, seed=3))
        given, made = found.feeds["x"], found.outputs["y"]
        assert given.dtype == numpy_dtype(dtype)
        if operator in ("Identity", "Transpose"):
            assert same(made, given)
        elif operator == "Cast":
            np.testing.assert_array_equal(made, given.astype(np.float32))
        else:
            assert made.tolist() == [size]


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "uint2", "float4e2m1", "float8e8m0"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 3), (16,)])
def test_elements_of_a_few_bits_are_packed_low_bits_first_and_unpacked_again(dtype, shape):
    low, high = integer_bounds(dtype) or (0, 4)
    size = int(np.prod(shape, dtype=int))
    values = np.resize(np.arange(low, high + 1), size).reshape(shape).astype(numpy_dtype(dtype))
    assert same(unpack_bits(pack_bits(values), dtype, shape), values)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"])
def test_short_floats_go_in_where_no_output_is_one(open_model, dtype):
    session = open_model(
        [node("Cast", ["x"], ["y"], to=1)], [tensor("x", dtype, [3])], [tensor("y", "float32", [3])], opset=19
    )
    found = find(session)
    np.testing.assert_array_equal(found.outputs["y"], found.feeds["x"].astype(np.float32))


def test_the_first_element_lies_in_the_low_bits():
    assert pack_bits(np.array([1, -2, 3], numpy_dtype("int4"))) == bytes([0xE1, 0x03])
    assert pack_bits(np.array([1, 2, 3, 0, 1], numpy_dtype("uint2"))) == bytes([0b00111001, 0b01])


@pytest.mark.parametrize("dtype", [name for name in NUMPY_DTYPES if not name.startswith("complex")])
def test_sequences_of_every_element_type_are_made_up_and_come_back(open_model, dtype):
    kind = seq(tensor_type(number(dtype), ["k", 2]))
    session = open_model([node("Identity", ["s"], ["y"])], [value_info("s", kind)], [value_info("y", kind)])
    for length in (0, 1, 3):
        found = find(session, FeedSpec(lengths={"s": length}, dims={"k": 4}))
        assert len(found.feeds["s"]) == length
        assert same(found.outputs["y"], found.feeds["s"])
        assert all(item.shape == (4, 2) and item.dtype == numpy_dtype(dtype) for item in found.feeds["s"])


def test_elements_of_a_sequence_take_linked_dims_and_shapes_from_overrides(open_model):
    kind = seq(tensor_type(1, ["batch", 3]))
    nodes = [node("ConcatFromSequence", ["s"], ["c"], axis=0), node("Add", ["c", "x"], ["y"])]
    session = open_model(
        nodes, [value_info("s", kind), tensor("x", "float32", ["batch", 3])], [tensor("y", "float32", None)]
    )
    found = find(session, FeedSpec(dims={"batch": 5}, lengths={"s": 1}))
    assert (found.shapes["s"], found.outputs["y"].shape) == ((5, 3), (5, 3))
    assert find(session, FeedSpec(shapes={"s": (2, 3)}, lengths={"s": 1})).shapes["x"] == (2, 3)


@pytest.mark.parametrize(
    ("dtype", "output"), [("float32", "bfloat16"), ("string", "bfloat16"), ("int64", "float8e5m2")]
)
def test_sequences_and_strings_go_together_with_outputs_that_numpy_lacks(open_model, dtype, output):
    kind = seq(tensor_type(number(dtype), None))
    nodes = [
        node("Identity", ["s"], ["z"]),
        node("Cast", ["f"], ["b"], to=number(output)),
        node("Identity", ["t"], ["u"]),
    ]
    inputs = [value_info("s", kind), tensor("f", "float32", [2]), tensor("t", "string", ["n"])]
    outputs = [value_info("z", kind), tensor("b", output, [2]), tensor("u", "string", ["n"])]
    session = open_model(nodes, inputs, outputs, opset=19)
    for length in (0, 2):
        found = find(session, FeedSpec(lengths={"s": length}, dims={"n": 2}, words={"t": ("a", "ü")}))
        assert same(found.outputs["z"], found.feeds["s"])
        assert same(found.outputs["u"], found.feeds["t"])
        assert found.outputs["b"].dtype == numpy_dtype(output)


@pytest.mark.parametrize(("key", "vocabulary"), [("string", "string_vocabulary"), ("int64", "int64_vocabulary")])
def test_maps_are_made_up_and_taken(open_model, key, vocabulary):
    words = ["a", "b"] if key == "string" else [0, 1]
    vectorizer = node("DictVectorizer", ["m"], ["y"], domain="ai.onnx.ml", **{vocabulary: words})
    session = open_model([vectorizer], [value_info("m", map_type(key))], [tensor("y", "float32", None)], ml=True)
    feed = FeedSpec(words={"m": ("a", "b")}) if key == "string" else FeedSpec()
    found = find(session, feed)
    np.testing.assert_allclose(found.outputs["y"][0], [found.feeds["m"][word] for word in words], rtol=1e-6)
    given = fit_inputs({"m": {str(word): index + 1 for index, word in enumerate(words)}}, session.inputs)
    np.testing.assert_array_equal(session.run(given)["y"], [[1, 2]])
    for wrong in ({}, [1.0], {"a": [1, 2]}, {1.5: 1}, None):
        with pytest.raises(DataError):
            fit_inputs({"m": wrong}, session.inputs)
    with pytest.raises(UsageError):
        find(session, FeedSpec(lengths={"m": 0}))


@pytest.mark.parametrize(("key", "value"), [("string", "int64"), ("string", "float64"), ("int64", "string")])
def test_maps_that_the_binding_cannot_pass_are_one_clear_refusal(open_model, key, value):
    vocabulary = {"string_vocabulary": ["a"]} if key == "string" else {"int64_vocabulary": [1]}
    vectorizer = node("DictVectorizer", ["m"], ["y"], domain="ai.onnx.ml", **vocabulary)
    session = open_model([vectorizer], [value_info("m", map_type(key, value))], [tensor("y", value, None)], ml=True)
    with pytest.raises(ModelError) as caught:
        find(session)
    assert caught.value.code == "model.input_unsupported"
    assert "map from string or int64 to float" in caught.value.hint.replace("maps", "map")
    with pytest.raises(ModelError):
        fit_inputs({"m": {"1": 1}}, session.inputs)


OPTIONALS = {
    "tensor": optional(tensor_type(1, [2])),
    "strings": optional(tensor_type(8, ["n"])),
    "sequence": optional(seq(tensor_type(1, ["n"]))),
    "sequence of strings": optional(seq(tensor_type(8, None))),
}


@pytest.mark.parametrize("kind", OPTIONALS.values(), ids=OPTIONALS.keys())
def test_optional_inputs_have_a_value_unless_they_are_left_out(open_model, kind):
    nodes = [node("OptionalHasElement", ["o"], ["h"]), node("Identity", ["o"], ["y"])]
    session = open_model(nodes, [value_info("o", kind)], [tensor("h", "bool", []), value_info("y", kind)])
    found = find(session)
    assert found.outputs["h"].item() is True
    assert same(found.outputs["y"], found.feeds["o"])
    left_out = find(session, FeedSpec(absent=("o",)))
    assert (left_out.outputs["h"].item(), left_out.outputs["y"], left_out.feeds["o"]) == (False, None, None)
    assert fit_inputs({}, session.inputs) == fit_inputs({"o": None}, session.inputs) == {"o": None}


@pytest.mark.parametrize("absent", [True, False])
def test_optional_values_go_together_with_outputs_that_numpy_lacks(open_model, absent):
    kind = optional(seq(tensor_type(1, [2])))
    nodes = [
        node("OptionalHasElement", ["o"], ["h"]),
        node("Identity", ["o"], ["y"]),
        node("Cast", ["x"], ["b"], to=number("bfloat16")),
    ]
    outputs = [tensor("h", "bool", []), value_info("y", kind), tensor("b", "bfloat16", [2])]
    session = open_model(nodes, [value_info("o", kind), tensor("x", "float32", [2])], outputs)
    found = find(session, FeedSpec(absent=("o",) if absent else ()))
    assert found.outputs["h"].item() is not absent
    assert same(found.outputs["y"], found.feeds["o"])


def test_lists_of_maps_come_out_as_they_are(open_model):
    zipmap = node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[3, 5])
    session = open_model(
        [zipmap], [tensor("x", "float32", ["n", 2])], [value_info("y", seq(map_type("int64")))], ml=True
    )
    assert session.run({"x": np.array([[1, 2], [3, 4]], np.float32)})["y"] == [{3: 1.0, 5: 2.0}, {3: 3.0, 5: 4.0}]


def test_sparse_inputs_are_made_up_and_taken_from_json_and_from_dense_ones(open_model):
    sparse = helper.make_sparse_tensor_value_info("s", 1, ["n", 3])
    product = node("SparseToDenseMatMul", ["s", "d"], ["y"], domain="com.microsoft")
    graph = helper.make_graph([product], "g", [sparse, tensor("d", "float32", [3, 2])], [tensor("y", "float32", None)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    session = open_model_bytes(open_model, data)
    found = find(session, FeedSpec(dims={"n": 4}))
    np.testing.assert_allclose(found.outputs["y"], dense(found.feeds["s"]) @ found.feeds["d"], rtol=1e-6)
    for given in (
        {"shape": [2, 3], "indices": [[0, 1], [1, 2]], "values": [2, 3]},
        [[0, 2, 0], [0, 0, 3]],
        np.array([[0, 2, 0], [0, 0, 3]], np.float32),
    ):
        feeds = fit_inputs({"s": given, "d": np.eye(3, 2)}, session.inputs)
        np.testing.assert_array_equal(session.run(feeds)["y"], [[0, 2], [0, 0]])
    with pytest.raises(DataError):
        fit_inputs({"s": {"shape": [2, 3], "indices": [[5, 1]], "values": [2]}, "d": np.eye(3, 2)}, session.inputs)


def open_model_bytes(open_model, data):
    """A session on a model that `open_model` did not make."""
    path = open_model(
        [node("Identity", ["x"], ["y"])], [tensor("x", "float32", [1])], [tensor("y", "float32", [1])]
    ).path
    path.write_bytes(data)
    return Session(path)


def dense(value):
    made = np.zeros(value.shape, value.values.dtype)
    made[tuple(value.indices.T)] = value.values
    return made


def test_a_sparse_output_is_a_sparse_value_whatever_type_the_runtime_says_it_has(open_model):
    places = helper.make_tensor("i", 7, [2], [1, 5])
    constant = helper.make_sparse_tensor(helper.make_tensor("v", 1, [2], [1.5, 2.5]), places, [2, 3])
    made = helper.make_sparse_tensor_value_info("y", 1, [2, 3])
    session = open_model([node("Constant", [], ["y"], sparse_value=constant)], [], [made])
    value = session.run({})["y"]
    assert isinstance(value, SparseValue)
    np.testing.assert_array_equal(dense(value), np.array([[0, 1.5, 0], [0, 0, 2.5]], np.float32))


@pytest.mark.parametrize("dtype", [name for name in DTYPES if not name.startswith("complex") and name != "float64"])
def test_outputs_as_json_can_be_given_as_inputs_and_are_the_same(dtype):
    made = synthesize((TensorSpec("x", dtype, (3, 2)),), FeedSpec(seed=5))["x"]
    (back,) = fit_inputs({"x": encode(made)}, (TensorSpec("x", dtype, (3, 2)),)).values()
    assert same(back, made)


def test_nan_and_infinities_in_json_are_numbers_for_floats_and_words_for_strings():
    values = [float("nan"), float("inf"), float("-inf"), 1.0]
    spec = (TensorSpec("x", "float32", (4,)),)
    np.testing.assert_array_equal(fit_inputs({"x": encode(np.array(values))}, spec)["x"], np.array(values, np.float32))
    assert fit_inputs({"x": ["NaN"]}, (TensorSpec("x", "string", (1,)),))["x"].tolist() == ["NaN"]
    with pytest.raises(DataError):
        fit_inputs({"x": ["NaN", "nonsense", 1, 2]}, spec)


@pytest.mark.parametrize(
    "feed",
    [
        FeedSpec(lengths={"x": 2}),
        FeedSpec(lengths={"nope": 2}),
        FeedSpec(words={"x": ("a",)}),
        FeedSpec(absent=("x",)),
        FeedSpec(absent=("nope",)),
    ],
    ids=str,
)
def test_overrides_for_other_kinds_than_the_input_has_are_refused(feed):
    with pytest.raises(UsageError) as caught:
        synthesize((TensorSpec("x", "float32", (2,)),), feed)
    assert caught.value.hint


def test_words_are_chosen_by_the_seed():
    inputs = (TensorSpec("t", "string", (50,)),)
    first = synthesize(inputs, FeedSpec(words={"t": ("a", "b")}, seed=1))["t"]
    assert set(first.tolist()) == {"a", "b"}
    assert same(first, synthesize(inputs, FeedSpec(words={"t": ("a", "b")}, seed=1))["t"])
    assert not same(first, synthesize(inputs, FeedSpec(words={"t": ("a", "b")}, seed=2))["t"])


@pytest.mark.parametrize(
    ("dtype", "value", "wrong"), [("int4", [-8, 7], [8]), ("uint2", [0, 3], [-1]), ("int2", [1.0, -2.0], [0.5])]
)
def test_integers_of_a_few_bits_are_held_to_their_range(dtype, value, wrong):
    spec = (TensorSpec("x", dtype, None),)
    assert fit_inputs({"x": value}, spec)["x"].astype(int).tolist() == value
    with pytest.raises(DataError):
        fit_inputs({"x": wrong}, spec)


def test_bare_bytes_that_numpy_saved_are_taken_for_the_type_that_the_model_wants():
    made = np.array([1, 2.5, -3]).astype(numpy_dtype("bfloat16"))
    assert same(fit_inputs({"x": made.view("V2")}, (TensorSpec("x", "bfloat16", (3,)),))["x"], made)
    with pytest.raises(DataError):
        fit_inputs({"x": made.view("V2")}, (TensorSpec("x", "float32", (3,)),))


def test_values_that_were_made_for_a_seed_never_change():
    """Golden outputs were recorded with them."""
    inputs = (TensorSpec("f", "float32", (3,)), TensorSpec("i", "int64", (6,)), TensorSpec("b", "bool", (6,)))
    made = synthesize(inputs, FeedSpec(seed=7))
    np.testing.assert_allclose(made["f"], [0.30868983268737793, 0.32806307077407837, 0.2421014904975891], rtol=1e-7)
    assert made["i"].tolist() == [1, 1, 0, 0, 0, 1]
    assert made["b"].tolist() == [True, True, True, True, True, False]
