"""Every example of the serving guide works as it stands, against a real server."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import save
from server_models import tiny
from server_process import running

pytestmark = pytest.mark.xdist_group("matrix")

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guide")
    save(tiny(), folder / "tiny.onnx")
    with running([folder / "tiny.onnx"], folder / "log", grpc_port=0) as server:
        yield server.port, int(re.search(r"gRPC\s+\S+:(\d+)", server.announcement)[1])


def title(index):
    kind, text = BLOCKS[index]
    words = re.search(r"tritonclient\.\w+|kserve|httpx|curl.*?(/\w+)+", text)
    return f"{index} {kind} {words[0].split('/')[-1] if words else ''}".strip()


@pytest.mark.parametrize("index", range(len(BLOCKS)), ids=title)
def test_an_example_of_the_serving_guide_works(index, ports, tmp_path):
    kind, text = BLOCKS[index]
    if kind == "bash" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    if "kserve" in text and importlib.util.find_spec("kserve") is None:
        pytest.skip("the package kserve is not installed")
    text = text.replace("localhost:8000", f"127.0.0.1:{ports[0]}").replace("localhost:8001", f"127.0.0.1:{ports[1]}")
    command = ["bash", "-e", "-c", text] if kind == "bash" else [sys.executable, "-c", text]
    environment = os.environ | {"GRPC_VERBOSITY": "NONE"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


def test_the_guide_shows_every_kind_of_client():
    text = "".join(body for _, body in BLOCKS)
    assert all(word in text for word in ("curl", "httpx", "tritonclient.http", "tritonclient.grpc", "kserve"))
