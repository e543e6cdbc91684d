"""Requests become the arrays they spell, or an error; nothing is guessed, cut or overflowed."""

import contextlib
import json
import struct

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.wire import oip_documents
from quickserveml_tui.wire.binary_tensors import array_from_bytes, array_to_bytes
from quickserveml_tui.wire.datatypes import DATATYPE_BY_ONNX, tensor_type
from quickserveml_tui.wire.oip_request import RequestDecoder
from quickserveml_tui.wire.oip_response import ResponseEncoder
from quickserveml_tui.wire.predict import fit


def kind(dtype="float32", shape=(None, 4), name="x"):
    return tensor_type(TensorSpec(name, dtype, shape))


X, Y = kind(), kind(name="y", shape=(None, 3))
DECODER = RequestDecoder([X], [Y, kind(name="z")])


def body(data, shape, datatype="FP32", **more):
    tensor = {"name": "x", "shape": list(shape), "datatype": datatype, "data": data}
    return orjson.dumps({"inputs": [tensor]} | more)


def test_flat_and_nested_data_mean_the_same():
    nested = DECODER.decode(body([[1, 2, 3, 4], [5, 6, 7, 8]], (2, 4)))
    flat = DECODER.decode(body([1, 2, 3, 4, 5, 6, 7, 8], (2, 4)))
    assert np.array_equal(nested.feeds["x"], flat.feeds["x"])
    assert flat.feeds["x"].dtype == np.float32


@pytest.mark.parametrize("rows", [1, 100, 3000])
def test_small_and_large_documents_give_the_same_arrays(rows):
    want = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
    for data in (want.tolist(), want.reshape(-1).tolist()):
        request = DECODER.decode(body(data, want.shape, id="a", parameters={"p": [1, {"q": None}]}))
        assert np.array_equal(request.feeds["x"], want)
        assert request.id == "a"


LARGE = 4096


@pytest.mark.parametrize(
    "data",
    [
        [[1.0] * 4] * (LARGE - 1) + [[1.0] * 3],
        [[1.0] * 4] * (LARGE - 2) + [[1.0] * 3, [1.0] * 5],
        [[1.0] * 4] * (LARGE - 1) + [1.0, 1.0, 1.0, 1.0],
        [1.0] * (LARGE * 4 - 1) + [None],
        [1.0] * (LARGE * 4 - 1) + ["1"],
        [1.0] * (LARGE * 4 - 1) + [True],
        [1.0] * (LARGE * 4 - 1) + [1e39],
        [1.0] * (LARGE * 4 - 1) + [[1.0]],
        [1.0] * (LARGE * 4 - 1),
        [[1.0] * (LARGE * 4)],
        [[]] * LARGE * 4,
        ["1"] * (LARGE * 4),
    ],
    ids=range(12),
)
def test_large_documents_are_as_strict_as_small_ones(data):
    assert len(body(data, (LARGE, 4))) > oip_documents.SIMD_BYTES
    with pytest.raises(DataError):
        DECODER.decode(body(data, (LARGE, 4)))
    assert DECODER.decode(body([0.5] * LARGE * 4, (LARGE, 4))).feeds["x"].shape == (LARGE, 4)


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"1e999", b"1.", b"01", b"'1'", b"1 2"])
def test_large_documents_with_wrong_numbers_are_no_json(text):
    data = b'{"inputs":[{"name":"x","shape":[4096,4],"datatype":"FP32","data":[' + b"1.5," * 16383 + text + b"]}]}"
    with pytest.raises(DataError) as caught:
        DECODER.decode(data)
    assert caught.value.code == "request.json"


@pytest.mark.parametrize("shape", [(LARGE * 4,), (LARGE, 4), (LARGE // 4, 4, 4)])
def test_large_arrays_become_no_python_lists(shape):
    data = np.full(shape, 0.5).tolist()
    (tensor,) = oip_documents.parse_document(body(data, shape))["inputs"]
    assert not isinstance(tensor["data"], list)
    assert tensor["data"].nesting == shape


@pytest.mark.parametrize(
    "data", [[0.5, [0.5]] * (LARGE * 2), [[0.5, 0.5, [0.5], 0.5]] * LARGE, [[0.5, [0.5]] * 2] * LARGE]
)
def test_deeper_nesting_is_not_flattened(data):
    with pytest.raises(DataError) as caught:
        DECODER.decode(body(data, (LARGE, 4)))
    assert caught.value.code == "data.ragged"


def test_of_repeated_keys_the_last_counts_also_in_large_documents():
    text = body([0.5] * LARGE * 4, (LARGE, 4))
    first = text.replace(b'"data"', b'"data": [true], "data"')
    assert DECODER.decode(first).feeds["x"].shape == (LARGE, 4)
    with pytest.raises(DataError):
        DECODER.decode(text.replace(b"]}]", b'], "data": [true]}]'))


def test_large_documents_may_nest_deeply_beside_the_data():
    deep = b'"parameters": {"p": ' + b"[" * 500 + b"]" * 500 + b'}, "inputs"'
    text = body([0.5] * LARGE * 4, (LARGE, 4)).replace(b'"inputs"', deep)
    assert DECODER.decode(text).feeds["x"].shape == (LARGE, 4)


def test_integers_keep_all_digits():
    decoder = RequestDecoder([kind("int64", (None,))], [Y])
    values = [2**63 - 1, -(2**63), 2**53 + 1] * 1000
    assert decoder.decode(body(values, (3000,), "INT64")).feeds["x"].tolist() == values
    decoder = RequestDecoder([kind("uint64", (None,))], [Y])
    assert decoder.decode(body([2**64 - 1, 0, 2**63], (3,), "UINT64")).feeds["x"].tolist() == [2**64 - 1, 0, 2**63]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int8", [128]),
        ("uint8", [-1]),
        ("uint64", [-1, 2**63]),
        ("uint64", [1.5, 2**63]),
        ("int64", [2**63]),
        ("int32", [1.0]),
        ("int32", [True]),
        ("bool", [1]),
        ("float16", [70000.0]),
        ("float32", [1e39]),
        ("float32", [1.0, True]),
        ("string", [1]),
        ("string", [None]),
        ("bfloat16", [1.0]),
    ],
)
def test_values_beyond_their_dtype_are_refused(dtype, values):
    decoder = RequestDecoder([kind(dtype, (None,))], [Y])
    with pytest.raises(DataError, match="Input “x”"):
        decoder.decode(body(values, (len(values),), DATATYPE_BY_ONNX[dtype]))


def test_declared_sizes_are_compared_before_anything_is_made():
    for shape in ((250_000_000, 4), (10**18, 4), (0, 4)):
        with pytest.raises(DataError, match="its shape needs"):
            DECODER.decode(body([1, 2, 3, 4], shape))
    assert DECODER.decode(body([], (0, 4))).feeds["x"].shape == (0, 4)


def test_binary_tensors_are_views_of_the_body():
    data = np.arange(8, dtype=np.float32).tobytes()
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32", "parameters": {"binary_data_size": 32}}
    header = json.dumps({"inputs": [tensor]}).encode()
    header += b" " * (-len(header) % 64)
    memory = np.empty(len(header) + 32 + 64, np.uint8)
    start = -memory.ctypes.data % 64
    whole = memory[start : start + len(header) + 32]
    whole[:] = np.frombuffer(header + data, np.uint8)
    array = DECODER.decode(whole.data, len(header)).feeds["x"]
    assert array.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert np.shares_memory(array, memory)


def test_outputs_are_planned_by_output_then_by_request():
    plan = DECODER.decode(body([1, 2, 3, 4], (1, 4), parameters={"binary_data_output": True})).plan
    assert (plan.names, plan.binary) == (("y", "z"), (True, True))
    outputs = [{"name": "z"}, {"name": "y", "parameters": {"binary_data": True}}]
    plan = DECODER.decode(body([1, 2, 3, 4], (1, 4), outputs=outputs)).plan
    assert (plan.names, plan.binary) == (("z", "y"), (False, True))


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(0, 300)))
def test_no_bytes_do_anything_but_decode_or_raise_a_data_error(data, length):
    with contextlib.suppress(DataError):
        DECODER.decode(data, length)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(JSON, JSON, JSON, st.sampled_from(["bool", "int8", "uint64", "float32", "string"]), st.booleans())
def test_no_document_does_anything_but_decode_or_raise_a_data_error(data, shape, extra, dtype, large):
    decoder = RequestDecoder([kind(dtype, (None, 4))], [Y])
    tensor = {"name": "x", "shape": shape, "datatype": DATATYPE_BY_ONNX[dtype], "data": data, "parameters": extra}
    document = {"inputs": [tensor], "outputs": extra, "pad": "x" * (oip_documents.SIMD_BYTES if large else 0)}
    with contextlib.suppress(DataError):
        decoder.decode(json.dumps(document).encode())


@given(st.lists(st.text(max_size=20), max_size=20))
def test_strings_survive_the_binary_form(texts):
    strings = kind("string", (None,))
    array = np.empty(len(texts), object)
    array[:] = texts
    try:
        raw = array_to_bytes(array, "BYTES")
    except UnicodeEncodeError:
        return
    assert array_from_bytes(memoryview(raw), (len(texts),), strings).tolist() == texts


def test_a_string_length_beyond_the_data_is_refused():
    strings = kind("string", (None,))
    for raw in (struct.pack("<I", 2**32 - 1) + b"x", b"\1\0\0", struct.pack("<I", 1) + b"ab"):
        with pytest.raises(DataError):
            array_from_bytes(memoryview(raw), (1,), strings)


def test_answers_are_json_that_names_the_model():
    encoder = ResponseEncoder('m"1', "2", [Y, kind("string", (None,), "s")])
    plan = RequestDecoder([X], [Y, kind("string", (None,), "s")]).decode(body([1, 2, 3, 4], (1, 4))).plan
    strings = np.array(['a"b', "ü"], object)
    raw, length = encoder.encode(plan, 'i"d', [np.array([[0.1, 2, 3]], np.float32), strings])
    assert length is None
    assert json.loads(raw) == {
        "model_name": 'm"1',
        "model_version": "2",
        "id": 'i"d',
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [0.1, 2.0, 3.0]},
            {"name": "s", "datatype": "BYTES", "shape": [2], "data": ['a"b', "ü"]},
        ],
    }


@pytest.mark.parametrize(
    ("given_shape", "wanted", "result"),
    [
        ((2, 4), (None, 4), (2, 4)),
        ((4,), (None, 4), (1, 4)),
        ((8,), (None, 4), (2, 4)),
        ((3, 2), (1, 3, 2), (1, 3, 2)),
        ((6,), (1, 3, 2), (1, 3, 2)),
        ((6,), (None, 3, None), (2, 3, 1)),
        ((5,), (None, 4), None),
        ((2, 2), (None, 4), None),
        ((0,), (None, 4), None),
        ((2, 3, 4), (None, 4), None),
    ],
)
def test_short_forms_are_fitted_only_where_there_is_one_way(given_shape, wanted, result):
    array = np.zeros(given_shape, np.float32)
    if result is None:
        with pytest.raises(DataError, match="expected"):
            fit(array, kind(shape=wanted))
    else:
        assert fit(array, kind(shape=wanted)).shape == result
