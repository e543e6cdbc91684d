"""Tables of text (CSV, TSV, semicolons) as data sets, read as a stream."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Any

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.predictions import RowFailure
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.runtime.cells import CellError, Parser, parser_of
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

MAX_LINE = 16 << 20
MAX_COLUMNS = 200_000
MAX_COUNTED = 2 << 30
MAX_CHUNK_FAILURES = 1_000
TARGET_COLUMNS = ("label", "target")


class _BadLineError(Exception):
    """A line that is no text or too long; the next one can be read."""


class BoundedLines:
    """The lines of a UTF-8 file as text, each at most `MAX_LINE` bytes; a byte order mark is dropped.

    Raises `_BadLineError` for a bad line and goes on with the next: an iterator object, unlike a generator, may.
    """

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._first = True

    def __iter__(self) -> BoundedLines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_LINE)
        if not line:
            raise StopIteration
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = self._file.readline(MAX_LINE)
            raise _BadLineError(f"The line is longer than {MAX_LINE >> 20} MiB.")
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _BadLineError(f"Byte {error.start + 1} of the line is not UTF-8.") from error


@dataclass(frozen=True, slots=True)
class _Feature:
    layout: InputLayout
    columns: tuple[int, ...]
    parse: Parser
    dtype: np.dtype[Any]


@dataclass(slots=True)
class _Pending:
    rows: list[int] = field(default_factory=list)
    values: list[list[list[Any]]] = field(default_factory=list)
    """By row, then by input."""
    targets: list[str] = field(default_factory=list)
    failures: list[RowFailure] = field(default_factory=list)


class TableDataset:
    """Rows of a text file with a header; the delimiter is the one that splits the header most often.

    With one input, either the column named like it or all columns but the ground truth are its values, in their order;
    with several inputs, each has the column of its own name, and other columns are ignored. Rows with a wrong number
    of values, or a value that is no number, are set apart with the reason. `nan` and `inf` are numbers here.
    """

    def __init__(self, file: BufferedReader, name: str, inputs: Sequence[TensorSpec], target: str = "") -> None:
        self._file = file
        self._label = safe_text(name, 80)
        _check_encoding(file.peek(4096)[:4096], self._label)
        self.total = _count_rows(file)
        self._header, delimiter = self._read_header()
        self._reader = csv.reader(BoundedLines(file), delimiter=delimiter)
        self._skip_header()
        self.target = pick_target(self._header, target, inputs, TARGET_COLUMNS)
        self._target_column = self._header.index(self.target) if self.target else -1
        self._features = self._map(inputs)
        self.row_limit = row_limit([feature.layout for feature in self._features])
        self.is_whole = not all(feature.layout.has_rows for feature in self._features)
        self.width = sum(feature.layout.width for feature in self._features)

    def _bad_header(self, error: Exception) -> DataError:
        return DataError(
            f"The header of “{self._label}” cannot be read.",
            hint="Save it as UTF-8 text with column names in the first line.",
            code="data.unreadable",
            detail=_reading_problem(error),
        )

    def _skip_header(self) -> None:
        """Read past the header: a quote that is never closed makes the reader go on far beyond its line."""
        try:
            next(self._reader)
        except (_BadLineError, csv.Error) as error:
            raise self._bad_header(error) from error

    def _read_header(self) -> tuple[list[str], str]:
        """Column names and delimiter; the file is at its start again."""
        try:
            first = next(BoundedLines(self._file), "")
            rows = {mark: next(csv.reader([first], delimiter=mark), []) for mark in ",\t;"}
        except (_BadLineError, csv.Error) as error:
            raise self._bad_header(error) from error
        self._file.seek(0)
        delimiter = max(rows, key=lambda mark: len(rows[mark]))
        header = [cell.strip() for cell in rows[delimiter]]
        if len(header) > MAX_COLUMNS or not any(header):
            raise DataError(
                f"“{self._label}” has no column names."
                if not any(header)
                else f"“{self._label}” has too many columns.",
                hint="The first line must name the columns.",
                code="data.columns",
            )
        if _looks_like_values(header):
            raise DataError(
                f"The first line of “{self._label}” holds numbers, not column names.",
                hint="Add a line with the column names at the top.",
                code="data.no_header",
            )
        return header, delimiter

    def _map(self, inputs: Sequence[TensorSpec]) -> list[_Feature]:
        own = {spec.name: self._header.index(spec.name) for spec in inputs if spec.name in self._header}
        if len(inputs) > 1:
            missing = [spec.name for spec in inputs if spec.name not in own]
            if missing:
                raise DataError(
                    f"The data has no column for {list_names([f'“{name}”' for name in missing])}.",
                    hint=f"It has {list_names(self._header)}; a model with several inputs needs a column for each.",
                    code="data.missing_column",
                )
            return [self._feature(spec, (own[spec.name],)) for spec in inputs]
        spec = inputs[0]
        if spec.name in own and fit_row(spec, 1) is not None:
            return [self._feature(spec, (own[spec.name],))]
        return [self._feature(spec, tuple(n for n in range(len(self._header)) if n != self._target_column))]

    def _feature(self, spec: TensorSpec, columns: tuple[int, ...]) -> _Feature:
        layout = fit_row(spec, len(columns))
        if layout is None:
            raise misfit(spec, len(columns), "feature column", [self._header[column] for column in columns])
        return _Feature(layout, columns, parser_of(spec.dtype), numpy_dtype(spec.dtype))

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Chunks of up to `size` good rows, with the rows between them that were set apart."""
        pending, row = _Pending(), 0
        while True:
            try:
                cells = next(self._reader)
                if not cells:
                    continue
                row += 1
                values, target = self._parse(cells)
                pending.rows.append(row)
                pending.values.append(values)
                pending.targets.append(target)
            except StopIteration:
                break
            except CellError as error:
                pending.failures.append(RowFailure(row, str(error)))
            except (_BadLineError, csv.Error) as error:
                row += 1
                pending.failures.append(RowFailure(row, _reading_problem(error)))
            if len(pending.rows) >= size or len(pending.failures) >= MAX_CHUNK_FAILURES:
                yield self._finish(pending)
                pending = _Pending()
        if pending.rows or pending.failures:
            yield self._finish(pending)

    def _parse(self, cells: list[str]) -> tuple[list[list[Any]], str]:
        if len(cells) != len(self._header):
            raise CellError(f"The row has {plural(len(cells), 'value')} instead of {len(self._header):,}.")
        values = []
        for feature in self._features:
            parse = feature.parse
            try:
                values.append([parse(cells[column]) for column in feature.columns])
            except (ValueError, OverflowError) as error:
                raise self._bad_cell(feature, cells) from error
        target = cells[self._target_column].strip() if self._target_column >= 0 else ""
        if self._target_column >= 0 and not target:
            raise CellError(f"The ground truth in column “{safe_text(self.target, 40)}” is empty.")
        return values, target

    def _bad_cell(self, feature: _Feature, cells: list[str]) -> CellError:
        for column in feature.columns:
            try:
                feature.parse(cells[column])
            except (ValueError, OverflowError):
                name, text = safe_text(self._header[column], 40), safe_text(cells[column].strip(), 40)
                if not text:
                    return CellError(f"Column “{name}” is empty.")
                return CellError(f"“{text}” in column “{name}” is not a value of type {feature.layout.spec.dtype}.")
        return CellError("The row cannot be read.")

    def _finish(self, pending: _Pending) -> Chunk:
        arrays, keep = [], np.ones(len(pending.rows), dtype=bool)
        for index, feature in enumerate(self._features):
            values = [row[index] for row in pending.values]
            array, fits = _to_array(values, feature)
            arrays.append(array)
            keep &= fits
        failures = pending.failures
        if not keep.all():
            wide = [
                RowFailure(pending.rows[index], "A value is too large for its type.") for index in np.flatnonzero(~keep)
            ]
            failures = sorted([*failures, *wide], key=lambda failure: failure.row)
        feeds = {
            feature.layout.spec.name: feature.layout.shaped(array[keep]) if keep.any() else array[keep]
            for feature, array in zip(self._features, arrays, strict=True)
        }
        kept = np.flatnonzero(keep).tolist()
        targets = tuple(pending.targets[index] for index in kept) if self.target else None
        return Chunk(tuple(pending.rows[index] for index in kept), feeds, targets, tuple(failures))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _to_array(rows: list[list[Any]], feature: _Feature) -> tuple[Array, Array]:
    """The rows as an array of shape (rows, width), and which of them survive the conversion to the input's dtype."""
    width = len(feature.columns)
    if feature.dtype.kind not in "fV":
        array = np.array(rows, dtype=feature.dtype).reshape(len(rows), width)
        return array, np.ones(len(rows), dtype=bool)
    exact = np.array(rows, dtype=np.float64).reshape(len(rows), width)
    with np.errstate(over="ignore", invalid="ignore"):
        array = exact.astype(feature.dtype)
        back = array.astype(np.float64)
    return array, ~np.any(np.isfinite(exact) & ~np.isfinite(back), axis=1)


def _reading_problem(error: Exception) -> str:
    if "field larger" in str(error):
        return f"A value is longer than {csv.field_size_limit():,} characters; a closing quote may be missing."
    return safe_text(error, 200)


def _check_encoding(head: bytes, label: str) -> None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        problem = "is UTF-16 text"
    elif b"\0" in head:
        problem = "is not a text file"
    else:
        return
    raise DataError(f"“{label}” {problem}.", hint="Give a CSV file in UTF-8, or an NPZ file.", code="data.unreadable")


def _count_rows(file: BufferedReader) -> int | None:
    """Lines after the first, by counting line breaks at about 1 GB/s; None for files too large for that."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(0)
    if size > MAX_COUNTED:
        return None
    lines, last = 0, b"\n"
    while block := file.read(1 << 20):
        lines += block.count(b"\n")
        last = block[-1:]
    file.seek(0)
    return max(lines + (last != b"\n") - 1, 0)


def _looks_like_values(header: list[str]) -> bool:
    """Whether the first line is all numbers, other than the column numbers that pandas writes."""
    try:
        numbers = [float(cell) for cell in header]
    except ValueError:
        return False
    return numbers not in ([float(n) for n in range(len(header))], [float(n + 1) for n in range(len(header))])
