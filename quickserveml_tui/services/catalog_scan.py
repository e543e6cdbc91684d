"""Find model files below a folder."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from quickserveml_tui.core.catalog import ScanHit
from quickserveml_tui.core.errors import ModelError, NotFoundError
from quickserveml_tui.core.heads import ModelHead
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage.artifacts import file_digest

MAX_ENTRIES = 100_000
log = logging.getLogger(__name__)


class KnownFiles:
    """Which registered version a file equals: only files of a registered size are read and hashed."""

    def __init__(self, models: Iterable[ModelHead]) -> None:
        self._refs: dict[int, dict[str, str]] = {}
        for model in models:
            for version in model.versions:
                file = version.artifact.files[0]
                self._refs.setdefault(file.size_bytes, {})[file.digest] = f"{model.name}@{version.version}"

    def ref_of(self, path: Path, size_bytes: int, cancel: CancelToken) -> str:
        """`name@version`, or nothing."""
        refs = self._refs.get(size_bytes)
        if not refs:
            return ""
        try:
            digest, _size = file_digest(path, cancel=cancel)
        except ModelError:  # it changed or vanished meanwhile: not known
            return ""
        return refs.get(digest, "")


def check_folder(folder: str) -> Path:
    """The folder. Raises `NotFoundError` (`folder.not_found`) when it is none."""
    try:
        path = Path(folder).expanduser().absolute()
        is_folder = path.is_dir()
    except (OSError, ValueError, RuntimeError):
        is_folder = False
    if not is_folder:
        raise NotFoundError(
            f"There is no folder “{safe_text(folder, 200)}”.", hint="Check the path.", code="folder.not_found"
        )
    return path


def scan(folder: Path, known: KnownFiles, cancel: CancelToken) -> Iterator[ScanHit]:
    """Regular `*.onnx` files below a folder, folder by folder, by name.

    Follows no links, skips hidden entries and folders that cannot be read, and stops with a warning in the log after
    100,000 entries.
    """
    left = MAX_ENTRIES
    pending = [folder]
    while pending and left > 0:
        cancel.raise_if_cancelled()
        entries = _entries(pending.pop(), left)
        left -= len(entries)
        below = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_dir(entry):
                below.append(Path(entry.path))
            elif entry.name.lower().endswith(".onnx") and (size := _regular_size(entry)) is not None:
                cancel.raise_if_cancelled()
                yield ScanHit(entry.path, size, known.ref_of(Path(entry.path), size, cancel))
        pending.extend(reversed(below))
    if left <= 0:
        log.warning("The scan stopped after %d entries; scan a smaller folder to see the rest.", MAX_ENTRIES)


def _entries(folder: Path, limit: int) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(itertools.islice(entries, limit), key=lambda entry: entry.name)
    except OSError as error:
        log.info("A folder was left out of the scan: %s", error.strerror)
        return []


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _regular_size(entry: os.DirEntry[str]) -> int | None:
    try:
        return entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else None
    except OSError:
        return None
