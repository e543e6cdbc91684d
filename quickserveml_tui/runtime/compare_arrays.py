"""Compares two arrays of one shape and dtype, part by part, so that large ones take little memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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


def resolution(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Relative and absolute tolerance below which two values of a short float type cannot be told apart.

    Zero for float32 and float64, and for types that are not floats.
    """
    if (dtype.kind == "f" and dtype.itemsize >= 4) or not is_float(onnx_name(dtype)):
        return 0.0, 0.0
    if not is_extended(dtype):
        half = np.finfo(np.float16)
        return float(half.eps), float(half.smallest_subnormal)
    import ml_dtypes

    limits: Any = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return float(limits.eps), float(limits.smallest_subnormal)


def compare_arrays(expected: Array, actual: Array, rtol: float, atol: float) -> ArrayDifference:
    """The difference of two arrays of the same shape and ONNX dtype; see `compare.compare_values`."""
    found = ArrayDifference(int(expected.size))
    name = onnx_name(expected.dtype)
    floor_rel, floor_abs = resolution(expected.dtype)
    rtol, atol = max(rtol, floor_rel), max(atol, floor_abs)
    first, second = expected.reshape(-1), actual.reshape(-1)
    for start in range(0, first.size, PART):
        one, two = first[start : start + PART], second[start : start + PART]
        if is_float(name) or name.startswith("complex"):
            wrong = _compare_reals(_wide(one), _wide(two), rtol, atol, found)
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
        gap = np.where(both, np.abs(two - one), 0.0)
        size = np.abs(one)
        if both.any():
            found.max_abs = max(found.max_abs or 0.0, float(gap.max()))
            relative = np.divide(gap, size, out=np.zeros_like(gap), where=both & (size > 0))
            found.max_rel = max(found.max_rel or 0.0, float(relative.max()))
        agree = np.where(both, gap <= atol + rtol * size, (one == two) | (np.isnan(one) & np.isnan(two)))
    wrong: Array = ~agree
    return wrong


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
