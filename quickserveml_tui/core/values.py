"""What goes into a model and comes out of it: tensors, sequences, maps, optional values, sparse tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class SparseValue:
    """A sparse tensor in coordinate form."""

    values: np.ndarray[Any, Any]
    """Stored elements, shape `(n,)`."""
    indices: np.ndarray[Any, Any]
    """int64, shape `(n, rank)`: the position of each element."""
    shape: tuple[int, ...]
    """Dense shape."""


Value: TypeAlias = Any
"""One input or output: an array (strings: dtype object, holding str), a list of values (a sequence), a dict (a map), a
`SparseValue`, or None (an optional without a value).

Exactly what onnxruntime's Python binding gives, except that types that numpy lacks are arrays of `ml_dtypes` (4- and
2-bit integers one per element), and sparse tensors are `SparseValue`s."""
