"""Keeping the files of stores that cannot be read, before others take their place."""
# Plain `os` calls, so that fault tests can count and break every one of them.

from __future__ import annotations

import os
import time
from pathlib import Path

from quickserveml_tui.storage import fs
from quickserveml_tui.storage.registry_generations import set_aside

STORES = ("registry.json", "state.db", "state.db-journal", "state.db-wal")


def set_stores_aside(home: Path) -> tuple[str, ...]:
    """Give the files of both stores second names beside them; returns these. Raises `StoreError`.

    What a `registry.json.damaged-…` refers to is kept by collections.
    """
    now = time.time_ns()
    try:
        found = [home / name for name in STORES if os.path.lexists(home / name)]
        return tuple(set_aside(path, now).name for path in found)
    except OSError as error:
        raise fs.store_error(error, "damaged store") from error
