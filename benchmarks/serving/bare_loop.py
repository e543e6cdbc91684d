"""The bound of a model: onnxruntime in a loop, batched, without any server. Prints µs of wall and CPU time per row."""

import json
import sys
import time

import numpy as np
import onnxruntime
from workloads import SHAPES

path, name, batch, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
x = np.random.default_rng(1).standard_normal((batch, *SHAPES[name][1:])).astype(np.float32)
for _ in range(20):
    session.run(["y"], {"x": x})
times, end = [], time.perf_counter() + seconds
cpu = time.process_time()
while (now := time.perf_counter()) < end:
    session.run(["y"], {"x": x})
    times.append(time.perf_counter() - now)
cpu = time.process_time() - cpu
rows = len(times) * batch
print(
    json.dumps(
        {
            "cpu_us": cpu / rows * 1e6,
            "p50_us": float(np.median(times)) * 1e6,
            "per_row_us": sum(times) / rows * 1e6,
            "rows_per_s": rows / sum(times),
        }
    )
)
