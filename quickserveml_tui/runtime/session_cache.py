"""At most one live session: idle thread pools of other sessions would distort a measurement by up to 570 times."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

from quickserveml_tui.runtime import host
from quickserveml_tui.runtime.limits import memory_cap_bytes
from quickserveml_tui.runtime.session import Session, require_model_file
from quickserveml_tui.runtime.settings import SessionSettings

_Key = tuple[str, SessionSettings, int, int, int]


class SessionCache:
    """Keeps the last session, and the memory cap that fits its model."""

    def __init__(self) -> None:
        self._key: _Key | None = None
        self._session: Session | None = None
        self._base_bytes = host.data_bytes()
        self.cap_bytes: int | None = None
        """Private memory that the model may take; None where there is no cap."""

    def make_room(self, path: Path, memory_bytes: int | None = None) -> None:
        """Cap this process's memory for the model at `path`; `memory_bytes` overrides the formula.

        A session of another file is dropped: it would take its memory from this one's.
        """
        if self._key is not None and self._key[0] != str(path):
            self.clear()
        cap = memory_bytes
        if cap is None:
            with contextlib.suppress(OSError, ValueError):  # whoever opens the file next says what is wrong with it
                if path.is_file():
                    cap = memory_cap_bytes(path)
        capped = host.limit_data(None if cap is None else self._base_bytes + cap)
        self.cap_bytes = cap if capped else None

    def open(self, path: Path, settings: SessionSettings, memory_bytes: int | None = None) -> Session:
        """The session for a file as it is now; the one before is dropped first. Raises `ModelError`."""
        require_model_file(path)
        status = path.stat()
        key = (str(path), settings, status.st_mtime_ns, status.st_size, status.st_ino)
        if self._session is None or key != self._key:
            self.clear()
            self.make_room(path, memory_bytes)
            self._session, self._key = Session(path, settings), key
        else:
            self.make_room(path, memory_bytes)
        return self._session

    def clear(self) -> None:
        """Drop the session, also one that only a cycle of references still holds."""
        if self._session is not None:
            self._session = self._key = None
            gc.collect()
