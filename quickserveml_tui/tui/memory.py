"""What the workbench remembers between sessions: one small file that may always be lost."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

MAX_BYTES = 64_000
FILE_NAME = "ui.json"
MAX_URLS = 12


@dataclass
class UiMemory:
    """Last selection, tabs, sorts and theme."""

    ref: str = ""
    tab: str = ""
    theme: str = ""
    catalog_sort: str = ""
    layer_sort: str = ""
    data_path: str = ""
    backup_folder: str = ""
    duration_s: float = 10.0
    warmup_s: float = 1.0
    server_urls: list[str] = field(default_factory=list)
    """Servers that were watched, the newest first; never a key to one."""

    @classmethod
    def load(cls, home: Path) -> UiMemory:
        """What was saved below `home`; defaults for whatever is missing, broken or of another type."""
        try:
            with (home / FILE_NAME).open("rb") as file:
                document = json.loads(file.read(MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return cls()
        memory = cls()
        if isinstance(document, dict):
            for item in fields(cls):
                value, default = document.get(item.name), getattr(memory, item.name)
                if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
                    value = float(value)
                if isinstance(value, list):
                    value = [one for one in value[:MAX_URLS] if isinstance(one, str)]
                if type(value) is type(default):
                    setattr(memory, item.name, value)
        return memory

    def save(self, home: Path) -> None:
        """Replace the file below `home` in one step. Raises `OSError`."""
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix=".ui-", suffix=".tmp", dir=home)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(self), file, indent=1)
            Path(name).replace(home / FILE_NAME)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
