"""Two sets of outputs are compared by type, shape, structure and every element, and the reason says where."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from value_models import EXTENDED, VALUES

from quickserveml_tui.core.values import SparseValue
from quickserveml_tui.runtime.compare import compare_values
from quickserveml_tui.runtime.dtypes import integer_bounds, numpy_dtype


def compare(expected, actual, rtol=1e-4, atol=1e-5):
    (found,) = compare_values({"y": expected}, {"y": actual}, rtol, atol)
    assert found.ok is not bool(found.reason)
    assert found.reason.isprintable()
    return found


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_every_value_agrees_with_itself(value):
    assert compare(value, value, 0, 0).ok


def test_numbers_agree_within_the_tolerance_and_no_further():
    expected = np.array([100.0, 0.0])
    assert compare(expected, expected + np.array([0.009, 9e-6])).ok
    found = compare(expected, expected + np.array([0.02, 0]))
    assert found.reason == "y[0] is 100.02, expected 100."
    assert (found.differing, found.elements) == (1, 2)
    assert found.max_abs == pytest.approx(0.02)
    assert found.max_rel == pytest.approx(0.0002)
    assert not compare(expected, expected + np.array([0, 2e-5])).ok


SPECIAL = [float("nan"), float("inf"), float("-inf"), 0.0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_is_nan_and_infinities_have_a_sign(dtype):
    for first in SPECIAL:
        for second in SPECIAL:
            one, two = np.array([1, first], dtype), np.array([1, second], dtype)
            assert compare(one, two).ok is (str(first) == str(second)), (first, second)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64", "int4", "uint2"])
def test_integers_agree_only_when_they_are_equal(dtype):
    low, high = integer_bounds(dtype)
    values = (
        np.array([low, high, high]).astype(numpy_dtype(dtype))
        if dtype != "uint64"
        else np.array([low, high, high], np.uint64)
    )
    assert compare(values, values.copy(), rtol=10, atol=10).ok
    other = values.copy()
    other[2] = values.dtype.type(high - 1)
    found = compare(values, other, rtol=10, atol=10)
    assert (found.ok, found.differing, found.max_abs) == (False, 1, 1.0)
    far = compare(values[:1], values[1:2])
    assert far.max_abs == pytest.approx(float(high - low))


@pytest.mark.parametrize("dtype", ["float16", *(name for name in EXTENDED if "float" in name)])
def test_short_floats_may_differ_by_their_resolution(dtype):
    target = numpy_dtype(dtype)
    bits = np.array([1.0]).astype(target).view(f"u{target.itemsize}")
    one, next_one, far = bits.view(target), (bits + 1).view(target), (bits + 3).view(target)
    assert compare(one, next_one, 0, 0).ok
    assert not compare(one, far, 0, 0).ok


def test_strings_and_booleans_are_exact():
    words = np.array(["a", "b"], dtype=object)
    found = compare(words, np.array(["a", "c\x1b"], dtype=object))
    assert found.reason.startswith("y[1] is “c")
    assert not compare(np.array([True]), np.array([False])).ok


@pytest.mark.parametrize(
    ("expected", "actual", "reason"),
    [
        (np.zeros(2, np.float32), np.zeros(2), "y is of type float64, expected float32."),
        (np.zeros((2, 1)), np.zeros(2), "y has the shape 2, expected 2×1."),
        ([np.zeros(1)], [np.zeros(1)] * 2, "y has 2 elements, expected 1."),
        (np.zeros(1), None, "y is without a value, expected a tensor."),
        (None, [np.zeros(1)], "y is a sequence, expected without a value."),
        ({"a": 1.0}, {"b": 1.0}, "y lacks the key 'a'."),
        ({1: 1.0}, {"1": 1.0}, "y lacks the key 1."),
        ({"a": 1.0}, {"a": 1.0, "b": 1.0}, "y has the key 'b', which was not expected."),
        ([{}, {}, {}, {"cat": 0.5}], [{}, {}, {}, {"cat": 0.75}], "y[3]['cat'] is 0.75, expected 0.5."),
        ([np.zeros(2), np.zeros((2, 2))], [np.zeros(2), np.eye(2)], "y[1][0, 0] is 1, expected 0; 1 more of 4 differ."),
        (np.array(1.0), np.array(2.0), "y is 2, expected 1."),
    ],
)
def test_the_reason_says_where_and_what(expected, actual, reason):
    assert compare(expected, actual).reason == reason


def test_missing_and_unexpected_outputs_are_differences():
    found = compare_values({"a": np.zeros(1)}, {"b": np.zeros(1)}, 0, 0)
    assert [(item.output, item.ok) for item in found] == [("a", False), ("b", False)]


def test_sparse_tensors_are_compared_by_what_they_mean():
    def sparse(values, indices):
        return SparseValue(np.array(values, np.float32), np.array(indices), (2, 3))

    one = sparse([1, 2], [[0, 1], [1, 2]])
    assert compare(one, sparse([2, 1, 0], [[1, 2], [0, 1], [0, 0]])).ok
    assert compare(one, sparse([1, 3], [[0, 1], [1, 2]])).reason == "y[1, 2] is 3, expected 2."
    assert compare(one, sparse([1], [[0, 1]])).reason == "y[1, 2] is 0, expected 2."
    assert not compare(one, SparseValue(one.values, one.indices, (3, 3))).ok


def test_large_tensors_are_compared_in_little_memory():
    one = np.zeros(8_000_000, np.float32)
    two = one.copy()
    two[-1] = 1
    tracemalloc.start()
    found = compare(one, two)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.reason == "y[7999999] is 1, expected 0."
    assert peak < 32 << 20


@pytest.mark.parametrize(
    ("dtype", "expected", "actual"),
    [
        ("float8e8m0", [1.0], [2.0**-100]),
        ("float8e8m0", [1.0], [4.0]),
        ("float4e2m1", [1, 6], [0, 3]),
        ("float8e5m2", [1.0], [0.75]),
        ("bfloat16", [1.984375], [2.015625]),
        ("float16", [1.9990234375], [2.001953125]),
    ],
)
def test_short_floats_that_are_more_than_one_step_apart_differ(dtype, expected, actual):
    target = numpy_dtype(dtype)
    assert not compare(np.array(expected).astype(target), np.array(actual).astype(target), 0, 0).ok


def test_both_signs_of_a_short_float_meet_at_zero():
    for dtype in ("float16", "bfloat16", "float8e5m2", "float4e2m1"):
        target = numpy_dtype(dtype)
        bits = np.array([0, 1 << (3 if "4e" in dtype else 8 * target.itemsize - 1)], f"u{target.itemsize}")
        steps = bits + np.array([0, 1], bits.dtype)  # the smallest negative number
        assert compare(bits.view(target)[:1], steps.view(target)[1:], 0, 0).ok
        assert not compare((bits + np.array(1, bits.dtype)).view(target)[:1], steps.view(target)[1:], 0, 0).ok


def test_the_parts_of_complex_numbers_are_compared_apart():
    nan, inf = float("nan"), float("inf")
    assert not compare(np.array([complex(nan, 1)]), np.array([complex(1, nan)])).ok
    assert not compare(np.array([complex(nan, 1)]), np.array([complex(nan, 200)])).ok
    assert not compare(np.array([complex(inf, nan)]), np.array([complex(-inf, nan)])).ok
    assert compare(np.array([complex(nan, 1)]), np.array([complex(nan, 1.00001)])).ok
    assert compare(np.array([complex(inf, nan)]), np.array([complex(inf, nan)])).ok


@pytest.mark.parametrize(
    ("expected", "actual", "count"),
    [
        ([np.zeros(1)], [np.zeros(1)] * 3, 2),
        (np.zeros((2, 3)), np.zeros((3, 2)), 6),
        (np.zeros((0, 3)), np.zeros((0, 4)), 1),
        (np.zeros(4, np.float32), np.zeros(4), 4),
    ],
)
def test_what_cannot_be_compared_counts_as_differing(expected, actual, count):
    found = compare(expected, actual)
    assert found.differing == count
    assert found.elements >= count
    missing, extra = compare_values({"a": np.zeros(1)}, {"b": np.zeros(1)}, 0, 0)
    assert missing.differing == extra.differing == 1


def test_reported_differences_are_finite():
    found = compare(np.array([1e308, 5e-324]), np.array([-1e308, 1.0]))
    assert not found.ok
    assert np.isfinite([found.max_abs, found.max_rel]).all()
