"""Files on their way into the artifact store, in private folders that are taken away when their owner died."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from quickserveml_tui.core.errors import ModelError, StoreError
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress
from quickserveml_tui.core.models import ArtifactManifest, FileEntry
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifact_files import (
    WHAT,
    blob_path,
    check_relative,
    from_start,
    hash_copy,
    manifest_digest,
    open_source,
    publish,
    seal,
)
from quickserveml_tui.storage.artifact_links import check_beside, link_file, real_place

STALE_AFTER_S = 24 * 3600.0
MAX_FILES = 10_000
LOCK = ".lock"
FILES = "files"


@contextmanager
def private_folder(parent: Path, prefix: str = "") -> Iterator[Path]:
    """A new folder inside a locked one of its own, gone after the block. Raises `OSError`.

    The lock says that its owner lives, however old the folder is.
    """
    outer = parent / f"{prefix}{uuid.uuid4().hex}"
    descriptor = None
    try:
        os.mkdir(outer, 0o700)  # noqa: PTH102 - fault tests break this call
        descriptor = fs.open_lock(outer / LOCK)
        fs.try_lock(descriptor)  # free: nobody else takes a folder that young
        inner = outer / FILES
        os.mkdir(inner, 0o700)  # noqa: PTH102
        yield inner
    finally:
        with suppress(OSError):  # what cannot be removed now expires
            fs.remove_tree(outer)
        if descriptor is not None:
            fs.unlock(descriptor)


def expired_folders(parent: Path, older_than_s: float, prefix: str = "") -> Iterator[Path]:
    """Private folders below `parent` that nobody owns any more; each is locked while it is looked at."""
    oldest = time.time() - older_than_s
    for path in _folders(parent, prefix):
        with suppress(FileNotFoundError), _claimed(path) as is_free:
            if is_free and path.stat().st_mtime < oldest:
                yield path


def _folders(parent: Path, prefix: str) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(path for path in found if path.name.startswith(prefix))


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Whether a private folder has lost its owner; locked against others who clean, as long as the block takes."""
    try:
        descriptor = fs.open_lock(folder / LOCK, create=False)
    except FileNotFoundError:  # killed before it had one, or written by an earlier version
        yield True
        return
    try:
        yield fs.try_lock(descriptor)
    finally:
        fs.unlock(descriptor)


class BlobStaging:
    """`Staging`: a private folder that fills with the files of one model."""

    def __init__(self, folder: Path, root: Path, publishing: Callable[[], AbstractContextManager[None]]) -> None:
        self._folder = folder
        self._root = root
        self._publishing = publishing
        self._files: list[FileEntry] = []
        self._model: Path | None = None
        """Where the model lies, when it is linked."""

    @property
    def folder(self) -> Path:
        """Private folder with the files under their own names."""
        return self._folder

    def add(
        self,
        source: Path,
        name: str,
        *,
        beneath: Path | None = None,
        folder: int | None = None,
        descriptor: int | None = None,
        cancel: CancelToken | None = None,
        on_progress: ProgressSink = ignore_progress,
    ) -> Path:
        """Copy a regular file while hashing it; the first one is the model. See `Staging.add`.

        Raises `ModelError` (`model.misplaced`) when the files before it were linked.
        """
        target = self._folder / check_relative(name)
        self._check_room()
        if self._model is not None:
            raise _mixed()
        with open_source(source, beneath, folder) if descriptor is None else from_start(descriptor) as opened:
            output = _open_target(target, name)
            try:
                digest, size = hash_copy(opened, output, cancel=cancel, on_progress=on_progress)
                seal(output)
            finally:
                os.close(output)
        self._files.append(FileEntry(name, digest, size))
        return target

    def link(
        self,
        source: Path,
        name: str,
        *,
        cancel: CancelToken | None = None,
        on_progress: ProgressSink = ignore_progress,
    ) -> Path:
        """Hash a regular file and reference it where it lies; the first one is the model. See `Staging.link`.

        Raises `ModelError` (`model.misplaced`) for data that does not lie where the model expects it, and when the
        files before it were copied: the model could not be opened then.
        """
        path = real_place(source)
        check_relative(name)
        self._check_room()
        if self._files and self._model is None:
            raise _mixed()
        if any(file.path == name for file in self._files):
            raise _twice(name)
        if self._model is not None:
            check_beside(self._model, path, name)
        entry = link_file(path, name, cancel=cancel, on_progress=on_progress)
        if self._model is None:
            self._model = path
        self._files.append(entry)
        return path

    def commit(self) -> ArtifactManifest:
        """Make the files durable in the store; call it inside `publishing`, with what will name them."""
        if not self._files:
            raise StoreError("There is nothing to commit.", hint="Add the model file first.", code="artifact.empty")
        with self._publishing():
            for file in self._files:
                if file.link is None:
                    publish(self._folder / file.path, blob_path(self._root, file.digest))
        files = tuple(self._files)
        return ArtifactManifest(manifest_digest(files), files)

    def _check_room(self) -> None:
        if len(self._files) >= MAX_FILES:
            raise ModelError(f"The model refers to more than {MAX_FILES:,} files.", code="model.unsafe_path")


def _open_target(target: Path, name: str) -> int:
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return fs.open_new(target)
    except (FileExistsError, NotADirectoryError) as error:
        raise _twice(name) from error
    except OSError as error:
        raise fs.store_error(error, WHAT) from error


def _twice(name: str) -> ModelError:
    return ModelError(
        f"The model uses the name “{safe_text(name, 80)}” for two files, or for a file and a folder.",
        hint="Save it again with external data under a name of its own.",
        code="model.unsafe_path",
    )


def _mixed() -> ModelError:
    return ModelError(
        "A model's files are either all copied or all referenced in place.",
        hint="Link the model and all of its external data, or none of it.",
        code="model.misplaced",
    )
