"""Sparse tensors as positions and values, without the runtime."""

from __future__ import annotations

from typing import Any

import numpy as np

from quickserveml_tui.core.values import SparseValue

Array = np.ndarray[Any, Any]


def linear_positions(value: SparseValue) -> Array:
    """The position of each stored element in the flattened tensor, int64 of shape `(n,)`."""
    strides = np.cumprod([1, *value.shape[:0:-1]], dtype=np.int64)[::-1] if value.shape else np.zeros(0, np.int64)
    positions: Array = value.indices.astype(np.int64).reshape(-1, len(value.shape)) @ strides
    return positions


def coordinates(positions: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `linear_positions`: int64 of shape `(n, rank)`."""
    if not shape:
        return np.zeros((len(positions), 0), np.int64)
    return np.stack(np.unravel_index(positions, shape), axis=1).astype(np.int64)


def sorted_sparse(value: SparseValue) -> tuple[Array, Array]:
    """Positions in ascending order, and the values there."""
    positions = linear_positions(value)
    order = np.argsort(positions, kind="stable")
    return positions[order], value.values[order]


def union_values(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array, Array]:
    """Values of both at every position that either of them stores, zero where one does not; and the positions."""
    positions = np.union1d(first[0], second[0])
    sides = []
    for at, values in (first, second):
        filled = np.zeros(len(positions), values.dtype)
        if values.dtype == object:
            filled = np.full(len(positions), "", dtype=object)
        filled[np.searchsorted(positions, at)] = values
        sides.append(filled)
    return sides[0], sides[1], positions
