"""The registry file as a whole: read for a backup, replaced by a restore."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# ruff: noqa: PTH105

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from quickserveml_tui.storage import fs
from quickserveml_tui.storage.registry_schema import WHAT, dump


class RegistryTransfer:
    """The part of `TinyDbRegistry` that carries its file."""

    _path: Path
    _locked: Callable[[], AbstractContextManager[None]]
    _read: Callable[[Path], tuple[bytes | None, str, int]]

    def file_bytes(self) -> tuple[bytes | None, str]:
        """The file as it is, None where nothing was written yet, and the generation that it is. Raises `StoreError`."""
        try:
            data, token, _mtime_ns = self._read(self._path)
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        return data, token

    @contextmanager
    def replacing(self) -> Iterator[Callable[[Path | None], None]]:
        """Hold off all writers; what is yielded moves a durable file of the same folder into the registry's place.

        None puts an empty registry there: one that is missing beside kept generations would read as lost. It raises
        `StoreError` when that fails; the old or the new file is there then.
        """
        with self._locked():
            yield self._replace

    def _replace(self, new: Path | None) -> None:
        try:
            if new is not None:
                os.replace(new, self._path)
            else:
                fs.write_atomic(self._path, dump({}))
            fs.fsync_dir(self._path.parent)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
