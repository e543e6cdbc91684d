"""Compares two arrays of one shape and dtype, part by part, so that large ones take little memory."""

from __future__ import annotations

from dataclasses import dataclass
from sys import float_info
from typing import Any

import numpy as np

from quickserveml_tui.core.tensors import DTYPE_BITS
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.dtypes import is_extended, is_float, onnx_name

PART = 1 << 18
"""Elements that are compared at a time: their float64 forms take some 10 MB."""

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class ArrayDifference:
    """What a comparison found; `first` is the position of the first element beyond the tolerance."""

    elements: int
    differing: int = 0
    max_abs: float | None = None
    max_rel: float | None = None
    first: int = 0
    expected: Any = None
    actual: Any = None


def _is_short(dtype: np.dtype[Any], name: str) -> bool:
    return is_float(name) and (is_extended(dtype) or dtype.itemsize < 4)


def _steps(one: Array, two: Array, name: str) -> Array:
    """How many representable values of a short float type lie between the elements, the last one counted."""
    first, second = (_places(part, name) for part in (one, two))
    steps: Array = np.abs(first - second)
    return steps


def _places(part: Array, name: str) -> Array:
    """Elements as their places among the values of the type, in order; both zeros are at 0."""
    native = part if part.dtype.isnative else part.astype(part.dtype.newbyteorder("="))
    codes = native.view(f"u{native.dtype.itemsize}").astype(np.int32)
    if name == "float8e8m0":  # has no sign
        return codes
    sign = 1 << (DTYPE_BITS[name] - 1)
    size = codes & (sign - 1)
    places: Array = np.where(codes & sign, -size, size)
    return places


def compare_arrays(expected: Array, actual: Array, rtol: float, atol: float) -> ArrayDifference:
    """The difference of two arrays of the same shape and ONNX dtype; see `compare.compare_values`."""
    found = ArrayDifference(int(expected.size))
    name = onnx_name(expected.dtype)
    is_short = _is_short(expected.dtype, name)
    first, second = expected.reshape(-1), actual.reshape(-1)
    for start in range(0, first.size, PART):
        one, two = first[start : start + PART], second[start : start + PART]
        if is_float(name) or name.startswith("complex"):
            wrong = _compare_reals(_wide(one), _wide(two), rtol, atol, found)
            if is_short and wrong.any():
                finite = np.isfinite(_wide(one)) & np.isfinite(_wide(two))
                wrong &= ~(finite & (_steps(one, two, name) <= 1))
        elif name in ("string", "bool"):
            wrong = one != two
        else:
            wrong = _compare_integers(_whole(one), _whole(two), found)
        _count(found, np.asarray(wrong, dtype=bool), start, one, two)
    return found


def _wide(part: Array) -> Array:
    return part.astype(np.complex128 if part.dtype.kind == "c" else np.float64)


def _whole(part: Array) -> Array:
    return part.astype(np.int8) if part.dtype.kind == "V" else part


def _compare_reals(one: Array, two: Array, rtol: float, atol: float, found: ArrayDifference) -> Array:
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        both = np.isfinite(one) & np.isfinite(two)
        # Differences of finite numbers can overflow, and a report has no infinity.
        gap = np.where(both, np.minimum(np.abs(two - one), float_info.max), 0.0)
        size = np.minimum(np.abs(one), float_info.max)
        if both.any():
            found.max_abs = max(found.max_abs or 0.0, float(gap.max()))
            relative = np.divide(gap, size, out=np.zeros_like(gap), where=both & (size > 0))
            found.max_rel = max(found.max_rel or 0.0, min(float(relative.max()), float_info.max))
        agree = np.where(both, gap <= atol + rtol * size, _alike(one, two, rtol, atol))
    wrong: Array = ~agree
    return wrong


def _alike(one: Array, two: Array, rtol: float, atol: float) -> Array:
    """Whether elements of which one is not finite agree; the parts of complex ones are compared apart."""
    if one.dtype.kind == "c":
        parts = ((one.real, two.real), (one.imag, two.imag))
        first, second = (_alike(a, b, rtol, atol) | _close(a, b, rtol, atol) for a, b in parts)
        return np.asarray(first & second)
    same: Array = (one == two) | (np.isnan(one) & np.isnan(two))
    return same


def _close(one: Array, two: Array, rtol: float, atol: float) -> Array:
    close: Array = np.isfinite(one) & np.isfinite(two) & (np.abs(two - one) <= atol + rtol * np.abs(one))
    return close


def _compare_integers(one: Array, two: Array, found: ArrayDifference) -> Array:
    wrong: Array = one != two
    gap, relative = 0.0, 0.0
    if wrong.any():
        ours, theirs = one[wrong], two[wrong]
        # The difference of two 64-bit integers fits into unsigned ones, where float64 would lose its last digits.
        low, high = np.minimum(ours, theirs), np.maximum(ours, theirs)
        apart = (high.astype(np.uint64) - low.astype(np.uint64)).astype(np.float64)
        size = np.abs(ours.astype(np.float64))
        gap = float(apart.max())
        relative = float(np.divide(apart, size, out=np.zeros_like(apart), where=size > 0).max())
    found.max_abs = max(found.max_abs or 0.0, gap)
    found.max_rel = max(found.max_rel or 0.0, relative)
    return wrong


def _count(found: ArrayDifference, wrong: Array, start: int, one: Array, two: Array) -> None:
    count = int(np.count_nonzero(wrong))
    if count and not found.differing:
        at = int(wrong.argmax())
        found.first, found.expected, found.actual = start + at, one[at], two[at]
    found.differing += count


def shown(value: Any) -> str:
    """An element in a sentence."""
    if isinstance(value, str):
        return f"“{safe_text(value, 60)}”"
    if isinstance(value, np.generic):
        value = _wide(np.asarray(value)).item() if is_extended(value.dtype) else value.item()
    return f"{value:.9g}" if isinstance(value, float) else safe_text(value, 60)
