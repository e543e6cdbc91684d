"""How inputs are made where none are given."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.tensors import Dim
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import plain_number

MAX_SIZE = 2**40
MAX_BATCH = 1_000_000
MAX_LENGTH = 100_000
"""Elements of a made-up sequence or map."""


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """Overrides for synthetic inputs. Without any, symbolic dims become 1 and values are seeded by dtype."""

    dims: dict[str, int] = field(default_factory=dict)
    """Size by symbolic dim name, or by place: `image[2]` is the third dim of input `image`."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Whole shape by input name."""
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Low and high bound of the values by input name."""
    batch: int | None = None
    """Size of the leading dim of every input whose leading dim is not fixed."""
    seed: int = 0
    """0 is the default and says nothing: laid over another spec, that one's seed holds."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Elements by name of an input that is a sequence or map; 2 by default."""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Strings to choose from by name of a string input."""
    absent: tuple[str, ...] = ()
    """Optional inputs that are left without a value."""

    def over(self, base: FeedSpec) -> FeedSpec:
        """These overrides laid over others: entries of `base` hold where this says nothing."""
        return FeedSpec(
            dims=base.dims | self.dims,
            shapes=base.shapes | self.shapes,
            ranges=base.ranges | self.ranges,
            batch=self.batch if self.batch is not None else base.batch,
            seed=self.seed or base.seed,
            lengths=base.lengths | self.lengths,
            words=base.words | self.words,
            absent=self.absent or base.absent,
        )

    def validate(self) -> FeedSpec:
        """Itself, if sizes, bounds and seed are numbers that can be used. Raises `UsageError` otherwise."""
        sizes = [*self.dims.values(), *(size for shape in self.shapes.values() for size in shape)]
        problems = [
            (not all(0 <= size <= MAX_SIZE for size in sizes), "Sizes: 0 to 2^40."),
            (
                not all(math.isfinite(high - low) and low <= high for low, high in self.ranges.values()),
                "A range goes from its lower to its higher bound, and both are finite.",
            ),
            (self.batch is not None and not 1 <= self.batch <= MAX_BATCH, f"Batch: 1 to {MAX_BATCH:,}."),
            (not 0 <= self.seed < 2**32, "Seed: 0 to 4,294,967,295."),
            (not all(0 <= length <= MAX_LENGTH for length in self.lengths.values()), f"Length: 0 to {MAX_LENGTH:,}."),
        ]
        for wrong, hint in problems:
            if wrong:
                raise UsageError("The settings of the inputs are out of range.", hint=hint, code="usage.override")
        return self

    def to_args(self) -> list[str]:
        """The command-line options that reproduce it."""
        args = [part for name, size in self.dims.items() for part in ("--dim", f"{name}={size}")]
        args += [
            part
            for name, shape in self.shapes.items()
            for part in ("--shape", f"{name}={'x'.join(map(str, shape)) or 'scalar'}")
        ]
        args += [
            part
            for name, (low, high) in self.ranges.items()
            for part in ("--range", f"{name}={plain_number(low)}:{plain_number(high)}")
        ]
        if self.batch is not None:
            args += ["--batch", str(self.batch)]
        if self.seed:
            args += ["--seed", str(self.seed)]
        args += [part for name, length in self.lengths.items() for part in ("--length", f"{name}={length}")]
        args += [part for name, words in self.words.items() for word in words for part in ("--word", f"{name}={word}")]
        args += [part for name in self.absent for part in ("--absent", name)]
        return args


def all_ones(feed: FeedSpec, names: Iterable[str]) -> FeedSpec:
    """The feed with nothing but 1 in these inputs."""
    return replace(feed, ranges=feed.ranges | dict.fromkeys(names, (1.0, 1.0)))


def _pair(text: str, form: str) -> tuple[str, str]:
    name, separator, value = text.rpartition("=")  # input names may hold '='
    if not separator or not name or not value:
        raise UsageError(
            f"“{safe_text(text, 60)}” is not an override.", hint=f"Write it like {form}.", code="usage.override"
        )
    return name, value


def _size(text: str, form: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 13 or int(text) > MAX_SIZE:
        raise UsageError(
            f"“{safe_text(text, 60)}” is not a size.", hint=f"Write it like {form}.", code="usage.override"
        )
    return int(text)


def parse_dim(text: str) -> tuple[str, int]:
    """Name and size of `batch=8`. Raises `UsageError`."""
    name, value = _pair(text, "batch=8")
    return name, _size(value, "batch=8")


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Input name and shape of `image=1x3x224x224` or `x=scalar`. Raises `UsageError`."""
    name, value = _pair(text, "image=1x3x224x224")
    if value == "scalar":
        return name, ()
    return name, tuple(_size(part, "image=1x3x224x224") for part in value.split("x"))


def parse_range(text: str) -> tuple[str, tuple[float, float]]:
    """Input name and bounds of `image=0:255`, both inclusive; `trips=10` is one value. Raises `UsageError`."""
    name, value = _pair(text, "image=0:255")
    low, colon, high = value.partition(":")
    try:
        bounds = float(low), float(high if colon else low)
    except ValueError:
        bounds = (1.0, 0.0)
    if not bounds[0] <= bounds[1] or abs(bounds[0]) == float("inf") or abs(bounds[1]) == float("inf"):
        raise UsageError(
            f"“{safe_text(text, 60)}” is not a range.", hint="Write it like image=0:255.", code="usage.override"
        )
    return name, bounds


def parse_length(text: str) -> tuple[str, int]:
    """Input name and number of elements of `boxes=3`. Raises `UsageError`."""
    name, value = _pair(text, "boxes=3")
    return name, _size(value, "boxes=3")


def parse_word(text: str) -> tuple[str, str]:
    """Input name and word of `text=hello world`; the word may be empty. Raises `UsageError`."""
    name, separator, word = text.partition("=")
    if not separator or not name:
        raise UsageError(
            f"“{safe_text(text, 60)}” is not an override.", hint="Write it like text=hello.", code="usage.override"
        )
    return name, word


def resolve_dim(dim: Dim, position: int, spec: FeedSpec) -> int:
    """The size that a dim takes in a synthetic input."""
    if isinstance(dim, int):
        return dim
    if dim is not None and dim in spec.dims:
        return spec.dims[dim]
    if position == 0 and spec.batch is not None:
        return spec.batch
    return 1
