"""Single arrays in NPY form: no pickle, and no header is believed before it is held against the bytes there are."""

from __future__ import annotations

import io
import math
import sys
import tokenize
import zipfile
from typing import IO, Any

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.text import safe_text

MAX_HEADER_BYTES = 1 << 16
"""Those of arrays of numbers have 118 bytes."""
MAX_EMPTY_ROWS = 1 << 20
"""Rows without a single element: they cost a file nothing, and each is a list in Python."""
_KINDS = "biufcUSV"
_BROKEN = (ValueError, SyntaxError, tokenize.TokenError, TypeError, OverflowError, RecursionError)
"""What numpy raises for what is no array."""


def write_npy(array: np.ndarray[Any, Any]) -> bytes:
    """The array in NPY form, little-endian and in C order, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    dtype = array.dtype.newbyteorder("<")
    ordered = np.ascontiguousarray(array, dtype=dtype).reshape(array.shape)
    np.lib.format.write_array(buffer, ordered, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    """The array in a member of an NPZ file. Raises `DataError` (`data.objects`, `data.unreadable`)."""
    name = safe_text(member.filename, 60)
    try:
        with archive.open(member) as stream:
            shape, dtype = read_header(stream)
        _check_header(name, shape, dtype, member.file_size)
        with archive.open(member) as stream:
            array: np.ndarray[Any, Any] = np.lib.format.read_array(stream, allow_pickle=False)
        _check_text(array)
        return array
    except _BROKEN as error:
        raise DataError(
            f"“{name}” is not a numpy array: {safe_text(error, 120)}.",
            hint="Write the file with numpy.savez.",
            code="data.unreadable",
        ) from error


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype that an NPY stream declares, from its first 64 KB at most: numpy reads a header of any length.

    Raises `ValueError` and what else numpy raises for what is no array.
    """
    version = np.lib.format.read_magic(stream)
    count, read = (
        (2, np.lib.format.read_array_header_1_0) if version == (1, 0) else (4, np.lib.format.read_array_header_2_0)
    )
    length = stream.read(count)
    if int.from_bytes(length, "little") > MAX_HEADER_BYTES:
        raise ValueError(f"its header has more than {MAX_HEADER_BYTES:,} bytes")
    shape, _fortran, dtype = read(io.BytesIO(length + stream.read(int.from_bytes(length, "little"))))
    if 0 in shape and math.prod(shape[: shape.index(0)]) > MAX_EMPTY_ROWS:
        raise ValueError(f"it has more than {MAX_EMPTY_ROWS:,} empty rows")
    return shape, dtype


def _check_header(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], file_size: int) -> None:
    if dtype.hasobject:
        raise DataError(
            f"The array “{name}” holds Python objects, which are never loaded.",
            hint="Save strings with dtype=str (numpy kind U).",
            code="data.objects",
        )
    if dtype.kind not in _KINDS or dtype.names is not None or dtype.subdtype is not None:
        raise DataError(
            f"The array “{name}” is of the numpy type {safe_text(dtype, 60)}, which no model takes.",
            hint="Save numbers, booleans or strings.",
            code="data.dtype",
        )
    # numpy allocates what the header says before it reads, so the header is held against the member's size. Elements
    # of no size, which numpy makes one byte or character long, count as one.
    if any(size < 0 for size in shape) or math.prod(shape) * max(dtype.itemsize, 1) > file_size:
        raise DataError(
            f"The array “{name}” is shorter than its header says.", hint="Write the file again.", code="data.unreadable"
        )


def _check_text(array: np.ndarray[Any, Any]) -> None:
    """Raise `ValueError` for text with numbers that are no characters: numpy fails on them with a `SystemError`."""
    if array.dtype.kind == "U" and array.nbytes:
        codes = np.ascontiguousarray(array).view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if int(codes.max()) > sys.maxunicode:
            raise ValueError("it holds numbers that are no characters")
