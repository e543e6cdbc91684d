"""How the columns or arrays of a data set fill a model's inputs, and which one is the ground truth."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.predictions import RowFailure
from quickserveml_tui.core.tensors import TensorSpec, format_shape
from quickserveml_tui.core.text import plural, safe_text

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive rows, ready to run."""

    rows: tuple[int, ...]
    """Row numbers from 1; a header is not counted."""
    feeds: dict[str, Array]
    """Input arrays by name with the rows along the leading dim, not padded."""
    targets: tuple[str, ...] | None
    """Ground truth by row as text; None without ground truth."""
    failures: tuple[RowFailure, ...] = ()
    """Rows between the first and the last of this chunk that were set apart."""


class Dataset(Protocol):
    """A data set that fits a model."""

    @property
    def total(self) -> int | None:
        """Rows, where known without reading all; a CSV file with line breaks inside of quotes has fewer."""
        ...

    @property
    def target(self) -> str:
        """Name of the ground-truth column or array; empty without ground truth."""
        ...

    @property
    def row_limit(self) -> int | None:
        """Rows that every inference must have; None if free."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether one row fills whole inputs, so that outputs have no dim for rows."""
        ...

    @property
    def width(self) -> int:
        """Values per row, all inputs together."""
        ...

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Chunks of at most `size` good rows; a chunk may hold only failures. Can be read once."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@dataclass(frozen=True, slots=True)
class InputLayout:
    """How the values of one row fill an input."""

    spec: TensorSpec
    row_shape: tuple[int, ...]
    """Shape of one row."""
    has_rows: bool = True
    """Whether the leading dim counts rows; otherwise one row fills the whole input."""

    @property
    def width(self) -> int:
        """Values per row."""
        return math.prod(self.row_shape)

    def shaped(self, values: Array) -> Array:
        """`values`, of shape (rows, width), in the shape that the input takes."""
        shape = (len(values), *self.row_shape) if self.has_rows else self.row_shape
        return np.ascontiguousarray(values).reshape(shape)


def row_limit(layouts: Sequence[InputLayout]) -> int | None:
    """Rows that every inference must have: the inputs' fixed leading dim, 1 without a leading dim; None if free."""
    for layout in layouts:
        if not layout.has_rows:
            return 1
        lead = layout.spec.shape[0] if layout.spec.shape else None
        if isinstance(lead, int):
            return lead
    return None


def fit_row(spec: TensorSpec, count: int) -> InputLayout | None:
    """How `count` values per row fill the input, or None when they do not.

    The leading dim counts rows; one unknown dim beyond it takes what is left; several unknown dims take the values only
    when all but the last are 1. When the values fill all dims, the leading one included, one row is the whole input.
    """
    if spec.shape is None:
        return InputLayout(spec, (count,))
    if not spec.shape:
        return InputLayout(spec, (), has_rows=False) if count == 1 else None
    fixed = math.prod(dim for dim in spec.shape[1:] if isinstance(dim, int))
    unknown = [index for index, dim in enumerate(spec.shape[1:]) if not isinstance(dim, int)]
    if fixed > 0 and (count == fixed if not unknown else count % fixed == 0 and count > 0):
        shape = [dim if isinstance(dim, int) else 1 for dim in spec.shape[1:]]
        if unknown:
            shape[unknown[-1]] = count // fixed
        return InputLayout(spec, tuple(shape))
    whole = [dim for dim in spec.shape if isinstance(dim, int)]
    if len(whole) == len(spec.shape) and math.prod(whole) == count:
        return InputLayout(spec, tuple(whole), has_rows=False)
    return None


def pick_target(names: Sequence[str], wanted: str, inputs: Sequence[TensorSpec], common: Sequence[str]) -> str:
    """The ground-truth column or array: the wanted one, else the first of `common` that is there and no input.

    Raises `DataError` (`data.missing_column`) when the wanted one is not there.
    """
    if wanted:
        if wanted not in names:
            raise DataError(
                f"The data has no column “{safe_text(wanted, 60)}”.",
                hint=f"It has {list_names(names)}.",
                code="data.missing_column",
            )
        return wanted
    taken = {spec.name for spec in inputs}
    folded = {name.strip().lower(): name for name in reversed(names) if name not in taken}
    return next((folded[name] for name in common if name in folded), "")


def list_names(names: Sequence[str], most: int = 8) -> str:
    """Names for a message, bounded: `a, b, c and 61 more`."""
    shown = ", ".join(safe_text(name, 40) or "(empty)" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


_FILLABLE = re.compile(r"(float|bfloat|u?int)\d+(e\w+)?|bool|string")


def check_inputs(inputs: Sequence[TensorSpec]) -> None:
    """Raise `DataError` (`data.unsupported_input`) for a model that rows cannot be fed to."""
    if not inputs:
        raise DataError("The model takes no inputs.", hint="Use `quickserveml predict` for it.", code="data.no_inputs")
    for spec in inputs:
        if spec.kind != "tensor" or not _FILLABLE.fullmatch(spec.dtype):
            what = spec.dtype if spec.kind == "tensor" else spec.kind
            raise DataError(
                f"Input “{safe_text(spec.name, 60)}” is a {safe_text(what, 60)}; rows of a data set cannot fill it.",
                hint="Use `quickserveml predict` for it.",
                code="data.unsupported_input",
            )


def misfit(spec: TensorSpec, count: int, what: str, names: Sequence[str]) -> DataError:
    """The error for `count` values per row that do not fill the input."""
    dims = (spec.shape or ())[1:]
    need = format_shape(dims) if dims else "1 value"
    return DataError(
        f"The data has {plural(count, what)} per row, and input “{safe_text(spec.name, 60)}” takes {need}.",
        hint=f"Columns used: {list_names(names)}. Name the ground truth with --target, and leave out other columns.",
        code="data.columns",
    )
