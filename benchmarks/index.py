"""What it costs to read a model file: header, totals, facts and pages of layers, beside `onnx.load`.

    python benchmarks/index.py [--repeats 5] [--json FILE]

Four files are made in a temporary folder: 1 GB of weights inside, 3 GB of external data (a sparse file), 100,000 nodes,
and 4 KB. Each reading is done by a fresh process that has read another small file before, so that imports do not count.
Time is CPU time of the process during the call (wall time is in the JSON as well: it is the same on an idle machine);
memory is how far RssAnon grew, at its peak, as another process saw it every two milliseconds. `next page` follows a
first page that is not counted. Medians of the repeats; the files are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GB = 10**9
READINGS = ("header", "totals", "facts", "quick page", "first page", "next page", "onnx.load")
PAGE = 100


def _model(nodes: list[Any], initializers: list[Any], shape: list[Any]) -> Any:
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _chain(count: int) -> list[Any]:
    from onnx import helper

    names = ["x", *(f"h{index}" for index in range(1, count)), "y"]
    return [
        helper.make_node("MatMul", [names[at], f"w{at}"], [names[at + 1]], name=f"layer{at}") for at in range(count)
    ]


def make_inline(path: Path, total: int = GB, count: int = 250) -> Path:
    """Square weights of 4 MB each, written in pieces."""
    from onnx import TensorProto

    from quickserveml_tui.graph.protobuf import BYTES, varint

    side = int((total / count / 4) ** 0.5)
    size = side * side * 4
    model = _model(_chain(count), [], ["n", side])
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    heads = []
    for at in range(count):
        tensor = TensorProto(name=f"w{at}", data_type=TensorProto.FLOAT, dims=[side, side]).SerializeToString()
        tensor += varint(9 << 3 | BYTES) + varint(size)
        heads.append(varint(5 << 3 | BYTES) + varint(len(tensor) + size) + tensor)
    payload = os.urandom(1 << 20) * (size // (1 << 20) + 1)
    with path.open("wb") as file:
        length = len(graph) + sum(map(len, heads)) + count * size
        file.write(model.SerializeToString() + varint(7 << 3 | BYTES) + varint(length) + graph)
        for head in heads:
            file.write(head)
            file.write(payload[:size])
    return path


def make_external(path: Path, total: int = 3 * GB, count: int = 300) -> Path:
    """Weights in a sparse file beside the model."""
    from onnx import TensorProto

    side = int((total / count / 4) ** 0.5)
    size = side * side * 4
    tensors = []
    for at in range(count):
        tensor = TensorProto(name=f"w{at}", data_type=TensorProto.FLOAT, dims=[side, side])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", path.stem + ".bin"), ("offset", at * size), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
    path.write_bytes(_model(_chain(count), tensors, ["n", side]).SerializeToString())
    with path.with_suffix(".bin").open("wb") as file:
        file.truncate(count * size)
    return path


def make_many_nodes(path: Path, count: int = 100_000) -> Path:
    """Elementwise nodes, every third with a weight, every tenth with an attribute."""
    import numpy as np
    from onnx import helper, numpy_helper

    nodes, last = [], "x"
    for at in range(count):
        made = "y" if at == count - 1 else f"block{at // 100}/value{at}"
        op = ("Relu", "Neg", "Add")[at % 3]
        inputs = [last, f"w{at % 50}"] if op == "Add" else [last]
        if at % 10 == 0:
            nodes.append(helper.make_node("LeakyRelu", [last], [made], name=f"block{at // 100}/node{at}", alpha=0.1))
        else:
            nodes.append(helper.make_node(op, inputs, [made], name=f"block{at // 100}/node{at}"))
        last = made
    weights = [numpy_helper.from_array(np.ones(16, np.float32), f"w{at}") for at in range(50)]
    path.write_bytes(_model(nodes, weights, ["n", 16]).SerializeToString())
    return path


def make_small(path: Path) -> Path:
    """Two layers, 4 KB."""
    import numpy as np
    from onnx import helper, numpy_helper

    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    weight = numpy_helper.from_array(np.ones((31, 31), np.float32), "w")
    path.write_bytes(_model(nodes, [weight], ["n", 31]).SerializeToString())
    return path


FILES = {
    "1 GB inline": make_inline,
    "3 GB external": make_external,
    "100,000 nodes": make_many_nodes,
    "4 KB": make_small,
}


def _read(reading: str, path: Path) -> None:
    if reading == "onnx.load":
        import onnx

        onnx.load(path)
        return
    from quickserveml_tui.graph.facts import read_facts, read_totals
    from quickserveml_tui.graph.header import read_header
    from quickserveml_tui.graph.layers import read_layers

    reads = {
        "header": read_header,
        "totals": read_totals,
        "facts": read_facts,
        "quick page": lambda path: read_layers(path, 0, PAGE, shapes=False),
        "first page": lambda path: read_layers(path, 0, PAGE),
        "next page": lambda path: read_layers(path, PAGE, PAGE),
    }
    reads[reading](path)


def child(reading: str, path: Path, warm: Path) -> None:
    """Read one file when told to on stdin; prints the milliseconds of wall and CPU time."""
    _read(reading, warm)
    if reading == "next page":
        _read("first page", path)
    print("ready", flush=True)
    sys.stdin.readline()
    begin, cpu = time.perf_counter(), time.process_time()
    _read(reading, path)
    print((time.perf_counter() - begin) * 1000, (time.process_time() - cpu) * 1000, flush=True)
    sys.stdin.readline()


def _anonymous_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024


def measure(reading: str, path: Path, warm: Path) -> dict[str, float]:
    """Milliseconds of one reading, wall and CPU, and MB by which its process grew at the most."""
    command = [sys.executable, __file__, "--child", reading, str(path), str(warm)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        before = peak = _anonymous_bytes(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        os.set_blocking(process.stdout.fileno(), False)
        line = ""
        while not line.endswith("\n"):
            peak = max(peak, _anonymous_bytes(process.pid))
            line += process.stdout.readline()
            time.sleep(0.002)
        peak = max(peak, _anonymous_bytes(process.pid))
        process.stdin.write("\n")
        process.stdin.close()
    wall, cpu = map(float, line.split())
    return {"wall_ms": wall, "cpu_ms": cpu, "mb": (peak - before) / 1e6}


def run(repeats: int, only: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Medians by file and reading."""
    results: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        warm = make_small(Path(folder) / "warm.onnx")
        for at, (name, make) in enumerate(FILES.items()):
            if name not in only:
                continue
            path = make(Path(folder) / f"{at}.onnx")
            results[name] = {}
            for reading in READINGS:
                samples = [measure(reading, path, warm) for _ in range(repeats)]
                found = {unit: statistics.median(sample[unit] for sample in samples) for unit in samples[0]}
                results[name][reading] = {unit: round(value, 2) for unit, value in found.items()}
                print(f"{name:<16}{reading:<12}{results[name][reading]}", file=sys.stderr)
            path.unlink()
            path.with_suffix(".bin").unlink(missing_ok=True)
    return results


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        sys.path.insert(0, str(ROOT))
        child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=FILES, default=list(FILES), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    results = run(arguments.repeats, arguments.only)
    if arguments.json:
        arguments.json.write_text(json.dumps({"repeats": arguments.repeats, "files": results}, indent=1) + "\n")
    print("| file | " + " | ".join(READINGS) + " |")
    print("|---|" + "--:|" * len(READINGS))
    for name, row in results.items():
        cells = (f"{row[reading]['cpu_ms']:,.1f} ms, {row[reading]['mb']:,.0f} MB" for reading in READINGS)
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
