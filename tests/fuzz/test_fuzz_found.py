"""Files that fuzzing found: each was once read or refused in a wrong way."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import onnx
import pytest
from fuzz_oracles import check_skim
from onnx import TensorProto, helper

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.graph.facts import read_facts
from quickserveml_tui.graph.header import read_header
from quickserveml_tui.graph.layers import read_layers
from quickserveml_tui.runtime.value_files import load_values, save_values


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def npy(array) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array)
    return out.getvalue()


def with_entry(data: bytes, at: int, value: bytes) -> bytes:
    """The archive with other bytes at a place in the last entry of its directory."""
    at += data.rindex(b"PK\x01\x02")
    return data[:at] + value + data[at + len(value) :]


VALUES = save_values({"x": [np.ones(3, np.float32)]})
BROKEN_VALUES = {
    "a member without a name": with_entry(archive(x=npy(np.ones(3))), 28, b"\0\0\0\0\1\0"),  # it is a comment now
    "characters beyond Unicode": archive(**{"t.npy": npy(np.array(["ab"])).replace(b"a\0\0\0b", b"a\xff\xff\xffb")}),
    "a header that ends in a bracket": archive(**{"b.npy": npy(np.ones(2)).replace(b"(2,)", b"((2,")}),
    "two members of one name": archive(**{"x.npy": npy(np.ones(1)), "y.npy": npy(np.ones(1))}).replace(b"y.npy", b"x.npy"),
    "a member larger than the file": with_entry(VALUES, 20, b"\xff\xff\xff\x7f"),
    "a name that is not UTF-8": archive(**{"ü.npy": npy(np.ones(1))}).replace("ü".encode(), b"\x8c\x8c"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN_VALUES)
def test_a_broken_file_of_values_is_refused_in_one_sentence(what, tmp_path):
    path = tmp_path / "values.npz"
    path.write_bytes(BROKEN_VALUES[what])
    with pytest.raises(DataError) as refused:
        load_values(path)
    assert refused.value.message.endswith(".")
    assert refused.value.hint


def relu_model() -> onnx.ModelProto:
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("xxxx", "yyyy")}
    graph = helper.make_graph([helper.make_node("Relu", ["xxxx"], ["yyyy"])], "g", [value["xxxx"]], [value["yyyy"]])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("name", [b"xxxx", b"yyyy", b"Relu", b"batc"])
def test_a_name_that_is_not_utf_8_is_read_like_any_other(name, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(relu_model().SerializeToString().replace(name, b"\xff\xfe\xc0\x80"))
    assert read_facts(path).nodes == read_header(path).nodes == read_layers(path).total == 1


def test_unpacked_floats_behind_tags_that_are_written_too_long_are_not_counted_by_their_stride():
    values = struct.pack("<f", 1.5), struct.pack("<f", -2.0)
    overlong = b"\xa5\x80\x80\x80\x00"  # field 4, fixed32, in five bytes instead of one
    # Ten values behind long tags are as long as eighteen behind short ones.
    tensor = b"".join(overlong + values[index % 2] for index in range(10))
    assert len(tensor) % 5 == 0
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    check_skim(b"\x08\x09\x3a" + bytes([len(graph)]) + graph)
