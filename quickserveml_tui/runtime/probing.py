"""Finds synthetic inputs that a model accepts: its shapes do not always say which sizes work."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime.feeds import FreeSize, feed_shapes, synthesize
from quickserveml_tui.runtime.session import Session

FREE_SIZES = tuple(FreeSize(size, last_only) for size in (1, 8, 32, 128, 224, 512) for last_only in (False, True))
"""Tried in turn for free dims that do not lead: a convolution may need more than 1, a recurrent state exactly 1."""


@dataclass(frozen=True)
class FoundFeeds:
    """Inputs that the model accepted, its outputs for them, and how long that run took."""

    feeds: dict[str, np.ndarray[Any, Any]]
    outputs: dict[str, np.ndarray[Any, Any] | list[Any]]
    run_ms: float

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by input name."""
        return {name: array.shape for name, array in self.feeds.items()}


def find_feeds(session: Session, feed: FeedSpec, cancel: CancelToken) -> FoundFeeds:
    """The first synthetic inputs, by `FREE_SIZES`, that the model runs on.

    Raises the error of the first size (`DataError`) when none works, and what `synthesize` and `Session.run` raise.
    """
    inputs = known_inputs(session.inputs, session.path)
    first: DataError | None = None
    tried: set[tuple[tuple[int, ...], ...]] = set()
    for free in FREE_SIZES:
        shapes = tuple(feed_shapes(inputs, feed, free=free).values())
        if shapes in tried:
            continue
        tried.add(shapes)
        try:
            feeds = synthesize(inputs, feed, free=free)
            begin = time.perf_counter_ns()
            outputs = session.run(feeds, cancel=cancel)
            return FoundFeeds(feeds, outputs, (time.perf_counter_ns() - begin) / 1e6)
        except DataError as error:
            first = first or error
    assert first is not None
    raise first


def is_ambiguous(inputs: tuple[TensorSpec, ...], feed: FeedSpec) -> bool:
    """Whether the shapes leave open which sizes work, so that `find_feeds` may find others than `synthesize`."""
    if any(spec.kind == "tensor" and spec.shape == () for spec in inputs):
        return True
    return feed_shapes(inputs, feed) != feed_shapes(inputs, feed, free=FreeSize(2))


def known_inputs(inputs: tuple[TensorSpec, ...], path: Path) -> tuple[TensorSpec, ...]:
    """The inputs with unknown ranks told apart from scalars: the runtime reports both as an empty shape."""
    if not any(spec.kind == "tensor" and spec.shape == () for spec in inputs):
        return inputs
    from quickserveml_tui.graph.facts import read_facts

    unranked = {spec.name for spec in read_facts(path).inputs if spec.shape is None}
    return tuple(dataclasses.replace(spec, shape=None) if spec.name in unranked else spec for spec in inputs)
