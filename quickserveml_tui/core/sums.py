"""Sums of figures that are kept apart: of workers, of minutes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Key = TypeVar("Key")

COUNTED = ("inferences", "executions", "rejected", "cache_hits", "cache_misses")
"""Counters that every record of a served version has."""


def summed(first: object, second: object, names: Iterable[str]) -> dict[str, Any]:
    """The sum of each of these attributes of two records, by name."""
    return {name: getattr(first, name) + getattr(second, name) for name in names}


def summed_counts(first: Mapping[Key, int], second: Mapping[Key, int]) -> dict[Key, int]:
    """Counts by key over both."""
    return {**first, **{key: first.get(key, 0) + count for key, count in second.items()}}
