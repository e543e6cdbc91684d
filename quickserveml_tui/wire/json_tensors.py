"""JSON values as arrays, strictly: nothing is truncated, wrapped, or made up from text or null."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.wire.datatypes import MAX_RANK, TensorType

Array: TypeAlias = np.ndarray[Any, Any]

_NUMBERS = frozenset({int, float})
_JSON_VALUES = frozenset({list, int, float, bool, str})
_SMALL = 256
_FLOAT32_SAFE = 3.4e38


def bad_input(name: str, problem: str, code: str = "data.invalid") -> DataError:
    """The error for one input of a request."""
    return DataError(
        f"Input “{safe_text(name, 80)}” {problem}.", hint="Compare the request with the model's metadata.", code=code
    )


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, list):
        for item in data:
            yield from _leaves(item)
    else:
        yield data


def _only_numbers(data: Any) -> bool:
    """Whether no truth value hides among the numbers: numpy would take it for 0 or 1."""
    if type(data) is not list:
        return type(data) in _NUMBERS
    if data and type(data[0]) is list:
        return all(_only_numbers(item) for item in data)
    return _NUMBERS.issuperset(map(type, data))


def _to_float(found: Array, data: Any, kind: TensorType) -> Array:
    if found.size and (found.dtype.kind not in "fiu" or not _only_numbers(data)):
        raise bad_input(kind.name, "must hold numbers only", "data.dtype")
    try:
        with np.errstate(over="raise"):
            return found.astype(kind.dtype)
    except FloatingPointError as error:
        raise bad_input(kind.name, f"holds a number beyond the range of {kind.datatype}", "data.range") from error


def _to_integer(found: Array, data: Any, kind: TensorType) -> Array:
    if found.size and (found.dtype.kind not in "iu" or not _only_numbers(data)):
        # Whole numbers from 2^63 on mixed with smaller ones come out as float64 and would lose digits.
        if kind.datatype != "UINT64" or not all(type(leaf) is int for leaf in _leaves(data)):
            raise bad_input(kind.name, f"must hold whole numbers in the range of {kind.datatype} only", "data.dtype")
        try:
            return np.array(data, dtype=kind.dtype)
        except OverflowError as error:
            raise bad_input(kind.name, "holds a number beyond the range of UINT64", "data.range") from error
    limits = np.iinfo(kind.dtype)
    if found.size and (int(found.min()) < limits.min or int(found.max()) > limits.max):
        raise bad_input(kind.name, f"holds a number beyond the range of {kind.datatype}", "data.range")
    return found.astype(kind.dtype)


def _to_strings(data: Any, kind: TensorType) -> Array:
    found = np.array(data, dtype=object)
    if not all(type(leaf) is str for leaf in found.flat):
        raise bad_input(kind.name, "must hold strings only, in lists of equal length", "data.dtype")
    return found


def small_floats(data: list[Any], kind: TensorType) -> Array | None:
    """A short flat list of numbers as FP32, a third of the time of `array_from_json`; None where it must decide."""
    if not data or len(data) > _SMALL or kind.datatype != "FP32" or not _NUMBERS.issuperset(map(type, data)):
        return None
    # The margin keeps numbers that round up to infinity out.
    if max(data) > _FLOAT32_SAFE or min(data) < -_FLOAT32_SAFE:
        return None
    return np.array(data, dtype=np.float32)


def array_from_json(data: Any, kind: TensorType) -> Array:
    """Nested or flat lists, or a scalar, as an array of the tensor's dtype, in the shape the lists have.

    Raises `DataError` for ragged lists, values of another kind, and numbers beyond the dtype's range.
    """
    if type(data) not in _JSON_VALUES:
        raise bad_input(kind.name, "must hold its values in a list", "data.dtype")
    if kind.datatype == "BF16":
        raise bad_input(kind.name, "has the type BF16, which only the binary form can carry", "data.dtype")
    target = kind.dtype.kind
    if target == "O":
        return _to_strings(data, kind)
    try:
        found = np.array(data)
    except (ValueError, OverflowError) as error:
        raise bad_input(kind.name, "has lists of unequal length", "data.ragged") from error
    if found.ndim > MAX_RANK:
        raise bad_input(kind.name, f"has more than {MAX_RANK} dimensions", "data.shape")
    if target == "f":
        return _to_float(found, data, kind)
    if target in "iu":
        return _to_integer(found, data, kind)
    if found.dtype.kind != "b" and found.size:
        raise bad_input(kind.name, "must hold true or false only", "data.dtype")
    return found.astype(bool)


def shaped(array: Array, shape: tuple[int, ...], kind: TensorType) -> Array:
    """`array`, flat or already in `shape`, in `shape`. Raises `DataError` when the counts or the nesting differ."""
    if array.shape == shape:
        return array
    wanted = math.prod(shape)
    if array.size != wanted:
        raise bad_input(kind.name, f"has {array.size} values, its shape needs {wanted}", "data.shape")
    if array.ndim != 1:
        raise bad_input(kind.name, "has lists that are nested otherwise than its shape says", "data.shape")
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise bad_input(kind.name, "has a shape that is too large", "data.shape") from error
