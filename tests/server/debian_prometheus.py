"""Prometheus and its promtool: those that are installed, or Debian's package unpacked into a folder that is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

TIMEOUT_S = 60


def program(name: str) -> str:
    """Path of `prometheus` or `promtool`; skips the test where neither can be had."""
    found = shutil.which(name)
    if found:
        return found
    folder = Path(tempfile.gettempdir()) / f"quickserveml-tests-prometheus-{os.getuid()}"
    unpacked = folder / "usr" / "bin" / name
    if not unpacked.exists():
        _unpack(folder)
    return str(unpacked)


def _unpack(folder: Path) -> None:
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            pytest.skip(f"Prometheus is not installed, and there is no {tool} to unpack Debian's package with")
    with tempfile.TemporaryDirectory() as place:
        loaded = subprocess.run(
            ["apt-get", "download", "prometheus"],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        packages = list(Path(place).glob("prometheus_*.deb"))
        if not packages:
            pytest.skip(f"Prometheus is not installed, and its package cannot be had: {loaded.stderr.strip()[-200:]}")
        fresh = Path(place) / "tree"
        subprocess.run(["dpkg", "-x", packages[0], fresh], check=True, timeout=TIMEOUT_S)
        if not folder.exists():
            shutil.move(fresh, folder)
