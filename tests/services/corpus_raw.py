"""Raw onnxruntime over a list of models, in a process of its own: some kill it.

`python corpus_raw.py CASES RESULTS FIRST`: CASES is a pickled list of (path, inputs by name); for each case from FIRST on
one pickled (verdict, value) is appended to RESULTS: `ok` with canonical outputs, `load` or `run` with the error's text.
Nothing here is the program's own: values go in and come out by onnxruntime's and onnx's means alone.
"""

from __future__ import annotations

import ctypes
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PLAIN = "biufcO"
"""Kinds of numpy types that onnxruntime takes as they are; those of ml_dtypes have kind V, or f for some."""


def canonical(value: Any) -> Any:
    """A value in a form that two sides can be compared in: type number, shape and packed bytes of each tensor."""
    from onnx import helper, numpy_helper

    if value is None:
        return None
    if isinstance(value, list | tuple):
        return ["sequence", *(canonical(item) for item in value)]
    if isinstance(value, dict):
        return ["map", sorted((key, canonical(np.asarray(item))) for key, item in value.items())]
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        return ["tensor", 8, array.shape, [str(item) for item in array.ravel().tolist()]]
    number = helper.np_dtype_to_tensor_dtype(array.dtype)
    packed = (
        numpy_helper.from_array(array).raw_data if is_extended(array.dtype) else np.ascontiguousarray(array).tobytes()
    )
    return ["tensor", int(number), array.shape, packed]


def is_extended(dtype: np.dtype[Any]) -> bool:
    """Whether numpy lacks the type by itself."""
    return type(dtype).__module__ != "numpy.dtypes"


def raw_results(cases: list[tuple[str, dict[str, Any]]], folder: Path) -> list[tuple[str, Any]]:
    """What raw onnxruntime says of each case; a case that ends the process has the verdict `crash`."""
    listed, results = folder / "cases.pickle", folder / "results.pickle"
    listed.write_bytes(pickle.dumps(cases))
    results.write_bytes(b"")
    found: list[tuple[str, Any]] = []
    while len(found) < len(cases):
        command = [sys.executable, __file__, str(listed), str(results), str(len(found))]
        done = subprocess.run(command, capture_output=True, timeout=110, check=False)
        found = list(_read(results))
        if done.returncode and len(found) < len(cases):
            assert done.returncode < 0, done.stderr.decode()[-2000:]
            with results.open("ab") as file:
                pickle.dump(("crash", f"signal {-done.returncode}"), file)
            found = list(_read(results))
    return found


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


def _open(path: str) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _to_ort(array: np.ndarray[Any, Any]) -> Any:
    import onnxruntime as ort
    from onnx import helper, numpy_helper

    if not is_extended(array.dtype):
        return ort.OrtValue.ortvalue_from_numpy(array)
    number = helper.np_dtype_to_tensor_dtype(array.dtype)
    packed = numpy_helper.from_array(array).raw_data
    value = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), number)
    if packed:
        ctypes.memmove(value.data_ptr(), packed, len(packed))
    return value


def _from_ort(value: Any) -> Any:
    from onnx import TensorProto, helper

    if value is None:
        return None
    if not value.is_tensor() or not value.has_value():
        return canonical(value.numpy()) if value.has_value() else None
    number = value.element_type()
    if number == TensorProto.STRING or not is_extended(helper.tensor_dtype_to_np_dtype(number)):
        return canonical(value.numpy())
    count = int(np.prod(value.shape(), dtype=np.int64))
    bits = {TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4, TensorProto.INT2: 2,
            TensorProto.UINT2: 2, TensorProto.BFLOAT16: 16}.get(number, 8)  # fmt: skip
    size = (count * bits + 7) // 8
    return ["tensor", int(number), tuple(value.shape()), ctypes.string_at(value.data_ptr(), size) if size else b""]


def _run(session: Any, inputs: dict[str, Any]) -> list[Any]:
    arrays = {name: value for name, value in inputs.items() if isinstance(value, np.ndarray)}
    kinds = [
        *(argument.type for argument in session.get_inputs()),
        *(argument.type for argument in session.get_outputs()),
    ]
    extended = any(
        mark in kind for kind in kinds for mark in ("bfloat16", "float8", "float4", "int4", "int2)", "int2x")
    )
    if not extended:
        return [canonical(value) for value in session.run(None, inputs)]
    assert len(arrays) == len(inputs), "a sequence or optional beside a type that numpy lacks"
    names = [argument.name for argument in session.get_outputs()]
    values = session.run_with_ort_values(names, {name: _to_ort(array) for name, array in arrays.items()})
    return [_from_ort(value) for value in values]


def _verdict(path: str, inputs: dict[str, Any]) -> tuple[str, Any]:
    try:
        session = _open(path)
    except Exception as error:
        return "load", str(error)
    try:
        return "ok", _run(session, inputs)
    except Exception as error:
        return "run", str(error)


def main() -> None:
    import resource

    import onnxruntime as ort

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ort.set_default_logger_severity(4)
    cases = pickle.loads(Path(sys.argv[1]).read_bytes())
    with Path(sys.argv[2]).open("ab") as file:
        for path, inputs in cases[int(sys.argv[3]) :]:
            pickle.dump(_verdict(path, inputs), file)
            file.flush()


if __name__ == "__main__":
    main()
