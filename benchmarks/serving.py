"""CPU time per request of the server, between two bounds: a constant answer and a plain FastAPI handler.

    python benchmarks/serving.py [--seconds 3] [--connections 32] [--rounds 3]

One tiny model (4 → 16 → 3), one row a request as JSON. Each server is a process of its own; its user and system time is
divided by the answers it gave, so the load generator's own cost does not count. The servers take turns, and the median
of the rounds is shown: on a busy machine trust the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]},
    separators=(",", ":"),
).encode()
PLAIN_BODY = b'{"data":[5.1,3.5,1.4,0.2]}'
INFER = "/v2/models/tiny/infer"
PREDICT = "/predict"


def write_model(path: Path) -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    shapes = {"w1": (4, 16), "b1": (16,), "w2": (16, 3), "b2": (3,)}
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name) for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["l"]),
        helper.make_node("Softmax", ["l"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 4))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 3))]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


# ---- servers -------------------------------------------------------------------------------------------------------


def listen() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    print(listener.getsockname()[1], flush=True)
    return listener


def serve_ours(path: Path) -> None:
    from quickserveml_tui.core.catalog import Resolved
    from quickserveml_tui.server.options import ServeOptions
    from quickserveml_tui.server.run import Announcement, serve

    def announce(said: Announcement) -> None:
        print(said.url.rpartition(":")[2], flush=True)

    serve([Resolved(str(path), str(path), "")], ServeOptions(port=0), announce)


def serve_constant(_path: Path) -> None:
    import httptools
    import uvloop

    answer = b'{"model_name":"tiny","outputs":[{"name":"y","datatype":"FP32","shape":[1,3],"data":[0.1,0.2,0.7]}]}'
    response = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer

    class Constant(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.parser = httptools.HttpRequestParser(self)

        def data_received(self, data):
            self.parser.feed_data(data)

        def on_url(self, url):
            self.url = url

        def on_header(self, name, value):
            pass

        def on_body(self, body):
            self.body = body

        def on_message_complete(self):
            self.transport.write(response)

    async def main():
        server = await asyncio.get_running_loop().create_server(Constant, sock=listen())
        await server.serve_forever()

    uvloop.run(main())


def serve_fastapi(path: Path) -> None:
    import numpy as np
    import onnxruntime
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    app = FastAPI()

    class Item(BaseModel):
        data: list[float]

    async def predict(item: Item):
        (y,) = session.run(None, {"x": np.array([item.data], dtype=np.float32)})
        return {"prediction": y.tolist()}

    predict.__annotations__["item"] = Item  # the annotation is local, FastAPI resolves names of modules only
    app.post("/predict")(predict)
    config = uvicorn.Config(app, http="httptools", loop="uvloop", access_log=False, log_level="error")
    uvicorn.Server(config).run(sockets=[listen()])


SERVERS = {
    "constant answer (uvloop + httptools)": (serve_constant, INFER, BODY),
    "this server, infer": (serve_ours, INFER, BODY),
    "this server, /predict": (serve_ours, PREDICT, PLAIN_BODY),
    "this server, off the hot path": (serve_ours, f"{INFER}?", BODY),
    "plain FastAPI handler": (serve_fastapi, PREDICT, PLAIN_BODY),
}


# ---- load ----------------------------------------------------------------------------------------------------------


def complete(reply: bytes) -> bool:
    head, separator, body = reply.partition(b"\r\n\r\n")
    if not separator:
        return False
    assert head.startswith(b"HTTP/1.1 200"), reply
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
    return len(body) >= int(length)


def load(port: int, path: str, body: bytes, connections: int, seconds: float) -> int:
    """Answers within the time; each connection sends its next request when it has the answer."""
    data = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    selector = selectors.DefaultSelector()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for item in sockets:
        item.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(item, selectors.EVENT_READ, item)
        item.sendall(data)
    answers, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for key, _ in selector.select():
            reply = key.data.recv(65536)
            while not complete(reply):  # some servers write head and body apart
                reply += key.data.recv(65536)
            answers += 1
            key.data.sendall(data)
    for item in sockets:
        item.close()
    return answers


def measure(name: str, model: Path, connections: int, seconds: float) -> tuple[float, float]:
    """CPU µs and answers a second."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", name, "--model", str(model)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        _, path, body = SERVERS[name]
        load(port, path, body, connections, 0.3)
        server = psutil.Process(process.pid)
        before, started = server.cpu_times(), time.perf_counter()
        answers = load(port, path, body, connections, seconds)
        elapsed, after = time.perf_counter() - started, server.cpu_times()
        used = after.user + after.system - before.user - before.system
        return used / answers * 1e6, answers / elapsed
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        SERVERS[arguments.serve][0](arguments.model)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "tiny.onnx"
        write_model(model)
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in SERVERS}
        for _ in range(arguments.rounds):
            for name in SERVERS:
                results[name].append(measure(name, model, arguments.connections, arguments.seconds))
    base = statistics.median(used for used, _ in next(iter(results.values())))
    print(f"{arguments.connections} connections, median of {arguments.rounds} rounds of {arguments.seconds:g} s")
    print(f"{'server':<40}{'CPU µs/request':>15}{'ratio':>8}{'requests/s':>12}")
    for name, rounds in results.items():
        used = statistics.median(item for item, _ in rounds)
        rate = statistics.median(item for _, item in rounds)
        print(f"{name:<40}{used:>15.1f}{used / base:>8.2f}{rate:>12,.0f}")


if __name__ == "__main__":
    main()
