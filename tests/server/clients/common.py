"""What all clients of the matrix share: the arrays of every datatype, and what the runtime makes of them.

Each client runs in a process of its own: kserve and tritonclient.grpc register the same names with protobuf.
"""

from __future__ import annotations

import json
import sys
import traceback

import ml_dtypes
import numpy as np
import onnxruntime

RNG = np.random.default_rng(11)

ARRAYS = {
    "BOOL": np.array([[True, False], [False, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 65535]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[1, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-32768, 32767]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[0.1, -65504]], np.float16),
    "BF16": np.array([[1.5, -2.0]], ml_dtypes.bfloat16),
    "FP32": np.array([[0.1, 3.4028235e38]], np.float32),
    "FP64": np.array([[0.1, 1.7976931348623157e308]], np.float64),
    "BYTES": np.array([["", 'naïve\n"ΑΩ" 😀']], object),
}
COMPRESSIONS = (None, "gzip", "deflate")


def as_sent(kind):
    """The array as Triton's clients take it."""
    array = ARRAYS[kind]
    if kind == "BYTES":
        return np.array([[item.encode() for item in row] for row in array], object)
    return array


def fill(tensor, array, **how):
    """Give Triton's tensor its values; clients before 26.06 take BF16 as float32."""
    try:
        tensor.set_data_from_numpy(array, **how)
    except Exception:
        tensor.set_data_from_numpy(array.astype(np.float32), **how)
    return tensor


def expected(path, feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def same(kind, found):
    want = ARRAYS[kind]
    if kind == "BYTES":
        found = np.array([item.decode() if isinstance(item, bytes) else item for item in found.flat], object)
        return np.array_equal(found, want.reshape(-1))
    return found.shape == want.shape and np.array_equal(found.astype(want.dtype), want)


def multiplied(x):
    """What the versions of the model `times` make of an array, by the version that is asked for; "" is the newest."""
    return {"": x * 2, "1": x, "2": x * 2}


async def awaited(report, name, call):
    """A cell whose call is awaited; it holds if the call gives something true."""
    try:
        found = await call()
    except Exception as error:
        report.cells[name] = repr(error)
    else:
        report.cells[name] = "" if found else f"gave {found!r}"


class Report:
    """Cells of the matrix: every one has a name and holds or says why not."""

    def __init__(self):
        self.cells = {}

    def check(self, name, test):
        try:
            result = test()
            self.cells[name] = "" if result is None or result is True else f"gave {result!r}"
        except BaseException as error:
            self.cells[name] = "".join(traceback.format_exception(error))[-1500:]

    def refused(self, name, test, status, text=""):
        """The call must fail with a status and a text."""

        def run():
            try:
                test()
            except Exception as error:
                found = error.status() if hasattr(error, "status") else str(error)
                right = status in str(found) and text in str(error)
                return right or f"{found} {error}, wanted {status} {text}"
            return "an answer"

        self.check(name, run)

    def finish(self):
        json.dump(self.cells, sys.stdout)


def arguments():
    """URL parts and model files, as the test wrote them."""
    return json.loads(sys.argv[1])
