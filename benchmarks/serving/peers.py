"""The servers: how each is installed, started and asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
BATCH = 64


@dataclass
class Started:
    """A started server."""

    process: subprocess.Popen
    path: str
    dialect: str
    headers: dict[str, str] = field(default_factory=dict)
    gets: list[str] = field(default_factory=list)
    """Management pages."""


@dataclass(frozen=True)
class Peer:
    """A server to measure."""

    name: str
    start: Callable[..., Started]
    requires: tuple[str, ...] = ()
    binary: bool = False
    """Whether it takes binary tensors."""


def _popen(command: list[str], core: int, log: Path, **environment: str) -> subprocess.Popen:
    with log.open("ab") as out:
        return subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | environment,
        )


def _script(name: str, dialect: str, path: str):
    def start(python: str, model: Path, port: int, core: int, folder: Path) -> Started:
        command = [python, HERE / f"serve_{name}.py", model, port, BATCH]
        return Started(_popen(command, core, folder / "log"), path, dialect)

    return start


def _ours(python: str, model: Path, port: int, core: int, folder: Path) -> Started:
    home = folder / "home"
    environment = {"PYTHONPATH": str(PROJECT), "QSML_HOME": str(home)}
    command = [python, "-m", "quickserveml_tui"]
    made = subprocess.run(
        [
            *command,
            *("--json", "keys", "create", "bench", "--scope", "infer", "--scope", "metrics", "--scope", "read"),
            *("--rate", "1000000/s"),
        ],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    key = json.loads(made.stdout)["text"]
    serve = [*command, "serve", model, "--port", port, "--auth", "keys", "--access-log", folder / "access.log"]
    serve += ["--queue-limit", 4096]
    process = _popen(serve, core, folder / "log", **environment)
    headers = {"authorization": f"Bearer {key}"}
    gets = ["/v2", f"/v2/models/{model.stem}", "/metrics", "/v2/models/stats", "/model/info"]
    return Started(process, f"/v2/models/{model.stem}/infer", "v2", headers, gets)


def _bentoml(python: str, model: Path, port: int, core: int, folder: Path) -> Started:
    command = [Path(python).parent / "bentoml", "serve", "serve_bentoml:Model", "--port", port, "--host", "127.0.0.1"]
    command += ["--working-dir", HERE]
    process = _popen(
        command,
        core,
        folder / "log",
        BENCH_MODEL=str(model),
        BENTOML_HOME=str(folder / "bentoml"),
        BENTOML_DO_NOT_TRACK="true",
    )
    return Started(process, "/predict", "bento")


def _mlserver(python: str, model: Path, port: int, core: int, folder: Path) -> Started:
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_port": port + 2,
        "parallel_workers": 0,
        "debug": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(
        json.dumps(
            {
                "name": "model",
                "implementation": "serve_mlserver.OnnxModel",
                "max_batch_size": BATCH,
                "max_batch_time": 0.001,
                "parameters": {"uri": str(model)},
            }
        )
    )
    command = [Path(python).parent / "mlserver", "start", folder]
    return Started(_popen(command, core, folder / "log", PYTHONPATH=str(HERE)), "/v2/models/model/infer", "v2")


def triton(binary: Path) -> Peer:
    """A Triton server by its path, with its ONNX Runtime backend."""

    def start(_python: str, model: Path, port: int, core: int, folder: Path) -> Started:
        version = folder / "repository" / "model" / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(model.read_bytes())
        (version.parent / "config.pbtxt").write_text(
            f'backend: "onnxruntime" max_batch_size: {BATCH} dynamic_batching {{ max_queue_delay_microseconds: 100 }}\n'
            'parameters { key: "intra_op_thread_count" value: { string_value: "1" } }\n'
        )
        command = [
            binary,
            f"--model-repository={folder / 'repository'}",
            f"--http-port={port}",
            "--http-thread-count=1",
        ]
        command += [f"--grpc-port={port + 1}", f"--metrics-port={port + 2}", "--http-address=127.0.0.1"]
        return Started(_popen(command, core, folder / "log"), "/v2/models/model/infer", "v2")

    return Peer("triton", start, binary=True)


_ORT = ("onnxruntime", "numpy")
FLOOR = Peer("floor", _script("floor", "v2", "/v2/models/tiny/infer"), ("uvloop", "httptools"))
OURS = Peer("quickserveml", _ours, binary=True)
PEERS = (
    FLOOR,
    OURS,
    Peer("original", _script("original", "list", "/predict"), (*_ORT, "fastapi", "uvicorn[standard]")),
    Peer("mlserver", _mlserver, (*_ORT, "mlserver==1.7.1", "uvloop<0.22", "setuptools<81")),
    Peer("litserve", _script("litserve", "litserve", "/predict"), (*_ORT, "litserve==0.2.19")),
    Peer("bentoml", _bentoml, (*_ORT, "bentoml==1.4.39")),
    Peer("pytriton", _script("pytriton", "v2", "/v2/models/model/infer"), (*_ORT, "nvidia-pytriton==0.7.0"), True),
)


def prepare(peer: Peer, environments: Path) -> str:
    """The Python of the peer's own environment, made when it is not there.

    `BENCH_PYTHON_PYTRITON` and the like name another interpreter to make it with: some peers bring parts of Python that
    do not fit every release.
    """
    if not peer.requires:
        return sys.executable
    folder = environments / peer.name
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        wanted = os.environ.get(f"BENCH_PYTHON_{peer.name.upper()}", sys.executable)
        subprocess.run([wanted, "-m", "venv", "--clear", str(folder)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requires]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stderr or done.stdout).strip()[-400:])
        (folder / "done").touch()
    return str(python)
