"""Models whose inputs and outputs have every type there is, and values for them."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime as ort
from hypothesis import strategies as st
from onnx import TensorProto, helper

from quickserveml_tui.core.values import SparseValue
from quickserveml_tui.runtime.dtypes import NUMPY_DTYPES, integer_bounds, is_float, numpy_dtype

ort.set_default_logger_severity(4)

EXTENDED = (
    "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0", "float4e2m1",
    "int4", "uint4", "int2", "uint2",
)  # fmt: skip
DTYPES = (*NUMPY_DTYPES, *EXTENDED)
RUNTIME_DTYPES = tuple(name for name in DTYPES if not name.startswith("complex"))
_ONNX = {"float32": "FLOAT", "float64": "DOUBLE"}

tensor_type = helper.make_tensor_type_proto
value_info = helper.make_value_info
seq, optional = helper.make_sequence_type_proto, helper.make_optional_type_proto


def number(dtype):
    """The TensorProto number of an ONNX dtype."""
    return TensorProto.DataType.Value(_ONNX.get(dtype, dtype.upper()))


def tensor(name, dtype, shape):
    return helper.make_tensor_value_info(name, number(dtype), shape)


def map_type(key, value="float32"):
    return helper.make_map_type_proto(number(key), tensor_type(number(value), None))


def model_bytes(nodes, inputs, outputs, *, opset=18, ir=9, ml=False, initializers=()):
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("ai.onnx.ml", 3)] if ml else [])
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=list(initializers))
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir).SerializeToString()


def save(path, *args, **kwargs):
    path.write_bytes(model_bytes(*args, **kwargs))
    return path


@cache
def runs(dtype):
    """The model that gives a tensor of this dtype back unchanged, or as float, or its shape; whatever runs here.

    As (bytes, how), where `how` is the operator; None when this runtime takes the dtype nowhere.
    """
    for opset, ir in ((21, 10), (23, 11), (25, 12)):
        for operator in ("Identity", "Transpose", "Cast", "Shape"):
            out = {"Cast": "float32", "Shape": "int64"}.get(operator, dtype)
            attributes = {"to": 1} if operator == "Cast" else {"perm": [0]} if operator == "Transpose" else {}
            node = helper.make_node(operator, ["x"], ["y"], **attributes)
            data = model_bytes([node], [tensor("x", dtype, ["n"])], [tensor("y", out, ["n"])], opset=opset, ir=ir)
            try:
                ort.InferenceSession(data)
            except Exception:
                continue
            return data, operator
    return None


def arrays(dtype, shapes=None):
    """Arrays of a dtype, with every special value that it has."""
    sizes = shapes if shapes is not None else st.lists(st.integers(0, 4), max_size=3).map(tuple)
    return sizes.flatmap(lambda shape: _array(dtype, shape))


def _array(dtype, shape):
    size = int(np.prod(shape, dtype=int))
    target = numpy_dtype(dtype)

    def build(items):
        made = np.empty(size, dtype=object)
        made[:] = items
        return made.reshape(shape).astype(target) if dtype != "string" else made.reshape(shape)

    return st.lists(_elements(dtype), min_size=size, max_size=size).map(build)


def _elements(dtype):
    if dtype == "string":
        return st.text(max_size=6)
    if dtype == "bool":
        return st.booleans()
    if (bounds := integer_bounds(dtype)) is not None:
        return st.integers(*bounds)
    if is_float(dtype):
        return st.one_of(st.floats(-4, 4), st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 1e-7]))
    return st.complex_numbers(max_magnitude=10)


TENSORS = st.sampled_from(DTYPES).flatmap(arrays)
KEYS = st.one_of(st.text(max_size=4), st.integers(-(2**63), 2**63 - 1))
FLOATS = st.floats(allow_nan=True)


@st.composite
def sparse(draw):
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    positions = sorted(draw(st.sets(st.integers(0, int(np.prod(shape)) - 1), max_size=5)))
    indices = np.stack(np.unravel_index(np.array(positions, np.int64), shape), axis=1).astype(np.int64)
    values = draw(arrays(draw(st.sampled_from(["float32", "int64", "bfloat16"])), st.just((len(positions),))))
    return SparseValue(values, indices, shape)


MAPS = st.dictionaries(KEYS, FLOATS, max_size=4)
VALUES = st.one_of(
    TENSORS,
    st.lists(TENSORS, max_size=3),
    MAPS,
    st.lists(MAPS, max_size=3),
    st.lists(st.fixed_dictionaries({1: FLOATS, "1": FLOATS}), max_size=3),
    sparse(),
    st.none(),
    st.lists(st.lists(TENSORS, max_size=2), max_size=2),
)


def same(first, second):
    """Whether two values are the same to the last bit, types of keys and scalars included."""
    if type(first) is not type(second):
        return False
    if isinstance(first, np.ndarray):
        if first.dtype != second.dtype or first.shape != second.shape:
            return False
        return first.tolist() == second.tolist() if first.dtype == object else first.tobytes() == second.tobytes()
    if isinstance(first, dict):
        return [(type(key), key) for key in first] == [(type(key), key) for key in second] and all(
            same(first[key], second[key]) for key in first
        )
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, SparseValue):
        return first.shape == second.shape and same(first.values, second.values) and same(first.indices, second.indices)
    return first == second or (first != first and second != second)
