"""Makes up values of every kind and dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from quickserveml_tui.core.errors import ModelError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import SparseValue, Value
from quickserveml_tui.runtime.dtypes import EXTENDED_DTYPES, integer_bounds, numpy_dtype
from quickserveml_tui.runtime.kinds import ValueType
from quickserveml_tui.runtime.sparse_forms import coordinates

DEFAULT_LENGTH = 2
MAX_STORED = 1 << 16
"""Elements that a made-up sparse tensor stores at most."""
_SMALLEST_SCALE = 2.0**-7  # float8e8m0 holds powers of two only: no zero, nothing negative

Shape = tuple[int, ...]


def check_supported(name: str, kind: ValueType) -> None:
    """Raise `ModelError` (`model.input_unsupported`, `model.dtype_unsupported`) for an input that cannot be passed."""
    inner = kind.without_optional
    if inner.kind == "map":
        if inner.dtype in ("string", "int64") and inner.held == ValueType("tensor", "float32"):
            return
        raise _unsupported(name, inner, "The runtime's Python binding takes only maps from string or int64 to float.")
    if inner.kind == "sequence" and (inner.held.kind != "tensor" or inner.held.dtype in EXTENDED_DTYPES):
        raise _unsupported(name, inner, "The runtime's Python binding takes only sequences of plain tensors.")
    if inner.kind == "optional":
        raise _unsupported(name, inner, "Export the model without an optional inside an optional.")
    numpy_dtype(inner.leaf.dtype)


def _unsupported(name: str, kind: ValueType, hint: str) -> ModelError:
    return ModelError(
        f"Input “{safe_text(name, 60)}” is a {safe_text(kind, 80)}, which cannot be passed to the runtime from Python.",
        hint=hint,
        code="model.input_unsupported",
    )


class Maker:
    """Makes up the value of one input, the same for the same seed and name.

    Raises `UsageError` for a range, length or words that do not fit.
    """

    def __init__(self, name: str, feed: FeedSpec) -> None:
        self._name = name
        self._bounds = feed.ranges.get(name)
        self._length = feed.lengths.get(name)
        self._words = feed.words.get(name, ())
        # By name, so that an input keeps its values when another one is added.
        self._rng = np.random.default_rng([feed.seed, *name.encode("utf-8", "surrogatepass")])

    def make(self, kind: ValueType, shape: Shape) -> Value:
        """A value of this type; the shape is that of the tensor, or of each tensor inside."""
        if kind.kind == "optional":
            return self.make(kind.held, shape)
        if kind.kind == "sequence":
            return [self._tensor(kind.held.dtype, shape) for _ in range(self._count(DEFAULT_LENGTH))]
        if kind.kind == "map":
            return self._map(kind)
        if kind.kind == "sparse":
            return self._sparse(kind.dtype, shape)
        if shape == () and self._bounds is None and integer_bounds(kind.dtype):
            return np.ones((), numpy_dtype(kind.dtype))  # a step, a size or a divisor: 0 ends the runtime's process
        return self._tensor(kind.dtype, shape)

    def _count(self, default: int) -> int:
        return default if self._length is None else self._length

    def _map(self, kind: ValueType) -> dict[Any, float]:
        count = self._count(len(self._words) or DEFAULT_LENGTH)
        if count == 0:
            raise UsageError(
                f"Input “{safe_text(self._name, 60)}” is a map, and the runtime takes none without entries.",
                hint="Give a length of 1 or more.",
                code="usage.override",
            )
        keys: list[Any] = list(range(count))
        if kind.dtype == "string":
            words = tuple(dict.fromkeys(self._words))
            keys = [words[index] if index < len(words) else f"sample{index}" for index in range(count)]
        return dict(zip(keys, self._tensor(kind.held.dtype, (count,)).tolist(), strict=True))

    def _sparse(self, dtype: str, shape: Shape) -> SparseValue:
        size = math.prod(shape)
        count = min(size, self._count(max(1, min(size // 4, MAX_STORED))))
        # Spread evenly by integers: a draw without replacement would need memory for every element of the dense form.
        positions = np.array([index * size // count for index in range(count)], np.int64)
        return SparseValue(self._tensor(dtype, (count,)), coordinates(positions, shape), shape)

    def _tensor(self, name: str, shape: Shape) -> np.ndarray[Any, Any]:
        dtype, rng = numpy_dtype(name), self._rng
        if name in ("string", "bool") and self._bounds is not None:
            raise UsageError(
                f"Input “{safe_text(self._name, 60)}” is of type {name}, which has no range.", code="usage.override"
            )
        if name == "string":
            return self._strings(shape)
        if name == "bool":
            return rng.integers(0, 2, shape).astype(np.bool_)
        if (limits := integer_bounds(name)) is not None:
            return self._integers(name, shape, limits)
        values = rng.random(shape, dtype=np.float64 if name == "float64" else np.float32)
        if self._bounds is not None:
            low, high = self._bounds
            values = low + values * (high - low)
        if name == "float8e8m0":
            values = np.maximum(values, _SMALLEST_SCALE)
        with np.errstate(over="ignore"):
            return np.asarray(values).astype(dtype, copy=False)

    def _strings(self, shape: Shape) -> np.ndarray[Any, Any]:
        made = np.full(shape, "sample", dtype=object)
        if self._words:
            chosen = self._rng.integers(0, len(self._words), made.size)
            made.reshape(-1)[:] = [self._words[index] for index in chosen]
        return made

    def _integers(self, name: str, shape: Shape, limits: tuple[int, int]) -> np.ndarray[Any, Any]:
        low, high = self._bounds or (0.0, 1.0)
        first, last = max(math.ceil(low), limits[0]), min(math.floor(high), limits[1])
        if first > last:
            raise UsageError(f"No {name} lies between {low:g} and {high:g}.", code="usage.override")
        dtype = numpy_dtype(name)
        if dtype.kind in "iu":
            return np.asarray(self._rng.integers(first, last, shape, dtype=dtype, endpoint=True))
        return np.asarray(self._rng.integers(first, last, shape, dtype=np.int8, endpoint=True)).astype(dtype)
