"""Requests whose surroundings are known must be read exactly as if nothing were known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.wire.datatypes import TensorType
from quickserveml_tui.wire.oip_request import RequestDecoder
from quickserveml_tui.wire.request_forms import MAX_BYTES


def decoder(datatype="FP32", dtype=np.float32):
    kind = TensorType("x", datatype, np.dtype(dtype), (-1, 4))
    return RequestDecoder([kind], [TensorType("y", "FP32", np.dtype(np.float32), (-1, 3))])


def written(text, *, shape=(1, 4), datatype="FP32", **members):
    """A request with `text` in its list."""
    document = {"id": "r", "inputs": [{"name": "x", "shape": list(shape), "datatype": datatype, "data": []}]} | members
    return json.dumps(document).replace('"data": []', f'"data": [{text}]').encode()


def by_form(known, bodies):
    """The arrays that requests of one form get from their shared run; None where each is read for itself."""
    forms = [known.forms.find(body) for body in bodies]
    assert forms[0] is not None
    assert all(form is forms[0] for form in forms)
    form = forms[0]
    feeds = form.feeds([form.text(body) for body in bodies])
    assert [form.body(form.text(body)) for body in bodies] == list(bodies)
    return feeds and feeds["x"]


def plainly(body):
    """What a decoder that knows nothing makes of a body."""
    try:
        return decoder().decode(body).feeds["x"]
    except DataError as error:
        return error.code


@pytest.fixture(scope="module")
def known():
    found = decoder()
    found.decode(written("1, 2, 3, 4"))
    return found


PIECES = st.sampled_from([
    *("1", "2.5", "-0", "1e39", "3.4028235e38", "1e400", "true", "null", "NaN", '"a"', "", " ", "99999999999999999999"),
    *("[", "]", "],[", "]],[[", "1],[2", '"', '"],"data":[1', "{", "}", ",", "\\", "\n", "1,2,3,4", "1,2,3", "[1,2,3,4]"),
])  # fmt: skip
TEXTS = st.one_of(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4).map(
        lambda values: ",".join(map(repr, values))
    ),
    st.lists(PIECES, max_size=5).map(",".join),
    st.lists(PIECES, max_size=6).map("".join),
)


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_requests_of_a_known_form_are_read_as_without_it(known, texts):
    bodies = [written(text) for text in texts if text]
    if not bodies:
        return
    expected = [plainly(body) for body in bodies]
    found = by_form(known, bodies)
    if found is None:  # then each is read for itself; that must be rare: never where all are plain numbers
        return
    assert all(isinstance(array, np.ndarray) for array in expected), (texts, expected)
    assert found.dtype == np.float32
    assert found.tobytes() == np.concatenate(expected).tobytes()


def test_plain_numbers_take_the_short_way(known):
    bodies = [written("1, 2, 3, 4"), written("5,6e3,-7.25,0.1"), written("1 , 2,3,4")]
    assert by_form(known, bodies).tolist() == [[1, 2, 3, 4], [5, 6000, -7.25, np.float32(0.1)], [1, 2, 3, 4]]


@pytest.mark.parametrize(
    "text", ["1,2,3", "1,2,3,4,5", "1,2,3,true", "1,2,3,1e39", '1,2,3,"4"', "1,[2],3,4", "1],[2,3,4"]
)
def test_what_is_no_row_of_numbers_is_left_to_the_decoder(known, text):
    assert by_form(known, [written("1,2,3,4"), written(text)]) is None


@pytest.mark.parametrize("change", [
    {"shape": (2, 4)}, {"id": "other"}, {"parameters": {"binary_data_output": True}}, {"outputs": [{"name": "y"}]},
])  # fmt: skip
def test_another_form_is_not_taken_for_a_known_one(known, change):
    body = written("1,2,3,4", **change)
    form = known.forms.find(body)
    assert form is None or form.request.plan != known.decode(written("1,2,3,4")).plan or form.rows == 2


@pytest.mark.parametrize("body", [
    b'{"parameters":{"data":[1]},"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}',
    b'{"inputs":[{"name":"x","data":[9],"shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}',
    b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[[1,2,3,4]]}]}',
    b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[' + b" " * MAX_BYTES + b"1,2,3,4]}]}",
])  # fmt: skip
def test_lists_that_may_not_be_the_data_are_not_learned(body):
    found = decoder()
    request = found.decode(body)
    assert request.feeds["x"].tolist() == [[1, 2, 3, 4]]
    assert found.forms.find(body) is None


def test_whole_numbers_stay_exact():
    found = decoder("INT64", np.int64)
    body = written(f"{2**62 + 1},1,2,3", datatype="INT64")
    found.decode(body)
    assert by_form(found, [body, body])[:, 0].tolist() == [2**62 + 1] * 2
    assert by_form(found, [written("1,2,3,4.0", datatype="INT64")]) is None
    assert by_form(found, [written(f"1,2,3,{2**63}", datatype="INT64")]) is None


LONG = 1000


def long_decoder():
    kind = TensorType("x", "FP32", np.dtype(np.float32), (-1, LONG))
    return RequestDecoder([kind], [TensorType("y", "FP32", np.dtype(np.float32), (-1, 3))])


def long_body(values, **members):
    return written(", ".join(values), shape=(1, LONG), **members)


def test_long_lists_of_a_known_form_are_read_as_without_it():
    rng, known = np.random.default_rng(3), long_decoder()
    rows = [[repr(value) for value in rng.standard_normal(LONG).tolist()] for _ in range(3)]
    rows[1][7], rows[2][-1] = "3", "-1.5e-40"
    bodies = [long_body(row) for row in rows]
    known.decode(bodies[0])
    expected = np.concatenate([long_decoder().decode(body).feeds["x"] for body in bodies])
    assert by_form(known, bodies).tobytes() == expected.tobytes()


@pytest.mark.parametrize("wrong", ["true", "null", '"1"', "1e39", "1e999", "NaN", "[1]", "1, 2", "", "1],[2", "1]"])
def test_long_lists_that_are_no_rows_of_numbers_are_left_to_the_decoder(wrong):
    known, values = long_decoder(), ["0.5"] * LONG
    known.decode(long_body(values))
    assert by_form(known, [long_body(values), long_body([*values[:500], wrong, *values[501:]])]) is None


def test_long_lists_of_whole_numbers_are_not_learned():
    kind = TensorType("x", "INT64", np.dtype(np.int64), (-1, LONG))
    found = RequestDecoder([kind], [TensorType("y", "FP32", np.dtype(np.float32), (-1, 3))])
    body = long_body([str(2**62 + 1)] * LONG, datatype="INT64")
    assert found.decode(body).feeds["x"][0, 0] == 2**62 + 1
    assert found.forms.find(body) is None
