"""Files that are referenced where they lie: they are the user's, so every use looks whether they are the same."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import TypeAlias

from quickserveml_tui.core.errors import ModelError, StoreError
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress
from quickserveml_tui.core.models import ArtifactManifest, FileEntry, FileLink
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifact_files import check_relative, file_digest, hash_copy, open_source, status_of

CLOCK_TICK_S = 0.02
"""Twice the coarsest tick of a local file system's clock: two writes within one look alike by their time."""
MAX_KNOWN = 1024

_Looks: TypeAlias = tuple[int, int, int, int]


def real_place(source: Path) -> Path:
    """Absolute path of a file with the links of its folder followed, but not its own. Raises `ModelError`."""
    try:
        place = source.parent.resolve(strict=True) / source.name
        str(place).encode("utf-8")
        return place
    except UnicodeEncodeError as error:
        raise ModelError(
            f"{safe_text(source.name, 80)} cannot be linked: its path is not valid Unicode, and could not be kept.",
            hint="Rename the file or its folder, or add the model without linking.",
            code="model.unsafe_path",
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"There is no file {safe_text(source.name, 80)}.",
            hint="Check the path; external data must lie beside it.",
            code="model.missing",
        ) from error


def link_file(
    path: Path, name: str, *, cancel: CancelToken | None = None, on_progress: ProgressSink = ignore_progress
) -> FileEntry:
    """The entry of a regular file that stays at `path`. Raises `ModelError` as for a copy."""
    with open_source(path) as descriptor:
        _let_clock_pass(status_of(descriptor))
        digest, size = hash_copy(descriptor, None, phase="hashing", cancel=cancel, on_progress=on_progress)
        status = status_of(descriptor)
    return FileEntry(name, digest, size, FileLink(str(path), status.st_mtime_ns, status.st_ino, status.st_dev))


def _let_clock_pass(status: os.stat_result) -> None:
    """Wait until a write from now on must change the modification time of a file that was written just now."""
    age_s = time.time() - status.st_mtime
    if -1.0 < age_s < CLOCK_TICK_S:
        time.sleep(CLOCK_TICK_S - max(age_s, 0.0))


def check_beside(model: Path, path: Path, name: str) -> None:
    """Raises `ModelError` (`model.misplaced`) unless linked data lies where the linked model looks for it."""
    if path != model.parent / check_relative(name):
        raise ModelError(
            f"The data “{safe_text(name, 80)}” does not lie where the model expects it.",
            hint="Put it beside the model file, or add the model without linking.",
            code="model.misplaced",
        )


class LinkedFiles:
    """Opens linked models; files that only look different but hash the same are remembered, so many at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], _Looks] = OrderedDict()

    def open_path(self, manifest: ArtifactManifest) -> Path:
        """Where the linked model lies, all its files looked at.

        Raises `StoreError`: `artifact.missing`, `artifact.changed`, `artifact.corrupt` for a manifest that cannot be.
        """
        links = [file.link for file in manifest.files]
        model = Path(links[0].path) if links[0] is not None else None
        for file, link in zip(manifest.files, links, strict=True):
            if model is None or link is None or (file is not manifest.files[0] and not _is_beside(model, file, link)):
                raise StoreError(
                    "The files of this linked model do not lie together.",
                    hint="Add the model again as the next version.",
                    code="artifact.corrupt",
                )
            self._check(file, link)
        assert model is not None
        return model

    def is_same(self, file: FileEntry, link: FileLink) -> bool:
        """Whether a linked file still has its content; reads every byte."""
        try:
            return file_digest(Path(link.path)) == (file.digest, file.size_bytes)
        except ModelError:
            return False

    def _check(self, file: FileEntry, link: FileLink) -> None:
        try:
            status = os.stat(link.path, follow_symlinks=False)  # noqa: PTH116 - fault tests break this call
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise _gone(file) from error
        except OSError as error:
            raise fs.store_error(error, f"linked file {safe_text(file.path, 80)}", "read") from error
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size_bytes:
            raise _changed(file)
        looks = (status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)
        if looks == (file.size_bytes, link.mtime_ns, link.inode, link.device):
            return
        key = (link.path, file.digest)
        with self._lock:
            if self._known.get(key) == looks:
                return
        self._hash_again(file, link, key)

    def _hash_again(self, file: FileEntry, link: FileLink, key: tuple[str, str]) -> None:
        try:
            entry = link_file(Path(link.path), file.path)
        except ModelError as error:
            if error.code == "model.missing":
                raise _gone(file) from error
            raise _changed(file) from error
        if entry.digest != file.digest or entry.link is None:
            raise _changed(file)
        with self._lock:
            self._known[key] = (entry.size_bytes, entry.link.mtime_ns, entry.link.inode, entry.link.device)
            self._known.move_to_end(key)
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)


def _is_beside(model: Path, file: FileEntry, link: FileLink) -> bool:
    return Path(link.path) == model.parent / check_relative(file.path)


def _gone(file: FileEntry) -> StoreError:
    return StoreError(
        f"{safe_text(file.path, 80)} is no longer where it was when the model was added by reference.",
        hint="Put the file back, or add it again as the next version.",
        code="artifact.missing",
    )


def _changed(file: FileEntry) -> StoreError:
    return StoreError(
        f"{safe_text(file.path, 80)}, which is referenced in place, is no longer the file that was added.",
        hint="Put the old file back, or add it again as the next version.",
        code="artifact.changed",
    )
