"""Which size every dim of a synthetic input takes, and which dims are taken to be one axis."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.feeds import FeedSpec, resolve_dim
from quickserveml_tui.core.tensors import Dim, TensorSpec, format_shape
from quickserveml_tui.core.text import safe_text

_PLACE = re.compile(r"(.*)\[(\d{1,2})\]", re.DOTALL)

Slot: TypeAlias = tuple[str, int]
"""A dim by the name of its input and its axis."""
Node: TypeAlias = str | Slot
"""What has one size: a symbolic name, or a slot whose dim has none."""

LINKS = ("names", "leading", "axes", "last", "all")
"""Which dims are taken for one axis, each adding to the one before: those whose names are equal apart from case and
punctuation, all leading ones, all at the same place, all last ones, all that are free."""


@dataclass(frozen=True, slots=True)
class FreeSize:
    """What dims get that nothing is said of.

    `size` is for free dims that do not lead; with `last_only`, for those that are the last of their input. `link` is
    one of `LINKS`: linked dims take the size that one of them was given, or has. `ranks` are the ranks of the inputs of
    unknown rank, in their order; without, they get one dim of size 1.
    """

    size: int = 1
    last_only: bool = False
    link: str = ""
    ranks: tuple[int, ...] = ()


ONE = FreeSize()


def places_of(inputs: Sequence[TensorSpec], feed: FeedSpec) -> dict[Slot, int]:
    """The sizes that `feed.dims` gives by place (`image[2]`); a symbolic dim of that name comes first."""
    symbols = {dim for spec in inputs for dim in spec.shape or () if isinstance(dim, str)}
    shapes = {spec.name: spec.shape for spec in inputs}
    found: dict[Slot, int] = {}
    for key, size in feed.dims.items():
        match = _PLACE.fullmatch(key)
        # An empty shape may stand for an unknown rank, which has room for every axis.
        if key not in symbols and match and match[1] in shapes and _has_axis(shapes[match[1]], int(match[2])):
            found[match[1], int(match[2])] = size
    return found


def _has_axis(shape: tuple[Dim, ...] | None, axis: int) -> bool:
    return not shape or axis < len(shape)


def resolve_shapes(inputs: Sequence[TensorSpec], feed: FeedSpec, free: FreeSize = ONE) -> dict[str, tuple[int, ...]]:
    """The shape of each input, of its elements for a sequence; maps have none and are left out.

    Raises `UsageError` (`usage.override`) for a size or shape that does not fit.
    """
    shaped = [spec for spec in inputs if spec.kind != "map"]
    places = places_of(shaped, feed)
    ranks = dict(zip((spec.name for spec in shaped if spec.shape is None), free.ranks, strict=False))
    sizes = _Sizes(shaped, feed, free, places)
    shapes: dict[str, tuple[int, ...]] = {}
    for spec in shaped:
        if spec.name in feed.shapes:
            shapes[spec.name] = _checked_shape(spec, feed.shapes[spec.name])
        elif spec.shape is None or (spec.shape == () and any(name == spec.name for name, _axis in places)):
            shapes[spec.name] = _unranked(spec, feed, free, places, ranks.get(spec.name))
        else:
            shapes[spec.name] = tuple(sizes.of(spec, axis) for axis in range(len(spec.shape)))
    return shapes


def _unranked(
    spec: TensorSpec, feed: FeedSpec, free: FreeSize, places: dict[Slot, int], rank: int | None
) -> tuple[int, ...]:
    named = [axis for name, axis in places if name == spec.name]
    size = 1 if rank is None else free.size
    shape = [size] * max([1 if rank is None else rank, *(axis + 1 for axis in named)])
    if shape and feed.batch is not None:
        shape[0] = feed.batch
    for axis in named:
        shape[axis] = places[spec.name, axis]
    return tuple(shape)


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


class _Sizes:
    """Sizes of the dims of inputs of known rank."""

    def __init__(self, inputs: Sequence[TensorSpec], feed: FeedSpec, free: FreeSize, places: dict[Slot, int]) -> None:
        self._feed = feed
        self._free = free
        self._places = places
        self._inputs = [spec for spec in inputs if spec.shape]
        self._given: dict[Node, int] = {}
        self._defaults: dict[Node, int] = {}
        self._take_defaults()
        self._take_given()
        if free.link:
            self._link(free.link)

    def of(self, spec: TensorSpec, axis: int) -> int:
        """The size of one dim."""
        assert spec.shape is not None
        dim = spec.shape[axis]
        placed = self._places.get((spec.name, axis))
        if isinstance(dim, int):
            if placed is not None and placed != dim:
                raise UsageError(
                    f"Dim {axis} of input “{safe_text(spec.name, 60)}” is {dim} and cannot be {placed}.",
                    hint="Leave it out: the model fixes it.",
                    code="usage.override",
                )
            return dim
        if placed is not None:
            return placed
        node = _node(spec, axis)
        return self._given.get(node, self._defaults[node])

    def _slots(self) -> Iterator[tuple[TensorSpec, int, Dim]]:
        for spec in self._inputs:
            for axis, dim in enumerate(spec.shape or ()):
                yield spec, axis, dim

    def _take_defaults(self) -> None:
        leading = {spec.shape[0]: spec for spec in self._inputs if spec.shape}
        for spec, axis, dim in self._slots():
            if isinstance(dim, int):
                continue
            leads = isinstance(dim, str) and dim in leading
            self._defaults[_node(spec, axis)] = self._default(leading[dim] if leads else spec, 0 if leads else axis)

    def _default(self, spec: TensorSpec, axis: int) -> int:
        assert spec.shape is not None
        dim = spec.shape[axis]
        fixed = isinstance(dim, int) or (dim is not None and dim in self._feed.dims)
        if fixed or axis == 0 or (self._free.last_only and axis < len(spec.shape) - 1):
            return resolve_dim(dim, axis, self._feed)
        return self._free.size

    def _take_given(self) -> None:
        dims = self._feed.dims
        for spec, axis, dim in self._slots():
            if isinstance(dim, str) and dim in dims:
                self._given[dim] = dims[dim]
            elif not isinstance(dim, int) and (spec.name, axis) in self._places:
                self._given.setdefault(_node(spec, axis), self._places[spec.name, axis])
        for spec in self._inputs:
            override = self._feed.shapes.get(spec.name)
            if override is not None and spec.shape is not None and len(override) == len(spec.shape):
                for dim, size in zip(spec.shape, override, strict=True):
                    if isinstance(dim, str) and dim not in dims:
                        self._given[dim] = size

    def _link(self, link: str) -> None:
        """Give free dims of one axis one size: the first that was given, else one that is fixed, else the first's."""
        for group in _groups(list(self._slots()), LINKS[: LINKS.index(link) + 1]):
            open_slots = [(spec, axis) for spec, axis, dim in group if not isinstance(dim, int)]
            nodes = list(dict.fromkeys(_node(spec, axis) for spec, axis in open_slots))
            if not nodes:
                continue
            sources = [self._given[node] for node in nodes if node in self._given]
            sources += [
                self._feed.shapes[spec.name][axis]
                for spec, axis, _dim in group
                if len(self._feed.shapes.get(spec.name, ())) > axis
            ]
            if self._feed.batch is not None and any(axis == 0 for _spec, axis in open_slots):
                sources.append(self._feed.batch)
            sources += [dim for _spec, _axis, dim in group if isinstance(dim, int)]
            for node in nodes:
                self._given.setdefault(node, [*sources, self._defaults[nodes[0]]][0])


def _node(spec: TensorSpec, axis: int) -> Node:
    dim = (spec.shape or ())[axis]
    return dim if isinstance(dim, str) else (spec.name, axis)


def _groups(slots: list[tuple[TensorSpec, int, Dim]], links: Sequence[str]) -> list[list[tuple[TensorSpec, int, Dim]]]:
    """The slots that these links join, by a union of every key that they share."""
    parent: dict[object, object] = {}

    def find(key: object) -> object:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    owners = []
    for spec, axis, dim in slots:
        keys = [key for link in links if (key := _key(link, spec, axis, dim)) is not None]
        own: object = ("slot", spec.name, axis) if not isinstance(dim, str) else ("symbol", dim)
        for key in keys:
            parent[find(key)] = find(own)
        owners.append(own)
    groups: dict[object, list[tuple[TensorSpec, int, Dim]]] = {}
    for own, slot in zip(owners, slots, strict=True):
        groups.setdefault(find(own), []).append(slot)
    return list(groups.values())


def _key(link: str, spec: TensorSpec, axis: int, dim: Dim) -> object:
    if link == "names":
        plain = re.sub(r"[\W_]", "", dim).casefold() if isinstance(dim, str) else ""
        return ("name", plain) if plain else None
    if link == "leading":
        return ("axis", 0) if axis == 0 else None
    if link == "axes":
        return ("axis", axis)
    if link == "last":
        return ("last",) if axis == len(spec.shape or ()) - 1 else None
    return ("all",) if not isinstance(dim, int) else None
