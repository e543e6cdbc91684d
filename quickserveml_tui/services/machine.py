"""The machine that a server runs on: processor, memory, and GPUs where NVIDIA's library can be had."""

from __future__ import annotations

import logging
import threading
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import psutil

from quickserveml_tui.core.monitoring import GpuSnapshot
from quickserveml_tui.core.text import safe_text

_LEAST_S = 0.2
"""Load is a difference of two looks: closer ones tell nothing."""
_log = logging.getLogger(__name__)


class ProcessorLoad:
    """Load of the whole machine between two looks, which many may ask for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._percent: float | None = None
        psutil.cpu_percent(None)

    def percent(self) -> float | None:
        """0 to 100 since the look before; None at first."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at >= _LEAST_S:
                percent = psutil.cpu_percent(None)
                if self._looked_at:
                    self._percent = percent
                self._looked_at = now
            return self._percent


class Gpus:
    """NVIDIA GPUs by their management library; none where that is not installed or there is no driver."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._library: Any = None
        self._is_asked = False

    def snapshot(self) -> tuple[GpuSnapshot, ...]:
        """All GPUs now."""
        with self._lock:
            if not self._is_asked:
                self._is_asked = True
                self._library = _open()
            if self._library is None:
                return ()
            try:
                return tuple(self._one(index) for index in range(self._library.nvmlDeviceGetCount()))
            except self._library.NVMLError as error:
                _log.warning("The GPUs cannot be read any more: %s", safe_text(error, 200))
                self._library = None
                return ()

    def _one(self, index: int) -> GpuSnapshot:
        library = self._library
        handle = library.nvmlDeviceGetHandleByIndex(index)
        name = library.nvmlDeviceGetName(handle)
        memory = library.nvmlDeviceGetMemoryInfo(handle)
        return GpuSnapshot(
            index=index,
            name=safe_text(name.decode() if isinstance(name, bytes) else name, 80),
            utilisation=library.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            memory_used_bytes=int(memory.used),
            memory_total_bytes=int(memory.total),
        )


def _open() -> Any:
    if find_spec("pynvml") is None:
        return None
    library = import_module("pynvml")
    try:
        library.nvmlInit()
    except library.NVMLError:  # the package without a driver
        return None
    return library


def memory() -> tuple[int, int]:
    """Total and available bytes."""
    found = psutil.virtual_memory()
    return int(found.total), int(found.available)
