"""Inputs that a conversion is checked on, and whether the outputs on them say anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.values import SparseValue, Value

if TYPE_CHECKING:
    import numpy as np

_FLOATS = frozenset({"float16", "float32", "float64"})


def further_inputs(inputs: Mapping[str, Value], feed: FeedSpec) -> Iterator[dict[str, Value]]:
    """Two more sets of inputs of the same shapes.

    Floats are drawn anew, first from [0, 1), then from [-1, 1); booleans are all true, then all false, so that both
    branches of an If run. Values of other types, and those with bounds in `feed`, stay as they are.
    """
    import numpy as np

    for number, low in enumerate((0.0, -1.0), start=1):
        rng = np.random.default_rng([feed.seed or 0, number])
        further = dict(inputs)
        for name, value in inputs.items():
            if isinstance(value, np.ndarray) and value.dtype == np.bool_:
                further[name] = np.full(value.shape, low == 0.0)
            elif isinstance(value, np.ndarray) and value.dtype.name in _FLOATS and name not in feed.ranges:
                further[name] = np.asarray(rng.uniform(low, 1.0, value.shape), value.dtype)
        yield further


def has_content(outputs: Mapping[str, Value]) -> bool:
    """Whether any output has an element that is finite, or text or a truth value."""
    return any(_sizes(array).size > 0 for value in outputs.values() for array in _arrays(value))


def largest(value: Value | None) -> float:
    """The largest size of a finite number in a value; 0 where there is none."""
    return max((float(sizes.max()) for array in _arrays(value) if (sizes := _sizes(array)).size), default=0.0)


def _sizes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The sizes of the finite elements; 0 for text and truth values."""
    import numpy as np

    if array.dtype.kind in "OUSb":
        return np.zeros(array.size)
    wide = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64).reshape(-1)
    sizes: np.ndarray[Any, Any] = np.abs(wide[np.isfinite(wide)])
    return sizes


def _arrays(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    """The arrays in a value of any kind; what is no array becomes one of one element."""
    import numpy as np

    if isinstance(value, SparseValue):
        yield value.values
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _arrays(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _arrays(item)
    elif value is not None:
        yield np.asarray(value)
