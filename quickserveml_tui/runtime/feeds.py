"""Makes synthetic inputs from input specs and the user's overrides."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quickserveml_tui.core.errors import DataError, ModelError, UsageError
from quickserveml_tui.core.feeds import FeedSpec, resolve_dim
from quickserveml_tui.core.tensors import DTYPE_BITS, TensorSpec, format_shape
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.runtime.dtypes import numpy_dtype

MAX_FEED_BYTES = 1 << 30
_STRING_BYTES = 64  # a short str object and its pointer


@dataclass(frozen=True, slots=True)
class FreeSize:
    """Size of free dims that do not lead; with `last_only`, of those that are the last of their input."""

    size: int = 1
    last_only: bool = False


ONE = FreeSize()


def synthesize(
    inputs: Sequence[TensorSpec], feed: FeedSpec, *, free: FreeSize = ONE
) -> dict[str, np.ndarray[Any, Any]]:
    """An array for every input, the same for the same seed.

    Floats are uniform in [0, 1), integers 0 or 1 (they often index a table), booleans random, strings a short word;
    `feed.ranges` sets other bounds. A symbolic dim has one size in all inputs: `feed.dims`, else what `feed.shapes`
    implies, else `feed.batch` where it leads, else 1. An input of unknown rank gets one dim. `free` replaces 1 for free
    dims that do not lead.

    Raises `UsageError` for an override that names nothing or does not fit, `ModelError` for inputs that cannot be made,
    `DataError` (`data.too_large`) for more than 1 GiB in all.
    """
    _check_names(inputs, feed)
    for spec in inputs:
        _check_supported(spec)
    shapes = feed_shapes(inputs, feed, free=free)
    _check_size(inputs, shapes)
    return {
        # By name, so that an input keeps its values when another one is added.
        spec.name: _values(spec, shapes[spec.name], feed, np.random.default_rng([feed.seed, *spec.name.encode()]))
        for spec in inputs
    }


def feed_shapes(inputs: Sequence[TensorSpec], feed: FeedSpec, *, free: FreeSize = ONE) -> dict[str, tuple[int, ...]]:
    """The shape that each input takes in a synthetic feed."""
    sizes = _symbol_sizes(inputs, feed, free)
    shapes = {}
    for spec in inputs:
        if spec.name in feed.shapes:
            shapes[spec.name] = _checked_shape(spec, feed.shapes[spec.name])
        elif spec.shape is None:
            shapes[spec.name] = (feed.batch or 1,)
        else:
            shapes[spec.name] = tuple(
                sizes[dim] if isinstance(dim, str) else _size(spec, position, feed, free)
                for position, dim in enumerate(spec.shape)
            )
    return shapes


def _size(spec: TensorSpec, position: int, feed: FeedSpec, free: FreeSize) -> int:
    assert spec.shape is not None
    dim = spec.shape[position]
    fixed = isinstance(dim, int) or (dim is not None and dim in feed.dims)
    if fixed or position == 0 or (free.last_only and position < len(spec.shape) - 1):
        return resolve_dim(dim, position, feed)
    return free.size


def _symbol_sizes(inputs: Sequence[TensorSpec], feed: FeedSpec, free: FreeSize) -> dict[str, int]:
    sizes: dict[str, int] = {}
    leading = {spec.shape[0]: spec for spec in inputs if spec.shape}
    for spec in inputs:
        for position, dim in enumerate(spec.shape or ()):
            if isinstance(dim, str):
                sizes[dim] = _size(leading[dim], 0, feed, free) if dim in leading else _size(spec, position, feed, free)
    for spec in inputs:
        override = feed.shapes.get(spec.name)
        if override is not None and spec.shape is not None and len(override) == len(spec.shape):
            pairs = zip(spec.shape, override, strict=True)
            sizes.update({dim: size for dim, size in pairs if isinstance(dim, str) and dim not in feed.dims})
    return sizes


def _unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1) or names[:5]
    listed = ", ".join(f"“{safe_text(item, 60)}”" for item in near)
    hint = f"Did you mean {listed}?" if listed else f"The model has no {what}s to set."
    return UsageError(f"The model has no {what} “{safe_text(name, 60)}”.", hint=hint, code="usage.override")


def _check_names(inputs: Sequence[TensorSpec], feed: FeedSpec) -> None:
    symbols = {dim for spec in inputs for dim in spec.shape or () if isinstance(dim, str)}
    names = {spec.name for spec in inputs}
    for symbol in feed.dims:
        if symbol not in symbols:
            raise _unknown("symbolic dimension", symbol, symbols)
    for name in (*feed.shapes, *feed.ranges):
        if name not in names:
            raise _unknown("input", name, names)
    if feed.batch is not None and not any(_takes_batch(spec, feed.batch) for spec in inputs):
        raise UsageError(
            f"No input of the model can take a batch of {feed.batch}.",
            hint="Its leading dimensions are fixed: leave the batch size out.",
            code="usage.batch",
        )


def _takes_batch(spec: TensorSpec, batch: int) -> bool:
    return spec.shape is None or (bool(spec.shape) and (not isinstance(spec.shape[0], int) or spec.shape[0] == batch))


def _checked_shape(spec: TensorSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    # The runtime reports an unknown rank as an empty shape, so an empty one forbids nothing.
    if spec.shape and (
        len(shape) != len(spec.shape)
        or any(isinstance(dim, int) and dim != size for dim, size in zip(spec.shape, shape, strict=True))
    ):
        raise UsageError(
            f"The shape {format_shape(shape)} does not fit input “{safe_text(spec.name, 60)}”.",
            hint=f"It must be like {safe_text(format_shape(spec.shape), 200)}.",
            code="usage.override",
        )
    return shape


def _check_supported(spec: TensorSpec) -> None:
    if spec.kind != "tensor":
        raise ModelError(
            f"Input “{safe_text(spec.name, 60)}” is a {spec.kind}, which cannot be made up.",
            hint="Export the model with tensor inputs.",
            code="model.input_unsupported",
        )
    numpy_dtype(spec.dtype)


def _check_size(inputs: Sequence[TensorSpec], shapes: dict[str, tuple[int, ...]]) -> None:
    total = sum(
        math.prod(shapes[spec.name]) * (DTYPE_BITS[spec.dtype] // 8 if spec.dtype in DTYPE_BITS else _STRING_BYTES)
        for spec in inputs
    )
    if total > MAX_FEED_BYTES:
        raise DataError(
            f"The inputs would take {format_bytes(total)}, more than {format_bytes(MAX_FEED_BYTES)}.",
            hint="Give smaller sizes with --dim, --shape or --batch.",
            code="data.too_large",
        )


def _integers(rng: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...], low: float, high: float) -> Any:
    bounds = np.iinfo(dtype)
    first, last = max(math.ceil(low), int(bounds.min)), min(math.floor(high), int(bounds.max))
    if first > last:
        raise UsageError(f"No {dtype.name} lies between {low:g} and {high:g}.", code="usage.override")
    return rng.integers(first, last, shape, dtype=dtype, endpoint=True)


def _values(spec: TensorSpec, shape: tuple[int, ...], feed: FeedSpec, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    dtype = numpy_dtype(spec.dtype)
    bounds = feed.ranges.get(spec.name)
    if spec.dtype in ("string", "bool") and bounds is not None:
        raise UsageError(
            f"Input “{safe_text(spec.name, 60)}” is of type {spec.dtype}, which has no range.", code="usage.override"
        )
    low, high = bounds or (0.0, 1.0)
    if spec.dtype == "string":
        return np.full(shape, "sample", dtype=object)
    if spec.dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.kind in "iu":
        made: np.ndarray[Any, Any] = _integers(rng, dtype, shape, low, high)
        return made
    values = rng.random(shape, dtype=np.float64 if spec.dtype == "float64" else np.float32)
    if bounds is not None:
        values = low + values * (high - low)
    return np.asarray(values).astype(dtype, copy=False)
