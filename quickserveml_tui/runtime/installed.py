"""Which runtime a runner would load, told without loading it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

_VERSION = re.compile(r"^__version__\s*=\s*[\"']([0-9A-Za-z.+!-]{1,60})[\"']", re.MULTILINE)
_MAX_BYTES = 1 << 20


def installed_runtime() -> str:
    """Name and version as reports have them, such as `onnxruntime 1.32.0`; empty where its files do not tell.

    Read from the package's own source: its distribution has another name for every provider (`onnxruntime-gpu`), and
    importing it takes 0.3 s.
    """
    try:
        spec = importlib.util.find_spec("onnxruntime")
        if spec is None or not spec.origin:
            return ""
        with Path(spec.origin).open("rb") as file:
            found = _VERSION.search(file.read(_MAX_BYTES).decode("utf-8", "replace"))
    except (ImportError, OSError, ValueError):
        return ""
    return f"onnxruntime {found[1]}" if found else ""
