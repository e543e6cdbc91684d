"""Are the verdicts of `compare` right? The same model twice, and a model beside one that is truly 5 % slower.

Usage: python benchmarks/lab/verdicts.py [--aa 200] [--slow 100] [--duration 10] [--calibrate 120] [--quiet] --json FILE

Unless `--quiet` is given the machine is kept busy on purpose: as many processes as it has cores burn CPU and write
memory in bursts of random length, a third of the time. The truth is a long bare run: both models in one process,
prebound by io-binding, called in turn, with nothing of ours between.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.comparing import ComparisonSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.paired import paired
from quickserveml_tui.runtime.pool import LocalRunnerPool
from quickserveml_tui.runtime.turns import Contestant, take_turns

CHANNELS, SIZE = 32, 24
STEPS = 40

BURN = """
import random, sys, time
import numpy as np
rng, end = random.Random(int(sys.argv[1])), time.monotonic() + float(sys.argv[2])
block = np.ones((256, 1024))
while time.monotonic() < end:
    until = time.monotonic() + rng.expovariate(1 / 0.05)
    while time.monotonic() < until:
        block = block * 1.0000001
    time.sleep(rng.expovariate(1 / 0.1))
"""


def chain(path: Path, steps: int) -> Path:
    """A chain of equal convolutions: their number sets how long it takes, and where memory lies hardly matters."""
    rng = np.random.default_rng(0)
    weights = (rng.standard_normal((CHANNELS, CHANNELS, 3, 3)) / 17).astype(np.float32)
    nodes, before = [], "x"
    for index in range(steps):
        nodes.append(helper.make_node("Conv", [before, "w"], [f"c{index}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"h{index}"]))
        before = f"h{index}"
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", CHANNELS, SIZE, SIZE))],
        [helper.make_tensor_value_info(before, TensorProto.FLOAT, ("batch", CHANNELS, SIZE, SIZE))],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def bare_call(path: Path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    x = np.random.default_rng(1).standard_normal((1, CHANNELS, SIZE, SIZE)).astype(np.float32)
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
    binding.bind_output(session.get_outputs()[0].name)
    return lambda: session.run_with_iobinding(binding)


def calibrate(base: Path, other: Path, seconds: float) -> dict:
    """The true ratio of medians, with the interval of its block bootstrap."""
    calls = [bare_call(base), bare_call(other)]
    for call in calls * 50:
        call()
    order, medians = random.Random(0), ([], [])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        places = [0, 1]
        order.shuffle(places)
        for place in places:
            times = []
            for _ in range(8):
                begin = time.perf_counter_ns()
                calls[place]()
                times.append(time.perf_counter_ns() - begin)
            medians[place].append(float(np.median(times[1:])) / 1e6)
    found = paired(*medians, [0] * len(medians[0]), threshold=0.001)
    return {
        "ratio": found.ratio,
        "low": found.interval.low,
        "high": found.interval.high,
        "rounds": found.pairs,
        "base_ms": float(np.median(medians[0])),
    }


def verdict(pool: LocalRunnerPool, paths: tuple[Path, Path], duration_s: float, seed: int) -> dict:
    spec = ComparisonSpec(duration_s=duration_s, seed=seed)
    sides = [Contestant(path, BenchmarkSpec()) for path in paths]
    began = time.monotonic()
    turns = take_turns(pool, sides, spec, on_phase=lambda *_: None, on_round=lambda _: False, cancel=CancelToken())
    medians = np.asarray(turns.medians_ms)
    found = paired(medians[:, 0], medians[:, 1], turns.processes, threshold=spec.threshold, seed=seed)
    noise = turns.noise(1)
    return {
        "verdict": str(found.verdict),
        "ratio": found.ratio,
        "interval": [found.interval.low, found.interval.high] if found.interval else None,
        "pairs": found.pairs,
        "other_cpus": noise.other_cpus,
        "preemptions_per_s": noise.preemptions_per_s,
        "wall_s": time.monotonic() - began,
    }


def series(pool, paths, count: int, duration_s: float, name: str) -> list[dict]:
    found = []
    for seed in range(count):
        found.append(verdict(pool, paths, duration_s, seed))
        print(f"{name} {seed + 1}/{count}: {found[-1]['verdict']} {found[-1]['ratio']:.4f}", flush=True)
    return found


def counts(found: list[dict]) -> dict:
    return {
        word: sum(item["verdict"] == word for item in found) for word in ("faster", "slower", "equal", "inconclusive")
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aa", type=int, default=200)
    parser.add_argument("--slow", type=int, default=100)
    parser.add_argument("--duration", type=float, default=10.0)
    parser.add_argument("--calibrate", type=float, default=120.0)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--json", metavar="FILE", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = chain(Path(folder) / "base.onnx", STEPS)
        slower = chain(Path(folder) / "slower.onnx", STEPS + 2)
        truth = calibrate(base, slower, args.calibrate)
        print(f"the truth: {truth}", flush=True)
        document = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {
                "onnxruntime": onnxruntime.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "duration_s": args.duration,
            "busy": not args.quiet,
            "convolutions": [STEPS, STEPS + 2],
            "truth": truth,
        }
        wanted_s = (args.aa + args.slow) * (args.duration + 30)
        burners = [] if args.quiet else [
            subprocess.Popen([sys.executable, "-c", BURN, str(core), str(wanted_s)])
            for core in range(os.cpu_count() or 1)
        ]  # fmt: skip
        pool = LocalRunnerPool(Path(folder))
        try:
            for name, paths, count in (("same", (base, base), args.aa), ("slower", (base, slower), args.slow)):
                document[name] = series(pool, paths, count, args.duration, name)
                document[f"{name}_counts"] = counts(document[name])
                Path(args.json).write_text(json.dumps(document, indent=1) + "\n")
        finally:
            pool.close()
            for burner in burners:
                burner.terminate()
                burner.wait()
    for name in ("same", "slower"):
        print(name, document[f"{name}_counts"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
