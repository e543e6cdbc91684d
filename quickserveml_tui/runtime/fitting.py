"""Fits given values to a model's inputs: every kind, from Python values, from JSON and from arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.tensors import TensorSpec, format_shape
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import SparseValue, Value
from quickserveml_tui.runtime.casts import to_array
from quickserveml_tui.runtime.kinds import ValueType, type_of
from quickserveml_tui.runtime.synthetic import check_supported

MAX_ELEMENTS = 1_000_000
"""Of a sequence: each is an array of its own."""
_INT64 = (-(2**63), 2**63 - 1)


def fit_value(value: Any, spec: TensorSpec) -> Value:
    """`value` as the input takes it.

    A tensor from nested lists or an array; a sequence from a list, or from an array by its first axis; a map from a
    dict, whose integer keys may be decimal text; an optional input from None or a value; a sparse tensor from a
    `SparseValue`, from `{"shape", "indices", "values"}`, or from a dense one. Raises `DataError` naming the input, and
    `ModelError` for inputs that cannot be passed at all.
    """
    if spec.kind == "tensor":
        return _fit_tensor(value, spec)
    kind = type_of(spec)
    check_supported(spec.name, kind)
    if kind.kind == "optional":
        return None if value is None else _fit(value, kind.held, spec)
    return _fit(value, kind, spec)


def _fit(value: Any, kind: ValueType, spec: TensorSpec) -> Value:
    if kind.kind == "sequence":
        return _fit_sequence(value, kind, spec.name)
    if kind.kind == "map":
        return _fit_map(value, kind, spec.name)
    if kind.kind == "sparse":
        return _fit_sparse(value, kind, spec.name)
    return _fit_tensor(value, TensorSpec(spec.name, kind.dtype, spec.shape))


def _fit_tensor(value: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    if isinstance(value, SparseValue):
        raise _misfit(spec.name, "a sparse tensor", "a dense one")
    array = to_array(value, spec)
    # The runtime reports an unknown rank as an empty shape, so an empty one forbids nothing.
    if spec.shape and (
        array.ndim != len(spec.shape)
        or any(isinstance(dim, int) and dim != size for dim, size in zip(spec.shape, array.shape, strict=True))
    ):
        raise DataError(
            f"Input “{safe_text(spec.name, 60)}” has the shape {format_shape(array.shape)}, "
            f"expected {safe_text(format_shape(spec.shape), 200)}.",
            hint="Give the input the shape that `quickserveml schema` shows.",
            code="data.shape",
        )
    return array


def _fit_sequence(value: Any, kind: ValueType, name: str) -> list[Any]:
    if (isinstance(value, np.ndarray) and value.ndim == 0) or not isinstance(value, list | tuple | np.ndarray):
        raise _misfit(name, _described(value), "a list of tensors")
    if len(value) > MAX_ELEMENTS:  # an array of rows without elements has any number of them in a few bytes
        raise DataError(
            f"Input “{safe_text(name, 60)}” has {len(value):,} elements, more than {MAX_ELEMENTS:,}.",
            hint="Pass a shorter sequence.",
            code="data.too_large",
        )
    dtype = kind.held.dtype
    items = [np.asarray(item) for item in value] if isinstance(value, np.ndarray) else value
    return [to_array(item, TensorSpec(f"{name}[{index}]", dtype)) for index, item in enumerate(items)]


def _fit_map(value: Any, kind: ValueType, name: str) -> dict[Any, float]:
    if not isinstance(value, Mapping):
        raise _misfit(name, _described(value), "an object of keys and numbers")
    if not value:
        raise DataError(
            f"Input “{safe_text(name, 60)}” is a map without entries, which the runtime does not take.",
            hint="Give at least one entry.",
            code="data.shape",
        )
    keys = [_map_key(key, kind.dtype, name) for key in value]
    if len(set(keys)) < len(keys):
        raise DataError(f"Input “{safe_text(name, 60)}” has the same key twice.", code="data.invalid")
    numbers = [to_array(item, TensorSpec(f"{name}[{key}]", kind.held.dtype)) for key, item in value.items()]
    if any(number.ndim for number in numbers):
        raise _misfit(name, "a map of lists", "a map of numbers")
    return {key: float(number) for key, number in zip(keys, numbers, strict=True)}


def _map_key(key: Any, dtype: str, name: str) -> Any:
    if dtype == "string":
        if isinstance(key, str):
            return key
        raise _misfit(name, f"a map with the key {safe_text(key, 40)}", "a map from strings")
    try:
        number = int(key) if not isinstance(key, float | bool) else None
    except (TypeError, ValueError):
        number = None
    if number is None or not _INT64[0] <= number <= _INT64[1]:
        raise _misfit(name, f"a map with the key {safe_text(key, 40)}", "a map from integers of 64 bits")
    return number


def _fit_sparse(value: Any, kind: ValueType, name: str) -> SparseValue:
    if isinstance(value, Mapping):
        if set(value) != {"shape", "indices", "values"}:
            raise _misfit(name, "an object of other keys", "“shape”, “indices” and “values”")
        shape = value["shape"]
        if not isinstance(shape, list) or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise _misfit(name, "an object with a bad shape", "a list of sizes")
        indices = to_array(value["indices"], TensorSpec(f"{name}.indices", "int64"))
        stored = to_array(value["values"], TensorSpec(f"{name}.values", kind.dtype))
        value = SparseValue(stored, indices.reshape(-1, len(shape)) if not indices.size else indices, tuple(shape))
    elif not isinstance(value, SparseValue):
        dense = to_array(value, TensorSpec(name, kind.dtype))
        places = np.argwhere(dense != 0)
        value = SparseValue(dense[tuple(places.T)], places.astype(np.int64), dense.shape)
    return _checked_sparse(value, kind, name)


def _checked_sparse(value: SparseValue, kind: ValueType, name: str) -> SparseValue:
    stored = to_array(value.values, TensorSpec(f"{name}.values", kind.dtype))
    places = np.asarray(value.indices, np.int64)
    if stored.ndim != 1 or places.shape != (len(stored), len(value.shape)):
        raise DataError(
            f"Input “{safe_text(name, 60)}” is a sparse tensor whose indices do not fit its values.",
            hint="Give one index per value, with one number per dim of the shape.",
            code="data.shape",
        )
    if places.size and ((places < 0).any() or (places >= np.array(value.shape, np.int64)).any()):
        raise DataError(
            f"Input “{safe_text(name, 60)}” is a sparse tensor with an index outside its shape.",
            hint="Count from 0 up to the size of the dim less one.",
            code="data.shape",
        )
    return SparseValue(stored, places, value.shape)


def _described(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, SparseValue):
        return "a sparse tensor"
    return "a list" if isinstance(value, list | tuple) else "a single value"


def _misfit(name: str, got: str, wanted: str) -> DataError:
    return DataError(
        f"Input “{safe_text(name, 60)}” is {got}, expected {wanted}.",
        hint="Give the form that `quickserveml schema` shows.",
        code="data.dtype",
    )
