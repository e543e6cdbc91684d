"""Finds synthetic inputs that a model accepts: its shapes do not always say which sizes work."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.errors import DataError, ModelError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import Value
from quickserveml_tui.runtime.dims import LINKS
from quickserveml_tui.runtime.dtypes import integer_bounds, is_float
from quickserveml_tui.runtime.feeds import FreeSize, feed_shapes, synthesize
from quickserveml_tui.runtime.kinds import type_of
from quickserveml_tui.runtime.session import Session

_SIZES = (1, 8, 32, 128, 224, 512)
FREE_SIZES = tuple(FreeSize(size, last_only) for size in _SIZES for last_only in (False, True))
"""Tried in turn for free dims that do not lead: a convolution may need more than 1, a recurrent state exactly 1."""
_RANKS = (2, 3, 4, 1, 0)
PROBE_S = 6.0
"""Linked dims and ranks are tried for this long: they are guesses, and a slow model must not use up its trial."""
_SHOWN_DIMS = 6


@dataclass(frozen=True)
class FoundFeeds:
    """Inputs that the model accepted, its outputs for them, and how long that run took."""

    feeds: dict[str, Value]
    outputs: dict[str, Value]
    run_ms: float
    shapes: dict[str, tuple[int, ...]]
    """Shapes by input name; those of the elements for a sequence, none for a map."""
    feed: FeedSpec
    """The overrides that gave these values, with the ranges that had to be set."""


def find_feeds(session: Session, feed: FeedSpec, cancel: CancelToken) -> FoundFeeds:
    """The first synthetic inputs that the model runs on.

    Tried in turn: free dims by `FREE_SIZES`; ranks, where they are unknown; dims taken for one axis, by `LINKS`; and
    other values, for inputs that are divisors, axes or sizes. Raises the error of the first try (`DataError`) when none
    works, and what `synthesize` and `Session.run` raise.
    """
    inputs = known_inputs(session.inputs, session.path)
    first: DataError | None = None
    tried: list[dict[str, tuple[int, ...]]] = []
    seen: set[tuple[object, ...]] = set()
    deadline = time.monotonic() + PROBE_S
    for number, (free, values) in enumerate(_tries(inputs, feed)):
        if number >= len(FREE_SIZES) and time.monotonic() > deadline:
            break
        shapes = feed_shapes(inputs, values, free=free)
        key = (*shapes.values(), *values.ranges.items())
        if key in seen:
            continue
        seen.add(key)
        tried.append(shapes)
        try:
            feeds = synthesize(inputs, values, free=free)
            begin = time.perf_counter_ns()
            outputs = session.run(feeds, cancel=cancel)
            return FoundFeeds(feeds, outputs, (time.perf_counter_ns() - begin) / 1e6, shapes, values)
        except DataError as error:
            first = first or error
    assert first is not None
    raise _none_works(first, inputs, tried)


def _tries(inputs: Sequence[TensorSpec], feed: FeedSpec) -> Iterator[tuple[FreeSize, FeedSpec]]:
    for free in itertools.chain(FREE_SIZES, _ranks(inputs), _links()):
        yield free, feed
    for values in _other_values(inputs, feed):
        for free in FREE_SIZES:
            yield free, values


def _other_values(inputs: Sequence[TensorSpec], feed: FeedSpec) -> Iterator[FeedSpec]:
    """The feed with integers that are all 1 or all 0, and then with floats in vectors that are 1 as well.

    A divisor must not be 0, an axis must be there, and factors to scale by must not make the result empty.
    """
    open_inputs = [spec for spec in inputs if spec.name not in feed.ranges]
    integers = [spec.name for spec in open_inputs if integer_bounds(type_of(spec).leaf.dtype)]
    floats = [spec.name for spec in open_inputs if is_float(spec.dtype) and len(spec.shape or ()) == 1]
    ones, zeros = dict.fromkeys(integers, (1.0, 1.0)), dict.fromkeys(integers, (0.0, 0.0))
    if integers:
        yield dataclasses.replace(feed, ranges=feed.ranges | ones)
        yield dataclasses.replace(feed, ranges=feed.ranges | zeros)
    if floats and len(inputs) > 1:
        yield dataclasses.replace(feed, ranges=feed.ranges | ones | dict.fromkeys(floats, (1.0, 1.0)))


def _links() -> Iterator[FreeSize]:
    for link, size in itertools.product(LINKS, _SIZES):
        yield FreeSize(size, link=link)


def _ranks(inputs: Sequence[TensorSpec]) -> Iterator[FreeSize]:
    unranked = sum(spec.shape is None and spec.kind != "map" for spec in inputs)
    if unranked:
        for size, rank in itertools.product((1, 8, 32), _RANKS):
            yield FreeSize(size, ranks=(rank,) * unranked)
        if 1 < unranked <= 3:
            for ranks in itertools.product(_RANKS, repeat=unranked):
                yield FreeSize(1, ranks=ranks)


def _none_works(
    error: DataError, inputs: Sequence[TensorSpec], tried: Sequence[dict[str, tuple[int, ...]]]
) -> DataError:
    """The first error, with the free dims that were tried and how to set them."""
    sizes: dict[str, list[int]] = {}
    for spec in inputs:
        for axis, dim in enumerate(spec.shape or ()):
            if not isinstance(dim, int):
                name = dim if isinstance(dim, str) else f"{spec.name}[{axis}]"
                known = sizes.setdefault(name, [])
                known += [shapes[spec.name][axis] for shapes in tried if len(shapes[spec.name]) > axis]
    unranked = next((spec.name for spec in inputs if spec.shape is None and spec.kind != "map"), None)
    if not sizes and unranked is None:
        return error
    listed = [
        f"{safe_text(name, 40)} = {', '.join(map(str, dict.fromkeys(known)))}"
        for name, known in list(sizes.items())[:_SHOWN_DIMS]
    ]
    if unranked is not None:
        listed.append(f"the rank of {safe_text(unranked, 40)}")
    option = (
        f"--shape {safe_text(unranked, 40)}=SIZExSIZE" if unranked else f"--dim {safe_text(next(iter(sizes)), 40)}=SIZE"
    )
    more = ", …" if len(sizes) > _SHOWN_DIMS else ""
    tried_sizes = f"Tried {'; '.join(listed)}{more}."
    hint = f"{tried_sizes} Set what the model needs, such as {option}."
    if "--range" in error.hint:  # then it is about values, and sizes are only a part of the answer
        hint = f"{error.hint} {tried_sizes}"
    return type(error)(error.message, hint=hint, code=error.code, detail=error.detail)


def is_ambiguous(inputs: tuple[TensorSpec, ...], feed: FeedSpec) -> bool:
    """Whether it is open which sizes and values work, so that `find_feeds` may find others than `synthesize`."""
    if len(inputs) > 1 or any(spec.kind != "tensor" or spec.shape == () for spec in inputs):
        return True
    if any(integer_bounds(spec.dtype) for spec in inputs):
        return True
    shapes = feed_shapes(inputs, feed)
    return any(feed_shapes(inputs, feed, free=free) != shapes for free in (FreeSize(2), *_links()))


def known_inputs(inputs: tuple[TensorSpec, ...], path: Path) -> tuple[TensorSpec, ...]:
    """The inputs with the shapes that the runtime does not tell: of the elements of sequences, and of optional values.

    Unknown ranks are told apart from scalars, both of which the runtime reports as an empty shape.
    """
    if not any(spec.kind not in ("tensor", "map") or spec.shape == () for spec in inputs):
        return inputs
    from quickserveml_tui.graph.input_shapes import read_input_shapes

    try:
        shapes = read_input_shapes(path)
    except ModelError:  # the runtime opened it all the same: then its own shapes must do
        return inputs
    return tuple(
        dataclasses.replace(spec, shape=shapes[spec.name])
        if spec.name in shapes and (spec.kind not in ("tensor", "map") or spec.shape == ())
        else spec
        for spec in inputs
    )
