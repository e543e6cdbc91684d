"""Files that fuzzing found: each was once read or refused in a wrong way."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from quickserveml_tui.core.errors import DataError
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
