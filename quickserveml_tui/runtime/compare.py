"""Holds outputs against expected ones: type, shape and structure first, then every element."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quickserveml_tui.core.golden import ValueDifference
from quickserveml_tui.core.tensors import format_shape
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import SparseValue, Value
from quickserveml_tui.runtime.compare_arrays import ArrayDifference, compare_arrays, shown
from quickserveml_tui.runtime.dtypes import onnx_name
from quickserveml_tui.runtime.sparse_forms import sorted_sparse, union_values


def compare_values(
    expected: Mapping[str, Value], actual: Mapping[str, Value], rtol: float, atol: float
) -> tuple[ValueDifference, ...]:
    """One difference per output, in the order of `expected`; outputs that were not expected come last.

    Numbers agree when |actual - expected| <= atol + rtol * |expected|, NaN with NaN, infinities by their sign; for
    floats of 16 bits or fewer neighbours agree too. Integers, booleans and strings agree when they are
    equal. Sequences are compared element by element, maps key by key; the reason says where: `y[3]['cat']`.
    """
    found = [
        _Comparison(rtol, atol).compare(name, expected[name], actual[name])
        if name in actual
        else _whole_difference(name, f"The model has no output {_quoted(name)} any more.")
        for name in expected
    ]
    new = (name for name in actual if name not in expected)
    return (*found, *(_whole_difference(name, f"The output {_quoted(name)} was not expected.") for name in new))


def _whole_difference(name: str, reason: str) -> ValueDifference:
    return ValueDifference(name, False, reason, differing=1, elements=1)


def _quoted(name: str) -> str:
    return f"“{safe_text(name, 60)}”"


class _Comparison:
    """Adds up what the parts of one output say."""

    def __init__(self, rtol: float, atol: float) -> None:
        self._rtol = rtol
        self._atol = atol
        self._reason = ""
        self._max_abs: float | None = None
        self._max_rel: float | None = None
        self._differing = 0
        self._elements = 0

    def compare(self, name: str, expected: Value, actual: Value) -> ValueDifference:
        """The whole output."""
        self._visit(safe_text(name, 60), expected, actual)
        return ValueDifference(
            name,
            not self._reason,
            self._reason,
            max_abs=self._max_abs,
            max_rel=self._max_rel,
            differing=self._differing,
            elements=self._elements,
        )

    def _fail(self, reason: str, differing: int = 0) -> None:
        """Note why it differs, and how many elements could not even be compared."""
        self._reason = self._reason or reason
        self._differing += differing
        self._elements += differing

    def _visit(self, path: str, expected: Value, actual: Value) -> None:
        first, second = _kind(expected), _kind(actual)
        if first != second:
            self._fail(f"{path} is {second}, expected {first}.", 1)
        elif isinstance(expected, Mapping):
            self._visit_map(path, expected, actual)
        elif isinstance(expected, list | tuple):
            self._visit_list(path, expected, actual)
        elif isinstance(expected, SparseValue):
            self._visit_sparse(path, expected, actual)
        elif expected is not None:
            self._visit_array(path, np.asarray(expected), np.asarray(actual))

    def _visit_list(self, path: str, expected: Any, actual: Any) -> None:
        if len(expected) != len(actual):
            self._fail(
                f"{path} has {_counted(len(actual))}, expected {len(expected):,}.", abs(len(expected) - len(actual))
            )
        for index, (first, second) in enumerate(zip(expected, actual, strict=False)):
            self._visit(f"{path}[{index}]", first, second)

    def _visit_map(self, path: str, expected: Mapping[Any, Any], actual: Mapping[Any, Any]) -> None:
        missing = [key for key in expected if key not in actual]
        extra = [key for key in actual if key not in expected]
        if missing:
            self._fail(f"{path} lacks the key {_key(missing[0])}{_more(len(missing))}.", len(missing) + len(extra))
        elif extra:
            self._fail(f"{path} has the key {_key(extra[0])}{_more(len(extra))}, which was not expected.", len(extra))
        common = [key for key in expected if key in actual]
        if common and all(type(side[key]) is float for key in common for side in (expected, actual)):
            first = np.fromiter((expected[key] for key in common), np.float64, len(common))
            second = np.fromiter((actual[key] for key in common), np.float64, len(common))
            found = compare_arrays(first, second, self._rtol, self._atol)
            self._add(found, lambda position: f"{path}[{_key(common[position])}]")
            return
        for key in common:
            self._visit(f"{path}[{_key(key)}]", expected[key], actual[key])

    def _visit_sparse(self, path: str, expected: SparseValue, actual: SparseValue) -> None:
        if expected.shape != actual.shape:
            self._fail(_shapes_differ(path, expected.shape, actual.shape), _most(expected.values, actual.values))
            return
        if expected.values.dtype != actual.values.dtype:
            reason = _types_differ(path, expected.values.dtype, actual.values.dtype)
            self._fail(reason, _most(expected.values, actual.values))
            return
        first, second, positions = union_values(sorted_sparse(expected), sorted_sparse(actual))
        found = compare_arrays(first, second, self._rtol, self._atol)
        self._add(found, lambda index: f"{path}{_index(int(positions[index]), expected.shape)}")

    def _visit_array(self, path: str, expected: np.ndarray[Any, Any], actual: np.ndarray[Any, Any]) -> None:
        if onnx_name(expected.dtype) != onnx_name(actual.dtype):
            self._fail(_types_differ(path, expected.dtype, actual.dtype), _most(expected, actual))
        elif expected.shape != actual.shape:
            self._fail(_shapes_differ(path, expected.shape, actual.shape), _most(expected, actual))
        else:
            found = compare_arrays(expected, actual, self._rtol, self._atol)
            self._add(found, lambda position: f"{path}{_index(position, expected.shape)}")

    def _add(self, found: ArrayDifference, place: Any) -> None:
        self._elements += found.elements
        self._differing += found.differing
        self._max_abs = _largest(self._max_abs, found.max_abs)
        self._max_rel = _largest(self._max_rel, found.max_rel)
        if found.differing:
            rest = found.differing - 1
            others = f"; {rest:,} more of {found.elements:,} differ" if rest else ""
            self._fail(f"{place(found.first)} is {shown(found.actual)}, expected {shown(found.expected)}{others}.")


def _most(expected: np.ndarray[Any, Any], actual: np.ndarray[Any, Any]) -> int:
    """Elements of two arrays that do not fit each other; a difference counts even where there are none."""
    return max(expected.size, actual.size, 1)


def _kind(value: Value) -> str:
    if value is None:
        return "without a value"
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list | tuple):
        return "a sequence"
    if isinstance(value, SparseValue):
        return "a sparse tensor"
    return "a tensor" if isinstance(value, np.ndarray) else "a plain value"


def _largest(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return max(first, second)


def _counted(count: int) -> str:
    return f"{count:,} {'element' if count == 1 else 'elements'}"


def _more(count: int) -> str:
    return f" and {count - 1:,} more" if count > 1 else ""


def _key(key: object) -> str:
    return f"'{safe_text(key, 40)}'" if isinstance(key, str) else safe_text(key, 40)


def _index(position: int, shape: tuple[int, ...]) -> str:
    if not shape:
        return ""
    place = np.unravel_index(position, shape)
    return f"[{', '.join(str(int(part)) for part in place)}]"


def _types_differ(path: str, expected: np.dtype[Any], actual: np.dtype[Any]) -> str:
    return f"{path} is of type {onnx_name(actual)}, expected {onnx_name(expected)}."


def _shapes_differ(path: str, expected: tuple[int, ...], actual: tuple[int, ...]) -> str:
    return f"{path} has the shape {format_shape(actual)}, expected {format_shape(expected)}."
