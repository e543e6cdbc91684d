"""Overrides for synthetic inputs as fields of a form, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.feeds import FeedSpec, parse_range, parse_shape
from quickserveml_tui.core.tensors import TensorSpec, format_shape, short_dtype
from quickserveml_tui.core.text import safe_text, truncate_middle
from quickserveml_tui.core.units import plain_number
from quickserveml_tui.tui.screens.forms import Field

MAX_INPUTS = 24
MAX_DIMS = 24
MAX_LOOKED_AT = 500
"""Inputs, and dims of each, that are looked at; a model has a handful."""
LABEL = 28
GIVEN, ABSENT = "given", "absent"
NO_RANGE = ("string", "bool")

T = TypeVar("T")


def free_dims(inputs: Sequence[TensorSpec]) -> list[str]:
    """Dims of the first inputs that can be chosen: each symbolic name once, unnamed ones by place (`image[2]`)."""
    names = [
        dim if isinstance(dim, str) and dim != "?" else f"{spec.name}[{at}]"
        for spec in inputs[:MAX_LOOKED_AT]
        for at, dim in enumerate((spec.shape or ())[:MAX_LOOKED_AT])
        if not isinstance(dim, int)
    ]
    return list(dict.fromkeys(names))


def feed_fields(inputs: Sequence[TensorSpec], feed: FeedSpec) -> list[Field]:
    """The fields, filled with the overrides that hold now."""
    shown, dims = inputs[:MAX_INPUTS], free_dims(inputs)[:MAX_DIMS]
    rest = len(inputs) - len(shown)
    note = f"{len(shown)} of {len(inputs):,} inputs" if rest > 0 else ""
    group = "All inputs"
    hidden = _hidden(dims, feed)
    fields = [
        Field("batch", "batch", "" if feed.batch is None else str(feed.batch), "as the model has it, else 1",
              group=group, group_note=note),
        Field("seed", "seed", str(feed.seed) if feed.seed else "", "0", group=group, group_note=note),
    ]  # fmt: skip
    fields = [field for field in fields if field.key != hidden]
    for index, name in enumerate(dims):
        value = feed.dims.get(name)
        if f"dim-{index}" != hidden:
            text = "" if value is None else str(value)
            fields.append(Field(f"dim-{index}", _label(name), text, "1", group="Sizes"))
    for index, spec in enumerate(shown):
        fields += _input_fields(index, spec, feed)
    return fields


def _hidden(dims: Sequence[str], feed: FeedSpec) -> str:
    """Of the batch and a dim of that name the one that says nothing now: two fields for one thing mislead."""
    if "batch" not in dims or (feed.batch is not None and "batch" in feed.dims):
        return ""
    return "batch" if feed.batch is None else f"dim-{dims.index('batch')}"


def _label(name: str) -> str:
    return truncate_middle(safe_text(name), LABEL)


def _input_fields(index: int, spec: TensorSpec, feed: FeedSpec) -> Iterator[Field]:
    name = spec.name
    dtype = short_dtype(safe_text(spec.dtype, 40))
    group, note = _label(name) or "unnamed", safe_text(f"{format_shape(spec.shape, ' × ')}  {dtype}", 60)
    if spec.kind in ("tensor", "optional", "sparse"):
        shape = feed.shapes.get(name)
        words = "" if shape is None else "x".join(map(str, shape)) or "scalar"
        yield Field(f"shape-{index}", "shape", words, "from the sizes above; 1x3x224x224", group=group, group_note=note)
    if not any(word in spec.dtype for word in NO_RANGE):
        bounds = feed.ranges.get(name)
        words = f"{plain_number(bounds[0])}:{plain_number(bounds[1])}" if bounds else ""
        yield Field(f"range-{index}", "values", words, "by the dtype; 0:255", group=group, group_note=note)
    if "string" in spec.dtype:
        words = ", ".join(feed.words.get(name, ()))
        yield Field(f"words-{index}", "words", words, "made up; red, green, blue", group=group, group_note=note)
    if spec.kind in ("sequence", "map"):
        length = feed.lengths.get(name)
        words = "" if length is None else str(length)
        yield Field(f"length-{index}", "length", words, "2", group=group, group_note=note)
    if spec.kind == "optional":
        state = ABSENT if name in feed.absent else GIVEN
        yield Field(f"absent-{index}", "value", state, choices=(GIVEN, ABSENT), group=group, group_note=note)


def feed_of(values: Mapping[str, str], inputs: Sequence[TensorSpec], base: FeedSpec) -> FeedSpec:
    """The overrides that the texts say; entries of `base` that the form did not show stay.

    Raises `UsageError` (`usage.override`) with the field that is wrong.
    """
    dims = free_dims(inputs)[:MAX_DIMS]
    names = [spec.name for spec in inputs[:MAX_INPUTS]]
    absent = tuple(name for name in base.absent if name not in names)
    feed = replace(
        base,
        batch=_size(values["batch"], "The batch", low=1) if values.get("batch") else None,
        seed=_size(values["seed"], "The seed") if values.get("seed") else 0,
        dims=_over(base.dims, dims, values, "dim", lambda name, text: _size(text, f"The size of {_label(name)}")),
        shapes=_over(base.shapes, names, values, "shape", _shape),
        ranges=_over(base.ranges, names, values, "range", lambda name, text: parse_range(f"{name}={text}")[1]),
        lengths=_over(base.lengths, names, values, "length", lambda name, text: _size(text, f"The length of {name}")),
        words=_over(base.words, names, values, "words", lambda _name, text: _words(text)),
        absent=absent + tuple(name for at, name in enumerate(names) if values.get(f"absent-{at}") == ABSENT),
    )
    return feed.validate()


def _over(
    base: Mapping[str, T], names: Sequence[str], values: Mapping[str, str], kind: str, read: Callable[[str, str], T]
) -> dict[str, T]:
    kept = {name: value for name, value in base.items() if name not in names}
    for index, name in enumerate(names):
        if text := values.get(f"{kind}-{index}", ""):
            kept[name] = read(name, text)
    return kept


def _size(text: str, what: str, low: int = 0) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 13 or int(text) < low:
        raise UsageError(
            f"{safe_text(what, 80)} is a whole number from {low} on, not “{safe_text(text, 40)}”.",
            hint="Empty leaves it to the model.", code="usage.override",
        )  # fmt: skip
    return int(text)


def _shape(name: str, text: str) -> tuple[int, ...]:
    return parse_shape(f"{name}={text.replace(' ', '').replace('×', 'x').replace(',', 'x')}")[1]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def feed_words(feed: FeedSpec) -> str:
    """The overrides on one line, as the options that reproduce them; empty when there are none."""
    return safe_text(" ".join(feed.to_args()), 400)


def made_up(feed: FeedSpec | None) -> str:
    """How inputs are made up where no file is named; None stands for what is kept with the version."""
    if feed is None:
        return "made up, as kept with the version"
    words = feed_words(feed)
    seed_alone = words == f"--seed {feed.seed}"
    return f"made up, seed {feed.seed}" if seed_alone or not words else f"made up, {words}"
