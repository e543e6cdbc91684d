"""Casts values to a model's dtypes where nothing is lost that matters; refuses the rest by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.dtypes import EXTENDED_DTYPES, integer_bounds, is_float, numpy_dtype, onnx_name

_SPECIALS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def to_array(value: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    """`value` (an array, nested lists or a scalar) as an array of the input's dtype.

    Integers become floats, floats narrower floats if none overflows, whole numbers integers if all fit. Raises
    `DataError` (`data.dtype`, `data.ragged`) for anything else.
    """
    target = numpy_dtype(spec.dtype)
    array = _as_numbers(value, target) if isinstance(value, np.ndarray) else _from_python(value, spec)
    if spec.dtype == "string":
        return _strings(array, spec)
    if array.dtype == target:
        return array
    if array.size == 0 and (not isinstance(value, np.ndarray) or array.dtype == object):
        return array.astype(target)
    if array.dtype.kind in "OUSTc" or (array.dtype.kind == "b") != (target.kind == "b"):
        raise _misfit(spec, onnx_name(array.dtype))
    if array.dtype.kind not in "biufV" or array.dtype == np.dtype(f"V{array.dtype.itemsize}"):
        raise _misfit(spec, array.dtype.name)
    if integer_bounds(spec.dtype) is not None:
        return _whole(array, target, spec)
    return _floating(array, target, spec)


def _as_numbers(array: np.ndarray[Any, Any], target: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The array in types that numpy can compare: integers of 4 and 2 bits become int8.

    `numpy.save` writes types that it lacks as bare bytes: these are taken for the type that the model wants.
    """
    if array.dtype == target or array.dtype.kind != "V" or array.dtype.names is not None:
        return array
    if array.dtype == np.dtype(f"V{array.dtype.itemsize}"):
        fits = target.kind == "V" and target.itemsize == array.dtype.itemsize
        return array.view(target) if fits else array
    return array.astype(np.int8) if integer_bounds(onnx_name(array.dtype)) else array.astype(np.float32)


def _misfit(spec: TensorSpec, got: str, hint: str = "") -> DataError:
    return DataError(
        f"Input “{safe_text(spec.name, 60)}” has values of type {got}, expected {spec.dtype}.",
        hint=hint or "Convert them first.",
        code="data.dtype",
    )


def _out_of_range(spec: TensorSpec, hint: str) -> DataError:
    return DataError(
        f"Input “{safe_text(spec.name, 60)}” has values beyond the range of {spec.dtype}.", hint=hint, code="data.range"
    )


def _from_python(value: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    kinds = _element_types(value)
    if str in kinds and is_float(spec.dtype):
        try:
            value = _with_specials(value)
        except RecursionError as error:
            raise _misfit(spec, "list") from error
        kinds = _element_types(value)
    if dict in kinds or type(None) in kinds:
        raise _misfit(spec, "null" if type(None) in kinds else "object")
    if str in kinds and len(kinds) > 1:
        raise _misfit(spec, "string and number")
    if bool in kinds and len(kinds) > 1:
        raise _misfit(spec, "boolean and number")
    try:
        array = np.array(value, dtype=object if str in kinds else None)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"The values of input “{safe_text(spec.name, 60)}” do not form a tensor: {safe_text(error, 160)}.",
            hint="All rows need the same length.",
            code="data.ragged",
        ) from error
    if array.dtype.kind == "O" and str not in kinds:
        raise _out_of_range(spec, "Numbers must fit into 64 bits.")
    return array


def _with_specials(value: Any) -> Any:
    """The value with `NaN`, `Infinity` and `-Infinity`, as JSON output writes them, as numbers."""
    if isinstance(value, list | tuple):
        return [_with_specials(item) for item in value]
    return _SPECIALS.get(value, value) if isinstance(value, str) else value


def _element_types(value: Any) -> set[type]:
    """Types of the leaves; walks without recursion, so depth cannot exhaust the stack."""
    found: set[type] = set()
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list | tuple):
            leaves = {type(part) for part in item}
            nested = leaves & {list, tuple}
            found |= leaves - nested
            if nested:
                pending.extend(part for part in item if isinstance(part, list | tuple))
        else:
            found.add(type(item))
    return found


def _strings(array: np.ndarray[Any, Any], spec: TensorSpec) -> np.ndarray[Any, Any]:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.size and (
        array.dtype.kind not in "OUT" or not all(isinstance(item, str) for item in array.ravel().tolist())
    ):
        raise _misfit(spec, onnx_name(array.dtype) if array.dtype.kind != "O" else "list")
    return array.astype(object)


def _whole(array: np.ndarray[Any, Any], target: np.dtype[Any], spec: TensorSpec) -> np.ndarray[Any, Any]:
    if array.dtype.kind not in "iu" and not (np.isfinite(array).all() and (array == np.trunc(array)).all()):
        raise _misfit(spec, onnx_name(array.dtype), "Round them, or give whole numbers.")
    low, high = integer_bounds(spec.dtype) or (0, 0)
    # As Python integers: comparisons of uint64 with int64 arrays go through float64.
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        raise _out_of_range(spec, f"They must lie between {low} and {high}.")
    return array.astype(target)


def _floating(array: np.ndarray[Any, Any], target: np.dtype[Any], spec: TensorSpec) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(target)
    if spec.dtype in EXTENDED_DTYPES or array.dtype.kind not in "iuf":
        return cast
    if not np.array_equal(np.isfinite(cast), np.isfinite(array)):
        raise _out_of_range(spec, "Scale them first.")
    return cast
