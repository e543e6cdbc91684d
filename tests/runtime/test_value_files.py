"""Values of every kind cross pipes and files unchanged, and hostile files are refused before they cost anything."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from value_models import EXTENDED, VALUES, same

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.values import SparseValue
from quickserveml_tui.runtime.dtypes import numpy_dtype
from quickserveml_tui.runtime.packing import pack, unpack
from quickserveml_tui.runtime.value_files import INDEX, load_values, read_values, save_values

NAMES = st.one_of(
    st.text(min_size=1, max_size=8),
    st.sampled_from(["file", "../up", "/root", "a/b:0", "value_1", "quickserveml.json", "x.npy", "C:\\x", "é", "a\0b"]),
)


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_a_value_crosses_the_pipe_unchanged(value):
    crossed = msgspec.msgpack.decode(msgspec.msgpack.encode(pack(value)))
    assert same(unpack(crossed), value)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
@settings(max_examples=150, deadline=None)
def test_values_come_back_from_a_file_as_they_were_and_equal_values_give_equal_bytes(values):
    data = save_values(values)
    assert data == save_values(dict(values))
    back = read_values(io.BytesIO(data))
    assert set(back) == set(values)
    assert all(same(back[name], value) for name, value in values.items())


@pytest.mark.parametrize(
    "value", [2**70, -(2**70), 1 + 2j, "\ud800", b"\xff", True, None, 0.1, float("-inf"), np.float32(1.5)]
)
def test_plain_values_cross_unchanged_too(value):
    crossed = unpack(msgspec.msgpack.decode(msgspec.msgpack.encode(pack([value, {"k": value}]))))
    assert same(crossed, [value, {"k": value}])
    back = read_values(io.BytesIO(save_values({"x": [value, {"k": value}]})))
    assert same(back["x"], [value, {"k": value}])


def test_arrays_in_other_orders_arrive_the_same():
    for array in (
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(9)[::2],
    ):
        np.testing.assert_array_equal(unpack(pack(array)), array)
        np.testing.assert_array_equal(read_values(io.BytesIO(save_values({"x": array})))["x"], array)


def test_files_of_plain_arrays_are_plain_npz_files():
    values = {"x": np.arange(3.0), "flag": np.array(True), "words": np.array(["a", "bc"], dtype=object)}
    data = save_values(values)
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        assert sorted(archive.files) == ["flag", "words", "x"]
        assert archive["words"].tolist() == ["a", "bc"]


def test_files_that_numpy_wrote_are_read(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.arange(4, dtype=np.int16), words=np.array(["a", "bc"]))
    values = load_values(path)
    np.testing.assert_array_equal(values["x"], np.arange(4, dtype=np.int16))
    assert values["words"].dtype == object


def _zip(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return io.BytesIO(buffer.getvalue())


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _indexed(*trees, **members):
    return _zip(**{INDEX.replace(".", "__"): json.dumps({"format": 1, "values": trees})}, **members)


TWO = _npy(np.arange(2, dtype=np.int64))
BAD_INDEXES = {
    "unknown kind": _indexed(["x", ["pickle", "x"]]),
    "no member": _indexed(["x", ["array", "none"]]),
    "a member again and again": _indexed(["x", ["list", [["array", "a"]] * 3]], a__npy=TWO),
    "a dtype of another size": _indexed(["x", ["array", "a", "bfloat16"]], a__npy=TWO),
    "a dtype that is none": _indexed(["x", ["array", "a", "os.system"]], a__npy=TWO),
    "offsets beyond the text": _indexed(["x", ["text", "t", "a", [1]]], t__npy=_npy(np.zeros(0, np.uint8)), a__npy=TWO),
    "an index outside a sparse tensor": _indexed(
        ["x", ["sparse", ["array", "v"], ["array", "i"], [2]]],
        v__npy=_npy(np.ones(1)), i__npy=_npy(np.array([[5]])),
    ),
    "a tree without end": _indexed(["x", json.loads('["list",[' * 100 + "]]" * 100)]),
    "an empty tree": _indexed(["x", []]),
    "a newer format": _zip(**{INDEX.replace(".", "__"): b'{"format": 2, "values": []}'}),
    "no JSON": _zip(**{INDEX.replace(".", "__"): b"{"}),
}  # fmt: skip


@pytest.mark.parametrize("file", BAD_INDEXES.values(), ids=BAD_INDEXES.keys())
def test_an_index_that_no_writer_made_is_refused(file):
    with pytest.raises(DataError) as caught:
        read_values(file)
    assert caught.value.code == "data.unreadable"


def test_no_object_is_ever_unpickled():
    class Bomb:
        def __reduce__(self):
            return (Path("/nonexistent/boom").touch, ())

    with pytest.raises(DataError) as caught:
        read_values(_zip(x__npy=_npy(np.array([Bomb()], dtype=object))))
    assert caught.value.code == "data.objects"


def test_what_a_file_declares_is_bounded_before_anything_is_unpacked():
    bomb = _zip(x__npy=_npy(np.zeros(4_000_000)))
    with pytest.raises(DataError) as caught:
        read_values(bomb, limit_bytes=1 << 20)
    assert caught.value.code == "data.too_large"


@pytest.mark.parametrize(
    "shape", ["(1000000000000,)", "(2, -1)", "(99999999999999999999,)", "(4611686018427387904, 8)"]
)
@pytest.mark.parametrize("descr", ["<f8", "<U0", "|V0", "<U99999999"])
def test_a_header_that_promises_more_than_there_is_is_refused(shape, descr):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
    with pytest.raises(DataError) as caught:
        read_values(_zip(x__npy=member))
    assert caught.value.code in ("data.unreadable", "data.dtype")


@pytest.mark.parametrize("cut", [0, 10, 200, 400])
def test_damaged_files_are_refused(tmp_path, cut):
    data = save_values({"x": np.arange(100.0), "s": [np.arange(3)]})
    path = tmp_path / "x.npz"
    path.write_bytes(data[:cut])
    with pytest.raises(DataError):
        load_values(path)
    flipped = bytearray(data)
    flipped[cut + 60] ^= 0xFF
    path.write_bytes(bytes(flipped))
    with contextlib.suppress(DataError):  # the flipped byte may lie where it does not matter
        load_values(path)


@pytest.mark.parametrize("dtype", EXTENDED)
def test_short_types_are_written_as_their_bits_with_their_name(dtype):
    made = (
        np.array([0.5, 1, 2]).astype(numpy_dtype(dtype))
        if "float" in dtype
        else np.array([0, 1, 1]).astype(numpy_dtype(dtype))
    )
    data = save_values({"x": made})
    with np.load(io.BytesIO(data)) as archive:
        assert archive["x"].tobytes() == made.tobytes()
        assert json.loads(archive[INDEX])["values"] == [["x", ["array", "x", dtype]]]


def test_a_value_of_no_onnx_type_is_refused():
    for value in (
        np.array(["2020-01-01"], "datetime64[D]"),
        object(),
        np.zeros(2, [("a", "f4")]),
        np.array([{}], object),
    ):
        with pytest.raises(DataError):
            save_values({"x": value})
        if not (isinstance(value, np.ndarray) and value.dtype == object):
            with pytest.raises(DataError):
                pack(value)


def test_a_sparse_tensor_keeps_its_indices():
    value = SparseValue(np.ones(1, np.float32), np.array([[1, 2]]), (2, 3))
    assert same(read_values(io.BytesIO(save_values({"x": value})))["x"], value)


# ---- files that cost little to write and much to read -----------------------------------------------------------------


def _header(shape, descr="<f8"):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def _refusal(file):
    """The error for a file, and the most bytes that Python held for it."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            read_values(file)
        return caught.value, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_header_is_not_read_before_its_length_is_looked_at():
    size = 32 << 20
    member = b"\x93NUMPY\x02\x00" + size.to_bytes(4, "little") + b" " * size
    error, held = _refusal(_zip(x__npy=member))
    assert error.code == "data.unreadable"
    assert held < 2 << 20


@pytest.mark.parametrize("keys", [[], [["str", "a"]]])
def test_an_index_cannot_make_millions_of_maps_out_of_nothing(keys):
    rows = 5_000_000 if keys else 900_000  # the latter many, and still few enough for an array
    table = _npy(np.zeros((rows, 1))) if keys else _header(f"({rows}, 0)")
    error, held = _refusal(_indexed(["x", ["maps", keys, "t"]], t__npy=table))
    assert error.code == ("data.too_large" if keys else "data.unreadable")
    assert held < 96 << 20


def test_rows_without_elements_are_bounded():
    error, _held = _refusal(_zip(x__npy=_header("(50000000, 0)")))
    assert error.code == "data.unreadable"
    empty = np.zeros((0, 4096, 4096), np.float32)
    assert read_values(io.BytesIO(save_values({"x": empty})))["x"].shape == empty.shape


def test_an_index_of_very_many_parts_is_neither_written_nor_read(monkeypatch):
    values = {"x": [None] * 100}
    data = save_values(values)
    monkeypatch.setattr("quickserveml_tui.runtime.value_files.MAX_INDEX_BYTES", 500)
    for attempt in (lambda: read_values(io.BytesIO(data)), lambda: save_values(values)):
        with pytest.raises(DataError) as caught:
            attempt()
        assert caught.value.code == "data.too_large"


def test_a_folder_or_a_pipe_is_no_file_of_values(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, code in ((tmp_path, "data.not_a_file"), (tmp_path / "pipe", "data.not_a_file")):
        with pytest.raises(DataError) as caught:
            load_values(path)
        assert caught.value.code == code
        assert str(tmp_path) not in caught.value.message
    with pytest.raises(DataError) as caught:
        load_values(tmp_path / "none")
    assert caught.value.code == "data.missing"


@pytest.mark.parametrize(
    "file",
    [
        _zip(x=_npy(np.ones(1)), x__npy=_npy(np.zeros(2))),
        _indexed(["x", ["none"]], ["x", ["int", "0x1"]]),
    ],
    ids=["members", "values"],
)
def test_two_values_of_one_name_are_refused(file):
    error, _held = _refusal(file)
    assert error.message == "The NPZ file has two members of one name."


def test_a_damaged_index_is_said_in_words_and_not_in_python():
    error, _held = _refusal(_indexed(["x", ["list", 5]]))
    assert error.message == "The index of the NPZ file is damaged."
    assert "iterable" in error.detail
