from __future__ import annotations

import io
import json
import os
import zipfile

import numpy as np
import pytest

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime.inputs import fit_inputs, load_inputs, parse_json

X = TensorSpec("x", "float32", ("N", 2))
I8 = TensorSpec("i", "int8", (None,))
S = TensorSpec("s", "string", (None,))
B = TensorSpec("b", "bool", (None,))


def write_json(tmp_path, document) -> object:
    path = tmp_path / "in.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "document",
    [
        {"x": [[1, 2], [3, 4]]},
        {"inputs": {"x": [[1, 2], [3, 4]]}},
        [[1, 2], [3, 4]],
        {"inputs": [[1, 2], [3, 4]]},
        {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]},
        {"inputs": [{"name": "x", "data": [[1, 2], [3, 4]]}]},
    ],
)
def test_all_json_forms_give_the_same_arrays(tmp_path, document):
    found = load_inputs(write_json(tmp_path, document), (X,))["x"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1, 2], [3, 4]])


def test_npz_arrays_are_cast_where_nothing_is_lost(tmp_path):
    np.savez(tmp_path / "in.npz", x=np.ones((3, 2)), i=np.array([1, 2], np.int64), s=np.array(["a", "bc"]), b=[True])
    found = load_inputs(tmp_path / "in.npz", (X, I8, S, B))
    assert [array.dtype.name for array in found.values()] == ["float32", "int8", "object", "bool"]
    assert found["s"].tolist() == ["a", "bc"]


@pytest.mark.parametrize(
    ("values", "spec", "code"),
    [
        ([[1, 2, 3]], X, "data.shape"),
        ([1, 2], X, "data.shape"),
        ([[1, 2], [3]], X, "data.ragged"),
        ([["a", "b"]], X, "data.dtype"),
        ([[True, False]], X, "data.dtype"),
        ([[1, True]], X, "data.dtype"),
        ([[None, 1]], X, "data.dtype"),
        ([{"a": 1}], X, "data.dtype"),
        ([[1e39, 0]], X, "data.range"),
        ([300], I8, "data.range"),
        ([0.5], I8, "data.dtype"),
        ([2**70], I8, "data.range"),
        ([[2**70, 1]], X, "data.range"),
        ([1, "a"], S, "data.dtype"),
        ([1], S, "data.dtype"),
        ([0, 1], B, "data.dtype"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(values, spec, code):
    with pytest.raises(DataError) as caught:
        fit_inputs({spec.name: values}, (spec,))
    assert caught.value.code == code
    assert f"“{spec.name}”" in caught.value.message


def test_whole_floats_become_integers_and_integers_floats():
    assert fit_inputs({"i": [1.0, -2.0]}, (I8,))["i"].tolist() == [1, -2]
    assert fit_inputs({"x": [[1, 2]]}, (X,))["x"].tolist() == [[1.0, 2.0]]


def test_a_missing_and_an_extra_input_are_named_with_a_suggestion():
    with pytest.raises(DataError, match="“i” is missing"):
        fit_inputs({"x": [[1, 2]]}, (X, I8))
    with pytest.raises(DataError) as caught:
        fit_inputs({"imagee": [[1, 2]]}, (TensorSpec("image", "float32", None),))
    assert "image" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[NaN, 1]", "[[1e999, 1]]", "[" * 100_000, "[1, 2", "\x00\x01"])
def test_broken_json_is_a_data_error(tmp_path, text):
    with pytest.raises(DataError):
        load_inputs(write_json(tmp_path, text), (X,))


def test_deep_nesting_is_refused_without_a_crash(tmp_path):
    with pytest.raises(DataError):
        load_inputs(write_json(tmp_path, "[" * 500 + "]" * 500), (X,))


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "in.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError) as caught:
        load_inputs(tmp_path / "in.npz", (X,))
    assert caught.value.code == "data.objects"


def test_a_zip_bomb_is_refused_by_its_declared_size(tmp_path):
    with zipfile.ZipFile(tmp_path / "in.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        block = bytes(1 << 24)
        for _ in range(65):
            file.write(block)
    with pytest.raises(DataError) as caught:
        load_inputs(tmp_path / "in.npz", (X,))
    assert caught.value.code == "data.too_large"


def test_a_header_that_promises_more_than_the_file_holds_allocates_nothing(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2)})
    with zipfile.ZipFile(tmp_path / "in.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(16))
    with pytest.raises(DataError, match="shorter than its header"):
        load_inputs(tmp_path / "in.npz", (X,))


def test_a_truncated_archive_is_a_data_error(tmp_path):
    np.savez(tmp_path / "whole.npz", x=np.ones((100, 2), np.float32))
    whole = (tmp_path / "whole.npz").read_bytes()
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(DataError):
            load_inputs(tmp_path / "cut.npz", (X,))


def test_a_missing_file_and_a_folder_are_data_errors(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError):
            load_inputs(path, (X,))


@pytest.mark.parametrize("dtype", ["float32", "int64", "string", "bool"])
def test_a_tensor_without_elements_keeps_the_shape_that_its_request_states(dtype):
    spec = TensorSpec("x", dtype, ("N", 4))
    document = b'{"inputs": [{"name": "x", "datatype": "ANY", "shape": [0, 4], "data": []}]}'
    assert fit_inputs(parse_json(document, [spec]), [spec])["x"].shape == (0, 4)


@pytest.mark.parametrize("shape", [[1] * 70, [0, 10**30]], ids=["70 dims", "a size beyond all memory"])
def test_a_stated_shape_that_no_array_can_have_is_a_data_error(shape):
    data = [] if 0 in shape else [1]
    with pytest.raises(DataError) as caught:
        parse_json(json.dumps({"inputs": [{"name": "x", "shape": shape, "data": data}]}).encode(), (X,))
    assert caught.value.code == "data.shape"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_archive_with_damaged_compressed_data_is_a_data_error(tmp_path, method):
    array = io.BytesIO()
    np.save(array, np.random.default_rng(0).random((100, 2), np.float32))
    path = tmp_path / "in.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x.npy", array.getvalue())
    content = bytearray(path.read_bytes())
    content[60:160] = b"\xff" * 100
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_inputs(path, (X,))
    assert caught.value.code == "data.unreadable"


def test_only_regular_files_are_read_and_none_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, code in ((".", "data.not_a_file"), ("pipe", "data.not_a_file"), ("none", "data.missing")):
        with pytest.raises(DataError) as caught:
            load_inputs(tmp_path / name, (X,))
        assert caught.value.code == code


def test_a_sequence_cannot_be_an_array_of_endless_empty_rows():
    spec = TensorSpec("s", "seq(tensor(float))", None, "sequence")
    with pytest.raises(DataError) as caught:
        fit_inputs({"s": np.zeros((10**12, 0), np.float32)}, [spec])
    assert caught.value.code == "data.too_large"
