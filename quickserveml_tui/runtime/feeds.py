"""Makes synthetic inputs from input specs and the user's overrides."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence

from quickserveml_tui.core.errors import DataError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.core.values import Value
from quickserveml_tui.runtime.dims import ONE, FreeSize, places_of, resolve_shapes
from quickserveml_tui.runtime.dtypes import element_bytes
from quickserveml_tui.runtime.kinds import ValueType, type_of
from quickserveml_tui.runtime.synthetic import DEFAULT_LENGTH, MAX_STORED, Maker, check_supported

__all__ = ["ONE", "FreeSize", "feed_shapes", "synthesize"]

MAX_FEED_BYTES = 1 << 30


def synthesize(inputs: Sequence[TensorSpec], feed: FeedSpec, *, free: FreeSize = ONE) -> dict[str, Value]:
    """A value for every input, the same for the same seed.

    Floats are uniform in [0, 1), integers 0 or 1 (they often index a table), scalar ones 1, booleans random, strings a
    short word; `feed.ranges` sets other bounds. A symbolic dim has one size in all inputs: `feed.dims`, else what
    `feed.shapes` implies, else `feed.batch` where it leads, else 1. An input of unknown rank gets one dim. `free` says
    what else free dims get. Sequences have `feed.lengths` elements of one shape, optional inputs a value unless
    `feed.absent` names them: then they are None.

    Raises `UsageError` for an override that names nothing or does not fit, `ModelError` for inputs that cannot be made,
    `DataError` (`data.too_large`) for more than 1 GiB in all.
    """
    types = {spec.name: type_of(spec) for spec in inputs}
    _check_names(inputs, types, feed)
    for name, kind in types.items():
        check_supported(name, kind)
    shapes = resolve_shapes(inputs, feed, free)
    _check_size(types, shapes, feed)
    return {
        name: None if name in feed.absent else Maker(name, feed).make(kind, shapes.get(name, ()))
        for name, kind in types.items()
    }


def feed_shapes(inputs: Sequence[TensorSpec], feed: FeedSpec, *, free: FreeSize = ONE) -> dict[str, tuple[int, ...]]:
    """The shape that each input takes in a synthetic feed: that of its elements for a sequence; none for a map."""
    return resolve_shapes(inputs, feed, free)


def _unknown(what: str, name: str, known: Iterable[str], hint: str = "") -> UsageError:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1) or names[:5]
    listed = ", ".join(f"“{safe_text(item, 60)}”" for item in near)
    hint = f"Did you mean {listed}?" if listed else hint or f"The model has no {what}s to set."
    return UsageError(f"The model has no {what} “{safe_text(name, 60)}”.", hint=hint, code="usage.override")


def _check_names(inputs: Sequence[TensorSpec], types: Mapping[str, ValueType], feed: FeedSpec) -> None:
    symbols = {dim for spec in inputs for dim in spec.shape or () if isinstance(dim, str)}
    placed = len(places_of(inputs, feed))
    if len(feed.dims) > placed:
        places = {f"{name}[{axis}]" for name, axis in places_of(inputs, feed)}
        for symbol in feed.dims:
            if symbol not in symbols and symbol not in places:
                hint = f"Set a dim by its place: {safe_text(inputs[0].name, 60)}[0]=8." if inputs else ""
                raise _unknown("symbolic dimension", symbol, symbols, hint)
    for name in (*feed.shapes, *feed.ranges):
        if name not in types:
            raise _unknown("input", name, types)
    kinds = {name: kind.without_optional for name, kind in types.items()}
    _check_kind(feed.lengths, kinds, [name for name, kind in kinds.items() if kind.kind != "tensor"], "has no length")
    with_text = [name for name, kind in kinds.items() if "string" in (kind.dtype, kind.leaf.dtype)]
    _check_kind(feed.words, kinds, with_text, "holds no strings")
    _check_kind(
        feed.absent, kinds, [name for name, kind in types.items() if kind.kind == "optional"], "is not optional"
    )
    if feed.batch is not None and not any(_takes_batch(spec, feed.batch) for spec in inputs):
        raise UsageError(
            f"No input of the model can take a batch of {feed.batch}.",
            hint="Its leading dimensions are fixed: leave the batch size out.",
            code="usage.batch",
        )


def _check_kind(named: Iterable[str], known: Iterable[str], fitting: Sequence[str], but: str) -> None:
    for name in named:
        if name not in known:
            raise _unknown("input", name, known)
        if name not in fitting:
            listed = ", ".join(f"“{safe_text(item, 60)}”" for item in fitting[:5])
            raise UsageError(
                f"Input “{safe_text(name, 60)}” {but}.",
                hint=f"These could be meant: {listed}." if listed else "Leave it out.",
                code="usage.override",
            )


def _takes_batch(spec: TensorSpec, batch: int) -> bool:
    if spec.kind == "map":
        return False
    return spec.shape is None or (bool(spec.shape) and (not isinstance(spec.shape[0], int) or spec.shape[0] == batch))


def _check_size(types: Mapping[str, ValueType], shapes: Mapping[str, tuple[int, ...]], feed: FeedSpec) -> None:
    total = 0
    for name, kind in types.items():
        inner = kind.without_optional
        size = math.prod(shapes.get(name, ()))
        count = feed.lengths.get(name, DEFAULT_LENGTH) if inner.kind in ("sequence", "map") else 1
        if inner.kind == "sparse":
            size = min(size, feed.lengths.get(name, MAX_STORED)) * (1 + len(shapes.get(name, ())))
        total += 0 if name in feed.absent else size * count * element_bytes(inner.leaf.dtype)
    if total > MAX_FEED_BYTES:
        raise DataError(
            f"The inputs would take {format_bytes(total)}, more than {format_bytes(MAX_FEED_BYTES)}.",
            hint="Give smaller sizes with --dim, --shape, --batch or --length.",
            code="data.too_large",
        )
