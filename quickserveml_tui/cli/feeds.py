"""Feed options as a `FeedSpec`."""

from __future__ import annotations

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.feeds import FeedSpec, parse_dim, parse_range, parse_shape


def feed_spec(
    dims: list[str] | None, shapes: list[str] | None, ranges: list[str] | None, batch: int | None, seed: int
) -> FeedSpec:
    """The feed that options describe. Raises `UsageError`."""
    if batch is not None and not 1 <= batch <= 1_000_000:
        raise UsageError("--batch is out of range.", hint="Batch: 1 to 1,000,000.")
    if not 0 <= seed < 2**32:
        raise UsageError("--seed is out of range.", hint="Seed: 0 to 4294967295.")
    return FeedSpec(
        dims=dict(parse_dim(text) for text in dims or ()),
        shapes=dict(parse_shape(text) for text in shapes or ()),
        ranges=dict(parse_range(text) for text in ranges or ()),
        batch=batch,
        seed=seed,
    )
