"""Open the data files that users name: regular ones only, never blocking, with errors that speak of data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from quickserveml_tui.core.errors import DataError, ModelError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_bytes


@contextmanager
def open_data(path: Path) -> Iterator[IO[bytes]]:
    """A regular file, open for reading.

    Raises `DataError` (`data.missing`, `data.not_a_file`, `data.unreadable`), the last also while it is read.
    """
    from quickserveml_tui.graph.regular_files import open_regular

    name = safe_text(path.name or path, 120)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(os.fdopen(stack.enter_context(open_regular(path)), "rb", closefd=False))
        except ModelError as error:
            raise _refusal(name, error) from error
        try:
            yield file
        except OSError as error:
            raise _unreadable(name, error) from error


def _refusal(name: str, error: ModelError) -> DataError:
    if error.code == "model.missing":
        return DataError(f"There is no file “{name}”.", hint="Check the path.", code="data.missing")
    if error.code == "model.not_a_file":
        return DataError(f"“{name}” is not a file.", hint="Name an NPZ or JSON file.", code="data.not_a_file")
    return _unreadable(name, error)


def _unreadable(name: str, error: Exception) -> DataError:
    return DataError(
        f"“{name}” cannot be read.",
        hint="Check its permissions, or copy it to a local disk.",
        code="data.unreadable",
        detail=safe_text(error, 300),
    )


def too_large(size: int, most: int) -> DataError:
    """The error for values of more bytes than are read."""
    return DataError(
        f"The values take {format_bytes(size)}, more than {format_bytes(most)}.",
        hint="Run large data in batches: `quickserveml batch`, or split the file.",
        code="data.too_large",
    )
