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
from quickserveml_tui.runtime.feeds import FreeSize, feed_shapes, synthesize
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


def find_feeds(session: Session, feed: FeedSpec, cancel: CancelToken) -> FoundFeeds:
    """The first synthetic inputs that the model runs on.

    Tried in turn: free dims by `FREE_SIZES`; ranks, where they are unknown; and dims taken for one axis, by `LINKS`.
    Raises the error of the first try (`DataError`) when none works, and what `synthesize` and `Session.run` raise.
    """
    inputs = known_inputs(session.inputs, session.path)
    first: DataError | None = None
    tried: list[dict[str, tuple[int, ...]]] = []
    seen: set[tuple[tuple[int, ...], ...]] = set()
    deadline = time.monotonic() + PROBE_S
    for number, free in enumerate(_tries(inputs)):
        if number >= len(FREE_SIZES) and time.monotonic() > deadline:
            break
        shapes = feed_shapes(inputs, feed, free=free)
        if (key := tuple(shapes.values())) in seen:
            continue
        seen.add(key)
        tried.append(shapes)
        try:
            feeds = synthesize(inputs, feed, free=free)
            begin = time.perf_counter_ns()
            outputs = session.run(feeds, cancel=cancel)
            return FoundFeeds(feeds, outputs, (time.perf_counter_ns() - begin) / 1e6, shapes)
        except DataError as error:
            first = first or error
    assert first is not None
    raise _none_works(first, inputs, tried)


def _tries(inputs: Sequence[TensorSpec]) -> Iterator[FreeSize]:
    yield from FREE_SIZES
    unranked = sum(spec.shape is None and spec.kind != "map" for spec in inputs)
    if unranked:
        for size, rank in itertools.product((1, 8, 32), _RANKS):
            yield FreeSize(size, ranks=(rank,) * unranked)
        if 1 < unranked <= 3:
            for ranks in itertools.product(_RANKS, repeat=unranked):
                yield FreeSize(1, ranks=ranks)
    for link, size in itertools.product(LINKS, _SIZES):
        yield FreeSize(size, link=link)


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
    hint = f"Tried {'; '.join(listed)}{more}. Set what the model needs, such as {option}."
    return type(error)(error.message, hint=hint, code=error.code, detail=error.detail)


def is_ambiguous(inputs: tuple[TensorSpec, ...], feed: FeedSpec) -> bool:
    """Whether the shapes leave open which sizes work, so that `find_feeds` may find others than `synthesize`."""
    if any(spec.kind != "tensor" or spec.shape == () for spec in inputs):
        return True
    shapes = feed_shapes(inputs, feed)
    others = (FreeSize(2), *(FreeSize(link=link) for link in LINKS))
    return any(feed_shapes(inputs, feed, free=free) != shapes for free in others)


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
