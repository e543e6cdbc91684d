"""The least that a closed loop can be: one process, io-binding bound once, the clock read around the call.

Usage: bare_loop.py MODEL SECONDS WARMUP_SECONDS [CPU …]. Prints p50 and p99 in ms and the count as JSON.
"""

import gc
import json
import os
import sys
import time
from array import array

import numpy as np
import onnxruntime as ort


def main() -> None:
    path, seconds, warmup_s = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    cpus = [int(cpu) for cpu in sys.argv[4:]]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    if cpus:
        os.sched_setaffinity(0, cpus)
    spec = session.get_inputs()[0]
    shape = [dim if isinstance(dim, int) else 1 for dim in spec.shape]
    values = np.random.default_rng([0, *spec.name.encode()]).random(shape, dtype=np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input(spec.name, ort.OrtValue.ortvalue_from_numpy(values))
    binding.bind_output(session.get_outputs()[0].name)
    run = session.run_with_iobinding
    run(binding)
    clock = time.perf_counter_ns
    end = clock() + int(warmup_s * 1e9)
    while clock() < end:
        run(binding)
    limit = 4_000_000
    spans = array("q", bytes(8 * limit))
    gc.collect()
    gc.disable()
    count, end = 0, clock() + int(seconds * 1e9)
    for index in range(limit):
        begin = clock()
        run(binding)
        now = clock()
        spans[index] = now - begin
        if now >= end:
            count = index + 1
            break
    latencies = np.frombuffer(spans, dtype=np.int64)[: count or limit] / 1e6
    p50, p99 = np.percentile(latencies, [50, 99])
    print(json.dumps({"p50": float(p50), "p99": float(p99), "n": int(latencies.size)}))


if __name__ == "__main__":
    main()
