"""Values of every kind as trees that JSON can hold, over arrays that NPY can hold.

A tree is `[kind, …]`: `array` with a member, and with the dtype where the member holds its bits; `text` with members of
UTF-8 bytes and of offsets, and the shape; `list` of trees; `map` of pairs of trees; `maps` for a list of maps
with the same keys, whose values are the rows of one array; `sparse`; `none`; and plain values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.values import SparseValue, Value
from quickserveml_tui.runtime.dtypes import NUMPY_DTYPES, numpy_dtype, onnx_name

Member: TypeAlias = np.ndarray[Any, Any]
Tree: TypeAlias = list[Any]

MAX_DEPTH = 64
MAX_TEXT_BYTES = 1 << 24
"""Strings whose numpy form, four bytes for every character of the longest, is longer are kept as UTF-8."""


MAX_STRINGS = 1 << 24
"""Each takes some 60 bytes of memory, however short it is in the file."""


_MAP_COST = 4
"""A map takes some 230 bytes before its first entry."""


def check_strings(count: int, what: str = "strings") -> None:
    """Raise `DataError` (`data.too_large`) for more strings or numbers than become Python objects from one array."""
    if count > MAX_STRINGS:
        raise DataError(
            f"An array holds {count:,} {what}, more than {MAX_STRINGS:,}.",
            hint="Split the file.",
            code="data.too_large",
        )


class TreeWriter:
    """Takes values apart into trees and arrays."""

    def __init__(self, reserved: set[str]) -> None:
        self.arrays: dict[str, Member] = {}
        self.needs_index = False
        """Whether anything was written that a plain NPZ file cannot hold."""
        self._reserved = reserved
        self._next = 0

    def write(self, value: Value, name: str = "") -> Tree:
        """The tree of a value; a plain array gets the member `name`, unless that is empty."""
        if isinstance(value, np.ndarray):
            return self._array(value, name)
        self.needs_index = True
        return self._nested(value, MAX_DEPTH)

    def _nested(self, value: Value, depth: int) -> Tree:
        if depth == 0:
            raise DataError(f"The values are nested more than {MAX_DEPTH} deep.", code="data.too_deep")
        if isinstance(value, np.ndarray):
            return self._array(value, "")
        if isinstance(value, SparseValue):
            return [
                "sparse", self._array(value.values, ""), self._array(value.indices, ""), list(value.shape)
            ]  # fmt: skip
        if isinstance(value, Mapping):
            return ["map", [[_scalar(key), self._nested(item, depth - 1)] for key, item in value.items()]]
        if isinstance(value, list | tuple):
            keys = _common_keys(value)
            if keys is None:
                return ["list", [self._nested(item, depth - 1) for item in value]]
            table = np.array([[row[key] for key in keys] for row in value], np.float64).reshape(len(value), len(keys))
            return ["maps", [_scalar(key) for key in keys], self._member(table, "")]
        if isinstance(value, np.generic):
            return ["generic", self._array(np.asarray(value), "")]
        return _scalar(value)

    def _member(self, array: Member, name: str) -> str:
        while not name or name in self.arrays:
            self._next += 1
            name = f"value_{self._next}"
            name = "" if name in self._reserved else name
        self.arrays[name] = array
        return name

    def _array(self, array: Member, name: str) -> Tree:
        dtype = onnx_name(array.dtype)
        if dtype == "string":
            return self._text(array, name)
        if dtype in NUMPY_DTYPES:
            return ["array", self._member(array, name)]
        try:
            numpy_dtype(dtype)
        except Exception as error:
            raise DataError(
                f"Values of the numpy type {array.dtype.name} are no values of a model.", code="data.dtype"
            ) from error
        self.needs_index = True
        bits = np.ascontiguousarray(array).reshape(array.shape).view(f"u{array.dtype.itemsize}")
        return ["array", self._member(bits, name), dtype]

    def _text(self, array: Member, name: str) -> Tree:
        words = array.ravel().tolist()
        if not all(isinstance(word, str) for word in words):
            raise DataError("An array of objects holds other things than strings.", code="data.dtype")
        longest = max(map(len, words), default=0)
        # numpy pads strings with NUL characters, so those at an end would be lost.
        if longest * len(words) * 4 <= MAX_TEXT_BYTES and not any(word.endswith("\0") for word in words):
            return ["array", self._member(array.astype(f"U{max(longest, 1)}"), name)]
        self.needs_index = True
        encoded = [word.encode("utf-8", "surrogatepass") for word in words]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        joined = np.frombuffer(b"".join(encoded), np.uint8)
        return ["text", self._member(joined, ""), self._member(offsets, ""), list(array.shape)]


def _common_keys(rows: list[Any] | tuple[Any, ...]) -> list[Any] | None:
    """The keys of maps that all have the same ones, in the same order, and only floats; None for anything else."""
    if not rows or not all(isinstance(row, dict) and row for row in rows):
        return None
    keys = list(rows[0])
    same = all(list(row) == keys and [type(key) for key in row] == [type(key) for key in keys] for row in rows)
    return keys if same and all(type(item) is float for row in rows for item in row.values()) else None


def _scalar(value: Any) -> Tree:
    if value is None:
        return ["none"]
    if isinstance(value, bool):
        return ["bool", value]
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return ["surrogates", value.encode("utf-8", "surrogatepass").hex()]
        return ["str", value]
    if isinstance(value, np.generic):
        return ["key", onnx_name(value.dtype), _scalar(value.item())]
    if isinstance(value, int):
        return ["int", hex(value)]
    if isinstance(value, float):
        return ["float", value.hex()]
    if isinstance(value, complex):
        return ["complex", value.real.hex(), value.imag.hex()]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    raise DataError(f"A value of the Python type {type(value).__name__} is no value of a model.", code="data.dtype")


class TreeReader:
    """Puts values together again. Raises `ValueError`, `LookupError`, `TypeError` for trees that no writer made."""

    def __init__(self, read: Callable[[str], Member], as_value: Callable[[Member], Member]) -> None:
        self._open = read
        self._as_value = as_value
        self._seen: set[str] = set()

    def read(self, tree: Tree, depth: int = MAX_DEPTH) -> Value:
        """The value of a tree."""
        if depth == 0 or not isinstance(tree, list) or not tree:
            raise ValueError("a tree is too deep or empty")
        kind, *parts = tree
        if kind == "list":
            return [self.read(part, depth - 1) for part in parts[0]]
        if kind == "map":
            return {self._scalar(key): self.read(part, depth - 1) for key, part in parts[0]}
        if kind == "maps":
            return self._maps(*parts)
        if kind == "sparse":
            return self._sparse(*parts)
        if kind == "array":
            return self._array(*parts)
        if kind == "text":
            return self._text(*parts)
        if kind == "generic":
            return self._array(*parts[0][1:])[()]
        return self._scalar(tree)

    def _read(self, member: str) -> Member:
        """A member, once: one large member named again and again would fill the memory."""
        if member in self._seen:
            raise ValueError(f"{member} is used twice")
        self._seen.add(member)
        return self._open(member)

    def _array(self, member: str, dtype: str = "") -> Member:
        array = self._read(member)
        if not dtype:
            return self._as_value(array)
        target = numpy_dtype(dtype)
        if array.dtype.kind != "u" or array.dtype.itemsize != target.itemsize:
            raise ValueError(f"{member} has no elements of the size of {dtype}")
        return np.ascontiguousarray(array).reshape(array.shape).view(target)

    def _text(self, member: str, offsets_member: str, shape: list[int]) -> Member:
        joined, offsets = self._read(member), self._read(offsets_member)
        if offsets.dtype != np.int64 or joined.dtype != np.uint8 or offsets.ndim != 1 or len(offsets) < 1:
            raise ValueError(f"{member} is no text")
        if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != joined.size:
            raise ValueError(f"the offsets of {member} do not fit")
        if math.prod(shape) != len(offsets) - 1:
            raise ValueError(f"the shape of {member} does not fit")
        check_strings(len(offsets) - 1)
        raw, places = joined.tobytes(), offsets.tolist()
        array = np.empty(len(places) - 1, dtype=object)
        array[:] = [raw[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(places)]
        return array.reshape(shape)

    def _sparse(self, values: Tree, indices: Tree, shape: list[int]) -> SparseValue:
        stored, places = self.read(values, 2), self.read(indices, 2)
        if stored.ndim != 1 or places.shape != (len(stored), len(shape)) or places.dtype != np.int64:
            raise ValueError("a sparse tensor does not fit together")
        if not all(isinstance(size, int) and size >= 0 for size in shape):
            raise ValueError("a sparse tensor has a bad shape")
        if places.size and ((places < 0).any() or (places >= np.array(shape, np.int64)).any()):
            raise ValueError("an element of a sparse tensor lies outside it")
        return SparseValue(stored, places, tuple(shape))

    def _maps(self, keys: list[Tree], member: str) -> list[dict[Any, float]]:
        names, table = [self._scalar(key) for key in keys], self._read(member)
        if table.dtype != np.float64 or table.ndim != 2 or table.shape[1] != len(names):
            raise ValueError(f"{member} is no table of these keys")
        if not names:
            raise ValueError("maps of a table have no keys")
        check_strings(len(table) * (len(names) + _MAP_COST), "numbers in maps")
        return [dict(zip(names, row, strict=True)) for row in table.tolist()]

    def _scalar(self, tree: Tree) -> Any:
        kind, *parts = tree
        if kind == "key":
            return numpy_dtype(parts[0]).type(self._scalar(parts[1]))
        return _SCALARS[kind](*parts)


_SCALARS: dict[str, Callable[..., Any]] = {
    "none": lambda: None,
    "bool": bool,
    "str": str,
    "surrogates": lambda text: bytes.fromhex(text).decode("utf-8", "surrogatepass"),
    "int": lambda text: int(text, 16),
    "float": float.fromhex,
    "complex": lambda real, imag: complex(float.fromhex(real), float.fromhex(imag)),
    "bytes": bytes.fromhex,
}
