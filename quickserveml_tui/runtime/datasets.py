"""Opens the data set that a file holds."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from io import BufferedReader, FileIO
from pathlib import Path

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.archives import ArchiveDataset
from quickserveml_tui.runtime.layouts import Dataset, check_inputs
from quickserveml_tui.runtime.tables import TableDataset


def open_regular(path: Path) -> BufferedReader:
    """The regular file at `path`, opened to read bytes.

    It is opened before it is looked at, without blocking: a FIFO or a device can neither hang the caller nor take the
    file's place in between. Raises `DataError` (`data.missing`, `data.not_a_file`, `data.unreadable`).
    """
    name = safe_text(path.name, 80)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise DataError(f"There is no file “{name}”.", hint="Check the path.", code="data.missing") from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"“{name}” cannot be opened.", hint="Check the path and its permissions.", code="data.unreadable"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"“{name}” is not a file.", hint="Give a CSV or NPZ file.", code="data.not_a_file")
    return BufferedReader(FileIO(descriptor, "rb"), 1 << 20)


def open_dataset(path: Path, inputs: Sequence[TensorSpec], target: str = "") -> Dataset:
    """The data set at `path`: an archive by its first bytes, else a table of text. Close it after use.

    Raises `DataError` when the file cannot be read, holds no rows, or has no columns that fit the inputs.
    """
    check_inputs(inputs)
    file = open_regular(path)
    try:
        magic = file.peek(6)[:6]
        if not magic:
            raise DataError(
                f"“{safe_text(path.name, 80)}” is empty.", hint="Give a CSV or NPZ file.", code="data.empty"
            )
        if magic[:2] == b"PK":
            return ArchiveDataset(file, path.name, inputs, target)
        if path.suffix.lower() == ".npz" or magic == b"\x93NUMPY":
            raise DataError(
                f"“{safe_text(path.name, 80)}” is not an NPZ archive.",
                hint="Save it with numpy.savez(file, x=..., y=...).",
                code="data.unreadable",
            )
        return TableDataset(file, path.name, inputs, target)
    except BaseException:
        file.close()
        raise
