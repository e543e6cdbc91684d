"""Feed options as a `FeedSpec`."""

from __future__ import annotations

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.feeds import FeedSpec, parse_dim, parse_length, parse_range, parse_shape, parse_word


def feed_spec(
    dims: list[str] | None,
    shapes: list[str] | None,
    ranges: list[str] | None,
    batch: int | None,
    seed: int,
    *,
    lengths: list[str] | None = None,
    words: list[str] | None = None,
    absent: list[str] | None = None,
) -> FeedSpec:
    """The feed that options describe. Raises `UsageError`."""
    if batch is not None and not 1 <= batch <= 1_000_000:
        raise UsageError("--batch is out of range.", hint="Batch: 1 to 1,000,000.")
    if not 0 <= seed < 2**32:
        raise UsageError("--seed is out of range.", hint="Seed: 0 to 4294967295.")
    choices: dict[str, tuple[str, ...]] = {}
    for name, word in map(parse_word, words or ()):
        choices[name] = (*choices.get(name, ()), word)
    return FeedSpec(
        dims=dict(parse_dim(text) for text in dims or ()),
        shapes=dict(parse_shape(text) for text in shapes or ()),
        ranges=dict(parse_range(text) for text in ranges or ()),
        batch=batch,
        seed=seed,
        lengths=dict(parse_length(text) for text in lengths or ()),
        words=choices,
        absent=tuple(dict.fromkeys(absent or ())),
    )
