"""One server with the models that cross the wire in every form."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "server"))

import server_models
from onnx import save
from server_process import running

NAMES = ("tiny", "dtypes", "bfloat16", "strings", "scalar", "logarithm", "zeros")


@pytest.fixture(scope="session")
def model_files(tmp_path_factory):
    """Model files by name."""
    folder = tmp_path_factory.mktemp("client-models")
    files = {name: folder / f"{name}.onnx" for name in NAMES}
    for name, path in files.items():
        save(getattr(server_models, name)(), path)
    return files


@pytest.fixture(scope="session")
def url(model_files, tmp_path_factory):
    """Address of a server of ours."""
    log = tmp_path_factory.mktemp("client-server") / "server.log"
    with running(model_files.values(), log, default_model="tiny") as process:
        yield process.url
