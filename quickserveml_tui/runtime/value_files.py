"""Values of every kind as NPZ files: the same values give the same bytes, and nothing in a file is ever executed.

A plain array is a member `NAME.npy`, as `numpy.savez` writes it, and other programs can read it. What NPZ cannot say is
in a further member, `quickserveml.json`: a tree by name that puts sequences, maps, optional and sparse values together
from arrays, and names the types that numpy lacks, whose arrays hold their bits.
"""

from __future__ import annotations

import io
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from quickserveml_tui.core.errors import DataError, ModelError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import Value
from quickserveml_tui.runtime.data_files import open_data, too_large
from quickserveml_tui.runtime.npy import read_npy, write_npy
from quickserveml_tui.runtime.value_trees import Member, TreeReader, TreeWriter, check_strings

INDEX = "quickserveml.json"
MAX_BYTES = 1 << 30
MAX_INDEX_BYTES = 8 << 20
"""Its parts take some 20 times as much memory."""
MAX_MEMBERS = 200_000
_FORMAT = 1
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest that zip knows: the time of writing must not change the file
_PLAIN = re.compile(r"(?!/)(?!.*(?:^|/)\.\.?(?:/|$))[\w.:/@ +=-]{1,200}", re.ASCII)
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, OSError, EOFError, KeyError,
    UnicodeDecodeError,
)  # fmt: skip
"""What zipfile raises for what is no archive."""


def save_values(values: Mapping[str, Value]) -> bytes:
    """An NPZ file of values of any kind by name, not compressed, since compressors differ from machine to machine.

    Raises `DataError`: `data.dtype` for what is no value of a model, `data.too_large` for more parts than are read.
    """
    plain = {name for name in values if _PLAIN.fullmatch(name)}
    writer = TreeWriter(reserved=plain)
    trees = [[name, writer.write(value, name if name in plain else "")] for name, value in values.items()]
    members = {f"{name}.npy": write_npy(array) for name, array in writer.arrays.items()}
    if writer.needs_index or len(plain) < len(values):
        index = {"format": _FORMAT, "values": trees}
        members[INDEX] = msgspec.json.encode(index)
        if len(members[INDEX]) > MAX_INDEX_BYTES:
            raise DataError(
                "The values have too many parts for one file.", hint="Write fewer of them.", code="data.too_large"
            )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o600 << 16
            archive.writestr(info, members[name])
    return buffer.getvalue()


def load_values(path: Path, limit_bytes: int = MAX_BYTES) -> dict[str, Value]:
    """Values by name from a file of `save_values`, or from any NPZ file of plain arrays.

    Raises `DataError`: `data.missing`, `data.not_a_file`, `data.unreadable`, `data.objects`, and `data.too_large` for
    more than `limit_bytes` once it is unpacked, by what the file declares, and before anything is allocated.
    """
    with open_data(path) as file:
        return read_values(file, limit_bytes)


def read_values(file: IO[bytes], limit_bytes: int = MAX_BYTES) -> dict[str, Value]:
    """`load_values` of an open file."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.filename.endswith("/")]
            _check_size(members, limit_bytes, file.seek(0, os.SEEK_END))
            names = [member.filename for member in members]
            if INDEX in names:
                _check_names(names)
                return _read_indexed(archive)
            names = [name.removesuffix(".npy") for name in names]
            _check_names(names)
            return {name: as_value(read_npy(archive, member)) for name, member in zip(names, members, strict=True)}
    except _BROKEN as error:
        raise DataError(
            f"The NPZ file is damaged: {safe_text(error, 120)}.", hint="Write it again.", code="data.unreadable"
        ) from error


def as_value(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array as `core.values` has it: text as objects, native byte order."""
    if array.dtype.kind == "U":
        check_strings(array.size)
        return array.astype(object)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise DataError("The NPZ file has two members of one name.", hint="Write it again.", code="data.unreadable")


def _check_size(members: list[zipfile.ZipInfo], limit_bytes: int, file_bytes: int) -> None:
    if sum(member.compress_size for member in members) > file_bytes:  # zipfile asks for as much memory as is declared
        raise DataError(
            "The NPZ file is shorter than its members.", hint="Copy or download it again.", code="data.unreadable"
        )
    declared = sum(member.file_size for member in members)
    if declared > limit_bytes:
        raise too_large(declared, limit_bytes)
    if len(members) > MAX_MEMBERS:
        raise DataError(
            f"The NPZ file has {len(members):,} members, more than {MAX_MEMBERS:,}.",
            hint="Split the file.",
            code="data.too_large",
        )


def _read_indexed(archive: zipfile.ZipFile) -> dict[str, Value]:
    if archive.getinfo(INDEX).file_size > MAX_INDEX_BYTES:
        raise DataError("The index of the NPZ file is too large.", hint="Split the file.", code="data.too_large")

    def read(name: str) -> Member:
        return read_npy(archive, archive.getinfo(f"{name}.npy"))

    try:
        index = msgspec.json.decode(archive.read(INDEX), type=_Index)
        if index.format != _FORMAT:
            raise DataError(
                "The file was written by a newer version of this program.", hint="Upgrade it.", code="data.unreadable"
            )
        _check_names([name for name, _tree in index.values])
        reader = TreeReader(read, as_value)
        return {name: reader.read(tree) for name, tree in index.values}
    except (
        ModelError,
        msgspec.MsgspecError,
        ValueError,
        TypeError,
        LookupError,
        RecursionError,
        OverflowError,
    ) as error:
        raise DataError(
            "The index of the NPZ file is damaged.",
            hint="Write it again.",
            code="data.unreadable",
            detail=safe_text(f"{type(error).__name__}: {error}", 300),
        ) from error


class _Index(msgspec.Struct):
    values: list[tuple[str, Any]]
    format: int = _FORMAT
