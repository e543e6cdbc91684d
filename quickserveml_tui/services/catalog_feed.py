"""Overrides for synthetic inputs that are kept with a version: whether they fit what it declares."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.tensors import TensorSpec, format_shape
from quickserveml_tui.core.text import safe_text

_PLACE = re.compile(r"(?s)(?P<name>.+)\[(?P<at>\d{1,3})\]", re.ASCII)
_WITHOUT_RANGE = ("string", "bool")


def check_feed(inputs: Sequence[TensorSpec], feed: FeedSpec) -> FeedSpec:
    """`feed`, if it names inputs and dims that there are, and fits their types; values are for the trial to judge.

    Also for a model that does not load, so that nobody has to ask the runtime. Raises `UsageError` (`usage.override`,
    `usage.batch`).
    """
    feed.validate()
    specs = {spec.name: spec for spec in inputs}
    for name in (*feed.shapes, *feed.ranges, *feed.lengths, *feed.words, *feed.absent):
        if name not in specs:
            raise _unknown("input", name, specs)
    for dim, size in feed.dims.items():
        _check_dim(specs, dim, size)
    for name, shape in feed.shapes.items():
        _check_shape(specs[name], shape)
    for name in feed.ranges:
        if specs[name].dtype in _WITHOUT_RANGE:
            raise _unfit(specs[name], "has no range")
    for name in feed.words:
        if "string" not in specs[name].dtype:
            raise _unfit(specs[name], "takes no words")
    for name in feed.lengths:
        if specs[name].kind in ("tensor", "sparse"):
            raise _unfit(specs[name], "has no length: give it a shape")
    for name in feed.absent:
        if specs[name].kind != "optional":
            raise _unfit(specs[name], "is not optional")
    if feed.batch is not None and not any(_takes_batch(spec, feed.batch) for spec in inputs):
        raise UsageError(
            f"No input of the model can take a batch of {feed.batch}.",
            hint="Its leading dimensions are fixed: leave the batch size out.",
            code="usage.batch",
        )
    return feed


def _check_dim(specs: dict[str, TensorSpec], dim: str, size: int) -> None:
    symbols = {part for spec in specs.values() for part in spec.shape or () if isinstance(part, str)}
    if dim in symbols:
        return
    place = _PLACE.fullmatch(dim)
    if place is None or place["name"] not in specs:
        raise _unknown("symbolic dimension", dim, symbols)
    spec, at = specs[place["name"]], int(place["at"])
    if spec.shape is None:
        return
    if at >= len(spec.shape):
        raise _unfit(spec, f"has {len(spec.shape)} dimensions, counted from 0")
    fixed = spec.shape[at]
    if isinstance(fixed, int) and fixed != size:
        raise _unfit(spec, f"has the fixed size {fixed} there")


def _check_shape(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    if spec.shape is None:
        return
    fits = len(shape) == len(spec.shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(spec.shape, shape, strict=True)
    )
    if not fits:
        raise UsageError(
            f"The shape {format_shape(shape)} does not fit input “{safe_text(spec.name, 60)}”.",
            hint=f"It must be like {safe_text(format_shape(spec.shape), 200)}.",
            code="usage.override",
        )


def _takes_batch(spec: TensorSpec, batch: int) -> bool:
    return spec.shape is None or (bool(spec.shape) and (not isinstance(spec.shape[0], int) or spec.shape[0] == batch))


def _unfit(spec: TensorSpec, why: str) -> UsageError:
    return UsageError(
        f"Input “{safe_text(spec.name, 60)}” ({safe_text(spec.dtype, 60)}) {why}.",
        hint="`quickserveml inspect` shows the inputs of the model.",
        code="usage.override",
    )


def _unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    names = sorted(known)
    near = difflib.get_close_matches(name[:200], [item[:200] for item in names[:1000]], 1) or names[:5]
    listed = ", ".join(f"“{safe_text(item, 60)}”" for item in near)
    return UsageError(
        f"The model has no {what} “{safe_text(name, 60)}”.",
        hint=f"There is: {listed}." if listed else f"The model has no {what}s to set.",
        code="usage.override",
    )
