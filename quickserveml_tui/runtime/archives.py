"""NPZ archives as data sets."""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.dtypes import numpy_dtype
from quickserveml_tui.runtime.layouts import (
    Array,
    Chunk,
    InputLayout,
    fit_row,
    list_names,
    misfit,
    pick_target,
    row_limit,
)
from quickserveml_tui.runtime.npy import read_header

MAX_BYTES = 4 << 30
MAX_MEMBERS = 10_000
FEATURE_NAMES = ("x", "data", "images")
TARGET_NAMES = ("y", "label", "target")

_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RuntimeError, NotImplementedError,
    MemoryError, KeyError, SyntaxError, TypeError, RecursionError, tokenize.TokenError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Source:
    layout: InputLayout
    values: Array


class ArchiveDataset:
    """Arrays of an NPZ file with the rows along their leading dim.

    Features come from the array named like the input, else from `x`, `X`, `data` or `images`, else from the only array
    that is not the ground truth (`y`, `label` or `target`). Pickled objects are refused, and so are arrays of more than
    4 GiB in all: sizes are checked before anything is unpacked.
    """

    def __init__(self, file: BufferedReader, name: str, inputs: Sequence[TensorSpec], target: str = "") -> None:
        self._file = file
        self._label = safe_text(name, 80)
        self._budget = MAX_BYTES
        try:
            archive = zipfile.ZipFile(file)
            found = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            members = {info.filename[:-4]: info for info in found}
            if len(members) < len(found):
                raise ValueError("two arrays of one name")
        except _BROKEN as error:
            raise self._broken(error) from error
        if not members or len(members) > MAX_MEMBERS:
            raise DataError(
                f"“{self._label}” holds no arrays." if not members else f"“{self._label}” holds too many arrays.",
                hint="Save it with numpy.savez(file, x=..., y=...).",
                code="data.empty",
            )
        names = list(members)
        self.target = pick_target(names, target, inputs, TARGET_NAMES)
        chosen = _choose(names, inputs, self.target)
        self._sources = []
        for spec in inputs:
            values = self._read(archive, members[chosen[spec.name]])
            self._sources.append(_fit(spec, values, chosen[spec.name]))
        self.row_limit = row_limit([source.layout for source in self._sources])
        self.is_whole = not all(source.layout.has_rows for source in self._sources)
        self.width = sum(source.layout.width for source in self._sources)
        self._targets = self._read(archive, members[self.target]) if self.target else None
        self.total = self._check_rows(chosen)

    def _broken(self, error: Exception) -> DataError:
        detail = safe_text(f"{type(error).__name__}: {error}", 400)
        return DataError(
            f"“{self._label}” cannot be read as an NPZ archive.",
            hint="Save it again with numpy.savez; objects and encrypted archives cannot be used.",
            code="data.unreadable",
            detail=detail,
        )

    def _read(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
        """One array; its header is checked against the archive's own size before memory is taken."""
        try:
            with archive.open(info) as stream:
                shape, dtype = read_header(stream)
            size = math.prod(shape) * dtype.itemsize
            if dtype.hasobject or dtype.names is not None:
                raise ValueError("arrays of objects or records")
            if size > info.file_size or min(shape, default=0) < 0:
                raise ValueError("the array is larger than its file")
        except _BROKEN as error:
            raise self._broken(error) from error
        self._budget -= size
        if self._budget < 0:
            raise DataError(
                f"The arrays of “{self._label}” take more than {MAX_BYTES >> 30} GiB.",
                hint="Split the data set into several files.",
                code="data.too_large",
            )
        try:
            with archive.open(info) as stream:
                array: Array = np.lib.format.read_array(stream, allow_pickle=False)
        except _BROKEN as error:
            raise self._broken(error) from error
        return array

    def _check_rows(self, chosen: dict[str, str]) -> int:
        counts = {chosen[source.layout.spec.name]: len(source.values) for source in self._sources}
        if self._targets is not None:
            if self._targets.ndim == 0 or math.prod(self._targets.shape[1:]) != 1:
                raise DataError(
                    f"The ground truth “{safe_text(self.target, 60)}” must hold one value per row.",
                    hint="Save class numbers or names, not one-hot rows.",
                    code="data.columns",
                )
            counts[self.target] = len(self._targets)
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{safe_text(name, 40)}: {count:,}" for name, count in list(counts.items())[:8])
            raise DataError("The arrays have different numbers of rows.", hint=f"Rows: {shown}.", code="data.columns")
        total = next(iter(counts.values()))
        if total == 0:
            raise DataError(f"“{self._label}” has no rows.", hint="Give at least one row.", code="data.empty")
        return total

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Chunks of `size` rows in order."""
        for begin in range(0, self.total, size):
            end = min(begin + size, self.total)
            feeds = {
                source.layout.spec.name: source.layout.shaped(_cast(source.values[begin:end], source.layout.spec))
                for source in self._sources
            }
            targets = None
            if self._targets is not None:
                targets = tuple(_as_text(value) for value in self._targets[begin:end].reshape(-1).tolist())
            yield Chunk(tuple(range(begin + 1, end + 1)), feeds, targets)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _choose(names: Sequence[str], inputs: Sequence[TensorSpec], target: str) -> dict[str, str]:
    """Array name by input name."""
    chosen = {spec.name: spec.name for spec in inputs if spec.name in names}
    missing = [spec.name for spec in inputs if spec.name not in chosen]
    if not missing:
        return chosen
    others = [name for name in names if name != target]
    if len(inputs) == 1:
        folded = {name.lower(): name for name in reversed(others)}
        common = next((folded[name] for name in FEATURE_NAMES if name in folded), "")
        if common or len(others) == 1:
            return {missing[0]: common or others[0]}
    raise DataError(
        f"The data has no array for {list_names([f'“{name}”' for name in missing])}.",
        hint=f"It has {list_names(names)}; name the arrays like the model's inputs.",
        code="data.missing_column",
    )


def _fit(spec: TensorSpec, values: Array, name: str) -> _Source:
    if values.ndim == 0:
        raise misfit(spec, 0, "value", [name])
    row = values.shape[1:]
    if spec.shape is None:
        layout: InputLayout | None = InputLayout(spec, row)
    elif spec.shape and len(row) == len(spec.shape) - 1 and len(row) > 1:
        # Equal ranks must agree dim by dim: images of another channel order would fit by their count alone.
        agrees = all(not isinstance(dim, int) or dim == size for dim, size in zip(spec.shape[1:], row, strict=True))
        layout = InputLayout(spec, row) if agrees else None
    else:
        layout = fit_row(spec, math.prod(row))
        flat = len(row) <= 1
        if layout is not None and not flat and _squeezed(layout.row_shape) != _squeezed(row):
            layout = None
    if layout is None:
        raise misfit(spec, math.prod(row), "value", [name])
    _check_dtype(spec, values, name)
    return _Source(layout, values)


def _squeezed(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


def _check_dtype(spec: TensorSpec, values: Array, name: str) -> None:
    wanted, given = numpy_dtype(spec.dtype), values.dtype
    if wanted.kind == "O":
        fits = given.kind in "US"
    elif wanted.kind in "iub":
        fits = given.kind in "iub" or (given.kind == "f" and bool(np.all(values == np.floor(values))))
        if fits and wanted.kind in "iu" and given.kind != "b" and values.size:
            limits = np.iinfo(wanted)
            fits = bool(values.min() >= limits.min and values.max() <= limits.max)
    else:
        fits = given.kind in "fiub"
    if not fits:
        raise DataError(
            f"Array “{safe_text(name, 60)}” holds {given.name}; input “{safe_text(spec.name, 60)}” takes {spec.dtype}.",
            hint=f"Convert it to {spec.dtype}.",
            code="data.dtype",
        )


def _cast(values: Array, spec: TensorSpec) -> Array:
    wanted = numpy_dtype(spec.dtype)
    if wanted.kind == "O":
        flat = [_as_text(value) for value in values.reshape(-1).tolist()]
        return np.array(flat, dtype=object).reshape(values.shape)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values.astype(wanted, copy=False))
