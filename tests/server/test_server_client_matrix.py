"""Clients of Triton and KServe, unchanged: every datatype, form and compression gives what the runtime gives.

Each client is a process of its own that runs its whole part of the matrix; tritonclient.grpc and kserve register the
same names with protobuf and cannot be imported together.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from live_server import live
from onnx import TensorProto, helper, save
from server_models import model, slow, tiny, value, weight
from server_process import ENVIRONMENT, running

pytestmark = pytest.mark.xdist_group("matrix")

CLIENTS = Path(__file__).parent / "clients"
KINDS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
NETWORK = Path(onnx.__file__).parent / "backend/test/data/light/light_shufflenet.onnx"


def identity(kind):
    shape = ("batch", 2)
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [value("x", shape, KINDS[kind])], [value("y", shape, KINDS[kind])])


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """A server of a repository folder with two versions of a model: each multiplies by its number."""
    folder = tmp_path_factory.mktemp("versions")
    repository = folder / "models"
    for number in (1, 2):
        place = repository / "times" / str(number)
        place.mkdir(parents=True)
        node = helper.make_node("Mul", ["x", "f"], ["y"])
        save(model([node], [value("x")], [value("y")], [weight("f", np.float32(number))]), place / "model.onnx")
    (repository / "times" / "config.pbtxt").write_text('name: "times"\nversion_policy: { all { } }\n')
    with live(folder / "home", folder / "log", "--repository", repository, "--grpc-port", 0) as server:
        yield {"port": server.port, "grpc_port": int(server.said["grpc_url"].rpartition(":")[2])}
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture(scope="module")
def given(tmp_path_factory, versions):
    """A server with gRPC, and what the clients must know of it."""
    folder = tmp_path_factory.mktemp("matrix")
    built = {f"same_{kind.lower()}": identity(kind) for kind in KINDS}
    built |= {"tiny": tiny(), "slow": slow()}
    built |= {f"spare_{name}": tiny() for name in ("http", "http_aio", "grpc", "grpc_aio", "kserve")}
    for name, made in built.items():
        save(made, folder / f"{name}.onnx")
    paths = [*folder.glob("*.onnx"), NETWORK]
    options = {"default_model": "tiny", "grpc_port": 0, "queue_limit": 16, "max_body_bytes": 4 * 2**20}
    log = folder / "server.log"
    with running(paths, log, **options) as server:
        grpc_port = int(re.search(r"gRPC\s+\S+:(\d+)", server.announcement)[1])
        yield {
            "port": server.port,
            "grpc_port": grpc_port,
            "versions": versions,
            "tiny": str(folder / "tiny.onnx"),
            "network": str(NETWORK),
            "network_name": re.search(r"(light\S*) version", server.announcement)[1],
            "network_input": onnxruntime.InferenceSession(str(NETWORK)).get_inputs()[0].name,
        }
    assert "Traceback" not in log.read_text()


def cells_of(client, given):
    environment = ENVIRONMENT | {"GRPC_VERBOSITY": "NONE"}
    command = [sys.executable, str(CLIENTS / f"{client}.py"), json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("client", "least"), [("triton_http", 282), ("triton_grpc", 256), ("kserve_both", 59)])
def test_a_client_gets_what_the_runtime_gives_in_every_cell_of_its_matrix(client, least, given):
    if client == "kserve_both" and importlib.util.find_spec("kserve") is None:
        pytest.skip("the package kserve is not installed")
    cells = cells_of(client, given)
    wrong = {name: problem for name, problem in cells.items() if problem}
    assert not wrong, "\n".join(f"{name}: {problem}" for name, problem in wrong.items())
    assert len(cells) >= least, f"only {len(cells)} cells ran"


def test_perf_analyzer_measures_the_server_where_its_binary_runs(given):
    found = importlib.util.find_spec("perf_analyzer")
    binary = next(Path(found.origin).parent.rglob("perf_analyzer"), None) if found and found.origin else None
    if binary is None or not os.access(binary, os.X_OK) or not binary.is_file():
        pytest.skip("the package perf-analyzer brings no binary for this system's C library")
    command = [str(binary), "-m", "tiny", "-u", f"127.0.0.1:{given['port']}", "--request-count", "200"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
