"""Puts a converted model with its external data where the user wants it."""

from __future__ import annotations

import os
from pathlib import Path

from quickserveml_tui.core.errors import ConflictError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage.artifacts import file_digest
from quickserveml_tui.storage.fs import CHUNK_BYTES, write_all
from quickserveml_tui.storage.outputs import make_plain_folder, output_file


def put_in_place(folder: Path, output: Path, *, overwrite: bool, cancel: CancelToken) -> None:
    """Copy the model `folder / output.name` to `output` and its data files beside it, the model last.

    A data file that lies there already stays when its content is the same; another one is never replaced. Raises
    `ConflictError` (`export.exists`), `UsageError`, `DataError`, and `CancelledError`; what was written goes again.
    """
    written: list[Path] = []
    try:
        for source in sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / output.name):
            relative = source.relative_to(folder)
            target = make_plain_folder(output.parent, relative.parent) / relative.name
            if not _is_there(source, target):
                _copy(source, target, overwrite=False, cancel=cancel)
                written.append(target)
        _copy(folder / output.name, output, overwrite=overwrite, cancel=cancel)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _is_there(source: Path, target: Path) -> bool:
    if not target.exists():
        return False
    if (
        target.is_file()
        and source.stat().st_size == target.stat().st_size
        and file_digest(source) == file_digest(target)
    ):
        return True
    raise ConflictError(
        f"The model's data needs the name “{safe_text(target.name, 80)}”, and another file has it.",
        hint="Choose an output in another folder.",
        code="export.exists",
    )


def _copy(source: Path, target: Path, *, overwrite: bool, cancel: CancelToken) -> None:
    with output_file(target, overwrite=overwrite) as descriptor, source.open("rb") as file:
        while chunk := os.read(file.fileno(), CHUNK_BYTES):
            cancel.raise_if_cancelled()
            write_all(descriptor, chunk)
