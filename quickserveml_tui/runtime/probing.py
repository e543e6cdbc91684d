"""Finds synthetic inputs that a model accepts: its shapes do not always say which sizes work."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.errors import CancelledError, DataError, ModelError, QuickServeError
from quickserveml_tui.core.feeds import FeedSpec, all_ones
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import Value
from quickserveml_tui.runtime.dims import LINKS
from quickserveml_tui.runtime.dtypes import integer_bounds, is_float
from quickserveml_tui.runtime.feeds import FreeSize, feed_shapes, synthesize
from quickserveml_tui.runtime.kinds import type_of
from quickserveml_tui.runtime.session import Session
from quickserveml_tui.runtime.trial_report import OUT_OF_MEMORY

_SIZES = (1, 8, 32, 128, 224, 512)
FREE_SIZES = tuple(FreeSize(size, last_only) for size in _SIZES for last_only in (False, True))
"""Tried in turn for free dims that do not lead: a convolution may need more than 1, a recurrent state exactly 1."""
_RANKS = (2, 3, 4, 1, 0)
PROBE_S = 6.0
"""No guess begins after this long: a slow model must not use up its trial."""
CUT_S = 12.0
"""Guesses that still run after this long are ended."""
SLOW_S = 1.0
"""After a guess that took longer, or all memory, no larger size is tried."""
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
    works, and what `synthesize` and `Session.run` raise; a guess that is too slow or too large is a guess that failed.
    """
    inputs = known_inputs(session.inputs, session.path)
    try:
        return _attempt(session, inputs, FREE_SIZES[0], feed, cancel)
    except DataError as error:
        first = _bare(error)
    tried = [feed_shapes(inputs, feed, free=FREE_SIZES[0])]
    found = _guess(session, inputs, feed, cancel, tried)
    if found is not None:
        return found
    raise _none_works(first, inputs, tried)


def _bare(error: DataError) -> DataError:
    """Its words alone: with its traceback it would keep the session and all that was made up in memory."""
    return type(error)(error.message, hint=error.hint, code=error.code, detail=error.detail)


def _attempt(
    session: Session, inputs: Sequence[TensorSpec], free: FreeSize, values: FeedSpec, cancel: CancelToken
) -> FoundFeeds:
    feeds = synthesize(inputs, values, free=free)
    begin = time.perf_counter_ns()
    outputs = session.run(feeds, cancel=cancel)
    run_ms = (time.perf_counter_ns() - begin) / 1e6
    return FoundFeeds(feeds, outputs, run_ms, feed_shapes(inputs, values, free=free), values)


def _guess(
    session: Session,
    inputs: Sequence[TensorSpec],
    feed: FeedSpec,
    cancel: CancelToken,
    tried: list[dict[str, tuple[int, ...]]],
) -> FoundFeeds | None:
    """What the model runs on besides the first try, which `tried` holds; the shapes of the others are added to it."""
    begin, largest = time.monotonic(), max(_SIZES)
    seen = {_key(tried[0], feed)}
    with _bounded(cancel, CUT_S) as bound:
        for free, values in _tries(inputs, feed):
            if time.monotonic() - begin > PROBE_S:
                break
            shapes = feed_shapes(inputs, values, free=free)
            key = _key(shapes, values)
            if key in seen or free.size > largest:
                continue
            seen.add(key)
            tried.append(shapes)
            since = time.monotonic()
            try:
                return _attempt(session, inputs, free, values, bound)
            except CancelledError:
                cancel.raise_if_cancelled()
                break
            except (QuickServeError, MemoryError) as error:
                if _is_starved(error) or time.monotonic() - since > SLOW_S:
                    largest = min(largest, free.size)
                elif not isinstance(error, DataError):
                    raise
    return None


def _key(shapes: dict[str, tuple[int, ...]], values: FeedSpec) -> tuple[object, ...]:
    return (*shapes.values(), *values.ranges.items())


def _is_starved(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or getattr(error, "code", "") == OUT_OF_MEMORY


@contextmanager
def _bounded(cancel: CancelToken, limit_s: float) -> Iterator[CancelToken]:
    """A token that is cancelled with `cancel`, and when the time is over."""
    bound = CancelToken()
    forget = cancel.on_cancel(bound.cancel)
    timer = threading.Timer(limit_s, bound.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield bound
    finally:
        timer.cancel()
        forget()


def _tries(inputs: Sequence[TensorSpec], feed: FeedSpec) -> Iterator[tuple[FreeSize, FeedSpec]]:
    for free in itertools.chain(FREE_SIZES, _ranks(inputs), _links()):
        yield free, feed
    for values in _other_values(inputs, feed):
        for free in FREE_SIZES:
            yield free, values


def integer_inputs(inputs: Sequence[TensorSpec], feed: FeedSpec) -> list[str]:
    """Names of the inputs with integers whose values the feed leaves open."""
    return [spec.name for spec in inputs if spec.name not in feed.ranges and integer_bounds(type_of(spec).leaf.dtype)]


def _other_values(inputs: Sequence[TensorSpec], feed: FeedSpec) -> Iterator[FeedSpec]:
    """The feed with integers that are all 1 or all 0, and then with floats in vectors that are 1 as well.

    A divisor must not be 0, an axis must be there, and factors to scale by must not make the result empty.
    """
    open_inputs = [spec for spec in inputs if spec.name not in feed.ranges]
    integers = integer_inputs(inputs, feed)
    floats = [spec.name for spec in open_inputs if is_float(spec.dtype) and len(spec.shape or ()) == 1]
    if integers:
        yield all_ones(feed, integers)
        yield dataclasses.replace(feed, ranges=feed.ranges | dict.fromkeys(integers, (0.0, 0.0)))
    if floats and len(inputs) > 1:
        yield all_ones(feed, [*integers, *floats])


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
    hint = f"{tried_sizes} Set what the model needs, such as {option}, or values with --range INPUT=LOW:HIGH."
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
